"""A conversation of agents: who takes part, what was said, and what all of them know.

    conversation = Conversation("550e8400-e29b-41d4-a716-446655440000", "user_agent", ["user_agent", "code_assistant"])
    conversation.add_message(AgentMessage("user_agent", "Can you help me?", {"language": "python"}))
    conversation.get_history()

Rules:

* Only participants speak. A message whose id is there already is not added again.
* What a message says in its context is merged into that of the conversation (RFC 7396): a null takes a member away.
* Messages are numbered in the order in which they were added, whatever times they claim.
* Nothing of what was said is kept here, but in the store: without one, in one of its own, in memory. Calls apply at
  once; they are durable when `flush` has returned, if the store has a disk.

Several objects may speak for one conversation of one store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from tekton._native import uuid7
from tekton.a2a.conversation_export import as_json_text, as_markdown, transcript
from tekton.a2a.conversation_store import ConversationRecord, ConversationStore, Entry, MemoryConversationStore
from tekton.a2a.merge_patch import merged
from tekton.a2a.message import AgentMessage, is_name
from tekton.a2a.summary import SENTENCES, sampled, summary_of
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.tekton_errors import (
    ConversationFullError,
    CursorExpiredError,
    InvalidConversationError,
    NotParticipantError,
)

__all__ = ["Conversation", "Entry", "HistoryPage", "Summarizer"]

MOST_PARTICIPANTS: Final = 256
MOST_CONTEXT: Final = 256 * 1024
"""Bytes of the context of a conversation, as JSON."""
MOST_AT_ONCE: Final = 10_000
"""How many messages one call gives, at most."""
TRANSCRIPT: Final = 64 * 1024
"""Characters that a model is given of a conversation, at most."""

Summarizer = Callable[[str], Awaitable[str]]
"""A model, or whatever leads to one: it is given a transcript, and returns a summary of it."""


class HistoryPage(NamedTuple):
    """Some messages in order, with their numbers; *after* is where the next page begins, None when there is none."""

    entries: list[Entry]
    after: int | None


class Conversation:
    """A conversation, in *store*. It holds nothing but its id."""

    __slots__ = ("_clock", "_id", "_store")

    def __init__(
        self,
        conversation_id: str | None,
        initiator: str,
        participants: Iterable[str] = (),
        *,
        context: Mapping[str, Any] | None = None,
        store: ConversationStore | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Begin a conversation; with None for an id it has a fresh one. The *initiator* takes part in it in any case.

        *context* is what all of them know from the beginning. Raises InvalidConversationError,
        ConversationExistsError, ConversationFullError for a context that is too large, and what the store raises.
        """
        self._id = uuid7() if conversation_id is None else conversation_id
        self._store = MemoryConversationStore() if store is None else store
        self._clock = clock
        self._check_name("/conversation_id", self._id)
        self._check_name("/initiator", initiator)
        if isinstance(participants, str):
            raise self._invalid("/participants", "expected a list of names, got one text")
        everybody = tuple(dict.fromkeys((initiator, *participants)))
        self._check_participants(everybody)
        now = clock.time()
        known = self._merged({}, context or {})
        self._store.create(ConversationRecord(self._id, initiator, everybody, now, now, known))

    @classmethod
    def resume(cls, conversation_id: str, store: ConversationStore, *, clock: Clock = SYSTEM_CLOCK) -> "Conversation":
        """Go on with a conversation of *store*. Raises ConversationNotFoundError."""
        store.record(conversation_id)
        conversation = cls.__new__(cls)
        conversation._id, conversation._store, conversation._clock = conversation_id, store, clock
        return conversation

    @property
    def conversation_id(self) -> str:
        """Its id."""
        return self._id

    @property
    def record(self) -> ConversationRecord:
        """All of it but what was said, as it is now. Raises ConversationNotFoundError when it was deleted."""
        return self._store.record(self._id)

    @property
    def initiator(self) -> str:
        """Who has begun it."""
        return self.record.initiator

    @property
    def participants(self) -> tuple[str, ...]:
        """Who takes part, in the order in which they came."""
        return self.record.participants

    @property
    def context(self) -> Mapping[str, Any]:
        """What all of them know: what the messages have said in their contexts, merged. Do not change it."""
        return self.record.context

    def __len__(self) -> int:
        """How many messages it has."""
        return self.record.last

    def __bool__(self) -> bool:
        """True, also when nothing has been said yet."""
        return True

    def add_participant(self, participant: str) -> None:
        """Let somebody take part, if he does not yet. Raises InvalidConversationError, ConversationFullError."""
        record = self.record
        if participant not in record.participants:
            self._check_name("/participants", participant)
            if len(record.participants) >= MOST_PARTICIPANTS:
                raise ConversationFullError(self._id, "participants", MOST_PARTICIPANTS)
            self._store.set_participants(self._id, (*record.participants, participant), self._clock.time())

    def remove_participant(self, participant: str) -> None:
        """Let somebody take part no longer; what he has said stays. Raises NotParticipantError.

        Raises InvalidConversationError for the initiator, whose conversation it is.
        """
        record = self.record
        if participant not in record.participants:
            raise NotParticipantError(self._id, participant)
        if participant == record.initiator:
            raise self._invalid("/participants", f"{participant} has begun it, and stays")
        left = tuple(one for one in record.participants if one != participant)
        self._store.set_participants(self._id, left, self._clock.time())

    def set_participants(self, participants: Iterable[str]) -> None:
        """Have these take part, and the initiator; what others have said stays. Raises InvalidConversationError."""
        if isinstance(participants, str):
            raise self._invalid("/participants", "expected a list of names, got one text")
        everybody = tuple(dict.fromkeys((self.initiator, *participants)))
        self._check_participants(everybody)
        self._store.set_participants(self._id, everybody, self._clock.time())

    def add_message(self, message: AgentMessage) -> int:
        """Add *message*; returns its number. One that is there already keeps the number that it has.

        Raises NotParticipantError, ConversationFullError when the context would be too large, and what the store
        raises; nothing is changed then. O(context) where the message has some, else O(1).
        """
        record = self.record
        if message.sender not in record.participants:
            raise NotParticipantError(self._id, message.sender)
        context = None
        if message.context and self._store.sequence_of(self._id, message.message_id) is None:
            context = self._merged(record.context, message.context)
        return self._store.append(self._id, message, self._clock.time(), context).sequence

    def get_history(self, since: str | None = None, limit: int = 1000) -> list[AgentMessage]:
        """The newest *limit* messages, in order; or, *since* a message id, those that came after it.

        Fewer, the first of them, where they are more than 16 MiB together; `page` goes through all. Raises
        CursorExpiredError for an id that is not in it, ValueError for a limit that is not 1 to 10,000.
        """
        _check_limit(limit)
        after = self._sequence(since) if since is not None else max(0, len(self) - limit)
        return [entry.message for entry in self._store.read(self._id, after, limit)]

    def page(self, after: int = 0, limit: int = 1000) -> HistoryPage:
        """Up to *limit* messages behind number *after*, as many as 16 MiB hold, but one at least."""
        _check_limit(limit)
        entries = self._store.read(self._id, after, limit)
        more = bool(entries) and entries[-1].sequence < len(self)
        return HistoryPage(entries, entries[-1].sequence if more else None)

    def messages(self) -> Iterator[AgentMessage]:
        """All messages, in order; a page of them is in memory at a time. Those that come meanwhile are among them."""
        after: int | None = 0
        while after is not None:
            entries, after = self.page(after)
            yield from (entry.message for entry in entries)

    def generate_summary(self, sentences: int = SENTENCES) -> str:
        """The *sentences* that say most of what was said, in their order, each with who said it.

        Nothing is made up: they are taken out as they are (`tekton.a2a.summary`). The same conversation gives the same
        summary. Of a long one, a sample of a thousand messages is looked at: its time is bounded.
        """
        return summary_of(sampled(self._store, self._id, len(self)), sentences)

    async def summarize(self, model: Summarizer, *, timeout: float = 60.0) -> str:
        """The summary that *model* makes of the transcript: all of it, or its beginning and its end.

        Raises TimeoutError after *timeout* seconds, TypeError for an answer that is no text, and what the model raises.
        """
        async with asyncio.timeout(timeout):
            summary = await model(transcript(sampled(self._store, self._id, len(self)), TRANSCRIPT))
        if not isinstance(summary, str):
            raise TypeError(f"a model has to answer with a text, not with {type(summary).__name__}")
        return summary

    def export(self, format: Literal["markdown", "json"] = "markdown") -> Iterator[str]:  # noqa: A002 - what it is
        """All of it as Markdown, or as one JSON object, in pieces: a page of messages is in memory at a time."""
        if format == "markdown":
            return as_markdown(self.record, self.messages())
        if format == "json":
            return as_json_text(self.record, self.messages())
        raise ValueError(f"no conversation is exported as {format!r}")

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        await self._store.flush()

    def _sequence(self, message_id: str) -> int:
        sequence = self._store.sequence_of(self._id, message_id)
        if sequence is None:
            raise CursorExpiredError(f"message {message_id[:64]!r} is not in conversation {self._id}")
        return sequence

    def _merged(self, context: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
        result = merged(context, patch)
        try:
            as_json(result, MOST_CONTEXT)
        except GarbageError:
            raise ConversationFullError(self._id, "bytes of context", MOST_CONTEXT) from None
        return result

    def _check_participants(self, participants: tuple[str, ...]) -> None:
        if len(participants) > MOST_PARTICIPANTS:
            raise self._invalid("/participants", f"more than {MOST_PARTICIPANTS}")
        for participant in participants:
            self._check_name("/participants", participant)

    def _check_name(self, pointer: str, name: str) -> None:
        if not is_name(name):
            raise self._invalid(pointer, f"{str(name)[:64]!r} is no name")

    def _invalid(self, field: str, problem: str) -> InvalidConversationError:
        return InvalidConversationError(str(self._id)[:255], field, problem)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_AT_ONCE:
        raise ValueError(f"expected a limit of 1 to {MOST_AT_ONCE}, got {limit}")
