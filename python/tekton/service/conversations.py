"""The conversations of the control plane: who takes part in them, and what is said.

* Who takes no part in a conversation is told that there is none, unless he may manage all (`conversations:manage`).
* Whoever takes part reads, and speaks in his own name. Who has begun it says who takes part, and deletes it.
* What changes something is answered when it is durable; what is read is told when it is durable.
* A request with an `Idempotency-Key` begins one conversation, and says one thing, however often it comes, also when the
  answer was lost in a crash: the id of what it makes follows from the key.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from tekton.a2a.conversation import Conversation
from tekton.a2a.conversation_store import ConversationRecord, Entry
from tekton.a2a.message import AgentMessage
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.idempotency import current_claim
from tekton.gateway.errors import PermissionDeniedError
from tekton.service.work import Work
from tekton.utils.tekton_errors import ConversationNotFoundError

USE: Final = "conversations:use"
MANAGE: Final = "conversations:manage"
"""Who may do this may do with all conversations what those can who have begun them; but speaks in his own only."""


class Said(NamedTuple):
    """A message that is in a conversation: its number there; *duplicate* when it was there before."""

    sequence: int
    message_id: str
    duplicate: bool


def id_of_request() -> str | None:
    """The id of what the running request makes, if it has an `Idempotency-Key`: always the same for the same key."""
    claim = current_claim()
    return None if claim is None else str(UUID(claim.id))


class Conversations:
    """Conversations in *work*. All that is said in one goes through here."""

    def __init__(self, work: Work, clock: Clock = SYSTEM_CLOCK) -> None:
        self.begun = self.said = 0
        """How many were begun, and how many messages said, since the start."""
        self._work = work
        self._clock = clock
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def find(self, caller: Principal, conversation_id: str) -> Conversation:
        """A conversation in which *caller* takes part. Raises ConversationNotFoundError."""
        record = self._work.conversations.record(conversation_id)
        if sender_of(caller) not in record.participants and not caller.grants.allows(MANAGE):
            raise ConversationNotFoundError(conversation_id)
        return Conversation.resume(conversation_id, self._work.conversations, clock=self._clock)

    def of_participant(self, participant: str, after: str = "", limit: int = 100) -> list[ConversationRecord]:
        """The conversations in which *participant* takes part, by id, behind the id *after*."""
        return self._work.conversations.of_participant(participant, after, limit)

    def exists(self, conversation_id: str) -> bool:
        """Whether there is a conversation of that id. Not to be told to everybody."""
        try:
            self._work.conversations.record(conversation_id)
        except ConversationNotFoundError:
            return False
        return True

    async def begin(
        self,
        caller: Principal,
        participants: Iterable[str] = (),
        *,
        conversation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        at_once: bool = True,
    ) -> Conversation:
        """Begin a conversation of *caller* with *participants*; durable on return, or not *at_once*, with what is
        written next.

        Raises as `Conversation`, and the storage errors.
        """
        await self._work.check()
        if conversation_id is None and (conversation_id := id_of_request()) and self.exists(conversation_id):
            return self.find(caller, conversation_id)
        conversation = Conversation(
            conversation_id,
            sender_of(caller),
            participants,
            context=context,
            store=self._work.conversations,
            clock=self._clock,
        )
        if at_once:
            await self._work.flush()
        self.begun += 1
        return conversation

    async def say(self, caller: Principal, conversation_id: str, message: AgentMessage) -> Said:
        """Add *message*; durable on return.

        Raises ConversationNotFoundError, NotParticipantError, ConversationFullError, and the storage errors.
        """
        conversation = self.find(caller, conversation_id)
        await self._work.check()
        known = self._work.conversations.sequence_of(conversation_id, message.message_id)
        sequence = conversation.add_message(message)
        await self._work.flush()
        if known is None:
            self.said += 1
            self._turn(conversation_id)
        return Said(sequence, message.message_id, known is not None)

    def note(self, conversation_id: str, message: AgentMessage, owner: str) -> None:
        """Add what was said elsewhere, to a task of *owner*; who says it takes part from then on. Durable with the next
        flush.

        What it has for a context is not that of the conversation. Raises ConversationNotFoundError, also for one in
        which *owner* takes no part (that of the task was deleted, and somebody else has begun another one of the same
        id), and what the store raises.
        """
        store, now = self._work.conversations, self._clock.time()
        participants = store.record(conversation_id).participants
        if owner not in participants:
            raise ConversationNotFoundError(conversation_id)
        if message.sender not in participants:
            store.set_participants(conversation_id, (*participants, message.sender), now)
        if not store.append(conversation_id, message, now).duplicate:
            self.said += 1
            self._turn(conversation_id)

    def drop(self, conversation_id: str) -> None:
        """Forget a conversation that nobody needs. Durable with the next flush. Raises as the store does."""
        self._work.conversations.delete(conversation_id)
        self._turn(conversation_id)

    def now(self) -> float:
        """The time, in seconds since 1970."""
        return self._clock.time()

    async def set_participants(
        self, caller: Principal, conversation_id: str, participants: Iterable[str]
    ) -> Conversation:
        """Have these take part, and who has begun it; durable on return.

        Raises ConversationNotFoundError, InvalidConversationError, PermissionDeniedError, and the storage errors.
        """
        conversation = self._governed(caller, conversation_id)
        await self._work.check()
        conversation.set_participants(participants)
        await self._work.flush()
        self._turn(conversation_id)
        return conversation

    async def forget(self, caller: Principal, conversation_id: str) -> ConversationRecord:
        """Delete a conversation, and all that was said in it; durable on return. Returns what it was.

        Raises ConversationNotFoundError, PermissionDeniedError, and the storage errors.
        """
        record = self._governed(caller, conversation_id).record
        await self._work.check()
        self._work.conversations.delete(conversation_id)
        await self._work.flush()
        self._turn(conversation_id)
        return record

    async def read(self, conversation: Conversation, after: int, limit: int) -> list[Entry]:
        """Up to *limit* messages behind number *after*, all of them durable. Raises ConversationNotFoundError."""
        durable = conversation.record.last
        await self._work.settle()
        return [entry for entry in conversation.page(after, limit).entries if entry.sequence <= durable]

    async def next_change(self, conversation_id: str) -> None:
        """Wait until something is said, or others take part, or it is deleted."""
        turned = asyncio.Event()
        self._waiting[conversation_id].add(turned)
        try:
            await turned.wait()
        finally:
            self._waiting[conversation_id].discard(turned)
            if not self._waiting[conversation_id]:
                del self._waiting[conversation_id]

    async def settle(self) -> None:
        """Before something is told of conversations: see `Work.settle`."""
        await self._work.settle()

    def _governed(self, caller: Principal, conversation_id: str) -> Conversation:
        conversation = self.find(caller, conversation_id)
        if conversation.initiator != sender_of(caller) and not caller.grants.allows(MANAGE):
            raise PermissionDeniedError(MANAGE, f"only {conversation.initiator} has begun it")
        return conversation

    def _turn(self, conversation_id: str) -> None:
        for turned in self._waiting.get(conversation_id, ()):
            turned.set()
