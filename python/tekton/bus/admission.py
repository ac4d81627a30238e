"""What may be published: at most MAX_MESSAGE bytes, not going in circles, not too late; a reply that is a subject."""

from collections.abc import Sequence

from tekton._native import SubjectTable, is_valid_subject
from tekton.bus.bus import MAX_HOPS, MAX_MESSAGE
from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import (
    InvalidSubjectError,
    MessageExpiredError,
    MessageTooLargeError,
    TooManyHopsError,
)


def check(message: Message, reply: str | None, size: int, now: float) -> None:
    """Raise InvalidSubjectError, MessageTooLargeError, TooManyHopsError or MessageExpiredError, in this order.

    *size* is how many bytes the message has as JSON, *now* in seconds since 1970.
    """
    if reply is not None:
        check_subject(reply, "is no subject to reply to")
    if size > MAX_MESSAGE:
        raise MessageTooLargeError(size, MAX_MESSAGE)
    hops = hops_of(message, reply)
    if hops > MAX_HOPS:
        raise TooManyHopsError(hops, MAX_HOPS)
    deadline = message.context.deadline
    if deadline is not None and deadline <= now:
        raise MessageExpiredError(message.message_id)


def hops_of(message: Message, reply: str | None) -> int:
    """How many messages will have caused one another when *message* was published, and answered if it asks for that."""
    return message.context.hops + (reply is not None)


def check_subject(subject: str, what: str = "is no subject") -> None:
    """Raise InvalidSubjectError, with the reason, for what is no subject."""
    if is_valid_subject(subject):
        return
    try:
        SubjectTable().match(subject)
    except ValueError as error:
        raise InvalidSubjectError(subject, f"{what}: {str(error).rpartition(': ')[2]}") from None


def admit(envelopes: Sequence[Envelope], sequence: int, now: float) -> tuple[list[Envelope], int, bool]:
    """As `Envelope.admit`, with what may be published on a bus. Raises as `check`."""
    return Envelope.admit(envelopes, sequence, now, MAX_MESSAGE, MAX_HOPS)
