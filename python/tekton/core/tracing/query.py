"""Finding traces among the spans that a telemetry store keeps."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from tekton.core.history.store import FOREVER, Row, TelemetryStore
from tekton.core.tracing.span import Span, Status
from tekton.core.tracing.summary import MAX_SPANS, TraceSummary, summarize

MAX_EXAMINED: Final = 1000
"""Traces that are looked at for one page. What is rare may need several pages, most of them empty."""
_ROWS: Final = 1000
_SMALL: Final = 64 * 1024
"""Bytes that are read at once, without a thread."""

_T = TypeVar("_T")

_decode: Final = msgspec.json.Decoder(Span).decode


class TraceQuery(NamedTuple):
    """Which traces: those in which *component* took part, whose name contains *name*, at least so long, in a time.

    *since* and *until* are seconds since the epoch, *min_duration* seconds.
    """

    component: str | None = None
    name: str | None = None
    min_duration: float = 0.0
    status: Status | None = None
    since: float = -math.inf
    until: float = FOREVER

    def takes(self, trace: TraceSummary) -> bool:
        """Whether that trace is meant."""
        return (
            (self.component is None or self.component in trace.components)
            and (self.name is None or self.name.casefold() in trace.name.casefold())
            and trace.duration >= self.min_duration
            and self.status in (None, trace.status)
        )


class TracePage(NamedTuple):
    """Traces, those first whose last span began last. `until` is where to go on, None at the end."""

    traces: list[TraceSummary]
    until: float | None


async def trace_of(store: TelemetryStore, trace_id: str) -> list[Span]:
    """The spans of that trace: the newest ones, if they are more than `MAX_SPANS`. Empty: it is not known."""
    return await _apart(_spans_of, await store.read("span", limit=MAX_SPANS, trace=trace_id))


async def page_of(store: TelemetryStore, query: TraceQuery, limit: int) -> TracePage:
    """Up to *limit* traces that *query* takes, and where the next page begins."""
    found: list[TraceSummary] = []
    examined = 0
    async for row in _last_spans(store, query):
        if len(found) == limit or examined == MAX_EXAMINED:
            return TracePage(found, math.nextafter(row.at, FOREVER))
        spans = await store.read("span", limit=MAX_SPANS, trace=row.trace)
        examined += 1
        if _is_of_this_page(spans, query):
            summary = await _apart(_summary_of, spans)
            found += [summary] if query.takes(summary) else []
    return TracePage(found, None)


async def _apart(function: Callable[[list[Row]], _T], rows: list[Row]) -> _T:
    """*function* of *rows*, in a thread when that takes long enough to be noticed by others."""
    if sum(len(row.body) for row in rows) <= _SMALL:
        return function(rows)
    return await asyncio.to_thread(function, rows)


def _summary_of(rows: list[Row]) -> TraceSummary:
    return summarize(_spans_of(rows))


def _spans_of(rows: list[Row]) -> list[Span]:
    # Who is not sure that it arrived sends a span again.
    return list({span.span_id: span for span in (_decode(row.body) for row in rows)}.values())


def _is_of_this_page(spans: list[Row], query: TraceQuery) -> bool:
    """False for a trace that goes on after *until*: an earlier page has told of it."""
    last = next((one for one in spans if query.component in (None, one.key)), None)
    return last is not None and last.at < query.until


async def _last_spans(store: TelemetryStore, query: TraceQuery) -> AsyncIterator[Row]:
    """The newest row of each trace in the time of *query*, newest first."""
    seen: set[str] = set()
    until = query.until
    while True:
        rows = await store.read("span", query.since, until, _ROWS, key=query.component)
        for row in rows:
            if row.trace not in seen:
                seen.add(row.trace)
                yield row
        if len(rows) < _ROWS:
            return
        # Rows of the same instant may be on both sides; all of one instant fill no page but by intent.
        until = math.nextafter(rows[-1].at, FOREVER) if rows[-1].at < rows[0].at else rows[-1].at
