"""The instruments: what measures and records, whatever there is to be seen. They need nothing of the components."""

from dataclasses import dataclass

from tekton.clock import Clock
from tekton.core.history.store import TelemetryStore
from tekton.service.history import open_telemetry
from tekton.service.lineup import LineUp
from tekton.service.metering import Metering
from tekton.service.resources import SystemResources
from tekton.service.span_export import span_export
from tekton.service.tracing import Tracing
from tekton.supervisor.guard_client import GuardClient


@dataclass(frozen=True, slots=True)
class Instruments:
    """See the module. `telemetry` is where the history and the spans are kept."""

    telemetry: TelemetryStore
    tracing: Tracing
    metering: Metering
    resources: SystemResources


def instruments(lineup: LineUp, guard: GuardClient, clock: Clock) -> Instruments:
    """Those that the configuration asks for. Raises ConfigurationError for an export that is not to be had."""
    config = lineup.config
    telemetry = open_telemetry(config, clock)
    exporter = span_export(config)
    return Instruments(
        telemetry=telemetry,
        tracing=Tracing(telemetry, ratio=config.trace_ratio, redact=lineup.redact, exporter=exporter, clock=clock),
        metering=Metering(clock, config.collection_interval, enabled=config.enable_metrics),
        resources=SystemResources(config, guard, clock),
    )
