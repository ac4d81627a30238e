"""Where conversations are kept: what one asks of a store, and the store in memory.

Rules that every store keeps (one conformance suite runs over all of them):

* Calls that change something are synchronous: they apply, and queue for the disk, where there is one. What was applied
  is read at once. It is durable when a `flush` that began later has returned.
* The store numbers the messages of a conversation, from 1 on, without gaps, in the order in which they come.
* A message id that comes again in a conversation is not stored: it has the number of the first.
* What is queued together is written together, in the order in which it came, by one writer: whatever is on the disk
  after a crash is a beginning of what was said, with the context and the participants as they were then.
* A `flush` that raises StorageFullError leaves all of it queued; the next one tries again. The queue is bounded: a call
  for which there is no room raises StorageBusyError, and changes nothing. After a StorageUnknownError nothing is
  accepted any more.

Methods that only read block for one page at most, and may be called from a second thread; all others are called on one
event loop.
"""

import math
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from tekton.a2a.message import AgentMessage
from tekton.utils.tekton_errors import ConversationExistsError, ConversationNotFoundError

__all__ = ["Appended", "ConversationRecord", "ConversationStore", "Entry", "MemoryConversationStore", "Quiet"]

PAGE_BYTES: Final = 16 << 20
"""Bytes of content and context after which a page ends, however many messages it may have."""


class Entry(NamedTuple):
    """A message, and its number in its conversation."""

    sequence: int
    message: AgentMessage


