"""Carries out a plan: begins the parts when what they wait for is done, and puts their results together.

Rules:

* Parts that are given up are those of a strategy that needs all, when one has failed; all that are open when the
  result of the others cannot be changed by them any more; and, where a strategy does with fewer, those that have not
  ended shortly before the deadline of the whole. Then it is concluded with what there is.
* What the parts use up counts for the whole: when that is more than its budget allows, the whole has failed.
* The question of a part is a question of the whole, one at a time, and the answer to it is that of the part. Whoever
  answers the part itself answers both. Until it is answered the whole waits as the part does.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tekton.a2a.aggregation import Strategies, Strategy
from tekton.a2a.plan_usage import Usage, used_by
from tekton.a2a.task import Failure, Task, TaskState
from tekton.a2a.task_event import Created, InputGiven, InputWithdrawn, PlannedTask, Spent, StepCompleted
from tekton.a2a.task_graph import graph_of
from tekton.a2a.task_journal import TaskChange, TaskJournal
from tekton.core.calls import describe
from tekton.utils.tekton_errors import StaleLeaseError, TaskFailedError, TaskNotFoundError

__all__ = ["Plans"]

_PARTS_AT_ONCE: Final = 32
"""So many begin in one turn of the event loop."""
_RESERVE: Final = (0.1, 1.0)
"""What is left of the time of a whole that does with fewer parts, to conclude it: a share, and at most so many seconds.

