"""The course of a message: what is done because of it, and what is said because of it.

    with in_course_of(message):
        await handler(message)

What is published in there is caused by the message, whether it was made with `message.follow` or not: it has one hop
more, and, unless it names another parent, the message as its parent. So messages that cause one another in a circle
come to an end, whoever has written their contexts.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.causes import CAUSE, Cause

__all__ = ["caused", "due", "fingerprint", "in_course_of", "undated"]

_MOST_HOPS: Final = 255
_BESIDE: Final = frozenset({"timeout", "hears"})
"""Members of the metadata that are about the answer: how long it may take, and what is heard until then."""


@contextmanager
def in_course_of(message: Message) -> Iterator[None]:
    """What is published in here, and in tasks and threads that are begun here, is caused by *message*."""
    token = CAUSE.set(Cause(message.message_id, message.context.hops))
    try:
        yield
    finally:
        CAUSE.reset(token)


def caused(message: Message) -> Message:
    """*message* as it is published here: itself, unless something has caused it that its context does not tell."""
    cause = CAUSE.get()
    if cause is None:
        return message
    context = message.context
    hops = min(max(context.hops, cause.hops + 1), _MOST_HOPS)
    # What is passed on as it came is no child of itself.
    own = context.parent_id is None and message.message_id != cause.message_id
    if not own and hops == context.hops:
        return message
    return _with(message, parent_id=cause.message_id if own else context.parent_id, hops=hops)


def due(message: Message, deadline: float) -> Message:
    """*message*, after *deadline* (seconds since 1970) of no interest, or earlier if it says so."""
    said = message.context.deadline
    return message if said is not None and said <= deadline else _with(message, deadline=deadline)


def undated(message: Message) -> Message:
    """*message* without a deadline: an answer that is kept is one for who asks again later, too."""
    return message if message.context.deadline is None else _with(message, deadline=None)


_NULL: Final = msgspec.Raw(b"null")


class _Said(msgspec.Struct, frozen=True):
    message_type: str
    content: msgspec.Raw = _NULL
    metadata: dict[str, msgspec.Raw] | None = None


def fingerprint(message: Message) -> bytes:
    """A digest of what *message* says: type, content and metadata, and not when, to whom and for how long. O(bytes).

    Raises what `Message.to_json` raises.
    """
    said = msgspec.json.decode(message.to_json(), type=_Said)
    more = sorted((name, bytes(value)) for name, value in (said.metadata or {}).items() if name not in _BESIDE)
    parts = msgspec.msgpack.encode((said.message_type, bytes(said.content), more))
    return hashlib.blake2b(parts, digest_size=16).digest()


def _with(message: Message, **changes: Any) -> Message:
    """*message*, the same one, with another context."""
    context = message.context
    fields = {"parent_id": context.parent_id, "deadline": context.deadline, "hops": context.hops} | changes
    return Message(
        message.message_type,
        message.content,
        MessageContext(context.sender, context.recipient, context.trace_id, **fields),
        message.metadata,
        message_id=message.message_id,
        timestamp=message.timestamp,
    )
