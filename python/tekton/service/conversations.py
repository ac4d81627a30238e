"""The conversations of the control plane: who takes part in them, and what is said.

* Who takes no part in a conversation is told that there is none, unless he may manage all (`conversations:manage`).
* Whoever takes part reads, and speaks in his own name. Who has begun it says who takes part, and deletes it.
* What changes something is answered when it is durable; what is read is told when it is durable.
* A request with an `Idempotency-Key` begins one conversation, and says one thing, however often it comes, also when the
  answer was lost in a crash: the id of what it makes follows from the key.
* What would be too much is refused (`conversation_limits`). What agents have to say of their tasks never is: there is
  no more of that than of what callers have said to them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from tekton.a2a.conversation import Conversation
from tekton.a2a.conversation_store import ConversationRecord, Entry, Quiet
from tekton.a2a.message import AgentMessage
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.idempotency import current_claim
from tekton.gateway.errors import PermissionDeniedError
from tekton.service.conversation_limits import ConversationLimits
from tekton.service.work import Work
from tekton.utils.tekton_errors import ConversationFullError, ConversationLimitError, ConversationNotFoundError

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
        self.limits = ConversationLimits()
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

        Raises as `Conversation`, ConversationLimitError, and the storage errors.
        """
        await self._work.check()
        if conversation_id is None and (conversation_id := id_of_request()) and self.exists(conversation_id):
            return self.find(caller, conversation_id)
        self._check_number(sender_of(caller), conversation_id)
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
        if known is None:
            self.check_room(conversation_id, message.size_bytes)
        sequence = conversation.add_message(message)
        await self._work.flush()
        if known is None:
            self.said += 1
            self._turn(conversation_id)
        return Said(sequence, message.message_id, known is not None)

    def check_room(self, conversation_id: str, size: int = 1) -> None:
        """Return if a message of *size* bytes may be said. Raises ConversationNotFoundError, ConversationFullError."""
        record = self._work.conversations.record(conversation_id)
        if record.last >= self.limits.messages:
            raise ConversationFullError(conversation_id, "messages", self.limits.messages)
        if record.size_bytes + size > self.limits.size_bytes:
            raise ConversationFullError(conversation_id, "bytes of messages", self.limits.size_bytes)

    def note(self, conversation_id: str, message: AgentMessage, owner: str) -> None:
        """Add what was said elsewhere, to a task of *owner*; who says it takes part from then on. Durable with the next
        flush.

        What it has for a context is not that of the conversation. Raises ConversationNotFoundError, also for one in
        which *owner* takes no part (that of the task was deleted, and somebody else has begun another one of the same
        id), and what the store raises.
        """
        self.admit(conversation_id, message.sender, owner)
        if not self._work.conversations.append(conversation_id, message, self._clock.time()).duplicate:
            self.said += 1
            self._turn(conversation_id)

    def admit(self, conversation_id: str, participant: str, owner: str) -> None:
        """Have *participant*, who works for *owner*, take part. Durable with the next flush. Raises as `note`."""
        participants = self._work.conversations.record(conversation_id).participants
        if owner not in participants:
            raise ConversationNotFoundError(conversation_id)
        if participant not in participants:
            everybody = (*participants, participant)
            self._work.conversations.set_participants(conversation_id, everybody, self._clock.time())
            self._turn(conversation_id)

    def drop(self, conversation_id: str) -> None:
        """Forget a conversation that nobody needs. Durable with the next flush. Raises as the store does."""
        self._work.conversations.delete(conversation_id)
        self._turn(conversation_id)

    def drop_quiet(self, conversation_id: str, since: float) -> bool:
        """As `drop`, unless something has happened in it since a time; then it stays, and False is returned."""
        if self._work.conversations.record(conversation_id).changed_at >= since:
            return False
        self.drop(conversation_id)
        return True

    def quiet(self, since: float, after: int, limit: int) -> Quiet:
        """See `ConversationStore.quiet`."""
        return self._work.conversations.quiet(since, after, limit)

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

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        await self._work.flush()

    def _check_number(self, owner: str, conversation_id: str | None) -> None:
        most = self.limits.per_owner
        is_there = conversation_id is not None and self.exists(conversation_id)
        if not is_there and self._work.conversations.count_of(owner) >= most:
            raise ConversationLimitError(conversation_id or "", owner, most)

    def _governed(self, caller: Principal, conversation_id: str) -> Conversation:
        conversation = self.find(caller, conversation_id)
        if conversation.initiator != sender_of(caller) and not caller.grants.allows(MANAGE):
            raise PermissionDeniedError(MANAGE, f"only {conversation.initiator} has begun it")
        return conversation

    def _turn(self, conversation_id: str) -> None:
        for turned in self._waiting.get(conversation_id, ()):
            turned.set()
