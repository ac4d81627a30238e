"""Traces: taking up the spans that components send, and looking at what there is."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import Annotated, Literal

import msgspec

from tekton.auth.principal import Principal
from tekton.core.tracing.query import TraceQuery
from tekton.core.tracing.span import Span
from tekton.core.tracing.summary import TracedSpan, TraceSummary, in_tree_order, summarize
from tekton.gateway.errors import OverloadedError, UnsupportedMediaTypeError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.service.system import System
from tekton.utils import otlp
from tekton.utils.tekton_errors import TraceNotFoundError

PATH = "/v1/traces"
QUIET = frozenset({PATH, "/api/traces", "/api/traces/{trace_id}"})
"""Routes that leave no trace: who looks at traces wants to see others."""
MAX_BODY = otlp.MAX_UNPACKED

_SPEAK = "components:heartbeat"
_AT_ONCE = 2
"""Bodies that are read at a time, each in a thread."""
_SMALL = 16_384
"""Bytes that are read at once, without a thread: half a millisecond or so."""
_RETRY = 1.0
_YEAR_10000 = 253_402_300_800

_Time = Annotated[float, msgspec.Meta(ge=0, le=_YEAR_10000)]


class TraceFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which traces. `cursor` continues a page."""

    component: str | None = None
    name: str | None = None
    min_duration: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    status: Literal["ok", "error"] | None = None
    since: _Time | None = None
    until: _Time | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: _Time | None = None


class TraceList(msgspec.Struct, frozen=True):
    """Traces, the latest first; `cursor` is where the next page begins, null at the end."""

    items: list[TraceSummary]
    cursor: float | None


class Trace(msgspec.Struct, frozen=True):
    """A trace: what its spans say together, and each of them, before those that belong to it."""

    trace: TraceSummary
    spans: list[TracedSpan]


class Traces:
    """Handlers over the traces of the system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._reading = 0

    async def page(self, request: Request) -> TraceList:
        asked: TraceFilter = request.query
        ends = [one for one in (asked.until, asked.cursor) if one is not None]
        since = -math.inf if asked.since is None else asked.since
        query = TraceQuery(
            asked.component, asked.name, asked.min_duration, asked.status, since, min(ends, default=math.inf)
        )
        found = await self._system.tracing.traces(query, asked.limit)
        return TraceList(found.traces, found.until)

    async def one(self, request: Request) -> Response:
        trace_id = request.params["trace_id"].lower()
        spans = await self._system.tracing.trace(trace_id)
        if not spans:
            raise TraceNotFoundError(trace_id)
        return Response(body=await asyncio.to_thread(_encoded, spans))

    async def receive(self, request: Request) -> Response:
        """Answers as OTLP wants it, in the encoding of the request, whatever becomes of it."""
        headers = request.headers
        media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        encoding = otlp.MEDIA_TYPES.get(media_type)
        if encoding is None:
            raise UnsupportedMediaTypeError(media_type, tuple(otlp.MEDIA_TYPES))
        try:
            received = await self._read(request.body or b"", headers.get("content-encoding") or "", encoding)
        except otlp.OtlpTooLargeError as error:
            return Response(413, otlp.problem(str(error), encoding), media_type=media_type)
        except otlp.OtlpError as error:
            return Response(400, otlp.problem(str(error), encoding), media_type=media_type)
        lost = self._system.tracing.receive(self._spoken_for(request.principal, received.spans))
        if lost:
            received.rejected += lost
            received.reason = "too many spans are waiting to be stored"
        # Said by the gateway of a body that there is; here it has to be said of none as well.
        answer = otlp.response(received, encoding)
        return Response(200, answer, () if answer else [("content-type", media_type)], media_type)

    async def _read(self, body: bytes, content_encoding: str, encoding: otlp.Encoding) -> otlp.Received:
        def read() -> otlp.Received:
            return otlp.decode(otlp.unpack(body, content_encoding.strip().lower()), encoding)

        if len(body) <= _SMALL and not content_encoding:
            return read()
        if self._reading >= _AT_ONCE:
            raise OverloadedError(_RETRY)
        self._reading += 1
        reading = asyncio.get_running_loop().run_in_executor(None, read)
        reading.add_done_callback(self._has_read)
        # A sender who goes away gives no place to others as long as the thread is still at it.
        return await asyncio.shield(reading)

    def _has_read(self, reading: "asyncio.Future[otlp.Received]") -> None:
        self._reading -= 1
        if not reading.cancelled():
            reading.exception()  # the sender is told of it, if he is still there

    def _spoken_for(self, sender: Principal, spans: Iterable[Span]) -> list[Span]:
        """*spans* as those of *sender*, where he says that they are of a component that he must not speak for.

        Who has shown nothing is believed: programs with an OpenTelemetry SDK have nothing to show.
        """
        if sender.via == "none":
            return list(spans)
        name = sender.component_id or sender.subject
        may = cache(partial(self._system.security.policy.may, sender, _SPEAK))
        return [span if may(span.component) else msgspec.structs.replace(span, component=name) for span in spans]


def _encoded(spans: Sequence[Span]) -> bytes:
    """A `Trace` in JSON. Span by span: others want the interpreter too."""
    encoded = b",".join([encode(span) for span in in_tree_order(spans)])
    return b'{"trace":%b,"spans":[%b]}' % (encode(summarize(spans)), encoded)


def routes(system: System) -> list[Route]:
    """The routes of traces."""
    api = Traces(system)
    return [
        Route(
            "GET",
            "/api/traces",
            api.page,
            summary="Traces, the latest first",
            permission="metrics:read",
            query=TraceFilter,
            response=TraceList,
        ),
        Route(
            "GET",
            "/api/traces/{trace_id}",
            api.one,
            summary="A trace with its spans",
            permission="metrics:read",
            response=Trace,
            errors=(TraceNotFoundError,),
        ),
        Route(
            "POST",
            PATH,
            api.receive,
            summary="Spans, as OTLP/HTTP sends them",
            permission=_SPEAK,
            raw=tuple(otlp.MEDIA_TYPES),
            max_body=MAX_BODY,
            repeats="harmless",
            response=bytes,
            media_types=tuple(otlp.MEDIA_TYPES),
            also=(400, 413),
            errors=(UnsupportedMediaTypeError, OverloadedError),
        ),
    ]
