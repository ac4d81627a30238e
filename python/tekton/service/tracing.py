"""The traces of the system: the spans of the control plane itself, and those that components send.

Spans wait in a bounded buffer and are passed on in batches: without secrets, to the telemetry store, to those who watch
the topic `spans`, and to an exporter, if there is one. Cleaning and encoding is done in a thread.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, Protocol

from msgspec.json import Encoder

from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.history.store import Row, TelemetryStore
from tekton.core.tracing.buffer import SpanBuffer
from tekton.core.tracing.feed import Batch, SpanFeed
from tekton.core.tracing.query import TracePage, TraceQuery, page_of, trace_of
from tekton.core.tracing.span import Span, cleaned
from tekton.core.tracing.tracer import Tracer
from tekton.gateway.sockets import Sub
from tekton.utils.redaction import scrub

_GATHER: Final = 0.25
"""Seconds for which spans gather before they are passed on."""
_BATCH: Final = 1000
_LATE: Final = 86_400.0
_EARLY: Final = 60.0
"""How far (seconds) the clock of a component may be off, before a span counts as of when it came."""

COMPONENT: Final = "tekton"
"""As whose the spans of the control plane are known."""

_logger = logging.getLogger("tekton.tracing")
_encode = Encoder().encode


class Exporter(Protocol):
    """Passes spans on to somewhere else, and counts those that were `sent` and those that were not (`lost`)."""

    @property
    def sent(self) -> int: ...

    @property
    def lost(self) -> int: ...

    def export(self, spans: Sequence[Span]) -> None:
        """Blocks for as long as that takes; called in a thread, one call at a time. Raises nothing."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class Tracing:
    """See the module. `tracer` makes the spans of the control plane. *redact* removes the secrets that are known."""

    def __init__(
        self,
        store: TelemetryStore,
        *,
        ratio: float = 1.0,
        redact: Callable[[str], str] = lambda text: text,
        exporter: Exporter | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store
        self.received = 0
        """Spans that components have sent."""
        self.recorded = 0
        """Spans that were passed on to the history, our own and those of components."""
        self.tracer = Tracer(COMPONENT, self._add, ratio=ratio, clock=clock)
        self._buffer = SpanBuffer()
        self._feed = SpanFeed()
        self._redact = redact
        self._exporter = exporter
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._some = asyncio.Event()
        self._told = False
        self._one_at_a_time = asyncio.Lock()
        self._passing = BackgroundTask("spans")

    @property
    def exported(self) -> tuple[int, int] | None:
        """How many spans were sent on to an exporter, and how many could not be; None without one."""
        return None if self._exporter is None else (self._exporter.sent, self._exporter.lost)

    @property
    def dropped(self) -> int:
        """Spans for which there was no room."""
        return self._buffer.dropped

    def start(self) -> None:
        """Pass spans on from now on."""
        self._loop = asyncio.get_running_loop()
        self._passing.start(self._pass_on())

    async def stop(self) -> None:
        """Pass on what is there, and end."""
        await self._passing.stop()
        await self._pass_on_once()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)

    def receive(self, spans: Sequence[Span]) -> int:
        """Take up spans of others; how many there was no room for."""
        before = self._buffer.dropped
        for span in spans:
            self._add(span)
        self.received += len(spans)
        return self._buffer.dropped - before

    async def traces(self, query: TraceQuery, limit: int) -> TracePage:
        """Traces, the latest first."""
        await self._pass_on_once()
        return await page_of(self.store, query, limit)

    async def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace; none when it is not known."""
        await self._pass_on_once()
        return await trace_of(self.store, trace_id)

    def open(self, operation: Sub) -> AsyncGenerator[str, None]:
        """The frames of the topic `spans`, from this moment on."""
        return _frames(operation.id, self._feed.watch())

    def watch(self) -> AsyncGenerator[Batch, None]:
        """The spans from this moment on."""
        return self._feed.watch()

    def _add(self, span: Span) -> None:
        self._buffer.add(span)
        if not self._told and self._loop is not None:
            self._told = True
            try:
                # From whatever thread.
                self._loop.call_soon_threadsafe(self._some.set)
            except RuntimeError:
                pass  # the loop is closed: nobody will ask for this one any more

    async def _pass_on(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER)
            self._some.clear()
            await self._pass_on_once()

    async def _pass_on_once(self) -> None:
        self._told = False
        async with self._one_at_a_time:
            while spans := self._buffer.take(_BATCH):
                try:
                    rows = await asyncio.to_thread(self._prepare, spans)
                except asyncio.CancelledError:
                    self._buffer.put_back(spans)
                    raise
                except Exception:  # what they have in them: those that come after them are others
                    _logger.exception("%d spans could not be kept", len(spans))
                    continue
                self.recorded += len(rows)
                self.store.append("span", rows)
                self._feed.publish([row.body for row in rows])

    def _prepare(self, spans: Sequence[Span]) -> list[Row]:
        now = self._clock.time()
        clean = [cleaned(span, lambda text: scrub(self._redact(text))) for span in spans]
        if self._exporter is not None:
            self._exporter.export(clean)
        return [_row(span, now) for span in clean]


async def _frames(topic_id: int, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[str, None]:
    async for first, spans, missed in batches:
        if missed:
            yield f'{{"id":{topic_id},"t":"lag","missed":{missed}}}'
        for number, span in enumerate(spans, first):
            yield f'{{"id":{topic_id},"t":"delta","seq":{number},"data":{span.decode()}}}'


def _row(span: Span, now: float) -> Row:
    at = span.started_at if now - _LATE <= span.started_at <= now + _EARLY else now
    try:
        body = _encode(span)
    except UnicodeEncodeError:
        body = _encode(cleaned(span, _encodable))
    return Row(at, span.component, body, span.trace_id)


def _encodable(text: str) -> str:
    """*text* without halves of characters."""
    return text.encode("utf-8", "replace").decode()
