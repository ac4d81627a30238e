"""The composition root: everything the control plane owns, how it comes up and how it goes down.

Order up: registry, bus, heartbeats, the port, then the components. Order down: not ready, components in reverse
dependency order, streams and sockets, the port, the bus, the registry.
"""

import asyncio
import dataclasses
import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Literal

import msgspec

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependency import Dependency
from tekton.core.flapping import Flapping
from tekton.core.forgetting import Forgetting
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import ENDED
from tekton.core.recovery import Recovery
from tekton.core.startup.recorder import StartRecorder
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.uptime import Uptime
from tekton.failpoints import reach
from tekton.service.agent_calls import AgentCalls
from tekton.service.agents import Agents
from tekton.service.auditing import Auditing, concluded
from tekton.service.backups import Backups
from tekton.service.bus_feeds import BusFeeds
from tekton.service.bus_port import bus_port
from tekton.service.changes import Changes
from tekton.service.component_agents import ComponentAgents
from tekton.service.conversations import Conversations
from tekton.service.degradation import Degradation
from tekton.service.edge.a2a.edge import A2aEdge
from tekton.service.history import History, open_telemetry
from tekton.service.last_config import LastConfig
from tekton.service.lineup import LineUp
from tekton.service.log_levels import LogLevels
from tekton.service.logs import SystemLogs
from tekton.service.messaging import Messaging
from tekton.service.metering import Metering
from tekton.service.overview import Overview
from tekton.service.readings.system import measure_system, read_system
from tekton.service.remote_agents import remote_agents
from tekton.service.resources import SystemResources
from tekton.service.samples import component_samples, machine_samples, metric_samples
from tekton.service.security import Security
from tekton.service.signing_keys import SigningKeys
from tekton.service.span_export import span_export
from tekton.service.tasks import Tasks
from tekton.service.tools import ComponentTools
from tekton.service.tracing import Tracing
from tekton.service.watchdog import Watchdog
from tekton.service.work import Work
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress, Supervisor
from tekton.supervisor.usage import Usage
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import StorageError, TektonError
from tekton.utils.tekton_ids import nearest_name
from tekton.utils.tekton_logging import configure_logging

_logger = logging.getLogger("tekton.system")

Operation = Literal["start", "stop", "restart", "roll"]