The parts end by themselves when it begins, and are given up in the middle of it.
"""

Driver = asyncio.Task[None]


class Plans:
    """Carries out plans with *strategies*; *drive* has a part driven, and says by whom."""

    def __init__(self, journal: TaskJournal, strategies: Strategies, drive: Callable[[str, bool], Driver]) -> None:
        self.journal = journal
        self.strategies = strategies
        self.drive = drive
        self._runs: dict[str, _Run] = {}
        journal.listen(self._follow)

    async def carry_out(self, task: Task, *, taken_up: bool) -> Any:
        """Have the parts of *task* done; returns what they result in together.

        Raises TaskFailedError when they were not, TaskBudgetError and InvalidTaskError when it is too much, and
        StaleLeaseError when somebody else has them.
        """
        run = _Run(self, task, self._runs.get(task.parent_id or ""), taken_up)
        self._runs[task.task_id] = run
        try:
            return await run.result()
        finally:
            del self._runs[task.task_id]

    def find(self, task_id: str) -> Task | None:
        """The task of that id, if there is one."""
        try:
            return self.journal.log.task(task_id)
        except TaskNotFoundError:
            return None

    def _follow(self, change: TaskChange) -> None:
        task = change.task
        if (run := self._runs.get(task.parent_id or "")) is not None:
            run.heard_of_part(change)
        if isinstance(change.event.change, InputGiven) and (run := self._runs.get(task.task_id)) is not None:
            run.stir()


class _Run:
    """One of the plan of *task*; *whole* is that of the plan in which it is a part."""

    def __init__(self, plans: Plans, task: Task, whole: "_Run | None", taken_up: bool) -> None:
        self._plans = plans
        self._journal = plans.journal
        self._task = task
        self._whole = whole
        self._taken_up = taken_up
        self._strategy: Strategy = plans.strategies.get(task.created.strategy or "all")
        self._graph = graph_of(task.plan)
        self._parts = {part.name: part for part in task.plan}
        self._results: dict[str, Any] = {}
        self._failures: list[str] = []
        self._codes: set[str] = set()
        self._running: dict[Driver, str] = {}
        self._asking: dict[str, None] = {}
        self._used = Usage()
        self._stirred: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share, most = _RESERVE
        reserve = 0.0 if self._strategy.needs_all else min(most, share * (task.deadline - task.created_at))
        self._parts_until = task.deadline - reserve
        self._until = task.deadline - reserve / 2

    async def result(self) -> Any:
        self._use(used_by(self._task, self._plans.find))  # parts with a plan say so themselves, as we do
        self._check_usage()
        await self._begin(self._graph.ready())
        while self._running and not self._is_decided():
            await self._turn()
            self._check_usage()
            self._pass_questions_on()
        return self._conclude()

    # What is heard while it runs

    def stir(self) -> None:
        """There is something to look at."""
        if not self._stirred.done():
            self._stirred.set_result(None)

    def heard_of_part(self, change: TaskChange) -> None:
        """Something has happened to a part."""
        task, event = change.task, change.event.change
        name = task.created.name
        if isinstance(event, Spent):
            self._use(Usage(units=event.units))
        elif isinstance(event, StepCompleted | InputGiven) and not task.plan:
            self._use(Usage(steps=1))
        if task.question is not None:
            self._asking[name] = None
            self.stir()
        elif name in self._asking:
            del self._asking[name]
            self.stir()

    def _use(self, used: Usage) -> None:
        run: _Run | None = self
        while run is not None:
            run._used.add(used)
            run.stir()
            run = run._whole

    def _check_usage(self) -> None:
        run: _Run | None = self
        while run is not None:
            run._used.check(run._task, run._task.budget)
            run = run._whole

    # The parts

    async def _begin(self, names: list[str]) -> None:
        for place, name in enumerate(names, 1):
            part = self._begin_part(self._parts[name])
            if part.question is not None:
                self._asking[name] = None
                self.stir()
            self._running[self._plans.drive(part.task_id, self._taken_up)] = name
            if place % _PARTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _begin_part(self, part: PlannedTask) -> Task:
        if (begun := self._plans.find(part.task_id)) is not None:
            return begun
        former = self._plans.find(part.retry_of) if part.retry_of else None
        whole = self._task.created
        created = Created(
            part.task_type,
            part.inputs,
            self._parts_until,
            whole.budget,
            former.created.origin if former else part.task_id,
            owner=whole.owner,
            conversation_id=whole.conversation_id,
            parent_id=self._task.task_id,
            name=part.name,
            depth=whole.depth + 1,
            dependencies=part.dependencies,
            results={name: self._results[name] for name in part.dependencies},
            agent_id=part.agent_id,
            retry_of=part.retry_of,
            steps=dict(former.steps) if former else {},
            trace=whole.trace,
        )
        self._use(Usage(steps=len(created.steps)))
        return self._journal.append(part.task_id, created, expected=0)

    async def _turn(self) -> None:
        """Wait until there is something to look at, and look at the parts that have ended."""
        left = None
        if self._results and not self._strategy.needs_all:
            left = max(0.0, self._until - self._journal.clock.time())
        awaited: set[asyncio.Future[Any]] = {self._stirred, *self._running}
        done, _ = await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if self._stirred in done:
            self._stirred = asyncio.get_running_loop().create_future()
        for name, driver in sorted((name, driver) for driver, name in self._running.items() if driver in done):
            del self._running[driver]
            await self._take(name, driver)

    async def _take(self, name: str, driver: Driver) -> None:
        part = self._ended(driver, self._parts[name].task_id)
        if part.state is TaskState.COMPLETED:
            self._results[name] = part.result
            await self._begin(self._graph.done(name))
        else:
            failure = part.failure or Failure("task", "it is not over")
            self._failures.append(f"{name}: {failure.reason}")
            self._codes.add(failure.code)
            self._graph.fail(name)

    def _ended(self, driver: Driver, task_id: str) -> Task:
        if not driver.cancelled() and (error := driver.exception()) is not None:
            raise error
        task = self._journal.log.task(task_id)
        if not task.state.over:  # somebody else has it, and so will have the whole
            raise StaleLeaseError(task_id, task.epoch, task.epoch)
        return task

    # The whole

    def _is_decided(self) -> bool:
        if self._strategy.needs_all:
            return bool(self._failures)
        if not self._results:
            return False
        open_parts = len(self._parts) - len(self._results) - len(self._failures)
        return self._journal.clock.time() >= self._until or self._strategy.is_settled(self._results, open_parts)

    def _conclude(self) -> Any:
        if (self._failures and self._strategy.needs_all) or not self._results:
            code = "task_timeout" if self._codes == {"task_timeout"} else "part_failed"
            raise TaskFailedError(self._task.task_id, code, "; ".join(self._failures)[:500])
        results = {name: self._results[name] for name in self._parts if name in self._results}
        try:
            return self._strategy.aggregate(results)
        except Exception as error:
            reason = f"{self._strategy.name}: {describe(error)}"
            raise TaskFailedError(self._task.task_id, "garbage", reason) from error

    # What they ask

    def _pass_questions_on(self) -> None:
        for name in list(self._asking):
            self._pass_answer_on(name)
        self._close_question()
        task = self._journal.log.task(self._task.task_id)
        if task.question is None and not task.state.over and self._asking:
            self._ask(next(iter(self._asking)))

    def _pass_answer_on(self, name: str) -> None:
        """Give a part the answer that the whole has."""
        part = self._journal.log.task(self._parts[name].task_id)
        known = self._journal.log.task(self._task.task_id).steps
        if part.question is not None and (label := f"{name}/{part.question.step}") in known:
            self._journal.append(part.task_id, InputGiven(part.question.step, known[label]), expected=part.number)

    def _close_question(self) -> None:
        """Take back the question of the whole that its part does not ask any more."""
        task = self._journal.log.task(self._task.task_id)
        if task.question is None:
            return
        name, _, step = task.question.step.partition("/")
        part = self._journal.log.task(self._parts[name].task_id)
        if step in part.steps:
            self._journal.append(task.task_id, InputGiven(task.question.step, part.steps[step]))
        elif part.question is None or part.question.step != step:
            self._journal.append(task.task_id, InputWithdrawn(task.question.step), epoch=self._task.epoch)

    def _ask(self, name: str) -> None:
        question = self._journal.log.task(self._parts[name].task_id).question
        assert question is not None  # or it would not be among those who ask
        asked = type(question)(f"{name}/{question.step}", question.question, question.schema)
        self._journal.append(self._task.task_id, asked, epoch=self._task.epoch)
