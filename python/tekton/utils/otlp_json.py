"""Spans in JSON: protobuf's JSON mapping, with ids in hexadecimal digits and enumerations as numbers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from tekton.core.tracing.span import MAX_EVENTS, MAX_NAME, Span, SpanEvent, Value
from tekton.utils.otlp_spans import (
    BILLION,
    DEEPEST,
    KINDS,
    MAX_ITEMS,
    STATUSES,
    Draft,
    Received,
    keep,
    kept,
    who_is,
)

MAX_OBJECTS: Final = 200_000
"""Objects and lists in one request: each becomes an object of ours before any can be counted."""


class TooManyObjectsError(ValueError):
    """See `MAX_OBJECTS`."""


class _Object(msgspec.Struct, rename="camel"):
    pass


class _Array(_Object):
    values: "list[_AnyValue] | None" = None


class _AnyValue(_Object):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _Array | None = None
    kvlist_value: "_PairList | None" = None
    bytes_value: str | None = None


class _PairOf(_Object):
    key: str | None = None
    value: _AnyValue | None = None


class _PairList(_Object):
    values: list[_PairOf] | None = None


class _EventOf(_Object):
    time_unix_nano: int | str | None = None
    name: str | None = None
    attributes: list[_PairOf] | None = None


class _StatusOf(_Object):
    message: str | None = None
    code: int | None = None


class _SpanOf(_Object):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_PairOf] | None = None
    events: list[_EventOf] | None = None
    links: list[msgspec.Raw] | None = None
    status: _StatusOf | None = None
    dropped_attributes_count: int | None = None
    dropped_events_count: int | None = None


class _Scope(_Object):
    spans: list[_SpanOf] | None = None


class _Resource(_Object):
    attributes: list[_PairOf] | None = None


class _ResourceSpans(_Object):
    resource: _Resource | None = None
    scope_spans: list[_Scope] | None = None


class _Request(_Object):
    resource_spans: list[_ResourceSpans] | None = None


_decode_json = msgspec.json.Decoder(_Request).decode


def read_json(content: bytes, received: Received) -> None:
    """Take up the spans of the request *content*. Raises ValueError, TooManyObjectsError."""
    if content.count(b"{") + content.count(b"[") > MAX_OBJECTS:
        raise TooManyObjectsError(f"more than {MAX_OBJECTS} objects")
    try:
        request = _decode_json(content) if content else _Request()
        for resource in request.resource_spans or ():
            given = resource.resource.attributes if resource.resource is not None else None
            who = who_is(kept((name, value) for name, value in _pairs(given) if name.startswith("service."))[0])
            for scope in resource.scope_spans or ():
                for span in scope.spans or ():
                    keep(received, who, lambda span=span: _draft_of(span))  # type: ignore[misc]
    except RecursionError:
        raise ValueError("its values lie too deep in one another") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def _draft_of(span: _SpanOf) -> Draft:
    attributes, dropped = kept(_pairs(span.attributes))
    events = span.events or []
    status = span.status or _StatusOf()
    left_out = len(events[MAX_EVENTS:]) + len(span.links or ())
    counted = (span.dropped_attributes_count or 0) + (span.dropped_events_count or 0)
    return Draft(
        trace_id=_digits(span.trace_id),
        span_id=_digits(span.span_id),
        parent_id=_digits(span.parent_span_id),
        name=span.name or "",
        kind=span.kind or 0,
        start=_integer(span.start_time_unix_nano),
        end=_integer(span.end_time_unix_nano),
        status=status.code or 0,
        message=status.message or "",
        attributes=attributes,
        events=[
            SpanEvent(
                (one.name or "")[:MAX_NAME], _integer(one.time_unix_nano) / BILLION, kept(_pairs(one.attributes))[0]
            )
            for one in events[:MAX_EVENTS]
        ],
        dropped=dropped + left_out + max(0, counted),
    )


def _digits(text: str | None) -> str:
    """Hexadecimal digits in lower case; empty when they are none."""
    digits = (text or "").lower()
    return digits if digits.isascii() and digits.isalnum() and not digits.strip("0123456789abcdef") else ""


def _integer(number: int | str | None) -> int:
    """An instant: a number, or one written as text. Raises ValueError for what is none in 64 bits."""
    if isinstance(number, str) and not (number.isascii() and number.isdecimal() and len(number) <= 20):
        raise ValueError(f"{number[:32]!r} is not a time in nanoseconds")
    value = int(number or 0)
    if not 0 <= value < 2**64:
        raise ValueError("a time in nanoseconds has 64 bits")
    return value


def _pairs(pairs: list[_PairOf] | None) -> Iterator[tuple[str, object]]:
    for pair in pairs or ():
        yield pair.key or "", _value(pair.value)


def _value(value: _AnyValue | None, depth: int = 0) -> object:
    if value is None:
        return ""
    if value.array_value is not None or value.kvlist_value is not None:
        return _many(value, depth + 1)
    if value.int_value is not None:
        return _number(value.int_value, int)
    if value.double_value is not None:
        return _number(value.double_value, float)
    plain = (value.string_value, value.bool_value, value.bytes_value)
    return next((one for one in plain if one is not None), "")


def _many(value: _AnyValue, depth: int) -> object:
    """An array, or a list of pairs as an object; the first of its items only."""
    if depth > DEEPEST:
        return "…"
    if value.array_value is not None:
        return [_value(one, depth) for one in (value.array_value.values or [])[:MAX_ITEMS]]
    pairs = (value.kvlist_value and value.kvlist_value.values) or []
    return {pair.key or "": _value(pair.value, depth) for pair in pairs[:MAX_ITEMS]}


def _number(given: float | str, kind: Callable[[Any], Any]) -> object:
    """A number that may be written as text; the text, when it is none."""
    try:
        return kind(given if not isinstance(given, str) else given[:64])
    except (ValueError, OverflowError):
        return given


# Writing


def encode(spans: Iterable[Span]) -> bytes:
    """The ExportTraceServiceRequest with *spans*."""
    resources: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        resources.setdefault((span.component, span.instance), []).append(span)
    return msgspec.json.encode({"resourceSpans": [_resource(*who, of) for who, of in resources.items()]})


def _resource(component: str, instance: str, spans: Iterable[Span]) -> dict[str, Any]:
    who = {"service.name": component} | ({"service.instance.id": instance} if instance else {})
    return {
        "resource": {"attributes": _written(who)},
        "scopeSpans": [{"scope": {"name": "tekton"}, "spans": [_span(span) for span in spans]}],
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": KINDS.index(span.kind, 1),
        "startTimeUnixNano": _nanoseconds(span.started_at),
        "endTimeUnixNano": _nanoseconds(span.started_at + span.duration),
        "attributes": _written(span.attributes),
        "droppedAttributesCount": span.dropped,
        "events": [
            {"name": event.name, "timeUnixNano": _nanoseconds(event.at), "attributes": _written(event.attributes)}
            for event in span.events
        ],
        "status": {"code": STATUSES.index(span.status), "message": span.message},
    }


def _nanoseconds(seconds: float) -> str:
    return str(max(0, round(seconds * BILLION)))


def _written(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _written_value(value)} for name, value in attributes.items()]


def _written_value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
