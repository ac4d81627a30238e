"""What is said around tasks, kept as conversations: the contextId of Agent2Agent is the id of one.

* A message that names no context begins a conversation, whose id follows from who says it and the id of the message:
  said again, it is in the same one.
* What a task asks is said in its conversation by the agent that does it, and so is its result, if that is not large.
  An agent of a component takes part under the name of that, which is who reads what was said.
* A task that a message has created knows that message (`Created.message_id`): its history begins there.
* A conversation that a message has begun is forgotten with the last task of it.

The ids of messages are whatever clients make up; here they are UUIDs that follow from them and from who says it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.conversation_store import ConversationStore, Entry
from tekton.a2a.message import MOST_BYTES, AgentMessage
from tekton.a2a.task import Task
from tekton.a2a.task_event import Completed, InputRequired, Leased
from tekton.a2a.task_journal import TaskChange
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.service.conversations import Conversations
from tekton.service.edge.a2a.errors import A2aError, invalid
from tekton.service.edge.a2a.parts import parts_said, said
from tekton.service.edge.a2a.views import RESULT, named_id, said_id
from tekton.service.edge.a2a.wire import Message, Role
from tekton.utils.tekton_errors import (
    AgentNotFoundError,
    ConversationExistsError,
    ConversationNotFoundError,
    InvalidContentError,
    InvalidMessageError,
    StorageError,
)

MOST_HISTORY: Final = 200
"""Messages in the history of a task: the newest ones."""
LARGE: Final = 64 * 1024
"""Bytes of a result, as JSON, from which on it is no message."""

_MARK: Final = {"begun_by": "agent2agent"}
"""What the context of a conversation says that a message has begun."""
_TOO_LARGE: Final = "(more than can be kept)"
_TASK: Final = "task_id"
_ID: Final = "message_id"
_METADATA: Final = "metadata"
_KIND: Final = "kind"

_logger = logging.getLogger("tekton.a2a")


class Known(NamedTuple):
    """As what a message is known here: who has said it, in which conversation, and its id in that."""

    sender: str
    context_id: str
    message_id: str


class Contexts:
    """The conversations of tasks, in *conversations*, whose store is *store*, with the agents of *registry*.

    *has_tasks*: whether a conversation has some.
    """

    def __init__(
        self,
        conversations: Conversations,
        store: ConversationStore,
        registry: AgentRegistry,
        has_tasks: Callable[[str], bool],
    ) -> None:
        self._conversations = conversations
        self._registry = registry
        self._has_tasks = has_tasks
        self._store = store

    # What clients say

    def known(self, caller: Principal, message: Message) -> Known:
        """As what *message* is known here."""
        sender = sender_of(caller)
        context_id = message.context_id or named_id(f"{sender}\n{message.message_id}\ncontext")
        return Known(sender, context_id, named_id(f"{sender}\n{message.message_id}"))

    def has(self, caller: Principal, known: Known) -> bool:
        """Whether *caller* has the conversation to which the message belongs already."""
        try:
            self._conversations.find(caller, known.context_id)
        except ConversationNotFoundError:
            return False
        return True

    def task_of(self, known: Known, message: Message) -> str | None:
        """The id of the task to which *message* was said before; None for one that is new.

        Raises A2aError for another message that the same caller has given the same id.
        """
        entry = self._entry(known.context_id, known.message_id)
        if entry is None or entry.message.sender != known.sender:
            return None
        before = entry.message
        metadata = None if message.metadata is UNSET else message.metadata
        same = before.content == said(message.parts) and before.context.get(_METADATA) == metadata
        if not same and before.content != _TOO_LARGE:
            raise taken()
        found = before.context.get(_TASK)
        return found if isinstance(found, str) else None

    async def open(self, caller: Principal, known: Known, agent: Agent | None) -> bool:
        """Have the conversation to which the message belongs, in which *agent* takes part if it is a new one.

        True: it is. Durable with what is written next. Raises A2aError for one in which *caller* takes no part,
        InvalidConversationError, ConversationFullError, ConversationLimitError, and the storage errors.
        """
        try:
            if known.sender not in self._conversations.find(caller, known.context_id).participants:
                raise _not_yours()
            self._conversations.check_room(known.context_id)
        except ConversationNotFoundError:
            try:
                others = [] if agent is None else [_name(agent)]
                await self._conversations.begin(
                    caller, others, conversation_id=known.context_id, context=_MARK, at_once=False
                )
            except ConversationExistsError:
                raise _not_yours() from None
            return True
        return False

    def close(self, known: Known) -> None:
        """Forget the conversation that was begun for nothing, unless somebody else has begun to use it."""
        if not self._store.record(known.context_id).last and not self._has_tasks(known.context_id):
            self._conversations.drop(known.context_id)

    def check_room(self, task: Task) -> None:
        """Return if more can be said to *task*. Raises ConversationFullError."""
        with suppress(ConversationNotFoundError):  # there is none, or somebody has deleted it
            self._conversations.check_room(task.created.conversation_id)

    def check(self, message: Message) -> None:
        """Return if what *message* says can be kept. Raises A2aError."""
        if any(part.data is not UNSET or part.metadata is not UNSET for part in message.parts):  # texts can, and files
            _check("message.parts", said(message.parts))
        if message.metadata is not UNSET and not all(isinstance(one, str) for one in message.metadata.values()):
            _check("message.metadata", message.metadata)

    def say(self, known: Known, message: Message, task: Task) -> None:
        """Keep *message*, which was said to *task*, if there is a conversation. Durable with what is written next."""
        if not task.created.conversation_id:
            return
        context: dict[str, Any] = {_TASK: task.task_id, _ID: message.message_id}
        more = {} if message.metadata is UNSET else {_METADATA: message.metadata}
        now = self._conversations.now()
        try:
            kept = AgentMessage(known.sender, said(message.parts), context | more, known.message_id, now)
        except (InvalidContentError, InvalidMessageError):  # numbers, written out, may have become too long
            kept = AgentMessage(known.sender, _TOO_LARGE, context, known.message_id, now)
        with suppress(ConversationNotFoundError):  # somebody has deleted it
            self._conversations.note(task.created.conversation_id, kept, task.owner)

    # What is told of it

    def history(self, task: Task, length: int | None = None) -> list[Message]:
        """What was said of *task*, the last *length* messages of it, or as many as there may be."""
        most = MOST_HISTORY if length is None else min(length, MOST_HISTORY)
        created = task.created
        first = None
        if created.message_id and most:
            first = self._sequence(created.conversation_id, created.message_id)
        if first is None:
            return []
        entries = self._store.read(created.conversation_id, first - 1, MOST_HISTORY)
        if entries and entries[-1].sequence < self._store.record(created.conversation_id).last:
            entries = [*entries, *self._behind(task, entries[-1].sequence, most)]
        return [_message(task, entry.message) for entry in entries if _belongs(task, entry.message)][-most:]

    # What agents say

    def follow(self, change: TaskChange) -> None:
        """Something has happened to a task: have it said, if it is something to be said."""
        task, event = change.task, change.event
        if not task.created.message_id or not task.created.conversation_id:
            return
        if isinstance(event.change, Leased) and event.change.agent_id:
            with suppress(ConversationNotFoundError):  # somebody has deleted it
                self._conversations.admit(task.created.conversation_id, self._agent(task), task.owner)
        elif isinstance(event.change, InputRequired):
            self._tell(task, event.change.step, event.change.question)
        elif isinstance(event.change, Completed) and event.change.result is not None:
            self._tell(task, RESULT, event.change.result)

    def forgotten(self, task: Task) -> None:
        """*task* was forgotten: so is its conversation, if a message has begun that, and there is no other task."""
        context_id = task.created.conversation_id
        if not task.created.message_id or self._has_tasks(context_id):
            return
        try:
            if self._store.record(context_id).context.items() >= _MARK.items():
                self._conversations.drop(context_id)
        except (ConversationNotFoundError, StorageError) as error:
            _logger.debug("the conversation %s is left as it is: %s", context_id, error)

    def catch_up(self, task: Task) -> None:
        """Have said what *task* asks, if that was not before: a crash may have come in between."""
        if task.question is None or not task.created.message_id:
            return
        if self._sequence(task.created.conversation_id, said_id(task.task_id, task.question.step)) is None:
            self._tell(task, task.question.step, task.question.question)

    def _tell(self, task: Task, what: str, content: Any) -> None:
        context = {_TASK: task.task_id, _KIND: RESULT if what == RESULT else "question"}
        try:
            message = AgentMessage(
                self._agent(task),
                content,
                context,
                said_id(task.task_id, what),
                self._conversations.now(),
                parent_id=task.created.message_id,
            )
            if message.size_bytes <= LARGE:
                self._conversations.note(task.created.conversation_id, message, task.owner)
        except InvalidContentError:
            _logger.debug("what task %s has said is no message", task.task_id)
        except ConversationNotFoundError:
            _logger.debug("the conversation of task %s was deleted", task.task_id)

    def _agent(self, task: Task) -> str:
        """As who the agent that works on *task* takes part."""
        agent_id = task.agent_id or task.created.agent_id
        try:
            return _name(self._registry.get_agent(agent_id))
        except AgentNotFoundError:
            return agent_id or "agent"

    def _behind(self, task: Task, sequence: int, most: int) -> list[Entry]:
        """What was said of *task* behind the message *sequence* of its conversation, where others say much, too."""
        context_id = task.created.conversation_id
        sequences = [self._sequence(context_id, id_) for id_ in islice(_ids(task), most)]
        found = sorted(one for one in sequences if one is not None and one > sequence)
        return [entry for one in found for entry in self._store.read(context_id, one - 1, 1)]

    def _entry(self, context_id: str, message_id: str) -> Entry | None:
        sequence = self._sequence(context_id, message_id)
        if sequence is None:
            return None
        return next(iter(self._store.read(context_id, sequence - 1, 1)), None)

    def _sequence(self, context_id: str, message_id: str) -> int | None:
        try:
            return self._store.sequence_of(context_id, message_id)
        except ConversationNotFoundError:
            return None


def taken() -> A2aError:
    """The error for another message with the id of one that was said before."""
    return invalid("message.messageId", "another message of yours has it; give each one its own")


def _name(agent: Agent) -> str:
    return agent.component_id or agent.agent_id


def _ids(task: Task) -> Iterator[str]:
    """The ids of what was asked and answered in *task*, the newest first."""
    if task.question is not None:
        yield said_id(task.task_id, task.question.step)
    for step in reversed(tuple(task.answers)):
        yield task.answers[step]
        yield said_id(task.task_id, step)


def _check(field: str, value: Any) -> None:
    try:
        as_json(value, MOST_BYTES)
    except GarbageError as error:
        raise invalid(field, str(error)) from None


def _belongs(task: Task, message: AgentMessage) -> bool:
    return message.context.get(_TASK) == task.task_id and message.context.get(_KIND) != RESULT


def _message(task: Task, message: AgentMessage) -> Message:
    context = message.context
    asks = context.get(_KIND) is not None
    return Message(
        message_id=str(context.get(_ID) or message.message_id),
        context_id=task.created.conversation_id,
        task_id=task.task_id,
        role=Role.AGENT if asks else Role.USER,
        parts=parts_said(message.content),
        metadata=context.get(_METADATA, UNSET),
    )


def _not_yours() -> Exception:
    return invalid("message.contextId", "it cannot be used; leave it out, and there will be a new one")
