"""A message on its way: where it was published, where an answer goes, and its place among the others."""

from dataclasses import dataclass

from tekton.mcp.message import Message

__all__ = ["Envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is published, and what a subscriber gets. A value.

    *sequence* is its place in what it is read from: of a stream the stream's own number, else the bus's; 0 before it is
    published. *time* is when the bus took it (seconds since 1970), *attempt* how often it was handed out by a stream's
    consumer, this time included (else 1), *stream* the stream that it was read from.
    """

    subject: str
    message: Message
    reply: str | None = None
    sequence: int = 0
    time: float = 0.0
    attempt: int = 1
    stream: str | None = None
