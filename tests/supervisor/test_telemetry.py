import pytest

from tekton.supervisor.telemetry import TelemetryEnvironment, trace_variables
from tekton.utils.trace_context import CURRENT, TraceContext

URL = "http://127.0.0.1:8010"
EXPORT = {
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER",
}  # fmt: skip


def test_a_component_is_told_who_it_is_and_where_spans_go() -> None:
    assert TelemetryEnvironment(URL, 0.5).variables("rhetor", "6f96", {}) == {
        "OTEL_SERVICE_NAME": "rhetor",
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=6f96,tekton.component=rhetor",
        "OTEL_EXPORTER_OTLP_ENDPOINT": URL,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }


def test_what_it_says_itself_wins() -> None:
    own = {"OTEL_SERVICE_NAME": "mine", "OTEL_METRICS_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "always_on"}

    told = TelemetryEnvironment(URL).variables("rhetor", "6f96", own)

    assert told.keys() == EXPORT - own.keys() | {"OTEL_RESOURCE_ATTRIBUTES"}


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
    ],
)
def test_where_anybody_has_said_where_spans_go_nothing_is_said_about_that(name: str) -> None:
    in_its_own = TelemetryEnvironment(URL).variables("rhetor", "6f96", {name: "x"})
    in_ours = TelemetryEnvironment(URL, inherited={name: "x"}).variables("rhetor", "6f96", {})

    assert in_its_own.keys() == in_ours.keys() == {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"}


def test_the_name_that_tekton_itself_has_is_not_passed_on() -> None:
    told = TelemetryEnvironment(URL, inherited={"OTEL_SERVICE_NAME": "x", "OTEL_LOGS_EXPORTER": "x"}).variables(
        "a", "1", {}
    )

    assert told["OTEL_SERVICE_NAME"] == "a"
    assert "OTEL_LOGS_EXPORTER" not in told


def test_what_holds_for_the_whole_system_holds_for_a_component_as_well() -> None:
    inherited = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,"}

    told = TelemetryEnvironment(URL, inherited=inherited).variables("rhetor", "6f96", {})

    assert told["OTEL_RESOURCE_ATTRIBUTES"] == (
        "deployment.environment=test,service.instance.id=6f96,tekton.component=rhetor"
    )


def test_where_nothing_is_traced_spans_go_nowhere() -> None:
    assert EXPORT.isdisjoint(TelemetryEnvironment(URL, 0.0).variables("a", "1", {}))


def test_the_trace_is_that_of_the_code_that_starts_a_process() -> None:
    assert trace_variables() == {}

    before = CURRENT.set(TraceContext("a" * 32, "b" * 16, True, "x=1"))
    try:
        assert trace_variables() == {"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01", "TRACESTATE": "x=1"}
    finally:
        CURRENT.reset(before)
