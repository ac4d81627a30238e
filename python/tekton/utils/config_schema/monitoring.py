"""`monitoring` of the main file."""

from typing import Annotated

from msgspec import Meta

from tekton.utils.config_rules import check_history_size, check_http_url
from tekton.utils.config_schema.base import Percent, Port, Seconds, Section


class ThresholdSettings(Section, frozen=True, kw_only=True):
    """`monitoring.thresholds` of the main file: usage, in percent, above which the log says so. 100: never."""

    cpu_percent: Annotated[Percent, Meta(description="CPU usage over a minute above which the log says so.")] = 90.0
    memory_percent: Annotated[Percent, Meta(description="Memory usage above which the log says so.")] = 90.0
    disk_percent: Annotated[
        Percent, Meta(description="How full the disk of the data directory, or of `/`, may be before the log says so.")
    ] = 95.0
    gpu_memory_percent: Annotated[Percent, Meta(description="Usage of a GPU's memory above which the log says so.")] = (
        100.0
    )


class MonitoringSettings(Section, frozen=True, kw_only=True):
    """`monitoring` of the main file."""

    enable_metrics: Annotated[bool, Meta(description="Whether there are metrics.")] = True
    metrics_port: Annotated[
        Port | None, Meta(description="A second port that serves `/metrics` only. None: it is on the main port alone.")
    ] = None
    collection_interval: Annotated[
        Annotated[float, Meta(ge=0.1, le=3600)],
        Meta(description="Seconds between samples of what the machine uses, and of the metrics."),
    ] = 10.0
    thresholds: ThresholdSettings = ThresholdSettings()
    trace_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1)], Meta(description="Share of the traces that is recorded. 0: none.")
    ] = 1.0
    otlp_endpoint: Annotated[
        Annotated[str, Meta(extra={"check": check_http_url})] | None,
        Meta(description="Base URL to which all spans are sent on, over OTLP/HTTP. Needs the extra `otel`."),
    ] = None
    stall_threshold: Annotated[
        Seconds, Meta(description="Seconds that the event loop may be blocked before the log says where.")
    ] = 0.25
    history_age: Annotated[
        Seconds, Meta(description="Seconds for which telemetry (states, samples, spans) is kept in telemetry.db.")
    ] = 604_800.0
    history_size: Annotated[
        int | str,
        Meta(
            description="Size of telemetry.db, in bytes or as in `256M`; 1M or more. 0: telemetry is in memory only.",
            extra={"check": check_history_size},
        ),
    ] = "256M"
