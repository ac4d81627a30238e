"""What a component is told about tracing by its environment.

It goes on with the trace of the start that has launched it (TRACEPARENT), and a program with an OpenTelemetry SDK sends
its spans to us without being configured. What it says in its own environment always wins; and where anybody, also the
environment of Tekton itself, has said where spans go, we say nothing about that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tekton.utils.trace_context import CURRENT

_DECIDED = (
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED",
)  # fmt: skip
"""Who sets one of these has decided where spans go."""


@dataclass(frozen=True, slots=True)
class TelemetryEnvironment:
    """Where spans go (*url*, the control plane's), the share of traces that is recorded, and what is set already."""

    url: str
    ratio: float = 1.0
    inherited: Mapping[str, str] = field(default_factory=dict)

    def variables(self, component_id: str, instance_uuid: str, own: Mapping[str, str]) -> dict[str, str]:
        """Those for a process that sets *own* itself."""
        told = {**self._identity(component_id, instance_uuid), **self._export(own)}
        return {name: value for name, value in told.items() if name not in own}

    def _identity(self, component_id: str, instance_uuid: str) -> dict[str, str]:
        own = f"service.instance.id={instance_uuid},tekton.component={component_id}"
        # What holds for the whole system, as `deployment.environment=test`, holds for the component as well.
        shared = self.inherited.get("OTEL_RESOURCE_ATTRIBUTES", "").strip(" ,")
        return {
            "OTEL_SERVICE_NAME": component_id,
            "OTEL_RESOURCE_ATTRIBUTES": f"{shared},{own}" if shared else own,
        }

    def _export(self, own: Mapping[str, str]) -> dict[str, str]:
        if self.ratio <= 0 or any(name in own or name in self.inherited for name in _DECIDED):
            return {}
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{self.ratio:g}",
            # We take nothing else, and an exporter that is refused complains every few seconds.
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
        return {name: value for name, value in told.items() if name not in self.inherited}


def trace_variables() -> dict[str, str]:
    """Those that say in which trace the code is that calls, for a process that it starts."""
    context = CURRENT.get()
    return {} if context is None else {name.upper(): value for name, value in context.headers().items()}
