"""What is known of a span that has ended, and how much of it is kept.

The limits hold for spans of ours and for those that others send. What they leave out is counted in `dropped`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec

from tekton.utils.redaction import REDACTED, is_secret_name, scrub

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]
Value = str | bool | int | float

MAX_ATTRIBUTES: Final = 32
MAX_EVENTS: Final = 16
MAX_TEXT: Final = 1024
"""Characters of a value."""
MAX_NAME: Final = 128
"""Characters of a name: of a span, an event, an attribute, a component."""
MAX_SIZE: Final = 16_384
"""Characters of all attributes together, those of the events included."""

_SHORTEST_SECRET: Final = 6
_FIXED: Final = 100


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened in the course of a span, *at* seconds since the epoch."""

    name: str
    at: float
    attributes: dict[str, Value] = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work in a trace.

    `parent_id` is empty for the first one. `started_at` is in seconds since the epoch, `duration` in seconds. `message`
    says what went wrong, if the status is `error`. `dropped` is how many attributes and events are not there.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: Kind = "internal"
    component: str
    instance: str = ""
    started_at: float
    duration: float
    status: Status = "unset"
    message: str = ""
    attributes: dict[str, Value] = {}
    events: list[SpanEvent] = []
    dropped: int = 0


def fitting(value: object) -> Value:
    """*value* as an attribute may be: a number, or a text that is not too long."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _as_text(value)


def _as_text(value: object) -> str:
    try:
        return str(value)[:MAX_TEXT]
    except Exception:  # whatever somebody's __str__ raises: it is not what the span is about
        return f"<{type(value).__name__}>"


def put(attributes: dict[str, Value], given: Mapping[str, object]) -> int:
    """Enter in *attributes* what of *given* there is room for; how many there were too many."""
    left_out = 0
    for name, value in given.items():
        if name in attributes or len(attributes) < MAX_ATTRIBUTES:
            attributes[name[:MAX_NAME]] = fitting(value)
        else:
            left_out += 1
    return left_out


def trim(attributes: dict[str, Value], events: Iterable[SpanEvent]) -> int:
    """Take out of *attributes* and those of *events* what is beyond `MAX_SIZE`; how many there were too many."""
    left_out, room = 0, MAX_SIZE
    for each in (attributes, *(event.attributes for event in events)):
        for name, value in list(each.items()):
            room -= len(name) + _length(value)
            if room < 0:
                del each[name]
                left_out += 1
    return left_out


def size_of(span: Span) -> int:
    """The characters of *span*, roughly: what a limit of memory goes by."""
    return sum(
        (
            _FIXED + len(span.name) + len(span.message) + len(span.component) + len(span.instance),
            *(len(name) + _length(value) for name, value in span.attributes.items()),
            *(
                _FIXED + len(event.name) + sum(len(name) + _length(value) for name, value in event.attributes.items())
                for event in span.events
            ),
        )
    )


def _length(value: Value) -> int:
    return len(value) if isinstance(value, str) else 8


def cleaned(span: Span, redact: Callable[[str], str] = scrub) -> Span:
    """*span* without secrets (what stands behind a secret name, what *redact* takes out) and not longer than may be."""
    attributes = _cleaned(span.attributes, redact)
    events = [SpanEvent(redact(event.name), event.at, _cleaned(event.attributes, redact)) for event in span.events]
    return msgspec.structs.replace(
        span,
        name=redact(span.name),
        message=redact(span.message) if span.message else "",
        attributes=attributes,
        events=events,
        dropped=span.dropped + trim(attributes, events),
    )


def _cleaned(attributes: Mapping[str, Value], redact: Callable[[str], str]) -> dict[str, Value]:
    return {name: _clean_value(name, value, redact) for name, value in attributes.items()}


def _clean_value(name: str, value: Value, redact: Callable[[str], str]) -> Value:
    if not isinstance(value, str):
        return value
    if _is_secret(name):
        return REDACTED
    return redact(value) if len(value) >= _SHORTEST_SECRET else value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return is_secret_name(name)
