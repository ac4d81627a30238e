"""What a bus client and the control plane say to one another on `/ws`: docs/reference/websocket-and-events.md."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tekton.bus.batches import parts
from tekton.bus.bus import MAX_MESSAGE, ConsumerSettings, Receipt
from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message
from tekton.utils.http_problems import error_from_answer
from tekton.utils.tekton_errors import MessageTooLargeError, TektonError

__all__ = [
    "Frame",
    "batches",
    "consuming",
    "envelope_of",
    "error_of",
    "operation",
    "publishing",
    "read_frame",
    "receipts_of",
    "settling",
]

_REFUSED = 400


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame of the control plane: `t` says which members count. Nothing has the id 0."""

    t: str = ""
    op: str = ""
    id: int = 0
    subject: str = ""
    sequence: int = 0
    time: float = 0.0
    reply: str | None = None
    stream: str | None = None
    attempt: int = 1
    message: msgspec.Raw = msgspec.Raw(b"null")
    duplicate: bool = False
    receipts: list[tuple[int, str | None, bool]] | None = None
    lost: int = 0
    sequences: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    retry: float = 1.0
    ack_wait: float = math.inf


_decoder: "msgspec.json.Decoder[Frame]" = msgspec.json.Decoder(Frame)


def read_frame(text: str) -> Frame:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(text)


def envelope_of(frame: Frame) -> Envelope:
    """What a frame `msg` brings. Raises MessageError."""
    return Envelope(
        frame.subject,
        Message.from_json(bytes(frame.message)),
        frame.reply,
        frame.sequence,
        frame.time,
        frame.attempt,
        frame.stream,
    )


def receipts_of(frame: Frame) -> list[Receipt]:
    """The receipts of a frame `published`, in the order of what was published."""
    if frame.receipts is not None:
        return [Receipt(*receipt) for receipt in frame.receipts]
    return [Receipt(frame.sequence, frame.stream, frame.duplicate)]


def error_of(text: str) -> TektonError:
    """The error that a frame `error` tells of."""
    return error_from_answer(_REFUSED, text.encode())


def operation(op: str, number: int, **members: Any) -> bytes:
    """An operation; members that are None are left out."""
    given = {name: value for name, value in members.items() if value is not None}
    return msgspec.json.encode({"op": op, "id": number, **given})


def publishing(number: int, envelope: Envelope) -> bytes:
    """The operation that publishes one message. Raises MessageTooLargeError, and what `Message.to_json` raises."""
    body = envelope.message.to_json()
    if len(body) > MAX_MESSAGE:
        raise MessageTooLargeError(len(body), MAX_MESSAGE)
    head = operation("pub", number, subject=envelope.subject, reply=envelope.reply)
    return b'%b,"message":%b}' % (head[:-1], body)


def batches(envelopes: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    """*envelopes* in order, in parts that one frame can have. Raises MessageTooLargeError."""
    for envelope in envelopes:
        if envelope.size > MAX_MESSAGE:
            raise MessageTooLargeError(envelope.size, MAX_MESSAGE)
    return parts(envelopes)


def consuming(number: int, stream: str, consumer: str, settings: ConsumerSettings | None, credit: int) -> bytes:
    """The operation that begins to consume."""
    return operation("consume", number, stream=stream, consumer=consumer, settings=settings, credit=credit)


def settling(op: str, number: int, sequences: Sequence[int], detail: dict[str, Any]) -> bytes:
    """The operation that says what became of deliveries."""
    return operation(op, number, sequences=sequences, **detail)
