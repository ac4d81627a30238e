"""A trace as a whole: what its spans together say, and the order in which they are shown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tekton.core.tracing.span import Span, Status

MAX_SPANS: Final = 2000
"""Of one trace that are looked at, the newest."""


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trace in a list. `name` and `component` are those of the span with which it began, as far as that is known.

    `started_at` is in seconds since the epoch; `duration` (seconds) is until the last span ended. `components` are in
    the order in which they first did something. `status` is `error` when any span is one.
    """

    trace_id: str
    name: str
    component: str
    started_at: float
    duration: float
    status: Status
    spans: int
    errors: int
    components: list[str]


class TracedSpan(Span, frozen=True, kw_only=True):
    """A span in its trace: how many spans it lies in, among those that are known."""

    depth: int = 0


def summarize(spans: Sequence[Span]) -> TraceSummary:
    """What *spans*, one or more of one trace, say together."""
    in_order = sorted(spans, key=_start)
    known = {span.span_id for span in spans}
    root = next((span for span in in_order if span.parent_id not in known), in_order[0])
    errors = sum(span.status == "error" for span in spans)
    began = in_order[0].started_at
    return TraceSummary(
        trace_id=root.trace_id,
        name=root.name,
        component=root.component,
        started_at=began,
        duration=max(span.started_at + span.duration for span in spans) - began,
        status="error" if errors else "ok",
        spans=len(spans),
        errors=errors,
        components=list(dict.fromkeys(span.component for span in in_order)),
    )


def in_tree_order(spans: Iterable[Span]) -> list[TracedSpan]:
    """Each span before those that belong to it, siblings by their start. A span that came twice is there once.

    What belongs to a span that is not known stands at the top; so does what claims to belong to itself.
    """
    by_id = {span.span_id: span for span in sorted(spans, key=_start)}
    children: dict[str, list[Span]] = {}
    for span in by_id.values():
        children.setdefault(span.parent_id if span.parent_id in by_id else "", []).append(span)
    seen: set[str] = set()
    ordered = list(_below(children, "", seen))
    # Spans that belong to one another in a circle: somebody has made them up.
    for span in by_id.values():
        if span.span_id not in seen:
            seen.add(span.span_id)
            ordered += [_at(span, 0), *_below(children, span.span_id, seen, 1)]
    return ordered


def _below(children: dict[str, list[Span]], parent: str, seen: set[str], depth: int = 0) -> Iterator[TracedSpan]:
    # Not recursive: a trace may be as deep as it has spans.
    waiting = [(span, depth) for span in reversed(children.get(parent, []))]
    while waiting:
        span, depth = waiting.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        yield _at(span, depth)
        waiting += [(child, depth + 1) for child in reversed(children.get(span.span_id, []))]


def _at(span: Span, depth: int) -> TracedSpan:
    return TracedSpan(**{name: getattr(span, name) for name in Span.__struct_fields__}, depth=depth)


def _start(span: Span) -> tuple[float, float]:
    # Of two that begin together, the longer one is around the other.
    return span.started_at, -span.duration
