"""What is done to a component is done to all its replicas: at the same time, or, for a rolling restart, in turn.

A replica is a unit of the coordinator (`core/units.py`); a component with one replica is one unit. A failure of one
replica does not keep the others from being started or stopped; the first one is raised when all have been dealt with.

A rolling restart begins with those replicas that cannot be used anyway, takes the next one only when the one before
can be used again, and ends with the first that cannot. A later one for the same component takes over from an earlier.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from weakref import WeakValueDictionary

from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.utils.tekton_errors import ComponentError, TektonError


class Replicas:
    """Starts, stops and restarts the components of *coordinator*, whole.

    Raises what the coordinator raises for a component with one replica, and for others the same with the name of the
    replica in it.
    """

    def __init__(self, coordinator: EnhancedStartUpCoordinator) -> None:
        self._coordinator = coordinator
        self._units = coordinator.units
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._newest: dict[str, object] = {}

    async def start(self, component_id: str, *, force: bool = False) -> None:
        """Start all replicas that are not up; with *force*, past dependencies that cannot be used."""
        await self._each(component_id, partial(self._coordinator.start_component, force=force))

    async def stop(self, component_id: str) -> None:
        """Stop all replicas."""
        await self._each(component_id, self._coordinator.stop_component)

    async def restart(self, component_id: str, *, force: bool = False) -> None:
        """Restart all replicas at once: for a while there is none. *force* as for `start`."""
        await self._each(component_id, partial(self._coordinator.restart_component, force=force))

    async def roll(
        self, component_id: str, units: Iterable[str] | None = None, *, afresh: bool = False, force: bool = False
    ) -> None:
        """Restart *units* of the component (None: all) one at a time; of one replica, a plain restart.

        *afresh*: replicas that are being started are begun anew at once, as they are configured now. *force* as for
        `start`. Raises ComponentError that names the replica that did not come back; the rest stays as it was.
        """
        ours = self._newest[component_id] = object()
        left = list(self._units.of(component_id) if units is None else units)
        if afresh:
            coming = [unit for unit in left if self._coordinator.in_flight(unit)]
            await self._all(coming, lambda unit: self._renew(unit, component_id, afresh=True))
            left = [unit for unit in left if unit not in coming]
        async with self._turns.setdefault(component_id, asyncio.Lock()):
            for unit in sorted(left, key=self._is_usable):
                if self._newest.get(component_id) is not ours:
                    raise ComponentError(component_id, "a later rolling restart has taken over")
                if unit in self._units.of(component_id):
                    await self._renew(unit, component_id, force=force)

    def forget(self, component_id: str) -> None:
        """The component is not there any more; a rolling restart of it ends."""
        self._newest.pop(component_id, None)

    async def _renew(self, unit: str, component_id: str, *, afresh: bool = False, force: bool = False) -> None:
        try:
            await self._coordinator.restart_component(unit, afresh=afresh, force=force)
        except TektonError as error:
            if len(self._units.of(component_id)) == 1:
                raise
            number = unit.partition(".")[2] or "0"
            why = getattr(error, "reason", None) or str(error)
            reason = f"replica {number} did not come back, the others are left as they were: {why}"
            raise ComponentError(component_id, reason) from error

    def _is_usable(self, unit: str) -> bool:
        record = self._units.find(unit)
        return record is not None and record.usable

    async def _each(self, component_id: str, operation: Callable[[str], Awaitable[object]]) -> None:
        await self._all(self._units.of(component_id), operation)

    async def _all(self, units: Sequence[str], operation: Callable[[str], Awaitable[object]]) -> None:
        if len(units) == 1:
            await operation(units[0])
            return
        errors: list[TektonError] = []

        async def attempt(unit: str) -> None:
            try:
                await operation(unit)
            except TektonError as error:
                errors.append(error)

        async with asyncio.TaskGroup() as group:
            for unit in units:
                group.create_task(attempt(unit))
        if errors:
            raise errors[0]
