"""Carries tasks out: takes one apart or has agents try it, until it is over.

Rules:

* One coroutine drives a task, under a lease; whoever has lost that stops, and changes nothing any more.
* Agents are asked one after the other, in the order of their route, each once; one that has failed is not asked again,
  unless it was only lost (`agent_lost`): then it was not its fault. How often there is an attempt without a step being
  completed is limited by the budget, crashes included. The agent of a component does not die with this process: one
  that had the task when that ended has it again, and it is no other attempt.
* Whatever an agent does (raise, hang, return what is no JSON, answer twice or too late), the task ends before its
  deadline, or at it. What ignores that it was cancelled is given up.
* Nothing is written when the driver itself is cancelled: the task stays open, and is taken up again by `resume`.
"""

import asyncio
import logging
from functools import partial
from typing import Any, Final

from tekton._native import uuid7
from tekton.a2a.agent import Agent
from tekton.a2a.aggregation import Strategies
from tekton.a2a.attempt import AGENT_LOST, attempt, check_may_be_tried, goes_on, told
from tekton.a2a.plan_run import Plans
from tekton.a2a.planner import Planners
from tekton.a2a.task import Task
from tekton.a2a.task_event import (
    AttemptFailed,
    Canceled,
    Completed,
    Failed,
    Leased,
    Planned,
    Rejected,
)
from tekton.a2a.task_graph import Subtask, checked_plan
from tekton.a2a.task_handlers import prepared
from tekton.a2a.task_journal import TaskJournal
from tekton.a2a.task_routes import RemoteAgents, TaskRoutes
from tekton.a2a.task_steps import MOST_RESULT, TaskContext
from tekton.a2a.task_types import TaskTypes
from tekton.core.calls import Outcome, UserCalls, UserFunction, bound, describe
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.tekton_errors import (
    AgentUnreachableError,
    InvalidTaskError,
    NoAgentAvailableError,
    StaleLeaseError,
    StepUnknownError,
    StorageError,
    TaskBudgetError,
    TaskConflictError,
    TaskFailedError,
    TaskNotFoundError,
    TaskRejectedError,
    TaskStateError,
    TektonError,
)

__all__ = ["TaskRunner"]

MOST_DEPTH: Final = 8
"""So many plans may be within each other."""
PATIENCE: Final = 30.0
"""Seconds for which a task whose agent was lost waits for one that can do it: what has died is started again."""

_TOO_LATE: Final = ("task_timeout", "it was not done before its deadline")
_FINAL = (StepUnknownError, TaskBudgetError)
"""Errors after which no other agent is asked."""
_LOST = (StaleLeaseError, TaskStateError, TaskConflictError, TaskNotFoundError)
"""Errors that say that the task is over, or with somebody else."""

_logger = logging.getLogger("tekton.tasks")


