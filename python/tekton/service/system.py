"""The composition root: everything the control plane owns, how it comes up and how it goes down.

Order up: registry, bus, heartbeats, the port, then the components. Order down: not ready, components in reverse
dependency order, streams and sockets, the port, the bus, the registry. The parts are put together in `composition/`.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial

from tekton.bus.bus import Bus
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.startup.recorder import StartRecorder
from tekton.failpoints import reach
from tekton.service.auditing import Auditing
from tekton.service.backups import Backups
from tekton.service.bus_port import bus_port
from tekton.service.card_keys import CardKeys
from tekton.service.changes import Changes
from tekton.service.composition.collaboration import collaboration
from tekton.service.composition.instruments import instruments
from tekton.service.composition.observation import observation
from tekton.service.composition.supervision import supervision
from tekton.service.last_config import LastConfig
from tekton.service.lineup import LineUp
from tekton.service.log_levels import LogLevels
from tekton.service.messaging import Messaging
from tekton.service.operations import Operations
from tekton.service.readings.system import meter_system
from tekton.service.security import Security
from tekton.service.signing_keys import SigningKeys
from tekton.service.system_start import SystemStart
from tekton.service.tools import ComponentTools
from tekton.service.watchdog import Watchdog
from tekton.service.work import Work
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import StorageError
from tekton.utils.tekton_ids import nearest_name
from tekton.utils.tekton_logging import configure_logging

_logger = logging.getLogger("tekton.system")


class System:
    """The control plane without its port: registry, monitor, coordinator, recovery, supervisor."""

    _starting = True
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
        card_keys: CardKeys,
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
        self.card_keys = card_keys
        self.auditing = auditing
        self.messaging = messaging
        self.work = work
        self.pid = os.getpid()
        self.started_at = clock.time()
        self._clock = clock
        self._on_stop = on_stop

        found = instruments(lineup, guard, clock)
        self.tracing = found.tracing
        self.metering = found.metering
        self.resources = found.resources
        self.watchdog = Watchdog(config.stall_threshold, clock=clock)
        self.log_levels = LogLevels(clock)

        with_agents = collaboration(
            config, registry, security, work, clock, card_ring=card_keys.ring, tracer=found.tracing.tracer
        )
        self.agents = with_agents.agents
        self.component_agents = with_agents.component_agents
        self.remote_agents = with_agents.remote_agents
        self.conversations = with_agents.conversations
        self.tasks = with_agents.tasks
        self.a2a = with_agents.a2a
        self.bus_port = bus_port(messaging, auditing.refusals, self.tasks.owner_of)
        self.tools = ComponentTools(registry, security, config, clock=clock)

        watched = supervision(
            lineup,
            registry,
            guard,
            found,
            security=security,
            told=lambda now: self.tools.adopt(now.breakers),
            clock=clock,
        )
        self.monitor = watched.monitor
        self.coordinator = watched.coordinator
        self.flapping = watched.flapping
        self.uptime = watched.uptime
        self.forgetting = watched.forgetting
        self.recovery = watched.recovery
        self.degradation = watched.degradation
        self.supervisor = watched.supervisor

        seen = observation(lineup, registry, found, watched, messaging=messaging, tasks=self.tasks, clock=clock)
        self.overview = seen.overview
        self.logs = seen.logs
        self.history = seen.history
        self.bus_feeds = seen.bus_feeds
        meter_system(self)

        self.last_config = LastConfig(config.data_dir / "run")
        self.backups = Backups(config.data_dir, clock)
        self.changes = Changes(
            lineup,
            registry,
            self.coordinator,
            self.supervisor,
            load=load,
            apply=self._apply_settings,
            keep=self.last_config.keep,
        )
        self._startup = SystemStart(
            lineup, registry, self.coordinator, self.supervisor, tracer=self.tracing.tracer, clock=clock
        )
        self.operations = Operations(lineup, registry.audit, self.supervisor)
        registry.add_failure_listener(partial(_storage_failed, on_storage_failure))

    @property
    def config(self) -> TektonConfig:
        """The configuration that holds now."""
        return self.lineup.config

    @property
    def bus(self) -> Bus:
        """What messages are published to."""
        return self.messaging.bus

    @property
    def recorder(self) -> StartRecorder:
        """The record of the last start of the system."""
        return self._startup.recorder

    async def start(self) -> None:
        """Bring up what must run before the port opens."""
        self.security.start()
        self.signing_keys.start()
        self.card_keys.start()
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
        self._starting = False
        self._startup.begin()

    async def stop_components(self) -> None:
        """Stop every supervised component, dependents first; nothing is restarted any more."""
        self._stopping = True
        self.backups.stop()
        # First of all: that agents go down is no failure of what they work on.
        await self.tasks.stop()
        background = (self.recovery.stop, self._startup.stop, self.changes.stop, self.operations.stop)
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
            self.card_keys.stop,
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
        self.component_agents.lease = config.agent_lease
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
        if self._starting:
            return "starting"
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

    def hold(self, component_id: str, *, held: bool) -> None:
        """Whether what fails of the component stays down until somebody starts it."""
        for unit in self.coordinator.units.of(component_id):
            self.recovery.hold(unit, held=held)


def _storage_failed(then: Callable[[], None], failure: StorageError) -> None:
    _logger.critical("the store has stopped: %s", failure)
    then()


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
