"""Conversations as they are shown over HTTP: the shapes, and how they are made."""

from typing import Any, Self

import msgspec

from tekton.a2a.conversation_store import ConversationRecord, Entry


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without what was said in it: `messages` is how many were, `size_bytes` what they take. Times
    are in seconds since 1970."""

    conversation_id: str
    initiator: str
    participants: tuple[str, ...]
    context: dict[str, Any]
    created_at: float
    changed_at: float
    messages: int
    size_bytes: int

    @classmethod
    def of(cls, record: ConversationRecord) -> Self:
        """What is shown of *record*."""
        return cls(
            conversation_id=record.conversation_id,
            initiator=record.initiator,
            participants=record.participants,
            context=dict(record.context),
            created_at=record.created_at,
            changed_at=record.changed_at,
            messages=record.last,
            size_bytes=record.size_bytes,
        )


class ConversationPage(msgspec.Struct, frozen=True):
    """One page of a list, by id. `cursor` continues it; null: that was all."""

    items: list[ConversationView]
    cursor: str | None


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """A message, and its number in its conversation."""

    sequence: int
    message_id: str
    timestamp: float
    sender: str
    content: Any
    context: dict[str, Any]
    parent_id: str | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """What is shown of *entry*."""
        message = entry.message
        return cls(
            sequence=entry.sequence,
            message_id=message.message_id,
            timestamp=message.timestamp,
            sender=message.sender,
            content=message.content,
            context=dict(message.context),
            parent_id=message.parent_id,
        )


class MessagePage(msgspec.Struct, frozen=True):
    """Some messages, the oldest first. `cursor` is the `after` of the next page; null: there are no more by now."""

    items: list[MessageView]
    cursor: int | None


class SaidView(msgspec.Struct, frozen=True):
    """A message that is in the conversation: its number. A `duplicate` was there before."""

    sequence: int
    message_id: str
    duplicate: bool


class SummaryView(msgspec.Struct, frozen=True):
    """The sentences that say most of what was said, as they were said."""

    summary: str
