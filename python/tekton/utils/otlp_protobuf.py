"""Spans in protobuf. The numbers are those of the fields in opentelemetry/proto/trace/v1/trace.proto and its kin."""

import struct
from binascii import b2a_base64
from collections.abc import Iterator
from typing import Final

from tekton.core.tracing.span import MAX_ATTRIBUTES, MAX_EVENTS, MAX_NAME, MAX_TEXT, SpanEvent, Value, put
from tekton.utils import protobuf_wire as wire
from tekton.utils.otlp_spans import BILLION, DEEPEST, MAX_ITEMS, Draft, Received, flat, keep, who_is

MAX_FIELDS: Final = 500_000
"""In one request. Those of 4096 spans with 20 attributes are 400,000."""


def read_protobuf(content: bytes, received: Received) -> None:
    """Take up the spans of the request *content*. Raises ValueError; TooManyFieldsError is one."""
    message = wire.Reader(content, MAX_FIELDS)
    for start, stop in _messages(message, 0, len(content), 1):
        _read_resource_spans(message, start, stop, received)


def _messages(message: wire.Reader, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the fields with that number and a length lie."""
    for number, kind, start, stop in message.fields(at, end):
        if number == wanted and kind == wire.LENGTH:
            yield start, stop


def _read_resource_spans(message: wire.Reader, at: int, end: int, received: Received) -> None:
    # The resource may come after the spans that are its own.
    resource: dict[str, Value] = {}
    for start, stop in _messages(message, at, end, 1):
        for pair in _messages(message, start, stop, 1):
            name, value = _pair(message, *pair)
            if name.startswith("service."):
                put(resource, {name: flat(value)})
    who = who_is(resource)
    for scope in _messages(message, at, end, 2):
        for start, stop in _messages(message, *scope, 2):
            keep(received, who, lambda start=start, stop=stop: _draft(message, start, stop))  # type: ignore[misc]


def _draft(message: wire.Reader, at: int, end: int) -> Draft:
    draft = Draft()
    for number, kind, a, b in message.fields(at, end):
        if kind == wire.LENGTH:
            _take_content(draft, number, message, a, b)
        elif kind == wire.FIXED64 and number in (7, 8):
            setattr(draft, "start" if number == 7 else "end", a)
        elif kind == wire.VARINT and number == 6:
            draft.kind = wire.signed(a)
        elif kind == wire.VARINT and number in (10, 12):
            draft.dropped += a % 2**32
    return draft


def _take_content(draft: Draft, number: int, message: wire.Reader, a: int, b: int) -> None:  # noqa: C901 - a table of fields
    match number:
        case 1:
            draft.trace_id = _hex(message, a, b, 16)
        case 2:
            draft.span_id = _hex(message, a, b, 8)
        case 4:
            draft.parent_id = _hex(message, a, b, 8)
        case 5:
            draft.name = _text(message, a, b)
        case 9 if len(draft.attributes) < MAX_ATTRIBUTES:
            draft.attribute(*_pair(message, a, b))
        case 11 if len(draft.events) < MAX_EVENTS:
            draft.events.append(_event(message, a, b))
        case 9 | 11 | 13:
            draft.dropped += 1
        case 15:
            for field_number, kind, start, stop in message.fields(a, b):
                if (field_number, kind) == (2, wire.LENGTH):
                    draft.message = _text(message, start, stop)
                elif (field_number, kind) == (3, wire.VARINT):
                    draft.status = wire.signed(start)


def _event(message: wire.Reader, at: int, end: int) -> SpanEvent:
    name, instant = "", 0
    attributes: dict[str, Value] = {}
    for number, kind, a, b in message.fields(at, end):
        if (number, kind) == (1, wire.FIXED64):
            instant = a
        elif (number, kind) == (2, wire.LENGTH):
            name = _text(message, a, b)
        elif (number, kind) == (3, wire.LENGTH) and len(attributes) < MAX_ATTRIBUTES:
            key, value = _pair(message, a, b)
            put(attributes, {key: flat(value)})
    return SpanEvent(name[:MAX_NAME], instant / BILLION, attributes)


def _pair(message: wire.Reader, at: int, end: int, depth: int = 0) -> tuple[str, object]:
    key: str = ""
    value: object = ""
    for number, kind, a, b in message.fields(at, end):
        if kind == wire.LENGTH and number == 1:
            key = _text(message, a, b)
        elif kind == wire.LENGTH and number == 2:
            value = _any(message, a, b, depth)
    return key, value


def _any(message: wire.Reader, at: int, end: int, depth: int) -> object:
    value: object = ""
    for number, kind, a, b in message.fields(at, end):
        match number, kind:
            case 1, wire.LENGTH:
                value = _text(message, a, b)
            case 2, wire.VARINT:
                value = a != 0
            case 3, wire.VARINT:
                value = wire.signed(a)
            case 4, wire.FIXED64:
                value = _double(a)
            case 5 | 6, wire.LENGTH:
                value = _many(message, a, b, depth + 1, pairs=number == 6)
            case 7, wire.LENGTH:
                value = b2a_base64(message.data[a : min(b, a + MAX_TEXT)], newline=False).decode()
    return value


def _many(message: wire.Reader, at: int, end: int, depth: int, *, pairs: bool) -> object:
    """An array, or a list of pairs as an object; the first of its items only."""
    if depth > DEEPEST:
        return "…"
    places = (place for place, _ in zip(_messages(message, at, end, 1), range(MAX_ITEMS)))
    if pairs:
        return dict(_pair(message, *place, depth) for place in places)
    return [_any(message, *place, depth) for place in places]


def _double(bits: int) -> float:
    (value,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    return float(value)


def _hex(message: wire.Reader, at: int, end: int, length: int) -> str:
    return message.data[at:end].hex() if end - at == length else ""


def _text(message: wire.Reader, at: int, end: int) -> str:
    # Four bytes a character at most; what a cut leaves of the last one is no reason to refuse it.
    if end - at <= 4 * MAX_TEXT:
        return message.data[at:end].decode()
    return message.data[at : at + 4 * MAX_TEXT].decode(errors="ignore")
