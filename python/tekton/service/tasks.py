"""The tasks of the control plane: whose they are, how many there may be, and how they outlast it.

* A task belongs to who has created it: to a component, or to the subject of a token or a key. Everybody else is told
  that there is no such task, unless he may manage all of them (`tasks:manage`).
* What changes a task is answered when it is durable, and refused, without having changed anything, while the disk is
  full. What is read is told when it is durable.
* Tasks that are open when the control plane stops are open when it comes back, and go on.
* A request with an `Idempotency-Key` creates one task, however often it comes: the key is durable before the task is.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, TaskEvent
from tekton.a2a.task_manager import TIMEOUT, Subtask, TaskManager, TaskQuery
from tekton.a2a.task_routes import RemoteAgents
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.idempotency import current_claim
from tekton.gateway.errors import PermissionDeniedError, UnavailableError
from tekton.service.agents import Agents
from tekton.service.conversation_limits import ConversationLimits
from tekton.service.conversation_retention import ConversationRetention
from tekton.service.conversations import Conversations
from tekton.service.open_tasks import OpenTasks
from tekton.service.task_meter import TaskMeter
from tekton.service.task_retention import Retention, forget
from tekton.service.task_types import DeclaredTypes
from tekton.service.work import Work
from tekton.utils.config_rules import parse_size
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import StorageError, TaskNotFoundError, TaskStateError

MANAGE: Final = "tasks:manage"
"""Who may do this may do with the tasks of others what they may."""
UPKEEP: Final = 10.0
"""Seconds between two looks at what is to be taken up again, or forgotten."""
_PAGE: Final = 500
_NO_INPUTS: Mapping[str, Any] = {}

Note = Callable[[Task], object]
"""Is given a task that has changed, before that is durable. Raises nothing but the storage errors."""

_logger = logging.getLogger("tekton.tasks")


def _nothing(_: Task) -> None:
    """There is nothing more to write."""


class Tasks:
    """Tasks in *work*, done by *agents*; *remote* asks those that are not in this process."""

    def __init__(
        self,
        work: Work,
        agents: Agents,
        conversations: Conversations,
        components: ComponentRegistry,
        *,
        remote: RemoteAgents,
        config: TektonConfig,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.manager: Final = TaskManager(agents.registry, log=work.tasks, remote=remote, clock=clock)
        self.types: Final = DeclaredTypes(components.documents, self.manager.types, self.manager.planners)
        self.open: Final = OpenTasks(config.max_open_tasks, config.max_open_tasks_per_owner)
        self.meter: Final = TaskMeter()
        self.retention: Final = Retention(self.manager, self.open, clock)
        self.talk_retention: Final = ConversationRetention(conversations, self._talks, clock)
        self._work = work
        self._conversations = conversations
        self._keys = components.idempotency_keys
        self._clock = clock
        self._stopped = False
        self._upkeep = BackgroundTask("upkeep of tasks")
        self.adopt(config)
        if work.usable:
            self._load()
        self.manager.listen(self.open.follow)
        self.manager.listen(self.meter.follow)

    def adopt(self, config: TektonConfig) -> None:
        """From now on the limits are those of *config*, those of conversations too."""
        self.open.most = config.max_open_tasks
        self.open.most_of_one = config.max_open_tasks_per_owner
        self.retention.age = config.task_age
        self.retention.most = config.task_limit
        self._work.bound_open_tasks(parse_size(config.max_open_size), parse_size(config.max_open_size_per_owner))
        self._conversations.limits = ConversationLimits.of(config)
        self.talk_retention.age = config.conversation_age

    def resume(self, patience: float) -> None:
        """Take up what is open, and look after it from now on.

        For *patience* seconds tasks wait for agents that are not there yet.
        """
        if not self._work.usable:
            return
        taken = self.manager.resume(patience=patience)
        if taken:
            _logger.info("%d open tasks are taken up", len(taken))
        self._upkeep.start(self._look_after())

    async def stop(self) -> None:
        """Work on nothing any more, and let nobody wait. What is open stays so. Stopping twice does nothing."""
        self._stopped = True
        await self._upkeep.stop()
        try:
            await self.manager.close()
        except StorageError as error:
            if self._work.usable:
                _logger.error("what was said last of tasks is not kept: %s", error)

    # What callers may do

    def find(self, caller: Principal, task_id: str) -> Task:
        """A task of *caller*, or of anybody for who manages them. Raises TaskNotFoundError."""
        task = self.manager.get_task_status(task_id)
        if not self.may_see(caller, task):
            raise TaskNotFoundError(task_id)
        return task

    def may_see(self, caller: Principal, task: Task) -> bool:
        """Whether *caller* may know of *task*, and do with it what there is to do."""
        return task.owner == sender_of(caller) or caller.grants.allows(MANAGE)

    def owner_of(self, task_id: str) -> str | None:
        """To whom a task belongs; None where there is none. Not to be told to everybody."""
        try:
            return self.manager.get_task_status(task_id).owner
        except (TaskNotFoundError, StorageError):
            return None

    def search(self, caller: Principal, query: TaskQuery, *, before: str = "", limit: int = 100) -> list[Task]:
        """Tasks that *query* wants, the newest first, before the id *before*. May be called from a second thread.

        Without an owner in *query* those of everybody. Raises PermissionDeniedError, unless *caller* may see these.
        """
        if query.owner != sender_of(caller) and not caller.grants.allows(MANAGE):
            raise PermissionDeniedError(MANAGE)
        return self.manager.find(query, before, limit)

    async def create(
        self,
        caller: Principal,
        task_type: str,
        inputs: Mapping[str, Any] = _NO_INPUTS,
        *,
        timeout: float = TIMEOUT,
        budget: Budget | None = None,
        strategy: str = "",
        subtasks: Sequence[Subtask] = (),
        conversation_id: str = "",
        agent_id: str = "",
        message_id: str = "",
        note: Note = _nothing,
    ) -> Task:
        """Create a task of *caller*, and begin it; durable on return. The arguments are those of `TaskManager`.

        With *agent_id* that one has to do it. *message_id* is the message of its conversation that asks for it. What
        *note* writes becomes durable with the task.

        Raises as `TaskManager.create_task`; NoAgentAvailableError and AgentUnreachableError where nobody can be asked;
        TooManyTasksError; ConversationNotFoundError for a conversation in which *caller* takes no part; the storage
        errors. Then there is no task.
        """
        if conversation_id:
            self._conversations.find(caller, conversation_id)
        draft = self.manager.draft_task(
            task_type,
            inputs,
            timeout=timeout,
            budget=budget,
            strategy=strategy,
            subtasks=subtasks,
            owner=sender_of(caller),
            conversation_id=conversation_id,
        )
        if agent_id or message_id:
            created = msgspec.structs.replace(draft.created, agent_id=agent_id, message_id=message_id)
            draft = msgspec.structs.replace(draft, created=created)
        return await self._begin(draft, note)

    async def retry(self, caller: Principal, task_id: str) -> Task:
        """Try again one that was not done, as a new task; durable on return. Raises as `create`, and TaskStateError."""
        self.find(caller, task_id)
        return await self._begin(self.manager.draft_retry(task_id))

    async def cancel(self, caller: Principal, task_id: str, reason: str = "") -> Task:
        """Call a task off; durable on return. Raises TaskNotFoundError, TaskStateError, the storage errors."""
        self.find(caller, task_id)
        await self._work.check()
        canceled = self.manager.cancel_task(task_id, reason)
        await self._work.flush()
        return canceled

    async def answer(
        self, caller: Principal, task_id: str, answer: Any, *, message_id: str = "", note: Note = _nothing
    ) -> Task:
        """Answer what a task asks; durable on return. *message_id* and *note* are as in `create`.

        Raises as `TaskManager.answer`, and the storage errors.
        """
        self.find(caller, task_id)
        await self._work.check()
        answered = self.manager.answer(task_id, answer, message_id=message_id)
        note(answered)
        await self._work.flush()
        return answered

    async def forget(self, caller: Principal, task_id: str) -> Task:
        """Forget a task that is over, with its parts; durable on return. Returns what it was.

        Raises TaskNotFoundError, TaskStateError for one that is open or still needed, and the storage errors.
        """
        task = self.find(caller, task_id)
        if task.parent_id is not None and self._is_known(task.parent_id):
            raise TaskStateError(task_id, task.state, f"to forget it without {task.parent_id}, whose part it is")
        self.open.check_forgettable(task)
        await self._work.check()
        await forget(self.manager, task)
        await self._work.flush()
        return task

    async def wait(self, task_id: str, seconds: float) -> Task:
        """The task when it is over or waits for an answer, or as it is when *seconds* have passed, or at our stop."""
        try:
            async with asyncio.timeout(seconds):
                while not (task := self.manager.get_task_status(task_id)).state.over:
                    if task.state.waiting or self._stopped:
                        break
                    await self.manager.next_change(task_id)
        except TimeoutError:
            pass
        task = self.manager.get_task_status(task_id)
        await self._work.settle()
        return task

    async def read(self, task_id: str, after: int, limit: int) -> list[TaskEvent]:
        """Up to *limit* events of a task behind number *after*, all of them durable. Raises TaskNotFoundError."""
        durable = self.manager.get_task_status(task_id).number
        await self._work.settle()
        return [event for event in self.manager.events(task_id, after, limit) if event.number <= durable]

    async def settle(self) -> None:
        """Before something is told of tasks: see `Work.settle`."""
        await self._work.settle()

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        await self._work.flush()

    async def _begin(self, draft: Task, note: Note = _nothing) -> Task:
        if self._stopped:
            raise UnavailableError("the control plane is stopping")
        self.manager.check_reachable(draft)
        with self.open.room(draft.owner):
            self._work.check_open_bytes(draft)
            await self._work.check()
            if (claim := current_claim()) is not None:
                await self._keys.writer.keep_key(claim)
            task = self.manager.add_task(draft)
        try:
            note(task)
            await self._work.flush()
        except StorageError:
            self._take_back(task)
            raise
        self.manager.begin_task(task)
        return task

    def _take_back(self, task: Task) -> None:
        """It was not kept, and whoever wanted it is told so: when there is room again, it is not to be done."""
        try:
            self.manager.cancel_task(task, "it could not be kept")
        except StorageError as error:
            _logger.warning("the task %s was not kept: %s", task.task_id, error)

    def _talks(self) -> set[str]:
        """The conversations to which tasks belong that are open. O(open tasks)."""
        found: set[str] = set()
        after = ""
        while page := self.manager.tasks(after, _PAGE, open_only=True):
            found.update(task.created.conversation_id for task in page)
            after = page[-1].task_id
        return found

    def _is_known(self, task_id: str) -> bool:
        return bool(self.manager.states((task_id,)))

    def _load(self) -> None:
        after = ""
        while page := self.manager.tasks(after, _PAGE, open_only=True):
            self.open.load(page)
            self.meter.load(page)
            after = page[-1].task_id

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP)
            if not self._work.usable:
                return
            for duty in (self._take_up_again, self.retention.sweep, self.talk_retention.sweep):
                try:
                    await duty()
                except StorageError as error:
                    _logger.debug("tasks are not looked after: %s", error)  # `Work.problems` says so

    async def _take_up_again(self) -> None:
        if self.manager.has_given_up:
            await self._work.flush()
            self.manager.resume(patience=0.0)
