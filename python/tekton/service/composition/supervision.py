"""What keeps the components running: who notices what has become of them, and who starts them again."""

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.flapping import Flapping
from tekton.core.forgetting import Forgetting
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.recovery import Recovery
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.uptime import Uptime
from tekton.service.composition.instruments import Instruments
from tekton.service.degradation import CallSettings, Degradation
from tekton.service.lineup import LineUp
from tekton.service.security import Security
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Supervision:
    """See the module."""

    monitor: HeartbeatMonitor
    coordinator: EnhancedStartUpCoordinator
    flapping: Flapping
    uptime: Uptime
    forgetting: Forgetting
    recovery: Recovery
    degradation: Degradation
    supervisor: Supervisor


def supervision(
    lineup: LineUp,
    registry: ComponentRegistry,
    guard: GuardClient,
    found: Instruments,
    *,
    security: Security,
    told: Callable[[CallSettings], object],
    clock: Clock,
) -> Supervision:
    """What keeps the components of *lineup* running; *security* knows them from now on.

    *told* gets the settings for calls, each time that they change.
    """
    config, timeout = lineup.config, lineup.config.startup_timeout
    monitor = HeartbeatMonitor(registry, clock=clock, interval=config.heartbeat_interval, startup_timeout=timeout)
    coordinator = EnhancedStartUpCoordinator(
        registry, clock=clock, default_timeout=timeout, tracer=found.tracing.tracer
    )
    flapping = Flapping(registry, clock)
    recovery = Recovery(registry, coordinator, clock=clock, rng=random.Random(), flapping=flapping)
    degradation = Degradation(
        registry, config=lambda: lineup.config, specs=lambda: supervisor.specs, told=told, clock=clock
    )
    supervisor = Supervisor(
        config=dataclasses.replace(config, components=dict(lineup.specs)),
        registry=registry,
        coordinator=coordinator,
        recovery=recovery,
        guard=guard,
        clock=clock,
        redact=lineup.redact,
        changed=degradation.publish,
        admission=found.resources.admission,
    )
    security.know_components(
        lambda name: name in supervisor.specs, lambda: supervisor.line_up, lambda: supervisor.specs
    )
    return Supervision(
        monitor=monitor,
        coordinator=coordinator,
        flapping=flapping,
        uptime=Uptime(registry),
        forgetting=Forgetting(registry, clock=clock, startable=coordinator.has_handler),
        recovery=recovery,
        degradation=degradation,
        supervisor=supervisor,
    )
