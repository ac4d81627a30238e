"""The operations of Agent2Agent 1.0 (specification, 3.1), whatever the binding: what they do, and what they refuse.

* A message without a task begins one; a message to a task that waits for an answer is the answer. One that was said
  before, by the same caller with the same id, has no effect, and is answered with the task that it has begun, or has
  answered. That is in the log of the task, and so is known whatever a crash has taken.
* A task of somebody else, or of another agent than the one that is spoken to, is not there.
* What is answered is durable.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tekton.a2a.agent import Agent
from tekton.a2a.task import Task
from tekton.a2a.task_manager import TaskQuery
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.background import BackgroundGroup
from tekton.clock import Clock
from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.request import Request
from tekton.service.agents import Agents
from tekton.service.edge.a2a.cards import Card, Cards, skills_of
from tekton.service.edge.a2a.contexts import Contexts, Known, taken
from tekton.service.edge.a2a.errors import A2aError, Kind, invalid, no_task
from tekton.service.edge.a2a.keyed_lock import KeyedLock
from tekton.service.edge.a2a.listing import Listing, length_of
from tekton.service.edge.a2a.parts import answer_of
from tekton.service.edge.a2a.push import Pushes
from tekton.service.edge.a2a.views import Follower, task_view
from tekton.service.edge.a2a.wanted import check_message, check_modes, timeout_of, wanted
from tekton.service.edge.a2a.wire import (
    ConfigRequest,
    ConfigsRequest,
    ListTasksRequest,
    Message,
    NoParameters,
    PushNotificationConfig,
    PushNotificationConfigs,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    TaskList,
    TaskObject,
    TaskRequest,
)
from tekton.service.open_tasks import WHOLE
from tekton.service.task_streams import follow
from tekton.service.tasks import Note, Tasks
from tekton.utils.tekton_errors import TaskNotFoundError, TaskStateError, TektonError

_LATELY: Final = 10
"""So many of the last tasks of a conversation are looked at for one whose message was lost."""
_SOON: Final = 1.0
"""Seconds after which somebody watches whether who waits for an answer is still there."""

Updates = AsyncIterator[list[StreamResponse]]


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and whom: *agent*, or the whole system if that is None."""

    request: Request
    agent: Agent | None

    @property
    def caller(self) -> Principal:
        """Who asks, as it is now."""
        return self.request.principal