class Appended(NamedTuple):
    """The number of a message; *duplicate* when it was there before."""

    sequence: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation without its messages. *last* is the number of the newest, 0 without any; *size_bytes* what all of
    them take (`AgentMessage.size_bytes`); *context* is JSON.

    Times are in seconds since 1970; *changed_at* is that of the last message or change.
    """

    conversation_id: str
    initiator: str
    participants: tuple[str, ...]
    created_at: float
    changed_at: float
    context: Mapping[str, Any] = field(default_factory=dict)
    last: int = 0
    size_bytes: int = 0


class Quiet(NamedTuple):
    """The ids of conversations in which nothing has happened since a time; of the others that were looked at, *oldest*
    is when the first was changed, infinite without any. The next ones are behind *after*, if it is not None."""

    ids: list[str]
    oldest: float
    after: int | None


class ConversationStore(Protocol):
    """Keeps conversations; see the module."""

    def create(self, record: ConversationRecord) -> None:
        """Begin a conversation. Raises ConversationExistsError."""
        ...

    def append(
        self, conversation_id: str, message: AgentMessage, at: float, context: Mapping[str, Any] | None = None
    ) -> Appended:
        """Add *message*, said *at* a time, and have *context*, if it is given, be that of the conversation.

        Of a message that is there already nothing is done. Raises ConversationNotFoundError.
        """
        ...

    def set_participants(self, conversation_id: str, participants: tuple[str, ...], at: float) -> None:
        """Have others take part. Raises ConversationNotFoundError."""
        ...

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation and all that was said in it. Raises ConversationNotFoundError."""
        ...

    def record(self, conversation_id: str) -> ConversationRecord:
        """The conversation as it is now. Raises ConversationNotFoundError."""
        ...

    def read(self, conversation_id: str, after: int, limit: int) -> list[Entry]:
        """Up to *limit* messages behind number *after*, in order; fewer where they are large, but one at least.

        Raises ConversationNotFoundError, and StorageCorruptError rather than return what is damaged.
        """
        ...

    def sequence_of(self, conversation_id: str, message_id: str) -> int | None:
        """The number of a message, None if it is not there. Raises ConversationNotFoundError."""
        ...

    def of_participant(self, participant: str, after: str = "", limit: int = 100) -> list[ConversationRecord]:
        """Conversations in which *participant* takes part, by id, behind the id *after*."""
        ...

    def count_of(self, initiator: str) -> int:
        """How many conversations there are that *initiator* has begun. O(1)."""
        ...

    def quiet(self, since: float, after: int = 0, limit: int = 500) -> Quiet:
        """Which of about *limit* conversations have not changed since *since*, in seconds since 1970.

        *after* is 0 to begin with, and then what the answer before has said.
        """
        ...

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors; see the module."""
        ...

    async def close(self) -> None:
        """Flush, and give the store free. Closing twice does nothing."""
        ...


def page_of(entries: list[Entry], limit: int) -> list[Entry]:
    """The beginning of *entries* that makes a page: so many, not too large together, but one at least."""
    size = 0
    for place, entry in enumerate(entries[:limit]):
        size += entry.message.size_bytes
        if size > PAGE_BYTES and place:
            return entries[:place]
    return entries[:limit]


@dataclass(slots=True)
class _Conversation:
    record: ConversationRecord
    entries: list[Entry] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)


class MemoryConversationStore:
    """Conversations that live as long as the object: for tests, and where nothing has to outlast the process."""

    def __init__(self) -> None:
        self._conversations: dict[str, _Conversation] = {}
        self._by_participant: dict[str, list[str]] = {}
        self._initiated: Counter[str] = Counter()

    def create(self, record: ConversationRecord) -> None:
        """See ConversationStore."""
        if record.conversation_id in self._conversations:
            raise ConversationExistsError(record.conversation_id)
        self._conversations[record.conversation_id] = _Conversation(record)
        self._initiated[record.initiator] += 1
        self._list(record)

    def append(
        self, conversation_id: str, message: AgentMessage, at: float, context: Mapping[str, Any] | None = None
    ) -> Appended:
        """See ConversationStore."""
        one = self._conversation(conversation_id)
        if (known := one.sequences.get(message.message_id)) is not None:
            return Appended(known, duplicate=True)
        last = one.record.last + 1
        one.entries.append(Entry(last, message))
        one.sequences[message.message_id] = last
        context = one.record.context if context is None else context
        size = one.record.size_bytes + message.size_bytes
        one.record = replace(one.record, last=last, changed_at=at, context=context, size_bytes=size)
        return Appended(last, duplicate=False)

    def set_participants(self, conversation_id: str, participants: tuple[str, ...], at: float) -> None:
        """See ConversationStore."""
        one = self._conversation(conversation_id)
        self._unlist(one.record)
        one.record = replace(one.record, participants=participants, changed_at=at)
        self._list(one.record)

    def delete(self, conversation_id: str) -> None:
        """See ConversationStore."""
        record = self._conversation(conversation_id).record
        self._unlist(record)
        self._initiated[record.initiator] -= 1
        del self._conversations[conversation_id]

    def record(self, conversation_id: str) -> ConversationRecord:
        """See ConversationStore."""
        return self._conversation(conversation_id).record

    def read(self, conversation_id: str, after: int, limit: int) -> list[Entry]:
        """See ConversationStore."""
        return page_of(self._conversation(conversation_id).entries[max(0, after) : max(0, after) + limit], limit)

    def sequence_of(self, conversation_id: str, message_id: str) -> int | None:
        """See ConversationStore."""
        return self._conversation(conversation_id).sequences.get(message_id)

    def of_participant(self, participant: str, after: str = "", limit: int = 100) -> list[ConversationRecord]:
        """See ConversationStore."""
        ids = self._by_participant.get(participant, [])
        found = islice(ids, bisect_right(ids, after), None)
        return [self._conversations[id_].record for id_ in islice(found, limit)]

    def count_of(self, initiator: str) -> int:
        """See ConversationStore."""
        return self._initiated[initiator]

    def quiet(self, since: float, after: int = 0, limit: int = 500) -> Quiet:
        """See ConversationStore: all of them are looked at at once."""
        del after, limit
        changed = {id_: one.record.changed_at for id_, one in self._conversations.items()}
        ids = [id_ for id_, at in changed.items() if at < since]
        return Quiet(ids, min((at for at in changed.values() if at >= since), default=math.inf), None)

    async def flush(self) -> None:
        """See ConversationStore: there is nothing to wait for."""

    async def close(self) -> None:
        """See ConversationStore: what was said stays."""

    def _conversation(self, conversation_id: str) -> _Conversation:
        try:
            return self._conversations[conversation_id]
        except KeyError:
            raise ConversationNotFoundError(conversation_id) from None

    def _list(self, record: ConversationRecord) -> None:
        for participant in record.participants:
            insort(self._by_participant.setdefault(participant, []), record.conversation_id)

    def _unlist(self, record: ConversationRecord) -> None:
        for participant in record.participants:
            ids = self._by_participant[participant]
            ids.remove(record.conversation_id)
            if not ids:
                del self._by_participant[participant]
