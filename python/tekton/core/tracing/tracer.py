"""Making spans.

    tracer = Tracer("rhetor", record=buffer.add)
    with tracer.begin("POST /api/generate", "server", parent=received):
        with span("search", "client", peer="engram") as one:
            one.set(found=12)

`Tracer.begin` is for what comes from outside: a request, a start, a job. `span` is for what is done in the course of
it: it belongs to the span that is open where it is called, in the same task or one that was started from there, and
where none is open, it is nothing. So nobody has to be given a tracer in order to be seen.

What a `with` block raises makes its span an error. Names are few (`GET /api/components/{component_id}`, not the path);
what differs from one to the next is an attribute. Spans may be made in any thread. Nothing here waits or raises, and
an unrecorded span costs a fraction of a microsecond (benches/tracing.py).
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self, TypeVar

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.tracing.sampling import Sampler
from tekton.core.tracing.span import MAX_EVENTS, MAX_NAME, MAX_TEXT, Kind, Span, SpanEvent, Status, Value, fitting, put
from tekton.utils.trace_context import CURRENT, TraceContext, new_span_id, new_trace_id

_T = TypeVar("_T")

Record = Callable[[Span], None]
"""Takes a span that has ended. Called wherever that happens; must neither wait nor raise."""


class OpenSpan:
    """A span that is being made. Enter it with `with`, or else call `end`."""

    __slots__ = (
        "_attributes", "_before", "_before_it", "_began", "_dropped", "_events", "_message", "_parent_id",
        "_started_at", "_status", "_tracer", "context", "ended", "kind", "name",
    )  # fmt: skip

    recorded: Final = True

    def __init__(self, tracer: "Tracer", name: str, kind: Kind, context: TraceContext, parent_id: str) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        self._tracer = tracer
        self._parent_id = parent_id
        self._attributes: dict[str, Value] = {}
        self._events: list[SpanEvent] = []
        self._dropped = 0
        self._status: Status = "unset"
        self._message = ""
        self.ended = False
        self._before: Token[TraceContext | None] | None = None
        self._before_it: Token[OpenSpan | None] | None = None
        self._started_at = tracer.clock.time()
        self._began = tracer.clock.monotonic()

    def set(self, **attributes: object) -> None:
        """Add *attributes*: numbers, or texts of at most 1024 characters."""
        self._dropped += put(self._attributes, attributes)

    def put(self, attributes: dict[str, object]) -> None:
        """As `set`, for names that are no identifiers: `{"http.route": "/api/health"}`."""
        self._dropped += put(self._attributes, attributes)

    def event(self, name: str, **attributes: object) -> None:
        """Note that something happens now."""
        if len(self._events) >= MAX_EVENTS:
            self._dropped += 1
            return
        kept = {key[:MAX_NAME]: fitting(value) for key, value in attributes.items()}
        self._events.append(SpanEvent(name[:MAX_NAME], self._tracer.clock.time(), kept))

    def fail(self, message: str) -> None:
        """What the span stands for has failed."""
        self._status = "error"
        self._message = message[:MAX_TEXT]

    def began(self, monotonic: float) -> None:
        """It has begun earlier than it was made: at that time of the clock."""
        self._started_at += monotonic - self._began
        self._began = monotonic

    def activate(self) -> None:
        """Be the open span of the code that runs from here on, in this task, for good. `with` does it for a block."""
        CURRENT.set(self.context)
        _OPEN.set(self)

    def end(self) -> None:
        """The span is over. Once."""
        self.ended = True
        self._tracer.record(
            Span(
                trace_id=self.context.trace_id,
                span_id=self.context.span_id,
                parent_id=self._parent_id,
                name=self.name[:MAX_NAME],
                kind=self.kind,
                component=self._tracer.component,
                instance=self._tracer.instance,
                started_at=self._started_at,
                duration=max(0.0, self._tracer.clock.monotonic() - self._began),
                status=self._status,
                message=self._message,
                attributes=self._attributes,
                events=self._events,
                dropped=self._dropped,
            )
        )

    def __enter__(self) -> Self:
        self._before = CURRENT.set(self.context)
        self._before_it = _OPEN.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._before is not None
        assert self._before_it is not None
        _leave(CURRENT, self._before)
        _leave(_OPEN, self._before_it)
        if error is not None and self._status != "error":
            self.fail(why(error))
        self.end()

    # Of the tracer, for `span`

    def child(self, name: str, kind: Kind) -> "OpenSpan":
        """One that belongs to this one."""
        context = TraceContext(self.context.trace_id, new_span_id(), True, self.context.state)
        return OpenSpan(self._tracer, name, kind, context, self.context.span_id)


class Unrecorded:
    """Stands where no span is made. With a *context*, that holds in its block, so that nothing in it is recorded."""

    __slots__ = ("_context",)

    recorded: Final = False

    def __init__(self, context: TraceContext | None = None) -> None:
        self._context = context

    @property
    def context(self) -> TraceContext | None:
        """The place in the trace of somebody else, or in one that is not recorded."""
        return self._context

    def set(self, **attributes: object) -> None:
        """Does nothing, as all of these."""

    def put(self, attributes: dict[str, object]) -> None: ...

    def event(self, name: str, **attributes: object) -> None: ...

    def fail(self, message: str) -> None: ...

    def began(self, monotonic: float) -> None: ...

    def activate(self) -> None:
        """See `OpenSpan.activate`: for spans in it, and for requests to others."""
        if self._context is not None:
            CURRENT.set(self._context)

    def end(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Aside(Unrecorded):
    """One whose context holds in a `with` block. Not for two blocks at once."""

    __slots__ = ("_before",)

    def __enter__(self) -> Self:
        self._before = CURRENT.set(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(CURRENT, self._before)


NOTHING: Final = Unrecorded()

_OPEN: ContextVar[OpenSpan | None] = ContextVar("open_span", default=None)


def _open_here() -> OpenSpan | None:
    found = _OPEN.get()
    # Whoever sets another context, or none, has left it; and what a span has started may live longer than that.
    return found if found is not None and not found.ended and CURRENT.get() is found.context else None


class Tracer:
    """Begins the spans of *component*, and gives those that have ended to *record*."""

    def __init__(
        self,
        component: str,
        record: Record,
        *,
        instance: str = "",
        ratio: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        sampler: Sampler | None = None,
    ) -> None:
        self.component = component
        self.instance = instance
        self.record = record
        self.clock = clock
        self.sampler = sampler or Sampler(ratio, clock.monotonic)

    def begin(
        self, name: str, kind: Kind = "internal", parent: TraceContext | None = None, **attributes: object
    ) -> OpenSpan | Unrecorded:
        """A span that belongs to *parent*, which somebody else has sent; without one a new trace begins.

        Not entered yet. Whether it is recorded is decided by `sampling`.
        """
        if parent is None:
            return self._begin_trace(name, kind, attributes)
        if not parent.sampled or not self.sampler.may_join():
            return _Aside(parent)
        context = TraceContext(parent.trace_id, new_span_id(), True, parent.state)
        return _with(OpenSpan(self, name, kind, context, parent.span_id), attributes)

    def begin_here(self, name: str, kind: Kind = "internal", **attributes: object) -> OpenSpan | Unrecorded:
        """A span that belongs to the one that is open here, else to the context that holds here, else a new trace."""
        parent = _open_here()
        if parent is not None:
            return _with(parent.child(name, kind), attributes)
        return self.begin(name, kind, CURRENT.get(), **attributes)

    def _begin_trace(self, name: str, kind: Kind, attributes: dict[str, object]) -> OpenSpan | Unrecorded:
        if not self.sampler.may_begin():
            return NOTHING
        trace_id = new_trace_id()
        context = TraceContext(trace_id, new_span_id(), self.sampler.chooses(trace_id))
        if not context.sampled:
            return _Aside(context)
        return _with(OpenSpan(self, name, kind, context, ""), attributes)


NO_TRACER: Final = Tracer("", lambda _: None, ratio=0.0)
"""Records nothing."""


def _leave(variable: ContextVar[_T], before: Token[_T]) -> None:
    try:
        variable.reset(before)
    except ValueError:
        pass  # it was entered in another task, whose context is its own


def span(name: str, kind: Kind = "internal", **attributes: object) -> OpenSpan | Unrecorded:
    """A span in the course of the one that is open here; nothing when none is. Enter it with `with`."""
    parent = _open_here()
    return NOTHING if parent is None else _with(parent.child(name, kind), attributes)


def why(error: BaseException) -> str:
    """The message of a span that ends with *error*."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _with(made: OpenSpan, attributes: dict[str, object]) -> OpenSpan:
    if attributes:
        made.put(attributes)
    return made
