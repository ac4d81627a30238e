"""The composition root: everything the control plane owns, how it comes up and how it goes down.

Order up: registry, heartbeats, the port, then the components. Order down: not ready, components in reverse
dependency order, streams and sockets, the port, the registry.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from typing import Literal

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.flapping import FLAPPING, Flapping
from tekton.core.heartbeat_monitor import SUSPECTED, HeartbeatMonitor
from tekton.core.lifecycle import ComponentRecord
from tekton.core.recovery import Recovery
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.uptime import Uptime
from tekton.failpoints import reach
from tekton.service.backups import Backups
from tekton.service.explain import Explanation, RestartPlan, explain
from tekton.service.views import ComponentView, show, unregistered
from tekton.service.watchdog import Watchdog
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress, Supervisor
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import StorageError, TektonError
from tekton.utils.tekton_ids import nearest_name

_logger = logging.getLogger("tekton.system")

_HISTORY = 12

Operation = Literal["start", "stop", "restart"]


class System:
    """The control plane without its port: registry, monitor, coordinator, recovery, supervisor."""

    def __init__(
        self,
        config: TektonConfig,
        registry: ComponentRegistry,
        guard: GuardClient,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_stop: Callable[[], None],
        on_storage_failure: Callable[[], None],
    ) -> None:
        self.config = config
        self.registry = registry
        self.pid = os.getpid()
        self.started_at = clock.time()
        self.monitor = HeartbeatMonitor(
            registry, clock=clock, interval=config.heartbeat_interval, startup_timeout=config.startup_timeout
        )
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=clock, default_timeout=config.startup_timeout)
        self.watchdog = Watchdog(config.stall_threshold, clock=clock)
        self.flapping = Flapping(registry, clock)
        self.uptime = Uptime(registry)
        self.recovery = Recovery(registry, self.coordinator, clock=clock, rng=random.Random(), flapping=self.flapping)
        self.supervisor = Supervisor(
            config=config,
            registry=registry,
            coordinator=self.coordinator,
            recovery=self.recovery,
            guard=guard,
            clock=clock,
        )
        self.backups = Backups(config.data_dir, clock)
        self._clock = clock
        self._on_stop = on_stop
        self._on_storage_failure = on_storage_failure
        self._stopping = False
        self._operations = BackgroundGroup("operation")
        self._startup = BackgroundTask("start-up")
        registry.add_failure_listener(self._storage_failed)

    async def start(self) -> None:
        """Bring up what must run before the port opens."""
        await self.coordinator.initialize()
        self.watchdog.start()
        self.flapping.start()
        self.uptime.start()
        await self.monitor.start_monitoring(self.config.heartbeat_timeout)

    async def start_components(self, address: ControlPlaneAddress) -> None:
        """Adopt what still runs, then start the configured components in the background.

        *address* is what they are told about us.
        """
        await self.supervisor.prepare(address)
        if self.config.auto_recover:
            await self.recovery.start()
        self._startup.start(self._start_all())

    async def stop_components(self) -> None:
        """Stop every supervised component, dependents first; nothing is restarted any more."""
        self._stopping = True
        self.backups.stop()
        for step in (self.recovery.stop, self._startup.stop, self._operations.stop, self._stop_supervised):
            reach("drain.each_step")
            await step()

    async def _stop_supervised(self) -> None:
        await self.supervisor.stop()
        await self.coordinator.close()

    async def stop(self) -> None:
        """Stop the rest, after the port is closed."""
        reach("drain.each_step")
        self.backups.stop()
        await self.monitor.stop_monitoring()
        self.flapping.stop()
        self.uptime.stop()
        self.watchdog.stop()
        await self.registry.close()

    def request_stop(self) -> None:
        """Begin the ordered shutdown."""
        self._stopping = True
        self._on_stop()

    def unready_reason(self) -> str | None:
        """Why the control plane does not take requests, or None when it does."""
        if self._stopping:
            return "stopping"
        if self.registry.failure is not None:
            return "storage: stopped"
        if self.registry.storage_full:
            return "storage: full"
        return None

    def knows(self, component_id: str) -> bool:
        """True for a component that is registered or configured."""
        return self.runs(component_id) or self.registry.find(component_id) is not None

    def runs(self, component_id: str) -> bool:
        """True for a component whose process is ours."""
        return component_id in self.config.components

    def nearest(self, component_id: str) -> str | None:
        """The known or configured id that looks most like *component_id*."""
        # The registry looks at a few of its ids only: with 100,000 of them this would take seconds.
        registered = self.registry.nearest(component_id)
        return nearest_name(component_id, [*self.config.components, *([registered] if registered else [])])

    def views(self) -> list[ComponentView]:
        """Every component, registered or configured, in order of their ids."""
        return [self.view(component_id) for component_id in self._ids()]

    def view(self, component_id: str) -> ComponentView:
        """One component with what is known about its process."""
        record = self.registry.find(component_id) or self._configured(component_id)
        process = self.supervisor.view(component_id)
        since = self.uptime.since(record)
        uptime = None if since is None else max(0.0, self._clock.time() - since)
        note = record.reason or self._note(record)
        if process is None:
            return show(record, uptime=uptime, note=note)
        return show(
            record,
            uptime=uptime,
            note=note or process.note,
            pid=process.pid,
            port=process.port,
            restarts=process.restarts,
            log=str(process.log),
        )

    async def why(self, component_id: str) -> Explanation:
        """Why a component is in its state."""
        history = await self.registry.get_history(component_id, _HISTORY)
        evidence = self.supervisor.evidence(component_id)
        record = self.registry.find(component_id)
        doubt = None if record is None else self._doubt(record)
        plan = self._restart_plan(component_id)
        return explain(self.coordinator.explain(component_id), plan, evidence, history, doubt)

    def dependency_graph(self) -> dict[str, list[str]]:
        """Component -> what it depends on, from the configuration and from what registered itself."""
        graph = {name: [need.component for need in spec.dependencies] for name, spec in self.config.components.items()}
        return graph | self.registry.graph()

    def operate(self, operation: Operation, component_id: str) -> "asyncio.Task[TektonError | None]":
        """Start, stop or restart a component; the operation goes on when nobody waits for it.

        The task's result is what it failed with.
        """
        return self._operations.spawn(self._operate(operation, component_id), f"{operation} {component_id}")

    async def _operate(self, operation: Operation, component_id: str) -> TektonError | None:
        operations = {
            "start": self.coordinator.start_component,
            "stop": self.coordinator.stop_component,
            "restart": self.coordinator.restart_component,
        }
        try:
            await operations[operation](component_id)
        except TektonError as error:
            _logger.warning("%s of %s failed: %s", operation, component_id, error)
            return error
        return None

    async def _start_all(self) -> None:
        results = await self.coordinator.start_components(self.supervisor.startable())
        for component_id, result in results.items():
            if not result.success:
                _logger.error("%s did not start: %s", component_id, result.error)

    def _restart_plan(self, component_id: str) -> RestartPlan | None:
        status = self.recovery.status(component_id)
        if not status.attempt and status.next_at is None and not status.gave_up:
            return None
        next_in = None if status.next_at is None else max(0.0, status.next_at - self._clock.monotonic())
        return RestartPlan(status.attempt, status.max, next_in, status.gave_up)

    def _note(self, record: ComponentRecord) -> str | None:
        waiting = self.coordinator.waiting_for(record.component_id)
        if waiting:
            return f"waiting for {', '.join(waiting)}"
        return self._doubt(record) or (None if record.usable else self.coordinator.last_error(record.component_id))

    def _doubt(self, record: ComponentRecord) -> str | None:
        """What its state does not say of a component."""
        if self.monitor.suspects(record.component_id, record.instance_uuid):
            return SUSPECTED
        return FLAPPING if record.component_id in self.flapping else None

    def _configured(self, component_id: str) -> ComponentRecord:
        spec = self.config.components[component_id]
        needs = tuple(need.component for need in spec.dependencies)
        return unregistered(component_id, needs, tuple(spec.capabilities))

    def _ids(self) -> list[str]:
        registered = (record.component_id for record in self.registry.components())
        return sorted({*self.config.components, *registered})

    def _storage_failed(self, failure: StorageError) -> None:
        _logger.critical("the store has stopped: %s", failure)
        self._on_storage_failure()
