"""W3C Trace Context: which trace the code that runs belongs to, and how that is told to others.

    context = parse(headers.get("traceparent"), headers.get("tracestate"))
    CURRENT.set(context.child())
    headers["traceparent"] = CURRENT.get().traceparent()

Rules: what does not conform to https://www.w3.org/TR/trace-context/ (level 1) counts as absent, and nobody is told of
it: a trace begins anew. A later version than ours is read as far as that document promises, and passed on as ours.
A `tracestate` that does not conform is dropped, the `traceparent` beside it is not.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple

from tekton.utils.random_uuid import random_hex

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

MAX_MEMBERS = 32
MAX_STATE = 512
"""Characters of a `tracestate` that are passed on."""
_LONG_MEMBER = 128
_LONGEST_READ = 8192

_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


class TraceContext(NamedTuple):
    """A place in a trace: 32 and 16 hexadecimal digits, whether the trace is recorded, and what other tracers add."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    def traceparent(self) -> str:
        """The value of the header, and of the variable TRACEPARENT."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def headers(self) -> dict[str, str]:
        """What a request to somebody else carries."""
        own = {TRACEPARENT: self.traceparent()}
        return own | {TRACESTATE: self.state} if self.state else own

    def child(self) -> "TraceContext":
        """A new place in the same trace."""
        return TraceContext(self.trace_id, new_span_id(), self.sampled, self.state)


CURRENT: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
"""The place at which the code that runs is; a task begins with that of the one which has started it."""


def recorded_here() -> str:
    """The `traceparent` of the place at which the code that runs is; empty where no trace is recorded."""
    here = CURRENT.get()
    return here.traceparent() if here is not None and here.sampled else ""


def new_trace(*, sampled: bool = True) -> TraceContext:
    """The first place of a new trace."""
    return TraceContext(new_trace_id(), new_span_id(), sampled)


def new_trace_id() -> str:
    """32 random hexadecimal digits, not all of them 0."""
    while (made := random_hex()) == _NO_TRACE:
        pass
    return made


def new_span_id() -> str:
    """16 random hexadecimal digits, not all of them 0."""
    while (made := random_hex()[:16]) == _NO_SPAN:
        pass
    return made


def parse(traceparent: str | None, tracestate: str | Iterable[str] | None = None) -> TraceContext | None:
    """The context that somebody has sent; None when there is none, or none that conforms.

    *tracestate* may be several values, in the order of their header lines. Two `traceparent` lines are none: do not
    join them.
    """
    # Cheap first: most requests have none.
    if not traceparent or (match := _PARENT.fullmatch(traceparent)) is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1), parse_state(tracestate) if tracestate else "")


def parse_state(tracestate: str | Iterable[str]) -> str:
    """*tracestate* in its shortest form and at most 512 characters long; empty when it does not conform."""
    text = tracestate if isinstance(tracestate, str) else ",".join(tracestate)
    if len(text) > _LONGEST_READ:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {match[1] for member in members if (match := _MEMBER.fullmatch(member)) is not None}
    if len(keys) != len(members) or len(members) > MAX_MEMBERS:
        return ""
    return _shortened(members)


def _shortened(members: list[str]) -> str:
    # The recommendation, 3.3.1.5: long members go first, then those at the end; never a part of one.
    if len(",".join(members)) > MAX_STATE:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(text := ",".join(members)) > MAX_STATE:
        members.pop()
    return text