class TaskRunner:
    """Drives tasks, each in a coroutine of its own, for the worker *worker*."""

    def __init__(
        self,
        journal: TaskJournal,
        routes: TaskRoutes,
        *,
        types: TaskTypes,
        planners: Planners,
        strategies: Strategies,
        remote: RemoteAgents | None,
        attempt_timeout: float | None,
    ) -> None:
        self.worker = uuid7()
        self.has_given_up = False
        """Whether some task was left open because something was not kept."""
        self._journal = journal
        self._routes = routes
        self._types = types
        self._planners = planners
        self._plans = Plans(journal, strategies, lambda part, taken_up: self.start(part, taken_up=taken_up))
        self._remote = remote
        self._attempt_timeout = attempt_timeout
        self._calls = UserCalls("tasks")
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._taken_up: set[str] = set()

    def start(self, task_id: str, *, taken_up: bool = False) -> "asyncio.Task[None]":
        """Drive a task, if nobody does so yet; the task of asyncio ends when that is over.

        Of one that was *taken_up* after a restart agents may be missing that are about to come.
        """
        if taken_up:
            self._taken_up.add(task_id)
        driver = self._drivers.get(task_id)
        if driver is None:
            driver = self._drivers[task_id] = self._calls.spawn(self._drive(task_id), "driver", task_id)
            driver.add_done_callback(partial(self._left, task_id))
        return driver

    def _left(self, task_id: str, driver: "asyncio.Task[None]") -> None:
        self._drivers.pop(task_id, None)
        self._taken_up.discard(task_id)
        # Not before: whoever takes up what was given up has to find that nobody drives it.
        if not driver.cancelled() and isinstance(driver.exception(), StorageError):
            self.has_given_up = True

    def drives(self, task_id: str) -> bool:
        """True while somebody here drives a task."""
        return task_id in self._drivers

    def stop(self, task_id: str) -> None:
        """Drive a task no more, if somebody does."""
        if (driver := self._drivers.get(task_id)) is not None:
            driver.cancel()

    async def close(self) -> None:
        """Drive nothing any more. Tasks stay as they are."""
        await self._calls.close()

    def end(self, task_id: str, change: Completed | Failed | Canceled | Rejected, epoch: int | None = None) -> Task:
        """Have a task end, and call off the parts of it that are not over. Raises as `TaskLog.append`."""
        task = self._journal.append(task_id, change, epoch=epoch)
        for part in self.open_parts(task):
            self.end(part, Canceled("the task that it is a part of is over"))
            self.stop(part)
        return task

    def open_parts(self, task: Task) -> list[str]:
        """The parts of the plan of *task* that have begun and are not over."""
        parts = [self._find(part.task_id) for part in task.plan]
        return [part.task_id for part in parts if part is not None and not part.state.over]

    def _find(self, task_id: str) -> Task | None:
        try:
            return self._journal.log.task(task_id)
        except TaskNotFoundError:
            return None

    async def _drive(self, task_id: str) -> None:
        task = self._journal.log.task(task_id)
        if task.state.over:
            return
        try:
            await self._in_time(task)
        except _LOST as error:
            _logger.debug("task %s is left alone: %s", task_id, error)
        except StorageError:
            raise
        except TaskFailedError as error:
            self._fail(task_id, error.failed, error.reason)
        except TektonError as error:
            self._fail(task_id, error.code, str(error))
        except Exception as error:
            _logger.exception("task %s was not carried out", task_id)
            self._fail(task_id, "internal", describe(error))
        await self._journal.log.flush()

    async def _in_time(self, task: Task) -> None:
        left = task.deadline - self._journal.clock.time()
        limit = asyncio.timeout(left)
        try:
            if left > 0:
                async with limit:
                    await self._carry_out(task)
        except TimeoutError:
            if not limit.expired():
                raise
        if left <= 0 or limit.expired():
            self._fail(task.task_id, *_TOO_LATE)

    def _fail(self, task_id: str, code: str, reason: str) -> None:
        task = self._find(task_id)
        if task is None or task.state.over:
            return
        if self._journal.clock.time() >= task.deadline:
            code, reason = _TOO_LATE
        self.end(task_id, Failed(code, reason))

    async def _carry_out(self, task: Task) -> None:
        if self._is_in_parts(task):
            task = self._lease(task, "")
            if not task.plan:
                task = await self._plan(task)
        if task.plan:
            await self._carry_out_plan(task)
        else:
            await self._have_agents_try(task)

    def _lease(self, task: Task, agent_id: str, *, goes_on: bool = False) -> Task:
        now = self._journal.log.task(task.task_id)
        if now.epoch != task.epoch:
            raise StaleLeaseError(task.task_id, task.epoch, now.epoch)
        return self._journal.append(task.task_id, Leased(self.worker, agent_id, goes_on), expected=now.number)

    def _is_in_parts(self, task: Task) -> bool:
        if task.planned and not task.plan:  # its planner was asked, and has left it whole
            return False
        return self._strategy_plans(task) or self._routes.is_planned(task)

    def _strategy_plans(self, task: Task) -> bool:
        return task.created.strategy not in ("", "first") and not task.created.agent_id

    async def _plan(self, task: Task) -> Task:
        if task.created.depth >= MOST_DEPTH:
            raise InvalidTaskError("/plan", f"more than {MOST_DEPTH} plans are within each other")
        if task.task_type in self._planners:
            plan = await self._planners.plan(task)
        else:
            agents = await self._routes.all_soon(task, taken_up=task.task_id in self._taken_up)
            parts = [Subtask(one.agent_id, task.task_type, task.inputs, agent_id=one.agent_id) for one in agents]
            plan = checked_plan(parts)
        return self._journal.append(task.task_id, Planned(plan), epoch=task.epoch)

    async def _carry_out_plan(self, task: Task) -> None:
        whole = await self._plans.carry_out(task, taken_up=task.task_id in self._taken_up)
        self.end(task.task_id, Completed(self._checked(task, whole)), task.epoch)

    async def _have_agents_try(self, task: Task) -> None:
        while not task.state.over:
            task = await self._wanted(task)
            if task.lease is None:
                check_may_be_tried(task)
            agent = await self._next_agent(task)
            same = goes_on(task, agent)
            if not same:
                check_may_be_tried(task)
            task = self._lease(task, agent.agent_id, goes_on=same)
            task = self._judge(task, agent, await self._attempt(task, agent))
            await self._journal.log.flush()

    async def _wanted(self, task: Task) -> Task:
        """The task when there is something to do: not while it waits for an answer, and who has asked was lost."""
        while task.state.waiting and task.lease is None:
            await self._journal.next_change(task.task_id)
            task = self._journal.log.task(task.task_id)
        return task

    async def _next_agent(self, task: Task) -> Agent:
        failed = {failure.agent_id for failure in task.failures if failure.code != AGENT_LOST}
        is_lost = bool(task.failures) and task.failures[-1].code == AGENT_LOST
        found: tuple[Agent, ...] = ()
        try:
            found = await self._routes.reachable_soon(
                task, failed, PATIENCE if is_lost else 0.0, taken_up=task.task_id in self._taken_up
            )
        except (NoAgentAvailableError, AgentUnreachableError):
            if not failed:
                raise
        if found:
            return next((agent for agent in found if goes_on(task, agent)), found[0])
        last = task.failures[-1]
        raise TaskFailedError(task.task_id, last.code, f"{last.agent_id}: {last.reason}")

    async def _attempt(self, task: Task, agent: Agent) -> Outcome:
        context = TaskContext(self._journal, task, agent.agent_id)
        timeout = self._types.find(task.task_type).attempt_timeout or self._attempt_timeout
        return await attempt(self._calls, context, partial(self._prepare, agent, context), timeout)

    def _prepare(self, agent: Agent, context: TaskContext) -> UserFunction:
        if agent.handler is not None:
            return prepared(agent.handler, context)
        return bound(self._remote, agent, context)  # type: ignore[arg-type] # `_can_ask` has looked

    def _judge(self, task: Task, agent: Agent, outcome: Outcome) -> Task:
        """Write down what has come of an attempt; returns the task after it."""
        error = outcome.error
        if error is None:
            self._check_spent(task)
            try:
                return self.end(task.task_id, Completed(self._checked(task, outcome.value)), task.epoch)
            except TaskFailedError as garbage:
                error = garbage
        if isinstance(error, TaskRejectedError):
            return self.end(task.task_id, Rejected(error.reason), task.epoch)
        if isinstance(error, _FINAL):
            raise error
        code, reason = told(error)
        _logger.warning("agent %s has not done task %s: %s", agent.agent_id, task.task_id, reason)
        return self._journal.append(task.task_id, AttemptFailed(agent.agent_id, code, reason), epoch=task.epoch)

    def _check_spent(self, task: Task) -> None:
        """Raise TaskBudgetError if too much was spent: whoever did may not have heeded that he was told so."""
        limit = task.budget.units
        if limit is not None and self._journal.log.task(task.task_id).spent > limit:
            raise TaskBudgetError(task.task_id, "units", limit)

    def _checked(self, task: Task, value: Any) -> Any:
        """A result as JSON. Raises TaskFailedError for what is none, or not what such a task results in.

        Of a task that several agents do it is looked at what each of them has returned, and not at all of it together.
        """
        by_several = task.plan and all(part.task_type == task.task_type for part in task.plan)
        check = None if by_several else self._types.find(task.task_type).check
        try:
            result = as_json(value, MOST_RESULT).content
        except GarbageError as error:
            raise TaskFailedError(task.task_id, "garbage", f"what was returned cannot be kept: {error}") from None
        try:
            if check is not None:
                check(result)
        except Exception as error:
            raise TaskFailedError(task.task_id, "garbage", f"not what was wanted: {describe(error)}") from error
        return result
