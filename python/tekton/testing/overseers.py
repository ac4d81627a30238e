"""Registry, monitor and coordinator of a simulation, with somebody who looks over their shoulders."""

from typing import Any

from tekton.core.component_lifecycle import ComponentRegistry, Registered
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.leases.storm_guard import Key
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.testing.invariants import DurabilityInvariants, LeaseInvariants, RestartInvariants
from tekton.utils.tekton_errors import RegistryError, StorageBusyError, StorageFullError

_REFUSALS = (RegistryError, ValueError, StorageFullError, StorageBusyError)


class WatchedCoordinator(EnhancedStartUpCoordinator):
    """Notes the restarts; only Recovery calls `restart_component` in a simulation."""

    def __init__(self, restarts: RestartInvariants, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._restarts = restarts

    async def restart_component(self, component_id: str, **options: Any) -> StartResult:
        self._restarts.begins(component_id)
        try:
            return await super().restart_component(component_id, **options)
        finally:
            self._restarts.ended(component_id)


class WatchedMonitor(HeartbeatMonitor):
    """Notes at each tick whom the storm guard suspects."""

    def __init__(self, leases: LeaseInvariants, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._invariants = leases

    def tick(self, now: float) -> list[Key]:
        failed = super().tick(now)
        self._invariants.suspected(self._guard.suspects)
        return failed


class WatchedRegistry(ComponentRegistry):
    """Notes which commands were acknowledged."""

    def __init__(self, durability: DurabilityInvariants, **settings: Any) -> None:
        super().__init__(**settings)
        self._durability = durability

    async def register(self, registration: ComponentRegistration, **options: Any) -> Registered:
        with _Unsure(self._durability, registration.component_id):
            registered = await super().register(registration, **options)
        self._done(registered.record)
        return registered

    async def set_state(
        self, component_id: str, instance_uuid: str, state: ComponentState, reason: str | None = None
    ) -> ComponentRecord:
        with _Unsure(self._durability, component_id):
            record = await super().set_state(component_id, instance_uuid, state, reason)
        self._done(record)
        return record

    async def make_ready(self, component_id: str, instance_uuid: str) -> ComponentRecord:
        with _Unsure(self._durability, component_id):
            record = await super().make_ready(component_id, instance_uuid)
        self._done(record)
        return record

    async def deregister(self, component_id: str, instance_uuid: str) -> ComponentRecord:
        with _Unsure(self._durability, component_id):
            record = await super().deregister(component_id, instance_uuid)
        self._durability.done((component_id, instance_uuid), None)
        return record

    def _done(self, record: ComponentRecord) -> None:
        key = (record.component_id, record.instance_uuid)
        # It may have been replaced between the commit and now.
        if self.instance(*key) is not None:
            self._durability.done(key, record.revision)


class _Unsure:
    """Around a command: what ends neither well nor with a refusal has an open outcome."""

    def __init__(self, durability: DurabilityInvariants, component_id: str) -> None:
        self._durability = durability
        self._component_id = component_id

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, _REFUSALS):
            self._durability.unsure(self._component_id)