class System:
    """The control plane without its port: registry, monitor, coordinator, recovery, supervisor."""

    _stopping = False

    def __init__(
        self,
        lineup: LineUp,
        registry: ComponentRegistry,
        guard: GuardClient,
        security: Security,
        auditing: Auditing,
        *,
        messaging: Messaging,
        work: Work,
        signing_keys: SigningKeys,
        load: Callable[[], TektonConfig],
        clock: Clock = SYSTEM_CLOCK,
        on_stop: Callable[[], None],
        on_storage_failure: Callable[[], None],
    ) -> None:
        config = lineup.config
        self.lineup = lineup
        self.registry = registry
        self.security = security
        self.signing_keys = signing_keys
        self.auditing = auditing
        self.messaging = messaging
        self.bus = messaging.bus
        self.work = work
        self.agents = Agents(registry)
        self.component_agents = ComponentAgents(
            registry, self.agents.registry, security, config, work.tasks, clock=clock
        )
        self.remote_agents = remote_agents(self.agents, registry, config, clock)
        self.conversations = Conversations(work, clock)
        self.tasks = Tasks(
            work,
            self.agents,
            self.conversations,
            registry,
            remote=AgentCalls(self.component_agents, self.remote_agents),
            config=config,
            clock=clock,
        )
        self.a2a = A2aEdge(
            self.tasks,
            self.agents,
            self.conversations,
            work,
            security.policy,
            components=registry,
            config=config,
            clock=clock,
        )
        self.bus_port = bus_port(messaging, auditing.refusals, self.tasks.owner_of)
        self.pid = os.getpid()
        self.started_at = clock.time()
        self.monitor = HeartbeatMonitor(
            registry, clock=clock, interval=config.heartbeat_interval, startup_timeout=config.startup_timeout
        )
        telemetry = open_telemetry(config, clock)
        self.tracing = Tracing(
            telemetry,
            ratio=config.trace_ratio,
            redact=lineup.redact,
            exporter=span_export(config),
            clock=clock,
        )
        self.coordinator = EnhancedStartUpCoordinator(
            registry, clock=clock, default_timeout=config.startup_timeout, tracer=self.tracing.tracer
        )
        self.watchdog = Watchdog(config.stall_threshold, clock=clock)
        self.flapping = Flapping(registry, clock)
        self.uptime = Uptime(registry)
        self.forgetting = Forgetting(registry, clock=clock, startable=self.coordinator.has_handler)
        self.recovery = Recovery(registry, self.coordinator, clock=clock, rng=random.Random(), flapping=self.flapping)
        self.tools = ComponentTools(registry, security, config, clock=clock)
        self.degradation = Degradation(
            registry,
            config=lambda: lineup.config,
            specs=lambda: self.supervisor.specs,
            told=lambda settings: self.tools.adopt(settings.breakers),
            clock=clock,
        )
        self.resources = SystemResources(config, guard, clock)
        self.supervisor = Supervisor(
            config=dataclasses.replace(config, components=dict(lineup.specs)),
            registry=registry,
            coordinator=self.coordinator,
            recovery=self.recovery,
            guard=guard,
            clock=clock,
            redact=lineup.redact,
            changed=self.degradation.publish,
            admission=self.resources.admission,
        )
        security.know_components(self.runs, lambda: self.supervisor.line_up, lambda: self.supervisor.specs)
        self.last_config = LastConfig(config.data_dir / "run")
        self.changes = Changes(
            lineup,
            registry,
            self.coordinator,
            self.supervisor,
            load=load,
            apply=self._apply_settings,
            keep=self.last_config.keep,
        )
        self.recorder = StartRecorder(registry, clock=clock, launched=self._launched)
        self.overview = Overview(
            lineup=lineup,
            registry=registry,
            coordinator=self.coordinator,
            recovery=self.recovery,
            monitor=self.monitor,
            flapping=self.flapping,
            uptime=self.uptime,
            forgetting=self.forgetting,
            supervisor=self.supervisor,
            usage=Usage(self.supervisor.all_pids, clock=clock),
            degradation=self.degradation,
            clock=clock,
        )
        self.log_levels = LogLevels(clock)
        self.logs = SystemLogs(self.supervisor, config.data_dir / "logs", clock)
        self.history = History(
            telemetry,
            registry,
            lineup,
            self.supervisor,
            self.uptime,
            sources=[
                partial(machine_samples, self.resources.monitor, clock),
                partial(component_samples, self.supervisor, self.resources.monitor, clock),
                lambda: metric_samples(self.metering.metrics),
            ],
            clock=clock,
        )
        self.metering = Metering(clock, config.collection_interval, enabled=config.enable_metrics)
        self.metering.read(*read_system(self))
        self.metering.measure(*measure_system(self))
        self.bus_feeds = BusFeeds(
            messaging.live,
            registry.feed,
            self.logs.feed,
            self.tracing,
            self.tasks,
            metrics=self.metering.values,
            resources=self.resources.topic.values,
            clock=clock,
        )
        self.backups = Backups(config.data_dir, clock)
        self._clock = clock
        self._on_stop = on_stop
        self._on_storage_failure = on_storage_failure
        self._operations = BackgroundGroup("operation")
        self._startup = BackgroundTask("start-up")
        registry.add_failure_listener(self._storage_failed)

    @property
    def config(self) -> TektonConfig:
        """The configuration that holds now."""
        return self.lineup.config

    async def start(self) -> None:
        """Bring up what must run before the port opens."""
        self.security.start()
        self.signing_keys.start()
        self.auditing.start()
        self.tracing.start()
        await self.messaging.adopt(self.config)
        self.bus_feeds.start()
        await self.coordinator.initialize()
        self.watchdog.start()
        self.flapping.start()
        self.uptime.start()
        self.history.start()
        self.metering.start()
        self.degradation.start()
        self.tools.start()
        self.agents.start()
        self.component_agents.start()
        self.remote_agents.start()
        await self.monitor.start_monitoring(self.config.heartbeat_timeout)

    async def start_components(self, address: ControlPlaneAddress) -> None:
        """Adopt what still runs, then start the configured components in the background.

        *address* is what they are told about us.
        """
        await self.supervisor.prepare(address)
        self.tasks.resume(patience=self.config.startup_timeout)
        self.a2a.start()
        # Not before: what still runs is adopted first, and what loads for the first sample does not delay it.
        self.resources.start()
        # Not before: what is configured by now is not forgotten.
        self.forgetting.start()
        if self.config.auto_recover:
            await self.recovery.start()
        self._startup.start(self._start_all())

    async def stop_components(self) -> None:
        """Stop every supervised component, dependents first; nothing is restarted any more."""
        self._stopping = True
        self.backups.stop()
        # First of all: that agents go down is no failure of what they work on.
        await self.tasks.stop()
        background = (self.recovery.stop, self._startup.stop, self.changes.stop, self._operations.stop)
        await _each(*background, self._stop_supervised)

    async def _stop_supervised(self) -> None:
        await self.supervisor.stop()
        await self.coordinator.close()
        self.lineup.adhoc.discard()
        await asyncio.to_thread(self.security.components.discard)
        self.last_config.discard()

    async def stop(self) -> None:
        """Stop the rest, after the port is closed."""
        await _each(
            self.tasks.stop,
            self.a2a.stop,
            self.component_agents.stop,
            self.remote_agents.stop,
            self.agents.stop,
            self.bus_feeds.stop,
            self.messaging.stop,
            self.work.stop,
            self.signing_keys.stop,
            self.security.stop,
            self.backups.stop,
            self.forgetting.stop,
            self.monitor.stop_monitoring,
            self.flapping.stop,
            self.uptime.stop,
            self.metering.stop,
            self.tracing.stop,
            self.history.stop,
            self.tools.stop,
            self.degradation.stop,
            self.watchdog.stop,
            self.resources.stop,
            self.logs.feed.stop,
            self.log_levels.stop,
            self.auditing.stop,
            self.registry.close,
        )

    def request_stop(self) -> None:
        """Begin the ordered shutdown."""
        self._stopping = True
        self._on_stop()

    async def _apply_settings(self, config: TektonConfig) -> None:
        """Let the settings of *config* hold that can change while the system runs."""
        self.security.adopt(config)
        self.signing_keys.life = config.key_life
        self.degradation.adopt(config.fallbacks)
        await self.messaging.adopt(config)
        self.tasks.adopt(config)
        configure_logging(config.log_level, json=config.log_format == "json", everything=True)
        self.log_levels.configured()
        await self.monitor.adjust(
            interval=config.heartbeat_interval,
            timeout=config.heartbeat_timeout,
            startup_timeout=config.startup_timeout,
        )
        self.watchdog.stop()
        self.watchdog = Watchdog(config.stall_threshold, clock=self._clock)
        self.watchdog.start()
        await self.resources.adopt(config)
        await (self.recovery.start() if config.auto_recover else self.recovery.stop())

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
        return component_id in self.supervisor.specs

    def nearest(self, component_id: str) -> str | None:
        """The known or configured id that looks most like *component_id*."""
        # The registry looks at a few of its ids only: with 100,000 of them this would take seconds.
        registered = self.registry.nearest(component_id)
        return nearest_name(component_id, [*self.supervisor.specs, *([registered] if registered else [])])

    async def operate(
        self, operation: Operation, component_id: str, *, force: bool = False
    ) -> "asyncio.Task[TektonError | None]":
        """Start, stop or restart a component; the operation goes on when nobody waits for it.

        *force*: a start passes over dependencies that cannot be used. The task's result is what it failed with. Raises
        the storage errors when the operation cannot be entered in the audit log; then nothing is done.
        """
        effect = await self.registry.audit.intend(f"component.{operation}", component_id, "forced" if force else "")
        attempt = concluded(effect, self._operate(operation, component_id, force))
        return self._operations.spawn(attempt, f"{operation} {component_id}")

    async def _operate(self, operation: Operation, component_id: str, force: bool) -> TektonError | None:
        replicas = self.supervisor.replicas
        operations: dict[Operation, Callable[[str], Awaitable[None]]] = {
            "start": partial(replicas.start, force=force),
            "stop": replicas.stop,
            "restart": partial(replicas.restart, force=force),
            "roll": partial(replicas.roll, force=force),
        }
        return await self._verdict(operations[operation](component_id), f"{operation} of {component_id}")

    def hold(self, component_id: str, *, held: bool) -> None:
        """Whether what fails of the component stays down until somebody starts it."""
        for unit in self.coordinator.units.of(component_id):
            self.recovery.hold(unit, held=held)

    async def scale(self, component_id: str, replicas: int) -> "asyncio.Task[TektonError | None]":
        """Have another number of replicas, as `operate`. It holds until the specification is changed."""
        effect = await self.registry.audit.intend("component.scale", component_id, str(replicas))
        spec = msgspec.structs.replace(self.supervisor.specs[component_id], replicas=replicas)
        self.lineup.scaled[component_id] = replicas
        name = f"scale of {component_id}"
        return self._operations.spawn(concluded(effect, self._verdict(self.supervisor.replace(spec), name)), name)

    async def _verdict(self, attempt: Awaitable[None], what: str) -> TektonError | None:
        try:
            await attempt
        except TektonError as error:
            _logger.warning("%s failed: %s", what, error)
            return error
        return None

    async def _start_all(self) -> None:
        startable = {name: one for name, one in self.supervisor.startable().items() if self._is_to_start(name)}
        self.recorder.begin(self._needs(startable))
        try:
            with self.tracing.tracer.begin_here("start the system", components=len(startable)):
                results = await self.coordinator.start_components(startable)
        finally:
            self.recorder.finish()
        for component_id, result in results.items():
            if not result.success:
                _logger.error("%s did not start: %s", component_id, result.error)

    def _is_to_start(self, component_id: str) -> bool:
        """What starts by itself, and what was running when the control plane before us went away."""
        record = self.registry.find(component_id)
        return self.lineup.starts(component_id) or (record is not None and record.state not in ENDED)

    def _needs(self, names: Iterable[str]) -> dict[str, list[Dependency]]:
        specs = self.supervisor.specs
        return {
            name: [Dependency(need.component, need.condition) for need in specs[name].dependencies] for name in names
        }

    def _launched(self, component_id: str) -> float | None:
        process = self.supervisor.view(component_id)
        return None if process is None or process.uptime is None else self._clock.time() - process.uptime

    def _storage_failed(self, failure: StorageError) -> None:
        _logger.critical("the store has stopped: %s", failure)
        self._on_storage_failure()


async def _each(*steps: Callable[[], Awaitable[None] | None]) -> None:
    """Take all *steps* in their order, also after one that fails. Raises what the first one failed with."""
    failures: list[Exception] = []
    for step in steps:
        reach("drain.each_step")
        try:
            if (under_way := step()) is not None:
                await under_way
        except Exception as error:
            _logger.exception("a step of the stop failed")
            failures.append(error)
    if failures:
        raise failures[0]
