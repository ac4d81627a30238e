"""What tracing costs: a span, a request, and reading what others send; beside OpenTelemetry's SDK.

    python benches/tracing.py

A span of the SDK goes to a processor that drops it, one of ours to a function that does. A request is what the gateway
asks of tracing at its beginning and its end. What is read is a request with 512 spans, ten attributes each, as an
exporter sends it: protobuf's own parser (in C) makes messages of it, which a receiver has still to look at.
"""

import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from _measure import Gate, compare, parser, report, verdict
from tekton.auth.principal import ANONYMOUS
from tekton.clock import SYSTEM_CLOCK
from tekton.core.tracing import Tracer, span
from tekton.core.tracing.sampling import Sampler
from tekton.gateway.observers import Ended
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.tracing import RequestSpans
from tekton.utils.otlp import decode
from tekton.utils.trace_context import new_trace

SECONDS = 1.0
ENDLESS = (1e12, 1e12)
NONE = (0.0, 0.0)


def dropped(_: object) -> None:
    """Where spans go."""


def tracer(new_traces: tuple[float, float] = ENDLESS) -> Tracer:
    sampler = Sampler(1.0, SYSTEM_CLOCK.monotonic, new_traces=new_traces, joined=ENDLESS)
    return Tracer("bench", dropped, sampler=sampler)


def measure_spans() -> None:
    provider, silent = TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SpanProcessor())
    theirs, off = provider.get_tracer("bench"), silent.get_tracer("bench")
    ours = tracer()

    def nothing() -> None:
        with span("work"):
            pass

    def recorded() -> None:
        with span("work"):
            pass

    def sdk() -> None:
        with theirs.start_as_current_span("work"):
            pass

    def sdk_off() -> None:
        with off.start_as_current_span("work"):
            pass

    report(
        "a span that is not recorded",
        compare({"tekton span": nothing, "OpenTelemetry, not sampled": sdk_off}, "tekton span", seconds=SECONDS),
        (Gate("OpenTelemetry, not sampled", 2.0),),
    )

    def inside() -> None:
        with ours.begin("outer"), theirs.start_as_current_span("outer"):
            report(
                "a span in a trace",
                compare({"tekton span": recorded, "OpenTelemetry": sdk}, "tekton span", seconds=SECONDS),
                (Gate("OpenTelemetry", 2.0),),
            )

    copy_context().run(inside)


class _Headers(dict[str, str]):
    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class _Request:
    """What tracing looks at of a request."""

    method = "POST"
    principal = ANONYMOUS
    query = None
    span = None

    def __init__(self, **headers: str) -> None:
        self.headers = _Headers(headers)


async def _never(_: Request) -> None:
    """The handler of the route."""


def request(observer: RequestSpans, **headers: str) -> Callable[[], None]:
    asked = cast(Request, _Request(**headers))
    route = Route("POST", "/api/things/{name}", _never, summary="-", permission="metrics:read")
    ended = Ended("POST", "/api/things/x", asked, route, 200, 0.001, False)

    def once() -> None:
        observer.began(asked, route)
        observer.ended(ended)

    def run() -> None:
        copy_context().run(once)

    return run


def measure_requests() -> None:
    parent = new_trace()
    contenders = {
        "no tracing": request(cast(RequestSpans, _Blind())),
        "left out: there are too many": request(RequestSpans(tracer(NONE))),
        "not sampled by its caller": request(
            RequestSpans(tracer()), traceparent=parent._replace(sampled=False).traceparent()
        ),
        "a new trace": request(RequestSpans(tracer())),
        "a trace of its caller": request(RequestSpans(tracer()), traceparent=parent.traceparent()),
    }
    report("what a request pays (a context for it included)", compare(contenders, "no tracing", seconds=SECONDS))


class _Blind:
    def began(self, request: Request, route: Route) -> None:
        """Nothing."""

    def ended(self, ended: Ended) -> None:
        """Nothing."""


def batch() -> bytes:
    pairs = [KeyValue(key=f"http.attribute.{n}", value=AnyValue(string_value=f"value {n}")) for n in range(8)]
    pairs += [KeyValue(key="n", value=AnyValue(int_value=7)), KeyValue(key="yes", value=AnyValue(bool_value=True))]
    spans = [
        Span(
            trace_id=n.to_bytes(16, "big"),
            span_id=n.to_bytes(8, "big"),
            name="GET /api/things/{name}",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=1_700_000_000_000_000_000,
            end_time_unix_nano=1_700_000_000_100_000_000,
            attributes=pairs,
        )
        for n in range(1, 513)
    ]
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="rhetor"))])
    resource_spans = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])
    return ExportTraceServiceRequest(resource_spans=[resource_spans]).SerializeToString()


def _value(value: AnyValue) -> object:
    return getattr(value, value.WhichOneof("value") or "string_value")


def _looked_at(body: bytes) -> Any:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        (one.trace_id.hex(), one.name, {pair.key: _value(pair.value) for pair in one.attributes})
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    ]


def measure_reading() -> None:
    body = batch()
    contenders = {
        "tekton decode": lambda: decode(body, "protobuf"),
        "protobuf, looked at": lambda: _looked_at(body),
        "protobuf, parsed only": lambda: ExportTraceServiceRequest.FromString(body),
    }
    report(f"reading 512 spans ({len(body) // 1024} KiB)", compare(contenders, "tekton decode", seconds=SECONDS))


def main() -> int:
    parser(__doc__).parse_args()
    measure_spans()
    measure_requests()
    measure_reading()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
