"""Sending the spans of the system on to an OTLP endpoint, by OpenTelemetry's own exporter (the extra `otel`).

They go as they are: the same ids, times and components. A thread of its own sends them, so that an endpoint that is
slow or away holds up nothing; when too many wait, the newest ones are let go and counted.
"""

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tekton.core.tracing.buffer import SpanBuffer
from tekton.core.tracing.span import Span, SpanEvent, Value
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError, Mistake

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

_BATCH: Final = 512
_LAST: Final = 2.0
"""Seconds for which the end waits for what is still to be sent."""
_OURSELVES: Final = ("127.0.0.1", "localhost", "::1")

_logger = logging.getLogger("tekton.tracing")


class SpanExport:
    """Sends spans to *endpoint*, a base URL such as `http://collector:4318`.

    Raises ConfigurationError when the extra is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        self.sent = 0
        """Spans that the endpoint has taken."""
        self._failed = 0
        self._exporter = _otlp_exporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._buffer = SpanBuffer()
        self._some = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._send, name="tekton-span-export", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Spans that were not sent for want of room."""
        return self._buffer.dropped

    @property
    def lost(self) -> int:
        """Those, and the ones that the endpoint did not take."""
        return self._buffer.dropped + self._failed

    def export(self, spans: Sequence[Span]) -> None:
        """Send *spans*, soon."""
        for span in spans:
            self._buffer.add(span)
        self._some.set()

    def close(self) -> None:
        """Send what waits, but not for longer than two seconds."""
        self._closed = True
        self._some.set()
        self._thread.join(_LAST)
        self._exporter.shutdown()

    def _send(self) -> None:
        while not self._closed or len(self._buffer):
            self._some.wait()
            self._some.clear()
            while spans := self._buffer.take(_BATCH):
                if self._takes(spans):
                    self.sent += len(spans)
                else:
                    self._failed += len(spans)

    def _takes(self, spans: Sequence[Span]) -> bool:
        try:
            # It tries again by itself, and logs what the endpoint does not take.
            return self._exporter.export([_readable(span) for span in spans]).name == "SUCCESS"
        except Exception:  # what it cannot encode: the next spans are others
            _logger.exception("%d spans could not be exported", len(spans))
            return False


def span_export(config: TektonConfig) -> SpanExport | None:
    """What the setting `otlp_endpoint` asks for. Raises ConfigurationError."""
    if config.otlp_endpoint is None:
        return None
    url = urlsplit(config.otlp_endpoint)
    if url.hostname in (*_OURSELVES, config.host) and url.port is not None and url.port == config.port:
        raise _mistake("is the address of this control plane itself", "spans are kept here without it")
    return SpanExport(config.otlp_endpoint)


def _otlp_exporter(url: str) -> "SpanExporter":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise _mistake("needs the extra 'otel'", "pip install 'tekton-core[otel]'") from error
    return OTLPSpanExporter(url)


def _mistake(problem: str, advice: str) -> ConfigurationError:
    return ConfigurationError([Mistake("tekton.monitoring.otlp_endpoint", 0, 0, "", problem, advice)])


def _readable(span: Span) -> "ReadableSpan":
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanKind, Status, StatusCode

    resource = {"service.name": span.component} | ({"service.instance.id": span.instance} if span.instance else {})
    return ReadableSpan(
        span.name,
        _context(span.trace_id, span.span_id),
        _context(span.trace_id, span.parent_id) if span.parent_id else None,
        Resource(resource),
        attributes=span.attributes,
        events=[_event(event) for event in span.events],
        kind=SpanKind[span.kind.upper()],
        status=Status(StatusCode[span.status.upper()], span.message if span.status == "error" else None),
        start_time=_nanoseconds(span.started_at),
        end_time=_nanoseconds(span.started_at + span.duration),
    )


def _context(trace_id: str, span_id: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _event(event: SpanEvent) -> "Event":
    from opentelemetry.sdk.trace import Event

    attributes: dict[str, Value | Any] = dict(event.attributes)
    return Event(event.name, attributes, _nanoseconds(event.at))


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
