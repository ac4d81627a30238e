"""Tasks: created, routed to agents, carried out, watched, called off, tried again, and taken up after a restart.

    tasks = TaskManager(agent_registry=agents)
    task = tasks.create_task("code_review", {"code": "def f(): ..."})
    result = await tasks.execute_task(task)

Rules:

* What is known of a task is what its log says (`tekton.a2a.task_log`). Without a log, in one of its own, in memory.
* Synchronous calls apply at once, and are durable when `flush` has returned. `execute_task` returns what is durable.
* Whoever waits for a task and is cancelled leaves it alone: it goes on. `cancel_task` calls it off.

A manager is used on one event loop; tasks may be created before there is one.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import msgspec

from tekton._native import uuid7
from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.aggregation import Strategies
from tekton.a2a.planner import Planners
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget, Canceled, Created, InputGiven, PlannedTask, TaskEvent
from tekton.a2a.task_graph import MOST_INPUTS, Subtask, checked_inputs, checked_plan
from tekton.a2a.task_journal import TaskChange, TaskJournal
from tekton.a2a.task_line import TaskLine
from tekton.a2a.task_log import MemoryTaskLog, Place, TaskLog, TaskQuery
from tekton.a2a.task_routes import RemoteAgents, TaskRoutes
from tekton.a2a.task_runner import TaskRunner
from tekton.a2a.task_types import ResultCheck, TaskType, TaskTypes
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StorageCorruptError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
    TaskRejectedError,
    TaskStateError,
    TaskTimeoutError,
)
from tekton.utils.tekton_ids import check_id
from tekton.utils.trace_context import recorded_here

__all__ = ["Subtask", "TaskChange", "TaskManager", "TaskQuery"]

TIMEOUT: Final = 3600.0
"""Seconds that a task has, unless it is told otherwise."""
PATIENCE: Final = 30.0
"""Seconds for which tasks that were taken up wait for an agent that is not there yet."""
_PAGE: Final = 500

_NO_INPUTS: Mapping[str, Any] = {}


class TaskManager:
    """Tasks of *log*, done by the agents of *agent_registry*. Ends what runs at `close()`, or as a context manager.

    *remote* asks agents that are at an endpoint; without it only those with a handler are asked. *attempt_timeout* is
    how long one agent may take, answers that it waits for included, before the next one is asked, unless that was said
    of the type of the task.
    """

    def __init__(
        self,
        agent_registry: AgentRegistry,
        *,
        log: TaskLog | None = None,
        types: TaskTypes | None = None,
        planners: Planners | None = None,
        strategies: Strategies | None = None,
        remote: RemoteAgents | None = None,
        attempt_timeout: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.types = types or TaskTypes()
        self.planners = planners or Planners()
        self.strategies = strategies or Strategies()
        self._log = MemoryTaskLog() if log is None else log
        self._clock = clock
        self._line = TaskLine(self._begin_in_turn, clock)
        self._patience = 0.0
        self._journal = TaskJournal(self._log, clock)
        self._routes = TaskRoutes(agent_registry, self.types, self.planners, remote=remote is not None)
        self._runner = TaskRunner(
            self._journal,
            self._routes,
            types=self.types,
            planners=self.planners,
            strategies=self.strategies,
            remote=remote,
            attempt_timeout=attempt_timeout,
        )
        self._forgetters: list[Callable[[Task], object]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def register_task_type(
        self,
        task_type: str,
        capabilities: Sequence[str] = (),
        *,
        check: ResultCheck | None = None,
        attempt_timeout: float | None = None,
    ) -> TaskType:
        """Declare which capabilities a type of task asks for; see `tekton.a2a.task_types`."""
        return self.types.register_task_type(task_type, capabilities, check=check, attempt_timeout=attempt_timeout)

    def create_task(
        self,
        task_type: str,
        inputs: Mapping[str, Any] = _NO_INPUTS,
        *,
        timeout: float = TIMEOUT,
        budget: Budget | None = None,
        strategy: str = "",
        subtasks: Sequence[Subtask] = (),
        owner: str = "",
        conversation_id: str = "",
    ) -> Task:
        """Create a task, which has *timeout* seconds from now on. Nothing of it begins before `execute_task`.

        With *subtasks* it is done by these. *strategy* puts results together (`tekton.a2a.aggregation`): those of the
        parts ("all", unless it is said), or, where there are none, those of all agents of its route. Without one, and
        without parts, the first agent that does it is enough.

        Raises InvalidIdError, InvalidTaskError, TaskCycleError, and what the log raises.
        """
        return self.add_task(
            self.draft_task(
                task_type,
                inputs,
                timeout=timeout,
                budget=budget,
                strategy=strategy,
                subtasks=subtasks,
                owner=owner,
                conversation_id=conversation_id,
            )
        )

    def draft_task(
        self,
        task_type: str,
        inputs: Mapping[str, Any] = _NO_INPUTS,
        *,
        timeout: float = TIMEOUT,
        budget: Budget | None = None,
        strategy: str = "",
        subtasks: Sequence[Subtask] = (),
        owner: str = "",
        conversation_id: str = "",
    ) -> Task:
        """The task that `create_task` would create, of which nobody knows yet: `add_task` makes it one."""
        check_id(task_type, "/task_type", dots=True)
        if not 0 < timeout < math.inf:
            raise InvalidTaskError("/timeout", f"{timeout} seconds are none that a task can have")
        if strategy:
            self.strategies.get(strategy)
        task_id = uuid7()
        created = Created(
            task_type,
            checked_inputs("/inputs", inputs),
            self._clock.time() + timeout,
            budget or Budget(),
            task_id,
            owner=owner,
            conversation_id=conversation_id,
            strategy=strategy,
            plan=checked_plan(subtasks) if subtasks else [],
            trace=recorded_here(),
        )
        return self._draft(task_id, created)

    def add_task(self, draft: Task) -> Task:
        """Create the task that *draft* is; returns it. Raises TaskExistsError, and what the log raises."""
        return self._journal.append(draft.task_id, draft.created, expected=0)

    def check_reachable(self, task: Task) -> None:
        """Return if somebody can be asked to do *task*, which may be a draft, and its parts, as far as they are known.

        Raises NoAgentAvailableError, AgentUnreachableError, AgentNotFoundError.
        """
        self._routes.check(task, self._done_before(task) if task.created.retry_of else ())

    def begin_task(self, task: Task | str) -> None:
        """Have a task done, without waiting for it. Nothing happens to one that is over, or has begun."""
        now = self.get_task_status(task)
        if not now.state.over:
            self._runner.start(now.task_id)

    def route_task(self, task: Task | str) -> tuple[Agent, ...]:
        """The agents that can do a task, from what is known now, the ones to ask first at the front.

        Raises NoAgentAvailableError; see `tekton.a2a.task_types`. Whether there is a way to them is not asked here.
        """
        return self._routes.route(self.get_task_status(task))

    async def execute_task(self, task: Task | str) -> Any:
        """Have a task done, or wait for it where that has begun; returns its result, which is JSON.

        Of a task that is over, what came of it. Raises TaskFailedError, TaskTimeoutError, TaskCanceledError,
        TaskRejectedError; NoAgentAvailableError and AgentUnreachableError, when nobody can be asked and nothing was
        begun; TaskStateError, when the manager was closed meanwhile; the storage errors.
        """
        now = self.get_task_status(task)
        if not now.state.over:
            if now.state is TaskState.SUBMITTED:
                self.check_reachable(now)
            driver = self._runner.start(now.task_id)
            await asyncio.wait({driver})
            if not driver.cancelled() and (error := driver.exception()) is not None:
                raise error
        await self._log.flush()
        return _outcome(self.get_task_status(now))

    def get_task_status(self, task: Task | str) -> Task:
        """The task as it is now. Raises TaskNotFoundError."""
        return self._log.task(task if isinstance(task, str) else task.task_id)

    def events(self, task: Task | str, after: int = 0, limit: int = 100) -> list[TaskEvent]:
        """Up to *limit* events of a task behind number *after*. Raises TaskNotFoundError."""
        return self._log.read(task if isinstance(task, str) else task.task_id, after, limit)

    def tasks(self, after: str = "", limit: int = 100, *, open_only: bool = False) -> list[Task]:
        """Tasks in the order in which they came, behind the id *after*."""
        return self._log.tasks(after, limit, open_only=open_only)

    def over_of(self, owner: str, after: str = "", limit: int = 100) -> list[Task]:
        """Tasks of *owner* that are over, in the order in which they came, behind the id *after*."""
        return self._log.over_of(owner, after, limit)

    def owners(self) -> dict[str, int]:
        """How many tasks each owner has, open or over, parts of others included."""
        return self._log.owners()

    def find(self, query: TaskQuery, before: str = "", limit: int = 100) -> list[Task]:
        """Tasks that *query* wants, the newest first, before the id *before*."""
        return self._log.find(query, before, limit)

    def latest(self, query: TaskQuery, before: Place | None = None, limit: int = 100) -> list[Task]:
        """Tasks that *query* wants, those that were changed last first; see `TaskLog.latest`."""
        return self._log.latest(query, before, limit)

    def count_of(self, query: TaskQuery) -> int:
        """How many tasks *query* wants."""
        return self._log.count_of(query)

    def states(self, task_ids: Iterable[str]) -> dict[str, TaskState]:
        """The states of those of the tasks that there are, by id."""
        return self._log.states(task_ids)

    def count(self, *, open_only: bool = False) -> int:
        """How many tasks there are, open or over, or only open ones, parts of others included."""
        return self._log.count(open_only=open_only)

    def cancel_task(self, task: Task | str, reason: str = "") -> Task:
        """Call a task off, with its parts; returns it. What its agent says from now on is ignored.

        Raises TaskNotFoundError, and TaskStateError when it is over.
        """
        canceled = self._runner.end(self.get_task_status(task).task_id, Canceled(reason))
        self._runner.stop(canceled.task_id)
        return canceled

    def answer(self, task: Task | str, answer: Any, *, message_id: str = "") -> Task:
        """Give a task the answer that it waits for; returns it. *message_id* is the message that is the answer.

        Raises TaskNotFoundError, TaskStateError when it waits for none, InvalidTaskError for what is no JSON.
        """
        now = self.get_task_status(task)
        if now.question is None:
            raise TaskStateError(now.task_id, now.state, "answer")
        try:
            content = as_json(answer, MOST_INPUTS).content
        except GarbageError as error:
            raise InvalidTaskError("/answer", str(error)) from None
        given = InputGiven(now.question.step, content, message_id)
        return self._journal.append(now.task_id, given, expected=now.number)

    def retry_task(self, task: Task | str) -> Task:
        """Create a task that tries again one that was not done; steps and parts that were are not done again.

        It has as much time as the former had. A step that must not be repeated, and of which nobody knows what came of
        it, is: whoever calls this has to know. Raises TaskNotFoundError, and TaskStateError unless it has failed, was
        canceled, or was rejected.
        """
        return self.add_task(self.draft_retry(task))

    def draft_retry(self, task: Task | str) -> Task:
        """The task that `retry_task` would create, of which nobody knows yet."""
        former = self.get_task_status(task)
        if not former.state.over or former.state is TaskState.COMPLETED:
            raise TaskStateError(former.task_id, former.state, "retry")
        known = former.created
        task_id = uuid7()
        again = Created(
            known.task_type,
            known.inputs,
            self._clock.time() + known.deadline - former.created_at,
            known.budget,
            known.origin,
            owner=known.owner,
            conversation_id=known.conversation_id,
            strategy=known.strategy,
            results=known.results,
            agent_id=known.agent_id,
            retry_of=former.task_id,
            steps=dict(former.steps),
            plan=[self._part_again(part) for part in former.plan],
            message_id=known.message_id,
            trace=recorded_here(),
        )
        return self._draft(task_id, again)

    def resume(self, *, patience: float = PATIENCE) -> list[str]:
        """Take up all open tasks that this manager does not work on; returns their ids.

        To be called after a start, by the only process that has the log: leases of others end. Of many, some are begun
        at a time, those with the first deadlines first (`tekton.a2a.task_line`); who executes one has it begun at once.
        For *patience* seconds tasks wait for agents that are not there yet. O(open tasks).
        """
        self._runner.has_given_up = False
        self._patience = patience
        self._routes.be_patient(patience)
        taken: list[Task] = []
        after = ""
        while page := self._log.tasks(after, _PAGE, open_only=True):
            after = page[-1].task_id
            taken += [task for task in page if self._is_to_be_taken_up(task)]
        self._line.add(taken)
        return [task.task_id for task in taken]

    def forget_task(self, task: Task | str) -> None:
        """Forget a task that is over, and its parts. Raises TaskNotFoundError, and TaskStateError for an open one."""
        for _ in self.forgetting(task):
            pass

    def forgetting(self, task: Task | str) -> Iterator[None]:
        """As `forget_task`, one part after the other: for who has others do something in between."""
        now = self.get_task_status(task)
        self._log.delete(now.task_id)
        for part in now.plan:
            yield
            try:
                yield from self.forgetting(part.task_id)
            except (TaskNotFoundError, StorageCorruptError):  # what cannot be read stays
                continue
        for listener in self._forgetters:
            listener(now)

    def on_forgotten(self, listener: Callable[[Task], object]) -> None:
        """Tell *listener* of each task that is forgotten from now on, after its parts. It must return at once."""
        self._forgetters.append(listener)

    @property
    def late_answers(self) -> int:
        """How often agents have said something when nobody asked any more, or a second time."""
        return self._journal.late

    @property
    def version(self) -> int:
        """How many events there have been since the manager was made."""
        return self._journal.version

    @property
    def has_given_up(self) -> bool:
        """Whether tasks are open that nobody works on any more, because something was not kept. Until `resume`."""
        return self._runner.has_given_up

    async def next_change(self, task: Task | str) -> None:
        """Wait until something happens to a task that is not over, or the manager is closed."""
        await self._journal.next_change(task if isinstance(task, str) else task.task_id)

    async def changed(self, since: int) -> int:
        """Wait until `version` is no longer *since*; returns what it is."""
        return await self._journal.changed(since)

    def listen(self, listener: Callable[[TaskChange], object]) -> Callable[[], None]:
        """Tell *listener* of each event from now on; returns the function that ends that. It must return at once."""
        return self._journal.listen(listener)

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        await self._log.flush()

    async def close(self) -> None:
        """Stop working. Tasks that are not over stay open. The log is not closed."""
        self._line.close()
        await self._runner.close()
        self._journal.wake()
        await self._log.flush()

    def _done_before(self, task: Task) -> set[str]:
        """The parts of one that tries again that are completed."""
        states = self._log.states([part.task_id for part in task.plan])
        return {task_id for task_id, state in states.items() if state is TaskState.COMPLETED}

    def _draft(self, task_id: str, created: Created) -> Task:
        now = self._clock.time()
        return Task(task_id, created, now, now, steps=created.steps, plan=tuple(created.plan))

    def _is_to_be_taken_up(self, task: Task) -> bool:
        if task.parent_id is not None:
            # The crash may have been between the end of the whole and that of its parts.
            if self._is_over(task.parent_id) and not self._is_over(task.task_id):
                self._runner.end(task.task_id, Canceled("the task that it is a part of is over"))
            return False
        return not self._runner.drives(task.task_id) and task.task_id not in self._line

    def _begin_in_turn(self, task_id: str) -> "asyncio.Task[None] | None":
        if self._is_over(task_id) or self._runner.drives(task_id):
            return None
        self._routes.be_patient(self._patience)
        return self._runner.start(task_id, taken_up=True)

    def _is_over(self, task_id: str) -> bool:
        try:
            return self._log.task(task_id).state.over
        except TaskNotFoundError:
            return True

    def _part_again(self, part: PlannedTask) -> PlannedTask:
        """A part that was completed stays what it is; any other is a new one."""
        try:
            former = self._log.task(part.task_id)
        except TaskNotFoundError:
            former = None
        if former is not None and former.state is TaskState.COMPLETED:
            return part
        retry_of = part.retry_of if former is None else part.task_id
        return PlannedTask(part.name, uuid7(), part.task_type, part.inputs, part.dependencies, part.agent_id, retry_of)


def _outcome(task: Task) -> Any:
    """The result of *task*, or what stands in its place as an error."""
    if task.state is TaskState.COMPLETED:
        return msgspec.json.decode(msgspec.json.encode(task.result))
    raise _error(task)


def _error(task: Task) -> TaskError:
    failure = task.failure
    if failure is None:
        return TaskStateError(task.task_id, task.state, "execute: the work on it has stopped; its result")
    if task.state is TaskState.CANCELED:
        return TaskCanceledError(task.task_id, failure.reason)
    if task.state is TaskState.REJECTED:
        return TaskRejectedError(task.task_id, failure.reason)
    if failure.code == "task_timeout":
        return TaskTimeoutError(task.task_id)
    return TaskFailedError(task.task_id, failure.code, failure.reason)
