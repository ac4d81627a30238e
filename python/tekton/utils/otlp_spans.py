"""What is kept of a span that somebody has sent, however it was written.

Of one request at most `MAX_SPANS` are kept, and of each what `core.tracing.span` allows: what is made of a body is
bounded, whatever it says. Spans without valid ids are left out and counted. Kept of the resource are `service.name`
(the component) and `service.instance.id`. Links, the scope, and the state of the trace are not kept.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tekton.core.tracing.span import MAX_ATTRIBUTES, MAX_NAME, MAX_TEXT, Kind, Span, SpanEvent, Status, Value, put, trim

MAX_SPANS: Final = 4096
"""Of one request. OpenTelemetry's exporters send 512."""
MAX_ITEMS: Final = 64
"""Of a list that is the value of an attribute."""
DEEPEST: Final = 6
"""How deep such lists may lie in one another."""

UNKNOWN: Final = "unknown_service"
"""The component of a resource without a name, as OpenTelemetry has it."""

KINDS: Final[tuple[Kind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES: Final[tuple[Status, ...]] = ("unset", "ok", "error")
BILLION: Final = 1_000_000_000


@dataclass(slots=True)
class Received:
    """What was in a request: the spans that can be kept, and how many others, with the reason of the last one."""

    spans: list[Span] = field(default_factory=list)
    rejected: int = 0
    reason: str = ""

    def reject(self, reason: str) -> None:
        """Leave one out."""
        self.rejected += 1
        self.reason = reason


_Pairs = Iterable[tuple[str, object]]


def kept(pairs: _Pairs) -> tuple[dict[str, Value], int]:
    """The attributes that there is room for, and how many are missing."""
    attributes: dict[str, Value] = {}
    dropped = 0
    for name, value in pairs:
        if len(attributes) < MAX_ATTRIBUTES:
            put(attributes, {name: flat(value)})
        else:
            dropped += 1
    return attributes, dropped


def flat(value: object) -> object:
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value


@dataclass(slots=True)
class Draft:
    """A span as it is being read. Ids are hexadecimal digits, instants nanoseconds."""

    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    name: str = ""
    kind: int = 0
    start: int = 0
    end: int = 0
    status: int = 0
    message: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[SpanEvent] = field(default_factory=list)
    dropped: int = 0

    def attribute(self, name: str, value: object) -> None:
        self.dropped += put(self.attributes, {name: flat(value)})

    def finish(self, component: str, instance: str) -> Span:
        """Raises ValueError for a span that nobody could find again."""
        _check_id("trace id", self.trace_id, 32)
        _check_id("span id", self.span_id, 16)
        self.dropped += trim(self.attributes, self.events)
        return Span(
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_id=self.parent_id if len(self.parent_id) == 16 and self.parent_id.strip("0") else "",
            name=self.name[:MAX_NAME],
            kind=KINDS[self.kind] if 0 <= self.kind < len(KINDS) else "internal",
            component=component,
            instance=instance,
            started_at=self.start / BILLION,
            duration=max(0, self.end - self.start) / BILLION,
            status=STATUSES[self.status] if 0 <= self.status < len(STATUSES) else "unset",
            message=self.message[:MAX_TEXT],
            attributes=self.attributes,
            events=self.events,
            dropped=min(self.dropped, 2**53),
        )


def _check_id(what: str, digits: str, length: int) -> None:
    if len(digits) != length or not digits.strip("0"):
        raise ValueError(f"a {what} of {length // 2} bytes, not all of them 0, is missing")


def keep(received: Received, who: tuple[str, str], draft: Callable[[], Draft]) -> None:
    # The bad ones count: one costs as much to look at as a good one, and a few bytes that compress well may have many.
    if len(received.spans) + received.rejected >= MAX_SPANS:
        received.reject(f"at most {MAX_SPANS} spans in one request")
        return
    made = draft()
    try:
        received.spans.append(made.finish(*who))
    except ValueError as error:
        received.reject(str(error))


def who_is(attributes: Mapping[str, Value]) -> tuple[str, str]:
    name, instance = attributes.get("service.name"), attributes.get("service.instance.id")
    return str(name or UNKNOWN)[:MAX_NAME], str(instance or "")[:MAX_NAME]
