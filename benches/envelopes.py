"""Envelopes: made, packed into batches, read from them, routed, written as the frames of a socket.

    python benches/envelopes.py [--full]

Against what one writes in Python: frozen dataclasses and msgspec Structs; `struct` in a loop for the layout of a batch;
frames by msgspec, the message put in as `Raw`. A batch has 100 envelopes with messages of 300 bytes of text. What is
packed is bytes already, as messages are that were received; "checked" says that a message was looked at as a whole,
which the loop with `struct` does not do unless it says so.
"""

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from _measure import Gate, compare, parser, report, verdict
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

BATCH = 100
TEXT = "found = table.subjects.match(message.subject)\n" * 6
HEAD = struct.Struct("<IQdIBBBB")
START = struct.Struct("<4sQI")


@dataclass(frozen=True, slots=True)
class Plain:
    subject: str
    message: Message
    reply: str | None = None
    sequence: int = 0
    time: float = 0.0
    attempt: int = 1
    stream: str | None = None


class Structure(msgspec.Struct, frozen=True):
    subject: str
    message: Message
    reply: str | None = None
    sequence: int = 0
    time: float = 0.0
    attempt: int = 1
    stream: str | None = None


class Context(msgspec.Struct):
    sender: str
    recipient: str | None = None


class Header(msgspec.Struct):
    message_type: MessageType
    context: Context


class Frame(msgspec.Struct, omit_defaults=True):
    id: int
    t: str
    subject: str
    sequence: int
    time: float
    message: msgspec.Raw
    reply: str | None = None


MESSAGE = Message(MessageType.EVENT, TEXT, MessageContext("rhetor", "engram", "t"), {"priority": "high"})
DATA = MESSAGE.to_json()


def envelopes() -> list[Envelope]:
    message = Message.from_json(DATA)
    return [
        Envelope(f"orders.eu.{number % 9}", message, "_inbox.a.b", number, 1764136800.125) for number in range(BATCH)
    ]


def loop_pack(batch_id: int, batch: list[tuple[str, str, str, int, float, int, bytes]]) -> bytes:
    pieces = [START.pack(b"TKB\x01", batch_id, len(batch))]
    add, head = pieces.append, HEAD.pack
    for subject, reply, stream, sequence, time, attempt, body in batch:
        where, answer, source = subject.encode(), reply.encode(), stream.encode()
        length = HEAD.size - 4 + len(where) + len(answer) + len(source) + len(body)
        add(head(length, sequence, time, attempt, 0, len(where), len(answer), len(source)))
        add(where + answer + source)
        add(body)
    return b"".join(pieces)


def loop_unpack(data: bytes) -> list[tuple[str, str, str, int, float, int, bytes]]:
    _, _, count = START.unpack_from(data)
    place, found, head = START.size, [], HEAD.unpack_from
    for _ in range(count):
        length, sequence, time, attempt, _, where, answer, source = head(data, place)
        end, place = place + 4 + length, place + HEAD.size
        subject = data[place : place + where].decode()
        place += where
        reply = data[place : place + answer].decode()
        place += answer
        stream = data[place : place + source].decode()
        found.append((subject, reply, stream, sequence, time, attempt, data[place + source : end]))
        place = end
    return found


def loop_subjects(data: bytes) -> list[str]:
    _, _, count = START.unpack_from(data)
    place, found, head = START.size, [], HEAD.unpack_from
    for _ in range(count):
        length, _, _, _, _, where, _, _ = head(data, place)
        found.append(data[place + HEAD.size : place + HEAD.size + where].decode())
        place += 4 + length
    return found


def measure_making() -> None:
    def made(kind: type[Any]) -> Callable[[], object]:
        return lambda: kind("orders.new", MESSAGE, None, 7, 1.5)

    contenders = {"tekton": made(Envelope), "frozen dataclass": made(Plain), "msgspec Struct": made(Structure)}
    report("an envelope is made", compare(contenders, "tekton"), (Gate("frozen dataclass", 3),))

    def read(envelope: Any) -> Callable[[], object]:
        return lambda: (envelope.subject, envelope.message, envelope.sequence, envelope.time, envelope.reply)

    values = [kind("orders.new", MESSAGE, None, 7, 1.5) for kind in (Envelope, Plain)]
    contenders = {"tekton": read(values[0]), "frozen dataclass": read(values[1])}
    report("five fields of an envelope are read", compare(contenders, "tekton"), (Gate("frozen dataclass", 0.9),))


def measure_batches() -> None:
    batch = envelopes()
    data = Envelope.pack(1, batch)
    fields = loop_unpack(data)
    assert loop_pack(1, fields) == data
    assert loop_subjects(data) == Envelope.subjects(data) == [each.subject for each in batch]

    packed: dict[str, Callable[[], object]] = {
        "tekton pack": lambda: Envelope.pack(1, batch),
        "struct loop": lambda: loop_pack(1, fields),
    }
    report("a batch of 100 is packed", compare(packed, "tekton pack"), (Gate("struct loop", 20),))
    unpacked: dict[str, Callable[[], object]] = {
        "tekton unpack, checked": lambda: Envelope.unpack(data),
        "struct loop, not checked": lambda: loop_unpack(data),
        "struct loop, each by from_json": lambda: [
            Plain(where, Message.from_json(body), answer, number, time, attempt, source)
            for where, answer, source, number, time, attempt, body in loop_unpack(data)
        ],
    }
    report(
        "a batch of 100 is unpacked",
        compare(unpacked, "tekton unpack, checked"),
        (Gate("struct loop, each by from_json", 2),),
    )


def measure_routes() -> None:
    data = Envelope.pack(1, envelopes())
    one = Envelope.pack(1, envelopes()[:1])
    decode = msgspec.json.Decoder(Header).decode

    def header() -> object:
        found = decode(DATA)
        return found.message_type, found.context.sender, found.context.recipient

    contenders: dict[str, Callable[[], object]] = {
        "tekton subjects": lambda: Envelope.subjects(one),
        "msgspec header of the JSON": header,
        "struct loop": lambda: loop_subjects(one),
    }
    gates = (Gate("msgspec header of the JSON", 4), Gate("struct loop", 2))
    report("a batch of one is routed", compare(contenders, "tekton subjects"), gates)
    contenders = {
        "tekton subjects": lambda: Envelope.subjects(data),
        "msgspec header of the JSON, 100 times": lambda: [header() for _ in range(BATCH)],
        "struct loop": lambda: loop_subjects(data),
    }
    gates = (Gate("msgspec header of the JSON, 100 times", 4), Gate("struct loop", 2))
    report("a batch of 100 is routed", compare(contenders, "tekton subjects"), gates)


def measure_frames() -> None:
    envelope = envelopes()[7]
    encode, raw = msgspec.json.Encoder().encode, msgspec.Raw(DATA)

    def theirs() -> str:
        frame = Frame(3, "msg", envelope.subject, envelope.sequence, envelope.time, raw, envelope.reply)
        return encode(frame).decode()

    assert msgspec.json.decode(theirs()) == msgspec.json.decode(envelope.frame(3))
    contenders: dict[str, Callable[[], object]] = {"tekton frame": lambda: envelope.frame(3), "msgspec, Raw": theirs}
    report("a frame is written", compare(contenders, "tekton frame"), (Gate("msgspec, Raw", 1),))


def main() -> int:
    parser(__doc__).parse_args()
    measure_making()
    measure_batches()
    measure_routes()
    measure_frames()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
