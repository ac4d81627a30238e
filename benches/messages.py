"""Messages: made, written, read, routed, passed on.

    python benches/messages.py [--full]

Against msgspec (a Struct, with the tricks that it has: `Raw` for what nobody reads, a Struct of nothing but the
header), orjson with dicts, and pydantic. All have the same fields on the wire. Text is like code, with an escape every
30 characters or so; "nested" is a list of small objects. Everything that is read is checked as a whole, except where
it says "not checked".
"""

import sys
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
import orjson
import pydantic

from _measure import Contender, Gate, Prepared, compare, parser, report, verdict
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

TRACE = "550e8400-e29b-41d4-a716-446655440000"
METADATA = {"priority": "high", "timeout": 30}
CODE = """def route(message, table):
    found = table.subjects.match(message.subject)
    # what nobody has asked for goes to the rest
    log.debug(message, found)
    return found or table["rest"]
"""


class Kind(StrEnum):
    REQUEST = "request"
    RESPONSE = "response"


class Context(msgspec.Struct):
    sender: str
    recipient: str | None = None
    trace_id: str | None = None


class Struct(msgspec.Struct):
    message_id: str
    message_type: Kind
    context: Context
    metadata: dict[str, Any]
    content: Any
    timestamp: float | None = None


class Fresh(msgspec.Struct):
    message_type: Kind
    context: Context
    content: Any
    metadata: dict[str, Any]
    message_id: str = msgspec.field(default_factory=lambda: str(uuid.uuid4()))


class Lazy(msgspec.Struct):
    message_id: str
    message_type: Kind
    context: Context
    metadata: msgspec.Raw
    content: msgspec.Raw
    timestamp: float | None = None


class Header(msgspec.Struct):
    message_type: Kind
    context: Context


class Partner(pydantic.BaseModel):
    sender: str
    recipient: str | None = None
    trace_id: str | None = None


class Model(pydantic.BaseModel):
    message_id: str
    message_type: Kind
    context: Partner
    metadata: dict[str, Any]
    content: Any
    timestamp: float | None = None


CONTENTS: dict[str, Any] = {
    "small text": CODE,
    "4 KB text": CODE * 21,
    "256 KB text": CODE * 1340,
    "4 KB nested": [{"id": place, "name": f"part {place}", "score": place / 7, "on": True} for place in range(68)],
}


def built(content: Any) -> Message:
    return Message(MessageType.REQUEST, content, MessageContext("rhetor", "engram", TRACE), METADATA)


def measure_making() -> None:
    def fresh() -> Message:
        return Message(
            message_type=MessageType.REQUEST, content="x", context=MessageContext(sender="rhetor"), metadata=METADATA
        )

    def struct() -> Fresh:
        context = Context(sender="rhetor", trace_id=str(uuid.uuid4()))
        return Fresh(message_type=Kind.REQUEST, content="x", context=context, metadata=METADATA)

    fresh()  # the first one imports what it needs, and would pass for one that takes long
    outcomes = compare({"tekton": fresh, "msgspec, uuid of the library": struct}, "tekton")
    report("a message with fresh ids", outcomes, (Gate("msgspec, uuid of the library", 7),))


def measure_writing(name: str, content: Any, gates: tuple[Gate, ...]) -> None:
    decoded = msgspec.json.decode(built(content).to_json())
    encode = msgspec.json.Encoder().encode
    # A message is written once, so there is another one for each call; of the others too.
    contenders: dict[str, Contender] = {
        "tekton to_json": Prepared(lambda: built(content), Message.to_json),
        "msgspec Struct": Prepared(lambda: msgspec.convert(decoded, Struct), encode),
        "orjson": Prepared(lambda: dict(decoded), orjson.dumps),
        "pydantic": Prepared(lambda: Model(**decoded), Model.model_dump_json),
    }
    assert msgspec.json.decode(encode(msgspec.convert(decoded, Struct))) == decoded
    report(f"written, {name}", compare(contenders, "tekton to_json"), gates)


def measure_reading(name: str, data: bytes, gates: tuple[Gate, ...]) -> None:
    raw, full = msgspec.json.Decoder(Lazy).decode, msgspec.json.Decoder(Struct).decode
    contenders: dict[str, Callable[[], object]] = {
        "tekton from_json": lambda: Message.from_json(data),
        "msgspec Raw": lambda: raw(data),
        "msgspec Struct": lambda: full(data),
        "orjson": lambda: orjson.loads(data),
        "pydantic": lambda: Model.model_validate_json(data),
    }
    report(f"read, {name}", compare(contenders, "tekton from_json"), gates)


def measure_reading_all(name: str, data: bytes, gates: tuple[Gate, ...]) -> None:
    full = msgspec.json.Decoder(Struct).decode

    def ours() -> object:
        message = Message.from_json(data)
        return message.message_type, message.context, message.metadata, message.content

    contenders: dict[str, Callable[[], object]] = {"tekton, all of it": ours, "msgspec Struct": lambda: full(data)}
    report(f"read, and every field looked at, {name}", compare(contenders, "tekton, all of it"), gates)


def measure_relay(name: str, data: bytes, gates: tuple[Gate, ...]) -> None:
    header, raw = msgspec.json.Decoder(Header).decode, msgspec.json.Decoder(Lazy).decode
    encode = msgspec.json.Encoder().encode

    def ours() -> object:
        message = Message.from_json(data)
        return message.route, message.to_json()

    def keep() -> object:
        found = header(data)
        return found.message_type, found.context.sender, found.context.recipient, data

    def again() -> object:
        found = raw(data)
        return found.message_type, found.context.sender, found.context.recipient, encode(found)

    contenders = {"tekton relay": ours, "msgspec header, bytes kept": keep, "msgspec Raw, written anew": again}
    report(f"checked, routed, passed on, {name}", compare(contenders, "tekton relay"), gates)


def measure_route(name: str, data: bytes, gates: tuple[Gate, ...]) -> None:
    header = msgspec.json.Decoder(Header).decode

    def theirs() -> object:
        found = header(data)
        return found.message_type, found.context.sender, found.context.recipient

    contenders: dict[str, Callable[[], object]] = {
        "tekton peek": lambda: Message.peek(data),
        "msgspec header": theirs,
    }
    report(f"routed, not checked, {name}", compare(contenders, "tekton peek"), gates)


WRITING = {
    "small text": (Gate("msgspec Struct", 1.1), Gate("pydantic", 5)),
    "4 KB text": (Gate("msgspec Struct", 1.4), Gate("pydantic", 3)),
    "4 KB nested": (Gate("orjson", 0.9),),
}
READING = {
    "small text": (Gate("msgspec Raw", 2), Gate("pydantic", 5)),
    "4 KB text": (Gate("msgspec Raw", 2), Gate("pydantic", 3)),
    "256 KB text": (Gate("msgspec Raw", 2),),
}
RELAY = {
    "4 KB text": (Gate("msgspec header, bytes kept", 1.8),),
    "256 KB text": (Gate("msgspec header, bytes kept", 2.5),),
}
ROUTE = {"4 KB text": (Gate("msgspec header", 6),)}


def main() -> int:
    parser(__doc__).parse_args()
    measure_making()
    for name, content in CONTENTS.items():
        data = built(content).to_json()
        measure_writing(name, content, WRITING.get(name, ()))
        measure_reading(name, data, READING.get(name, ()))
        measure_reading_all(name, data, ())
        measure_relay(name, data, RELAY.get(name, ()))
        measure_route(name, data, ROUTE.get(name, ()))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
