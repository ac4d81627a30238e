"""An attempt of an agent that is in a component: what its worker reports is checked, and happens to the task.

Whoever is there may lie. So a report is of the worker that has begun, under the lease that there is, or it is refused
(`StaleLeaseError`); what it says may be no more than a worker can say, and is taken once; what a task may use up is
counted here. Nothing that is reported is believed further than that it is what the agent says.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from tekton.a2a.attempt import AGENT_LOST
from tekton.a2a.task import Task
from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    Change,
    Completed,
    InputRequired,
    Progressed,
    Rejected,
    Spent,
    StepBegun,
    StepCompleted,
)
from tekton.a2a.task_log import TaskLog
from tekton.a2a.task_reports import ENDING, Heard, Report, Reported, assignment_of, reported_in
from tekton.a2a.task_steps import MOST_RESULT, TaskContext
from tekton.clock import Clock
from tekton.gateway.errors import UnavailableError
from tekton.mcp.tool_result import MAX_DEPTH
from tekton.utils.json_depth import is_deeper
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    TaskBudgetError,
    TaskFailedError,
    TaskRejectedError,
    TaskStateError,
    TektonError,
)

__all__ = ["Attempt"]

MOST_REPORTED: Final = 64 * 1024 * 1024
"""Bytes of all that an attempt may report; a change counts as half a kilobyte at least."""
MOST_ASSIGNMENT: Final = 24 * 1024 * 1024
_LEAST: Final = 512
_MOST_NAME: Final = 160
_MOST_TEXT: Final = 10_000
_MOST_REASON: Final = 500
_JUDGED_WITHIN: Final = 10.0
_LATE: Final = 1.0
_PAGE: Final = 64

_EndingT = TypeVar("_EndingT", bound=TektonError | Completed)

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_encode = msgspec.json.Encoder().encode


class Attempt:
    """That of the agent of *context*, in a component. Who works on it is heard of every *lease* seconds, or lost."""

    def __init__(self, component_id: str, context: TaskContext, log: TaskLog, lease: float, clock: Clock) -> None:
        self.component_id = component_id
        self.task_id = context.task_id
        self.epoch = context.epoch
        self.agent_id = context.agent_id
        self.worker: str | None = None
        """Who works on it, once he has begun."""
        self.instance: str | None = None
        """The instance of the component that was given notice."""
        self.is_orphan = False
        """True when nobody waits for its outcome: we stop. What is done is kept, and who gives it back is let go."""
        self.asked: str | None = None
        """The last question that was asked, by its step."""
        self._journal = context.journal
        self._log = log
        self._lease = lease
        self._clock = clock
        self._until = clock.monotonic() + lease
        self._taken = 0
        self._bytes = 0
        self._ending: asyncio.Future[TektonError | Completed] = asyncio.get_running_loop().create_future()

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self._log.task(self.task_id)

    async def changed(self) -> None:
        """Wait until something happens to the task."""
        await self._journal.next_change(self.task_id)

    async def outcome(self) -> object:
        """What the agent has done. Raises what has kept it from that: for silence, TaskFailedError `agent_lost`."""
        while not self._ending.done():
            left = self._until - self._clock.monotonic()
            if left <= 0:
                self.lose(f"nothing was heard of it for {self._lease:g} s")
                break
            planned = self._until
            await asyncio.wait({self._ending}, timeout=left)
            if self._clock.monotonic() - planned > _LATE:
                # Nobody can be heard while we stand still. What has come meanwhile is looked at first.
                self._until = max(self._until, self._clock.monotonic() + self._lease / 3)
        ending = self._ending.result()
        if isinstance(ending, Completed):
            return ending.result
        raise ending

    def lose(self, reason: str) -> None:
        """Nothing more will be heard of the agent."""
        self._end(TaskFailedError(self.task_id, AGENT_LOST, reason))

    async def report(self, report: Report) -> Heard:
        """Have happen what *report* says; returns what the worker is to hear, when it is durable.

        Raises StaleLeaseError for whoever has no say, UnavailableError for who may have when he comes again,
        InvalidTaskError for what a worker cannot say, TaskBudgetError when it is too much, and the storage errors.
        """
        self._check_worker(report)
        self._until = self._clock.monotonic() + self._lease
        ending = self._take(report)
        if ending is not None and not (self.is_orphan and _gives_back(ending)):
            self._end_by(ending)
            await self._judged()
        await self._journal.log.flush()
        taken = await self._taken_before(report.worked) if report.begins else None
        return self._heard(report, taken)

    def _check_worker(self, report: Report) -> None:
        if report.epoch < self.epoch and self.worker is None:
            raise UnavailableError("the task has another lease, of which there will be notice")
        if report.epoch == self.epoch and report.begins and self.worker is None and not self._ending.done():
            self.worker = report.worker
        lease = self.task.lease
        if report.worker != self.worker or lease is None or not report.epoch == self.epoch == lease.epoch:
            raise StaleLeaseError(self.task_id, report.epoch, self.epoch)

    def _take(self, report: Report) -> Completed | AttemptFailed | Rejected | None:
        """Have the changes happen that did not by now. Returns how the work has ended, if it has."""
        changes: Sequence[Reported] = report.changes
        ending = changes[-1] if changes and isinstance(changes[-1], ENDING) else None
        if ending is not None:
            changes = changes[:-1]
        if report.first > self._taken:
            raise InvalidTaskError("/first", f"{self._taken} changes were taken, and those behind them are missing")
        new = changes[self._taken - report.first :]
        self._check(new)
        if self._ending.done() and (new or ending is None):
            raise StaleLeaseError(self.task_id, report.epoch, self.epoch)
        if new:
            self._append(new)
        return ending

    def _check(self, changes: Sequence[Reported]) -> None:
        task = self.task
        done = set(task.steps)
        for place, change in enumerate(changes):
            if (problem := _problem(change)) is not None:
                raise InvalidTaskError(f"/changes/{place}", problem)
            if isinstance(change, StepCompleted):
                if change.step in done or (task.question is not None and task.question.step == change.step):
                    raise InvalidTaskError(f"/changes/{place}", f"step {change.step!r} was done, or is a question")
                done.add(change.step)
        if len(done) > task.budget.steps:
            raise self._end(TaskBudgetError(self.task_id, "steps", task.budget.steps))
        self._bytes += sum(max(_LEAST, len(_encode(change))) for change in changes)
        if self._bytes > MOST_REPORTED:
            too_much = f"it has reported more than {MOST_REPORTED // 2**20} MiB"
            raise self._end(TaskFailedError(self.task_id, "garbage", too_much))

    def _append(self, changes: Sequence[Change]) -> None:
        try:
            task = self._journal.append(self.task_id, *changes, epoch=self.epoch)
        except TaskBudgetError as error:
            raise self._end(error) from None
        except TaskStateError as error:
            if self.task.state.over:
                raise
            raise InvalidTaskError("/changes", str(error)) from None
        self._taken += len(changes)
        for change in changes:
            if isinstance(change, InputRequired):
                self.asked = change.step
        if task.budget.units is not None and task.spent > task.budget.units:
            self._end(TaskBudgetError(self.task_id, "units", task.budget.units))

    def _end_by(self, ending: Completed | AttemptFailed | Rejected) -> None:
        if isinstance(ending, Completed):
            self._end(ending)
        elif isinstance(ending, Rejected):
            self._end(TaskRejectedError(self.task_id, ending.reason[:_MOST_REASON]))
        elif ending.code == TaskBudgetError.code and len(self.task.steps) >= self.task.budget.steps:
            self._end(TaskBudgetError(self.task_id, "steps", self.task.budget.steps))
        else:
            code = ending.code if _CODE.fullmatch(ending.code) else "agent_failed"
            self._end(TaskFailedError(self.task_id, code, ending.reason[:_MOST_REASON]))

    def _end(self, ending: _EndingT) -> _EndingT:
        if not self._ending.done():
            self._ending.set_result(ending)
        return ending

    async def _judged(self) -> None:
        """Wait until the end of the work is in the log, as whoever asked for it has judged it."""
        if self.is_orphan:
            raise UnavailableError("nobody waits for what was done; the task will get another lease")
        try:
            async with asyncio.timeout(_JUDGED_WITHIN):
                while (lease := self.task.lease) is not None and lease.epoch == self.epoch:
                    await self._journal.next_change(self.task_id)
        except TimeoutError:
            raise UnavailableError("what was done is not judged yet") from None

    def _heard(self, report: Report, taken: int | None) -> Heard:
        task = self.task
        answers = {step: task.steps[step] for step in (self.asked,) if step is not None and step in task.steps}
        heard = Heard(task.number, task.state, self._taken, task.question, answers)
        if not report.begins or task.state.over:
            return heard
        if task.question is not None:
            self.asked = task.question.step
        assignment = assignment_of(
            task,
            self.agent_id,
            time_left=task.deadline - self._clock.time(),
            lease=self._lease,
            taken=taken,
        )
        if len(_encode(assignment)) > MOST_ASSIGNMENT:
            raise self._end(TaskFailedError(self.task_id, "garbage", "what was done by now is too large to be told"))
        return msgspec.structs.replace(heard, assignment=assignment)

    async def _taken_before(self, worked: int) -> int | None:
        """What an `Assignment` says was taken under the lease *worked*, which is over. O(events of the task)."""
        if not 0 < worked < self.epoch:
            return None
        count, after = 0, 0
        while page := self._log.read(self.task_id, after, _PAGE):
            if (taken := reported_in(page, worked)) is None:
                return None
            count, after = count + taken, page[-1].number
            await asyncio.sleep(0)
        return count


def _gives_back(ending: Completed | AttemptFailed | Rejected) -> bool:
    return isinstance(ending, AttemptFailed) and ending.code == AGENT_LOST


def _problem(change: Reported) -> str | None:
    """What is wrong with a change that a worker reports."""
    match change:
        case StepBegun(step=name) | StepCompleted(step=name) | InputRequired(step=name) | ArtifactAdded(name=name):
            if not 0 < len(name) <= _MOST_NAME:
                return f"a name has 1 to {_MOST_NAME} characters"
        case Spent(units=units) if units < 0:
            return f"{units} cannot be spent"
        case Progressed(text=text) if len(text) > _MOST_TEXT:
            return f"the text has more than {_MOST_TEXT} characters"
        case Completed() | AttemptFailed() | Rejected():
            return "it is not the last one"
    return _problem_of_value(change)


def _problem_of_value(change: Reported) -> str | None:
    if isinstance(change, InputRequired) and len(change.question) > _MOST_TEXT:
        return f"the question has more than {_MOST_TEXT} characters"
    values = (getattr(change, "result", None), getattr(change, "content", None), getattr(change, "schema", None))
    if any(is_deeper(value, MAX_DEPTH) for value in values):
        return f"it is nested more than {MAX_DEPTH} levels deep"
    if any(value is not None and len(_encode(value)) > MOST_RESULT for value in values):
        return f"it is larger than {MOST_RESULT} bytes"
    return None