class Operations:
    """What can be asked."""

    def __init__(
        self, tasks: Tasks, agents: Agents, contexts: Contexts, pushes: Pushes, *, cards: Cards, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._agents = agents
        self._contexts = contexts
        self._pushes = pushes
        self._cards = cards
        self._listing = Listing(tasks, contexts)
        self._clock = clock
        self._arriving = KeyedLock()

    # Messages

    async def send(self, call: Call, params: SendMessageRequest) -> StreamResponse:
        """SendMessage: the task, when it is over or waits for an answer, unless it is to be told at once."""
        task = await self._take(call, params)
        if params.configuration.return_immediately:
            await self._tasks.settle()
        else:
            task = await self._until_it_rests(call, task)
        return StreamResponse(task=self._view(task, params.configuration))

    async def stream(self, call: Call, params: SendMessageRequest) -> Updates:
        """SendStreamingMessage: the task, and what happens to it until it is over or waits for an answer."""
        task = await self._take(call, params)
        await self._tasks.settle()
        return self._updates(call, task, params.configuration, rests=True)

    async def subscribe(self, call: Call, params: TaskRequest) -> Updates:
        """SubscribeToTask: the task, and what happens to it until it is over."""
        task = self._find(call, params.id)
        if task.state.over:
            raise A2aError(
                Kind.UNSUPPORTED_OPERATION, f"the task is over: {task.state}", metadata={"taskId": params.id}
            )
        await self._tasks.settle()
        return self._updates(call, self._find(call, params.id), SendMessageConfiguration(), rests=False)

    # Tasks

    async def get(self, call: Call, params: TaskRequest) -> TaskObject:
        """GetTask."""
        length = length_of("historyLength", params.history_length)
        self._find(call, params.id)
        await self._tasks.settle()
        task = self._find(call, params.id)
        return task_view(task, self._contexts.history(task, length))

    async def list_tasks(self, call: Call, params: ListTasksRequest) -> TaskList:
        """ListTasks."""
        return await self._listing.page(call.caller, call.agent, params)

    async def cancel(self, call: Call, params: TaskRequest) -> TaskObject:
        """CancelTask."""
        self._find(call, params.id)
        try:
            task = await self._tasks.cancel(call.caller, params.id, f"called off by {sender_of(call.caller)}")
        except TaskStateError as error:
            raise A2aError(Kind.TASK_NOT_CANCELABLE, str(error), metadata={"taskId": params.id}) from None
        return task_view(task, self._contexts.history(task))

    # Pushes

    async def create_config(self, call: Call, params: PushNotificationConfig) -> PushNotificationConfig:
        """CreateTaskPushNotificationConfig."""
        task = self._find(call, params.task_id)
        await self._pushes.check(params)
        return await self._pushes.create(task, params)

    async def get_config(self, call: Call, params: ConfigRequest) -> PushNotificationConfig:
        """GetTaskPushNotificationConfig."""
        return self._pushes.get(self._find(call, params.task_id), params.id)

    async def list_configs(self, call: Call, params: ConfigsRequest) -> PushNotificationConfigs:
        """ListTaskPushNotificationConfigs: there are never so many that they would need pages."""
        return self._pushes.list(self._find(call, params.task_id))

    async def delete_config(self, call: Call, params: ConfigRequest) -> dict[str, Any]:
        """DeleteTaskPushNotificationConfig; deleting twice does nothing."""
        await self._pushes.delete(self._find(call, params.task_id), params.id)
        return {}

    # Cards

    async def extended_card(self, call: Call, _: NoParameters) -> Card:
        """GetExtendedAgentCard."""
        if call.caller.via == "none":
            raise CredentialRequiredError("the extended card is for those who show who they are")
        if call.agent is None:
            return self._cards.of_system(call.request.origin)
        return self._cards.of_agent(call.agent, call.request.origin, extended=True)

    # How

    async def _take(self, call: Call, params: SendMessageRequest) -> Task:
        """Have the message do what it wants; returns its task."""
        message = check_message(params.message)
        config = params.configuration.task_push_notification_config
        length_of("configuration.historyLength", params.configuration.history_length)
        if config is not None:
            await self._pushes.check(config, "configuration.taskPushNotificationConfig.")
        known = self._contexts.known(call.caller, message)
        async with self._arriving.of(known.message_id):
            if message.task_id:
                return await self._answer(call, message, known, config)
            if (task := self._said_before(call, message, known)) is None:
                return await self._begin(call, params, message, known)
            self._restore(task, message, known, config)
            return task

    def _said_before(self, call: Call, message: Message, known: Known) -> Task | None:
        """The task that *message* has begun when it was said before."""
        if not self._contexts.has(call.caller, known):
            return None
        task_id = self._contexts.task_of(known, message)
        if task_id is not None:
            return self._find(call, task_id)
        # A crash may have come between the task and the message.
        query = TaskQuery(known.sender, known.context_id, parent_id=WHOLE)
        found = self._tasks.search(call.caller, query, limit=_LATELY)
        return next((task for task in found if task.created.message_id == known.message_id), None)

    def _restore(self, task: Task, message: Message, known: Known, config: PushNotificationConfig | None) -> None:
        """Write what belongs to *message*, which was said to *task*: a crash may have come in between."""
        self._contexts.say(known, message, task)
        if config is not None:
            self._pushes.keep(task, config, known.message_id)

    def _noting(self, message: Message, known: Known, config: PushNotificationConfig | None) -> Note:
        """Writes what belongs to *message*, which is said to a task now."""

        def note(task: Task) -> None:
            self._contexts.say(known, message, task)
            if config is not None:
                self._pushes.put(task, config, known.message_id)

        return note

    async def _begin(self, call: Call, params: SendMessageRequest, message: Message, known: Known) -> Task:
        skills = self._cards.skill_ids() if call.agent is None else skills_of(call.agent)
        what = wanted(message, params.metadata, skills, call.agent)
        agents = self._able(what.task_type) if call.agent is None else [call.agent]
        check_modes(message.parts, agents)
        self._contexts.check(message)
        timeout = timeout_of(message.metadata, params.metadata)
        new = await self._contexts.open(call.caller, known, next(iter(agents), None))
        try:
            return await self._tasks.create(
                call.caller,
                what.task_type,
                what.inputs,
                timeout=timeout,
                conversation_id=known.context_id,
                agent_id="" if call.agent is None else call.agent.agent_id,
                message_id=known.message_id,
                note=self._noting(message, known, params.configuration.task_push_notification_config),
            )
        except TektonError:
            if new:
                self._contexts.close(known)
            raise

    def _able(self, task_type: str) -> Sequence[Agent]:
        """The agents that do that; those that cannot be used at the moment if there are no others."""
        registry = self._agents.registry
        return registry.find_agents_by_capability(task_type) or registry.candidates((task_type,), ())

    async def _answer(self, call: Call, message: Message, known: Known, config: PushNotificationConfig | None) -> Task:
        task = self._find(call, message.task_id)
        context_id = task.created.conversation_id
        if message.context_id and message.context_id != context_id:
            raise invalid("message.contextId", "it is not that of the task")
        if self._answered_before(task, message, known._replace(context_id=context_id)):
            self._restore(task, message, known, config)
            await self._tasks.flush()
            return task
        if not task.state.waiting:
            why = f"the task is over: {task.state}" if task.state.over else "the task waits for no answer now"
            raise A2aError(Kind.UNSUPPORTED_OPERATION, why, metadata={"taskId": task.task_id})
        self._contexts.check(message)
        self._contexts.check_room(task)
        if config is not None:
            self._pushes.check_room(task, config.id or known.message_id)
        note = self._noting(message, known, config)
        answer = answer_of(message.parts)
        return await self._tasks.answer(call.caller, task.task_id, answer, message_id=known.message_id, note=note)

    def _answered_before(self, task: Task, message: Message, known: Known) -> bool:
        """Whether *message* has answered something that *task* has asked."""
        if self._contexts.task_of(known, message) == task.task_id:
            return True
        step = next((step for step, by in task.answers.items() if by == known.message_id), None)
        if step is not None and task.steps.get(step) != answer_of(message.parts):
            raise taken()
        return step is not None

    def _find(self, call: Call, task_id: str) -> Task:
        try:
            task = self._tasks.find(call.caller, task_id)
        except TaskNotFoundError:
            raise no_task(task_id) from None
        if call.agent is not None and task.created.agent_id != call.agent.agent_id:
            raise no_task(task_id)
        return task

    async def _until_it_rests(self, call: Call, task: Task) -> Task:
        """*task* when it is over, or waits for an answer; as it is when who has asked leaves, or we stop."""
        now = await self._tasks.wait(task.task_id, _SOON)
        if now.state.over or now.state.waiting:
            return now
        group = BackgroundGroup("message")
        left = max(now.deadline - self._clock.time(), 0.0) + _SOON
        rests = group.spawn(self._tasks.wait(task.task_id, left), "task")
        gone = group.spawn(call.request.disconnected(), "caller")
        try:
            await asyncio.wait([rests, gone], return_when=asyncio.FIRST_COMPLETED)
            return rests.result() if rests.done() else now
        finally:
            await group.stop()

    async def _updates(self, call: Call, task: Task, how: SendMessageConfiguration, *, rests: bool) -> Updates:
        """*task*, and what happens to it from then on. *rests*: only until it waits for an answer."""
        yield [StreamResponse(task=self._view(task, how))]
        follower = Follower(task, how.accepted_output_modes)
        if rests and task.state.waiting:
            return
        async with aclosing(follow(self._tasks, lambda: call.caller, task.task_id, task.number)) as batches:
            async for events in batches:
                if told := [update for event in events for update in follower.follow(event)]:
                    yield told
                if rests and follower.state.waiting:
                    return

    def _view(self, task: Task, how: SendMessageConfiguration) -> TaskObject:
        return task_view(task, self._contexts.history(task, how.history_length), how.accepted_output_modes)


Unary = Callable[[Operations, Call, Any], Awaitable[Any]]
Streaming = Callable[[Operations, Call, Any], Awaitable[Updates]]

UNARY: Final[Mapping[str, tuple[type[msgspec.Struct], Unary]]] = {
    "SendMessage": (SendMessageRequest, Operations.send),
    "GetTask": (TaskRequest, Operations.get),
    "ListTasks": (ListTasksRequest, Operations.list_tasks),
    "CancelTask": (TaskRequest, Operations.cancel),
    "CreateTaskPushNotificationConfig": (PushNotificationConfig, Operations.create_config),
    "GetTaskPushNotificationConfig": (ConfigRequest, Operations.get_config),
    "ListTaskPushNotificationConfigs": (ConfigsRequest, Operations.list_configs),
    "DeleteTaskPushNotificationConfig": (ConfigRequest, Operations.delete_config),
    "GetExtendedAgentCard": (NoParameters, Operations.extended_card),
}
"""The operations with one answer: what they take, and what does them."""

STREAMING: Final[Mapping[str, tuple[type[msgspec.Struct], Streaming]]] = {
    "SendStreamingMessage": (SendMessageRequest, Operations.stream),
    "SubscribeToTask": (TaskRequest, Operations.subscribe),
}
"""Those that are answered with a stream."""
