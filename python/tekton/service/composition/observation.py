"""What is shown of it all: the components as they are and as they were, their logs, and what the bus hears of them."""

from dataclasses import dataclass
from functools import partial

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.bus_feeds import BusFeeds
from tekton.service.composition.instruments import Instruments
from tekton.service.composition.supervision import Supervision
from tekton.service.history import History
from tekton.service.lineup import LineUp
from tekton.service.logs import SystemLogs
from tekton.service.messaging import Messaging
from tekton.service.overview import Overview
from tekton.service.samples import component_samples, machine_samples, metric_samples
from tekton.service.tasks import Tasks
from tekton.supervisor.usage import Usage


@dataclass(frozen=True, slots=True)
class Observation:
    """See the module."""

    overview: Overview
    logs: SystemLogs
    history: History
    bus_feeds: BusFeeds


def observation(
    lineup: LineUp,
    registry: ComponentRegistry,
    found: Instruments,
    watched: Supervision,
    *,
    messaging: Messaging,
    tasks: Tasks,
    clock: Clock,
) -> Observation:
    """What is shown of *watched* and of *tasks*, with what *found* has measured."""
    logs = SystemLogs(watched.supervisor, lineup.config.data_dir / "logs", clock)
    feeds = BusFeeds(
        messaging.live,
        registry.feed,
        logs.feed,
        found.tracing,
        tasks,
        metrics=found.metering.values,
        resources=found.resources.topic.values,
        clock=clock,
    )
    return Observation(
        overview=_overview(lineup, registry, watched, clock),
        logs=logs,
        history=_history(lineup, registry, found, watched, clock),
        bus_feeds=feeds,
    )


def _overview(lineup: LineUp, registry: ComponentRegistry, watched: Supervision, clock: Clock) -> Overview:
    return Overview(
        lineup=lineup,
        registry=registry,
        coordinator=watched.coordinator,
        recovery=watched.recovery,
        monitor=watched.monitor,
        flapping=watched.flapping,
        uptime=watched.uptime,
        forgetting=watched.forgetting,
        supervisor=watched.supervisor,
        usage=Usage(watched.supervisor.all_pids, clock=clock),
        degradation=watched.degradation,
        clock=clock,
    )


def _history(
    lineup: LineUp, registry: ComponentRegistry, found: Instruments, watched: Supervision, clock: Clock
) -> History:
    machine = found.resources.monitor
    sources = [
        partial(machine_samples, machine, clock),
        partial(component_samples, watched.supervisor, machine, clock),
        partial(metric_samples, found.metering.metrics),
    ]
    supervisor, uptime = watched.supervisor, watched.uptime
    return History(found.telemetry, registry, lineup, supervisor, uptime, sources=sources, clock=clock)
