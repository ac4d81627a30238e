"""All readings of a control plane."""

import asyncio
import platform
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tekton import __version__
from tekton.a2a.work.work_store import FILE_NAME as WORK
from tekton.core.audit.heads import FILE_NAME as HEADS
from tekton.core.history.sqlite_store import FILE_NAME as HISTORY
from tekton.core.metrics.metrics import Reader, Reading
from tekton.service.readings import (
    agent2agent,
    bus,
    registry,
    resources,
    security,
    supervision,
    telemetry,
    work,
)
from tekton.service.readings.measured import Measurement
from tekton.service.readings.tools import component_tools

if TYPE_CHECKING:
    from tekton.service.system import System


def meter_system(system: "System") -> None:
    """Have the metering of *system* read what it has, and measure the rest once in an interval."""
    system.metering.read(*_readers(system))
    system.metering.measure(*_measurements(system))


def _readers(system: "System") -> list[Reader]:
    clock = system.metering.metrics.clock
    return [
        partial(_control_plane, system),
        partial(registry.components, system.registry, system.flapping),
        partial(registry.heartbeats, system.monitor),
        partial(registry.store, system.registry),
        partial(registry.feed, system.registry),
        partial(registry.audit, system.auditing, clock),
        partial(supervision.starts, system.coordinator),
        partial(supervision.restarts, system.recovery),
        partial(supervision.processes, system.supervisor),
        partial(resources.capabilities, system.degradation),
        partial(resources.resources, system.resources),
        partial(security.refused, system.auditing.failed_logins),
        partial(security.credentials, system.security),
        partial(security.api_keys, system.security),
        partial(component_tools, system.tools),
        partial(bus.bus, system.messaging),
        partial(bus.streams, system.messaging),
        partial(work.agents, system.agents.registry),
        partial(agent2agent.remote_agents, system.remote_agents),
        partial(agent2agent.pushes, system.a2a.pushes),
        partial(work.tasks, system.tasks, clock),
        partial(work.conversations, system.conversations),
        partial(work.work, system.work),
        partial(telemetry.logs, system.logs.feed),
        partial(telemetry.traces, system.tracing),
        partial(telemetry.history, system.history.store),
    ]


def _measurements(system: "System") -> list[Measurement]:
    store, data = system.history.store, system.config.data_dir
    parts = {
        "database": data / "tekton.db",
        "log": data / "tekton.db-wal",
        "history": data / HISTORY,
        "messages": data / "bus.db",
        "work": data / WORK,
        "logs": data / "logs",
        "audit": system.config.audit_heads or data / HEADS,
    }
    return [
        partial(bus.each_stream, system.messaging),
        partial(telemetry.oldest, store, system.metering.metrics.clock),
        partial(asyncio.to_thread, telemetry.file_sizes, parts),
    ]


def _control_plane(system: "System") -> Iterator[Reading]:
    yield Reading("tekton_build_info", 1, (__version__, platform.python_version()))
    yield Reading("tekton_incarnation", system.registry.incarnation)
    yield Reading("tekton_ready", system.unready_reason() is None)
    # Another one after each reload.
    yield Reading("tekton_event_loop_lag", system.watchdog.lags.read())
    yield Reading("tekton_event_loop_blocks", system.watchdog.blocks)
