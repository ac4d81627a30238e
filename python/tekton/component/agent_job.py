"""The work of an agent at one task, and the reports about it, from the first notice to the last report.

* Nothing is done before the control plane has said, asked by us, that it is ours to do.
* While the control plane is away the work goes on to the end of its step, and is reported when it is back. A step
  begins only when the one before is durable, and when the control plane was heard less than half a lease ago: this
  process may have stood still meanwhile, and somebody else have the task.
* When the control plane has given the task another lease, and nobody else has worked on it, the work goes on under
  that. When the lease is over, it is cancelled.
* The work is part of the trace in which the task was wanted: the assignment says where. What is said about it is not.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from tekton.a2a.attempt import AGENT_LOST, attempt, told
from tekton.a2a.task import Task
from tekton.a2a.task_event import AttemptFailed, Completed, InputGiven, Rejected, StepCompleted
from tekton.a2a.task_handlers import prepared
from tekton.a2a.task_journal import TaskJournal
from tekton.a2a.task_reports import Assignment, Heard, task_of
from tekton.a2a.task_steps import MOST_RESULT, TaskContext
from tekton.background import BackgroundGroup
from tekton.clock import Clock
from tekton.component.report_client import LeaseOverError, ReportRefusedError, Reports
from tekton.component.reported_log import ReportedLog
from tekton.core.calls import Outcome, UserCalls, UserFunction, is_async
from tekton.core.degradation.bulkhead import Bulkhead, Slot, call_in_place
from tekton.core.degradation.deadline import within
from tekton.core.tracing import Tracer
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.tekton_errors import StorageError, TaskRejectedError, TektonError
from tekton.utils.trace_context import CURRENT, new_trace

__all__ = ["Job", "Workplace", "Workshop"]

BACKOFF: Final = (0.1, 5.0)
"""Seconds, the first and the longest, for which to wait before a report is sent again."""
_MOST_FAILURES: Final = 8
"""So often the control plane is asked what is to be done. When it is back, it gives notice again."""
_BATCH: Final = 512 * 1024

_logger = logging.getLogger("tekton.component")


class Workshop:
    """What the jobs of a component share: *worker* is its name, and *reports* the way to the control plane.

    *tracer* makes the spans of what they do.
    """

    def __init__(
        self,
        worker: str,
        reports: Reports,
        clock: Clock,
        rng: random.Random | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.worker = worker
        self.reports = reports
        self.clock = clock
        self.random = rng or random.Random()
        self.tracer = tracer
        self.calls = UserCalls("agents")
        self.group = BackgroundGroup("agents")


class Workplace(NamedTuple):
    """That of an agent: the code that does its work, and the *slots* for those who do it at a time."""

    agent_id: str
    handler: Callable[..., Any]
    slots: Bulkhead


class Job:
    """The work at one task, of which there was notice under the lease *epoch*. *missed* is one that came too late."""

    def __init__(self, workshop: Workshop, place: Workplace, task_id: str, epoch: int) -> None:
        self.task_id = task_id
        self.missed = 0
        self._workshop = workshop
        self._place = place
        self._agent_id = place.agent_id
        self._over = False
        self._wanted = epoch
        self._epoch = 0
        self._base = 0
        self._lease = 1.0
        self._sure_until = 0.0
        self._sure = asyncio.Event()
        self._failures = 0
        self._log: ReportedLog | None = None
        self._journal: TaskJournal | None = None
        self._work: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._works = False
        self._leaving = False
        self._condemned = False

    def notice(self, epoch: int) -> None:
        """There is something to hear under that lease."""
        if self._over:
            self.missed = max(self.missed, epoch)
            return
        self._wanted = max(self._wanted, epoch)
        self._failures = 0
        self._heed()

    def leave(self, *, now: bool = False) -> None:
        """Give the task back: when the step that is being done is, or *now*."""
        self._leaving = True
        if now or self._log is None or not self._works or self._log.now.state.waiting:
            self._give_back()
        self._heed()

    async def run(self) -> None:
        """Do it. Returns when there is nothing more to do and to say."""
        # Of many reports about a long work there would be many spans, and nothing to see.
        CURRENT.set((CURRENT.get() or new_trace())._replace(sampled=False))
        try:
            while await self._goes_on():
                pass
        finally:
            self._over = True
            await self._stop_work()

    def _heed(self) -> None:
        self._news.set()
        self._wake.set()

    async def _stop_work(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _goes_on(self) -> bool:
        """Say, and hear, once; whether there is more."""
        self._wake.clear()
        self._news.clear()
        wanted = self._wanted
        try:
            more = await (self._begin(wanted) if wanted > self._epoch else self._report())
        except LeaseOverError:
            return self._goes_on_without_lease(wanted)
        except ReportRefusedError as error:
            return self._refused(error)
        except TektonError as error:
            return await self._wait_for_better_times(error)
        self._failures = 0
        return more

    async def _begin(self, epoch: int) -> bool:
        """Take the task under another lease."""
        report = {"epoch": epoch, "worker": self._workshop.worker, "begins": True, "worked": self._epoch}
        sent = self._now()
        assignment = (await self._workshop.reports.send(self.task_id, report)).assignment
        if assignment is None or assignment.agent_id != self._agent_id:
            raise ReportRefusedError("it was told nothing to do")
        if self._leaving and self._log is None:
            self._start_nothing(assignment)
        elif self._log is None or assignment.taken is None:
            await self._start(assignment)
        else:
            self._log.take(self._base + assignment.taken)
            self._adopt(self._log, assignment)
        assert self._log is not None
        self._base, self._epoch, self._lease = self._log.taken, epoch, assignment.lease
        self._was_ours(sent)  # not before: what is done under a lease that is over ends first
        return True

    async def _start(self, assignment: Assignment) -> None:
        await self._stop_work()
        task = task_of(assignment, self._workshop.clock.time())
        self._log = ReportedLog(task, self._wake.set)
        self._journal = TaskJournal(self._log, self._workshop.clock)
        self._work = self._workshop.group.spawn(self._do(task, self._log, self._journal), f"work at {task.task_id}")

    def _start_nothing(self, assignment: Assignment) -> None:
        self._log = ReportedLog(task_of(assignment, self._workshop.clock.time()), self._wake.set)
        self._give_back()

    def _adopt(self, log: ReportedLog, assignment: Assignment) -> None:
        """Go on from where the control plane says that the task is."""
        question = log.now.question
        if question is not None and question.step in assignment.steps:
            self._answered(question.step, assignment.steps[question.step])

    async def _do(self, task: Task, log: ReportedLog, journal: TaskJournal) -> None:
        CURRENT.set(None)
        slot = await self._place.slots.enter()
        self._works = True
        try:
            outcome = await self._attempt(TaskContext(journal, task, self._agent_id, confirm=self._be_sure), slot)
        except StorageError as error:
            outcome = Outcome(None, error)
        finally:
            self._works = False
            slot.release()
        if log.ending is None:
            log.conclude(self._ending(outcome))

    async def _attempt(self, context: TaskContext, slot: Slot) -> Outcome:
        def prepare() -> UserFunction:
            function = prepared(self._place.handler, context)
            return function if is_async(function) else partial(_in_thread, function, slot)

        with within(max(context.time_left, 0.0), ends=True):
            return await attempt(self._workshop.calls, context, prepare, tracer=self._workshop.tracer)

    def _ending(self, outcome: Outcome) -> Completed | AttemptFailed | Rejected:
        error = outcome.error
        if error is None:
            try:
                return Completed(as_json(outcome.value, MOST_RESULT).content)
            except GarbageError as garbage:
                return AttemptFailed(self._agent_id, "garbage", f"what was returned cannot be kept: {garbage}")
        if isinstance(error, TaskRejectedError):
            return Rejected(error.reason)
        code, reason = told(error)
        trace = None if isinstance(error, TektonError) else error
        _logger.warning("%s has not done task %s: %s", self._agent_id, self.task_id, reason, exc_info=trace)
        return AttemptFailed(self._agent_id, code, reason)

    def _was_ours(self, at: float) -> None:
        """The control plane has answered a report that was sent *at* that time."""
        self._sure_until = at + self._lease / 2
        self._sure.set()

    def _now(self) -> float:
        return self._workshop.clock.boottime()

    async def _be_sure(self) -> None:
        """Return when the lease is ours; ask, if that was not said lately."""
        while self._now() >= self._sure_until:
            self._sure.clear()
            self._wake.set()
            await self._sure.wait()

    async def _report(self) -> bool:
        log = self._log
        assert log is not None
        first, changes, ends = log.batch(_BATCH)
        report = {
            "epoch": self._epoch,
            "worker": self._workshop.worker,
            "first": first - self._base,
            "changes": changes,
        }
        sent = self._now()
        heard = await self._workshop.reports.send(self.task_id, report)
        self._was_ours(sent)
        gone = log.take(self._base + heard.taken)
        if ends:
            if self._wanted > self._epoch:  # the notice of the next lease was faster than this answer
                self.missed = self._wanted
            return False
        self._hear(log, heard)
        if self._leaving and any(isinstance(change, StepCompleted) for change in gone):
            self._give_back()
        if log.is_reported and self._wanted <= self._epoch:
            return await self._pause(self._wake, self._lease / 3)
        return True

    def _hear(self, log: ReportedLog, heard: Heard) -> None:
        question = log.now.question
        if question is not None and question.step in heard.answers:
            self._answered(question.step, heard.answers[question.step])

    def _answered(self, step: str, answer: Any) -> None:
        assert self._journal is not None
        self._journal.append(self.task_id, InputGiven(step, answer))

    def _give_back(self) -> None:
        """End the work, and say that it is somebody else's."""
        self._end_with(AGENT_LOST, "its component is stopping")

    def _end_with(self, code: str, reason: str) -> None:
        if self._log is not None and self._log.ending is None:
            self._log.conclude(AttemptFailed(self._agent_id, code, reason))
            if self._work is not None:
                self._work.cancel()

    def _goes_on_without_lease(self, wanted: int) -> bool:
        if self._wanted > wanted:  # there was notice of another one meanwhile
            return True
        if wanted <= self._epoch:
            return False
        # A notice may be of a lease that there is not, or not any more; then ours is still what it was.
        self._wanted = self._epoch
        return self._epoch > 0

    def _refused(self, error: ReportRefusedError) -> bool:
        _logger.error("a report of %s about task %s: %s", self._agent_id, self.task_id, error)
        if self._log is None or self._condemned:
            return False
        self._condemned = True
        self._log.drop()
        self._log.ending = None
        self._end_with("garbage", str(error)[:500])
        return True

    async def _wait_for_better_times(self, error: TektonError) -> bool:
        if self._failures == 0:
            _logger.warning("what %s does at task %s is not reported for now: %s", self._agent_id, self.task_id, error)
        longest = min(BACKOFF[1], BACKOFF[0] * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        if self._log is None and self._failures > _MOST_FAILURES:
            return False
        # What happens here in the meantime does not hasten it.
        return await self._pause(self._news, self._workshop.random.uniform(longest / 2, longest))

    async def _pause(self, until: asyncio.Event, seconds: float) -> bool:
        """Wait for *seconds*, or *until* that; False when the time for the task is over."""
        left = seconds if self._log is None else self._log.now.deadline - self._workshop.clock.time()
        if left <= 0:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, left)):
                await until.wait()
        return True


async def _in_thread(function: UserFunction, slot: Slot) -> object:
    """What a plain *function* returns. It keeps *slot* until its thread has ended, though nobody waits for that."""
    slot.hold()
    try:
        outcome = await call_in_place(function, slot)
    finally:
        slot.release()
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
