"""Who is supervised, and how that changes while the system runs.

Changes of one component are made one after the other, in the order in which they were asked for; a caller that is
cancelled does not end one. Whatever the component is doing at that moment (starting, stopping, waiting for a restart,
crashing), the last change holds in the end: one that was removed leaves no process, no restart that is due, and nothing
that could start it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from tekton import _native
from tekton.background import BackgroundGroup
from tekton.core.dependency import Dependency, DependencyResolver
from tekton.core.dependents import Dependents
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup.start_plan import RESTARTING
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.units import unit_name
from tekton.supervisor.control_plane_address import ControlPlaneAddress
from tekton.supervisor.fingerprint import fingerprint
from tekton.supervisor.replicas import Replicas
from tekton.supervisor.supervised import SupervisedComponent
from tekton.supervisor.surroundings import Surroundings
from tekton.utils.tekton_config import ComponentSpec
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError, RegistryError, StorageError, TektonError

_T = TypeVar("_T")

_STOP_MARGIN: Final = 10.0

_logger = logging.getLogger("tekton.supervisor")


class Members:
    """The supervised components, one `SupervisedComponent` for each replica; see the module.

    *changed* is called when `specs` has changed.
    """

    def __init__(
        self,
        specs: Iterable[ComponentSpec],
        around: Surroundings,
        coordinator: EnhancedStartUpCoordinator,
        recovery: Recovery,
        replicas: Replicas,
        *,
        changed: Callable[[], None],
    ) -> None:
        self._changed = changed
        self._around = around
        self._registry = around.registry
        self._coordinator = coordinator
        self._recovery = recovery
        self._replicas = replicas
        self._dependents = Dependents(around.registry, recovery)
        self._specs: dict[str, ComponentSpec] = {}
        self._units: dict[str, SupervisedComponent] = {}
        self._awaited: frozenset[str] = frozenset()
        self._address: ControlPlaneAddress | None = None
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._changes = BackgroundGroup("supervisor-changes")
        self._leftovers = BackgroundGroup("supervisor-leftovers")
        for spec in specs:
            self._enter(spec)
        self._note_one_shots()

    @property
    def units(self) -> list[str]:
        """The units of all of them."""
        return list(self._units)

    @property
    def specs(self) -> Mapping[str, ComponentSpec]:
        """What is supervised, by id; follows every change."""
        return MappingProxyType(self._specs)

    def get(self, unit: str) -> SupervisedComponent | None:
        """The replica that is that unit."""
        return self._units.get(unit)

    def of(self, component_id: str) -> list[SupervisedComponent]:
        """The replicas of a component."""
        spec = self._specs.get(component_id)
        return [] if spec is None else [self._units[unit] for unit in _unit_names(spec) if unit in self._units]

    def wanted(self, component_id: str) -> int:
        """How many replicas are up, on their way or were to be: all but those that are stopped, or never started."""
        return sum(self._is_wanted(member.unit) for member in self.of(component_id))

    async def introduce_all(self, address: ControlPlaneAddress) -> None:
        """Make all known to the coordinator; *address* is what they are told about us."""
        self._address = address
        for component in self._units.values():
            await self._introduce(component)
        self._dependents.start()
        self._changed()

    async def stop(self) -> None:
        """Give up the changes that are being made."""
        self._dependents.stop()
        await self._changes.stop()

    async def end(self) -> None:
        """Wait for nothing that was left over any more."""
        await self._leftovers.stop()

    # Changes

    async def add(self, spec: ComponentSpec) -> None:
        """See `Supervisor.add`."""
        await self._change(spec.name, lambda: self._add(spec))

    async def remove(self, component_id: str) -> None:
        """See `Supervisor.remove`."""
        await self._change(component_id, lambda: self._remove(component_id))

    async def replace(self, spec: ComponentSpec) -> None:
        """See `Supervisor.replace`."""
        renewed = await self._change(spec.name, lambda: self._replace(spec))
        # Not part of the change: the next one need not wait until a component is ready that never will be.
        await self._bring_up(spec.name, *renewed)

    async def _change(self, component_id: str, change: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        task = self._changes.spawn(self._in_turn(component_id, change), component_id)
        await asyncio.wait({task})
        if task.cancelled():
            raise ComponentError(component_id, "nothing is changed any more: the system is stopping")
        return task.result()

    async def _in_turn(self, component_id: str, change: Callable[[], Awaitable[_T]]) -> _T:
        async with self._turns.setdefault(component_id, asyncio.Lock()):
            try:
                return await change()
            finally:
                self._changed()

    async def _add(self, spec: ComponentSpec) -> None:
        if spec.name in self._specs:
            raise ComponentError(spec.name, "it is supervised already")
        self._enter(spec)
        self._note_one_shots()
        for component in self.of(spec.name):
            await self._introduce(component)

    async def _remove(self, component_id: str) -> None:
        spec = self._specs.pop(component_id, None)
        if spec is None:
            raise ComponentNotFoundError(component_id)
        self._note_one_shots()
        self._replicas.forget(component_id)
        self._dependents.forget(component_id)
        await self._drop(_unit_names(spec))

    async def _replace(self, spec: ComponentSpec) -> tuple[list[str], list[str]]:
        """Make *spec* hold; the units to restart for it, and those to start."""
        old = self._specs.get(spec.name)
        if old is None:
            raise ComponentNotFoundError(spec.name)
        before, after = _unit_names(old), _unit_names(spec)
        wanted = [unit for unit in before if self._is_wanted(unit)]
        self._specs[spec.name] = spec
        self._note_one_shots()
        for unit in before:
            self._units[unit].reconfigure(spec)
        await self._drop(before[len(after) :])
        for unit in before[: len(after)]:
            await self._introduce(self._units[unit])
            await self._make_room(self._units[unit])
        for replica, unit in enumerate(after[len(before) :], len(before)):
            self._units[unit] = self._made(spec, replica)
            await self._introduce(self._units[unit])
        restarts = [unit for unit in wanted if unit in after] if fingerprint(old) != fingerprint(spec) else []
        return restarts, after[len(before) :] if wanted else []

    async def _bring_up(self, component_id: str, restarts: list[str], starts: list[str]) -> None:
        """Roll *restarts*, and start *starts* besides; raises the first failure when all has been done."""
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(_outcome(self._coordinator.start_component(unit))) for unit in starts]
            if restarts:
                rolled = self._replicas.roll(component_id, restarts, afresh=True)
                attempts.append(group.create_task(_outcome(rolled)))
        for error in filter(None, (attempt.result() for attempt in attempts)):
            raise error

    # Inside

    def _enter(self, spec: ComponentSpec) -> None:
        self._specs[spec.name] = spec
        for replica, unit in enumerate(_unit_names(spec)):
            self._units[unit] = self._made(spec, replica)

    def _made(self, spec: ComponentSpec, replica: int) -> SupervisedComponent:
        component = SupervisedComponent(spec, self._around, replica=replica)
        component.one_shot = spec.name in self._awaited
        return component

    def _note_one_shots(self) -> None:
        self._awaited = _completions(self._specs.values())
        for component in self._units.values():
            component.one_shot = component.spec.name in self._awaited

    async def _introduce(self, component: SupervisedComponent) -> None:
        spec = component.spec
        component.address = self._address
        await self._coordinator.register_component_handler(
            component.unit,
            component.start,
            [Dependency(need.component, need.condition) for need in spec.dependencies],
            stop_func=component.stop,
            timeout=spec.start_timeout,
            stop_timeout=spec.stop_timeout + _STOP_MARGIN,
            registration=component.registration,
            supervised=True,
            admission=component.admission,
            readiness=component.readiness,
            health=component.health,
            drain=spec.drain,
        )
        restart = spec.restart
        policy = RestartPolicy(restart.policy, restart.max, restart.reset_after, restart.backoff)
        self._recovery.set_policy(component.unit, policy)
        lasting = [need.component for need in spec.dependencies if need.condition != "completed"]
        self._dependents.set_policy(spec.name, spec.on_dependency_failure, lasting)

    async def _drop(self, units: Iterable[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for unit in units:
                group.create_task(self._drop_one(unit))

    async def _drop_one(self, unit: str) -> None:
        component = self._units[unit]
        self._recovery.forget(unit)
        stopped = await self._coordinator.remove_component_handler(unit)
        # What the stop has made known of it.
        self._recovery.forget(unit)
        if self._units.get(unit) is component:
            del self._units[unit]
        if not stopped.success:
            _logger.warning("%s was removed, but could not be stopped: %s", unit, stopped.error)
        if component.child is not None:
            self._leftovers.spawn(component.stop(), unit)
        for record in self._coordinator.units.instances(unit):
            if record.supervised:
                await self._deregister(record)
        self._coordinator.units.discard(unit)

    async def _deregister(self, record: ComponentRecord) -> None:
        try:
            await self._registry.deregister(record.component_id, record.instance_uuid)
        except RegistryError:
            return
        except StorageError as error:
            # The next start of the control plane does it.
            _logger.warning("%s stays in the registry: %s", record.component_id, error)

    async def _make_room(self, component: SupervisedComponent) -> None:
        """Let the registry know how many instances there may be now."""
        for record in self._around.instances(component.unit):
            if record.state not in ENDED and record.max_instances != component.spec.replicas:
                try:
                    await self._registry.register(_described(record, component.spec.replicas), supervised=True)
                except (RegistryError, StorageError) as error:
                    _logger.warning("%s admits as many instances as before: %s", component.unit, error)

    def _is_wanted(self, unit: str) -> bool:
        """True for what is up, on its way, or was to be so: everything but what has been stopped, or never started."""
        if self._coordinator.in_flight(unit):
            return True
        if self._recovery.status(unit).next_at is not None:
            return True
        record = self._coordinator.units.find(unit)
        if record is None:
            return self._coordinator.last_error(unit) is not None
        return record.state not in (ComponentState.STOPPED, ComponentState.STOPPING) or record.reason == RESTARTING


def stop_time(specs: Mapping[str, ComponentSpec]) -> float:
    """The seconds within which all of them have stopped, whatever they do: along the longest chain of dependencies."""
    graph = {name: [need.component for need in spec.dependencies] for name, spec in specs.items()}
    own = {name: spec.drain + spec.stop_timeout + _STOP_MARGIN for name, spec in specs.items()}
    cycles = DependencyResolver.resolve_dependencies(graph)[1]
    chain = _native.DependencyGraph({**graph}).critical_path(own)
    # Those in circles stop beside each other, when all others have.
    return sum(own.get(name, 0.0) for name in chain) + max((own[n] for cycle in cycles for n in cycle), default=0.0)


async def _outcome(attempt: Awaitable[object]) -> TektonError | None:
    try:
        await attempt
    except TektonError as error:
        return error
    return None


def _described(record: ComponentRecord, max_instances: int) -> ComponentRegistration:
    """*record* as it would register itself."""
    fields = {name: getattr(record, name) for name in ComponentRegistration.__struct_fields__}
    return ComponentRegistration(**fields | {"max_instances": max_instances})


def _unit_names(spec: ComponentSpec) -> list[str]:
    return [unit_name(spec.name, replica) for replica in range(spec.replicas)]


def _completions(specs: Iterable[ComponentSpec]) -> frozenset[str]:
    """The components whose completion others wait for."""
    needs = (need for spec in specs for need in spec.dependencies)
    return frozenset(need.component for need in needs if need.condition == "completed")
