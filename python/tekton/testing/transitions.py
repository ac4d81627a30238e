"""What has happened to the components of an `InMemorySystem`, and waiting for what will."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from tekton.clock import Clock
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState

_TOLD = ("registered", "state")


class Transition(NamedTuple):
    """A component came into `state` (its name), `at` seconds after the system began."""

    at: float
    state: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.at:10.3f} s  {self.state}" + (f": {self.reason}" if self.reason else "")


class Transitions:
    """Keeps every transition, over all control planes of the system."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._seen: dict[str, list[Transition]] = defaultdict(list)
        self._waiting: list[tuple[str, ComponentState, asyncio.Future[ComponentRecord]]] = []

    @property
    def now(self) -> float:
        """Seconds since the system began."""
        return self._clock.monotonic() - self._began

    def hear(self, change: Change) -> None:
        """A change was published."""
        if change.kind not in _TOLD:
            return
        self._seen[change.component_id].append(Transition(self.now, change.state.value, change.reason))
        for component_id, state, found in self._waiting:
            if (component_id, state) == (change.component_id, change.state) and not found.done():
                found.set_result(change.record)

    def of(self, component_id: str) -> list[Transition]:
        """What happened to the component, the oldest first."""
        return list(self._seen.get(component_id, ()))

    async def until(
        self, component_id: str, state: ComponentState, find: Callable[[str], ComponentRecord | None], timeout: float
    ) -> ComponentRecord:
        """See `InMemorySystem.until`."""
        record = find(component_id)
        if record is not None and record.state is state:
            return record
        found: asyncio.Future[ComponentRecord] = asyncio.get_running_loop().create_future()
        waiting = component_id, state, found
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(timeout):
                return await found
        except TimeoutError:
            raise AssertionError(self._explain(component_id, state, timeout)) from None
        finally:
            self._waiting.remove(waiting)

    def _explain(self, component_id: str, state: ComponentState, timeout: float) -> str:
        happened = "\n  ".join(map(str, self.of(component_id))) or "nothing happened to it"
        return f"{component_id} was not {state.value} within {timeout:g} s:\n  {happened}"
