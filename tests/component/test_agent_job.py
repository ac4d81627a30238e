"""The work at one task, against the real other side: what is done happens there, once, whatever goes away meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from random import Random
from typing import Any

import msgspec
import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget, Completed, Leased, StepCompleted
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_reports import Heard, Report
from tekton.a2a.task_steps import TaskContext, idempotency_key
from tekton.component.agent_job import Job, Workplace, Workshop
from tekton.component.report_client import LeaseOverError, ReportRefusedError
from tekton.core.degradation.bulkhead import Bulkhead
from tekton.core.tracing import Span, Tracer
from tekton.gateway.errors import UnavailableError
from tekton.service.agent_attempts import Attempt
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    TaskCanceledError,
    TaskFailedError,
    TaskRejectedError,
    TaskStateError,
    TaskTimeoutError,
    TransportError,
)
from tekton.utils.trace_context import CURRENT, TraceContext, new_trace

LEASE = 30.0


_open: "list[Plane]" = []


def simulated(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], None]:
    """In virtual time; at its end all stop."""

    @virtual_time
    async def run(self: Any) -> None:
        try:
            await test(self)
        finally:
            while _open:
                await _open.pop().close()

    return wraps(test)(run)


class Plane:
    """The control plane, and the wire to it: what is sent is JSON, and may get lost on either way."""

    def __init__(self, handler: Callable[..., Any], *, slots: int = 8) -> None:
        self.log = MemoryTaskLog()
        self.registry = AgentRegistry()
        self.registry.register_agent("reviewer", ["review"], endpoint="http://shop.test", component_id="shop")
        self.workplace = Workplace("reviewer", handler, Bulkhead("reviewer", slots, 100))
        self.away = False
        self.loses_answers = False
        self.deaf = False
        self.refuses = False
        self.reports: list[Report] = []
        self.jobs: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.workers = 0
        self.start()
        self.hire()
        _open.append(self)

    async def close(self) -> None:
        await self.kill_worker()
        await self.manager.close()

    def start(self) -> None:
        self.manager = TaskManager(self.registry, log=self.log, remote=self, clock=current_clock())

    def hire(self) -> None:
        """Another process of the component, the one before being dead."""
        self.workers += 1
        self.workshop = Workshop(f"w{self.workers}", self, current_clock(), Random(7))

    async def restart(self) -> None:
        """As by `kill -9`: of what was not in the log nothing is known any more."""
        await self.manager.close()
        self.attempts.clear()
        self.start()
        self.manager.resume()
        await settled()

    async def kill_worker(self) -> None:
        await self.workshop.group.stop()
        await self.workshop.calls.close()
        self.jobs.clear()
        self.hire()

    async def __call__(self, _: Agent, context: TaskContext) -> Any:
        attempt = self.attempts[context.task_id] = Attempt("shop", context, self.log, LEASE, current_clock())
        try:
            if not self.deaf:
                self.notice(context.task_id, attempt.epoch)
            return await attempt.outcome()
        finally:
            self.notice(context.task_id, attempt.epoch)

    def notice(self, task_id: str, epoch: int) -> None:
        known = self.jobs.get(task_id)
        if known is not None and not known[1].done():
            known[0].notice(epoch)
            return
        job = Job(self.workshop, self.workplace, task_id, epoch)
        running = self.workshop.group.spawn(job.run(), task_id)
        self.jobs[task_id] = job, running
        running.add_done_callback(lambda _: self.notice(task_id, job.missed) if job.missed else None)

    async def send(self, task_id: str, report: object) -> Heard:
        decoded = msgspec.json.decode(msgspec.json.encode(report), type=Report)
        if self.away:
            raise TransportError("http://plane.test", "connection refused")
        if self.refuses and decoded.changes and not hasattr(decoded.changes[-1], "code"):
            raise ReportRefusedError("what is this")
        try:
            if task_id not in self.attempts:
                raise UnavailableError("nobody waits")
            heard = await self.attempts[task_id].report(decoded)
        except (StaleLeaseError, TaskStateError):
            raise LeaseOverError from None
        except InvalidTaskError as error:
            raise ReportRefusedError(str(error)) from None
        except UnavailableError as error:
            raise TransportError("http://plane.test", str(error)) from None
        self.reports.append(decoded)
        if self.loses_answers:
            raise TransportError("http://plane.test", "the connection was closed")
        return msgspec.json.decode(msgspec.json.encode(heard), type=Heard)

    def begin(self, **options: Any) -> "asyncio.Task[Any]":
        """Have a task done; the future gives its result."""
        self.task = self.manager.create_task("review", {"code": "x = 1"}, **options)
        return asyncio.get_running_loop().create_task(self.manager.execute_task(self.task))

    def now(self) -> Task:
        return self.log.task(self.task.task_id)

    async def until(self, condition: Callable[[Task], bool]) -> Task:
        async with asyncio.timeout(1000):
            while not condition(self.now()):
                await self.manager.next_change(self.task)
        return self.now()

    def kinds(self) -> list[str]:
        events = self.log.read(self.task.task_id)
        return [str(event.change.__struct_config__.tag) for event in events]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


class Steps:
    """Functions of steps that count how often they run, and take *seconds* each."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.done: list[str] = []

    def named(self, name: str, result: Any = None) -> Callable[[], Any]:
        async def run() -> Any:
            await asyncio.sleep(self.seconds)
            self.done.append(name)
            return name if result is None else result

        return run


def two_steps(steps: Steps) -> Callable[..., Any]:
    async def handler(code: str, context: TaskContext) -> list[str]:
        first = await context.step("first", steps.named("first"))
        second = await context.step("second", steps.named("second"))
        return [code, first, second]

    return handler


class TestTraces:
    @simulated
    async def test_the_work_is_in_the_trace_of_the_task_in_whatever_process_it_goes_on(self) -> None:
        spans: list[Span] = []
        steps, here = Steps(10.0), new_trace()
        plane = Plane(two_steps(steps))
        plane.workshop.tracer = Tracer("shop", spans.append, clock=current_clock())
        token = CURRENT.set(here)
        result = plane.begin()
        CURRENT.reset(token)
        await plane.until(lambda task: len(task.steps) == 1)
        await plane.kill_worker()
        plane.workshop.tracer = Tracer("shop", spans.append, clock=current_clock())
        result.cancel()
        await plane.restart()
        await plane.until(lambda task: task.state.over)
        await settled()

        lost, work = (one for one in spans if one.name == "task review")
        assert {one.trace_id for one in spans} == {here.trace_id}
        assert lost.parent_id == work.parent_id == here.span_id
        assert (lost.message, work.status) == ("cancelled", "unset")
        assert [(one.name, one.parent_id) for one in spans if one.name.startswith("step ")] == [
            ("step first", lost.span_id),
            ("step second", lost.span_id),
            ("step second", work.span_id),
        ]

    @simulated
    async def test_what_is_reported_has_no_spans_and_what_the_work_itself_asks_others_has(self) -> None:
        reported: list[TraceContext | None] = []
        asked: list[TraceContext | None] = []

        class Watched(Plane):
            async def send(self, task_id: str, report: object) -> Heard:
                reported.append(CURRENT.get())
                return await super().send(task_id, report)

        async def handler() -> None:
            asked.append(CURRENT.get())

        plane, here = Watched(handler), new_trace()
        await plane.begin()
        token = CURRENT.set(here)
        traced = plane.begin()
        CURRENT.reset(token)
        await traced

        assert [one is not None and one.sampled for one in reported] == [False] * len(reported)
        assert asked == [None, here]

    @simulated
    async def test_work_that_has_failed_is_an_error(self) -> None:
        spans: list[Span] = []

        async def handler() -> None:
            raise ValueError("no luck")

        plane = Plane(handler)
        plane.workshop.tracer = Tracer("shop", spans.append, clock=current_clock())
        token = CURRENT.set(new_trace())
        result = plane.begin()
        CURRENT.reset(token)
        with pytest.raises(TaskFailedError):
            await result

        assert [(one.name, one.status, one.message) for one in spans] == [
            ("task review", "error", "ValueError: no luck")
        ]


class TestWorking:
    @simulated
    async def test_all_that_a_handler_does_happens_to_the_task(self) -> None:
        async def handler(code: str, context: TaskContext) -> dict[str, Any]:
            tree = await context.step("parse", lambda: {"code": code})
            context.progress(1, 2, "half")
            context.artifact("tree", tree)
            context.spend(2.5)
            await context.step("send", idempotency_key, repeatable=False)
            return {"seen": context.results, "of": context.task.owner}

        plane = Plane(handler)
        result = await plane.begin(owner="ada")
        task = plane.now()

        assert result == {"seen": {}, "of": "ada"}
        assert (task.artifacts, task.spent, task.progress and task.progress.text) == (
            {"tree": {"code": "x = 1"}},
            2.5,
            "half",
        )
        assert task.steps == {"parse": {"code": "x = 1"}, "send": f"{task.task_id}/send"}
        assert plane.kinds() == [
            *("created", "leased", "step_completed", "progressed", "artifact_added", "spent"),
            *("step_begun", "step_completed", "completed"),
        ]

    @simulated
    async def test_a_question_is_answered(self) -> None:
        async def handler(context: TaskContext) -> str:
            return str(await context.ask("Which one?", {"type": "string"}))

        plane = Plane(handler)
        result = plane.begin()
        asked = (await plane.until(lambda task: task.state.waiting)).question
        plane.manager.answer(plane.task, "this one")

        assert asked is not None
        assert (asked.question, asked.schema, await result) == ("Which one?", {"type": "string"}, "this one")

    @simulated
    async def test_what_is_said_at_once_is_reported_together(self) -> None:
        async def handler(context: TaskContext) -> str:
            for number in range(50):
                context.artifact(f"a{number}", number)
            await context.step("last", lambda: 1)
            return "done"

        plane = Plane(handler)
        await plane.begin()

        assert len(plane.now().artifacts) == 50
        assert len([report for report in plane.reports if report.changes]) <= 4

    @simulated
    async def test_only_the_last_of_what_is_said_of_the_progress_is_reported(self) -> None:
        async def handler(context: TaskContext) -> str:
            for number in range(5000):
                context.progress(number)
            await context.step("last", lambda: 1)
            return "done"

        plane = Plane(handler)
        await plane.begin()
        progress = plane.now().progress

        assert progress is not None
        assert progress.done == 4999
        assert plane.kinds().count("progressed") <= 2

    @simulated
    async def test_an_error_is_that_of_the_attempt(self) -> None:
        async def handler() -> None:
            raise OSError("it broke")

        with pytest.raises(TaskFailedError) as caught:
            await Plane(handler).begin()

        assert (caught.value.failed, caught.value.reason) == ("agent_failed", "reviewer: OSError: it broke")

    def test_an_error_is_in_the_log_with_the_place_where_it_was_raised(self, caplog: pytest.LogCaptureFixture) -> None:
        self.test_an_error_is_that_of_the_attempt()

        assert ", in handler\n" in caplog.text
        assert caplog.text.rstrip().endswith("OSError: it broke")

    @simulated
    async def test_a_task_may_be_rejected(self) -> None:
        async def handler(context: TaskContext) -> None:
            raise TaskRejectedError(context.task_id, "not my language")

        with pytest.raises(TaskRejectedError) as caught:
            await Plane(handler).begin()

        assert caught.value.reason == "not my language"

    @simulated
    async def test_a_result_that_is_none_is_garbage(self) -> None:
        async def handler() -> object:
            return object()

        with pytest.raises(TaskFailedError) as caught:
            await Plane(handler).begin()

        assert caught.value.failed == "garbage"

    @simulated
    async def test_inputs_that_do_not_fit_are_told(self) -> None:
        async def handler(tests: str) -> str:
            return tests

        with pytest.raises(TaskFailedError) as caught:
            await Plane(handler).begin()

        assert caught.value.failed == "invalid_task"

    @simulated
    async def test_more_steps_than_the_budget_allows_end_the_task(self) -> None:
        async def handler(context: TaskContext) -> None:
            for number in range(5):
                await context.step(f"s{number}", lambda: 1)

        plane = Plane(handler)
        with pytest.raises(TaskFailedError) as caught:
            await plane.begin(budget=Budget(steps=3))

        assert (caught.value.failed, len(plane.now().steps), plane.now().failures) == ("task_budget", 3, ())

    @simulated
    async def test_a_task_that_waits_its_turn_keeps_its_lease(self) -> None:
        async def handler() -> str:
            await asyncio.sleep(10 * LEASE)
            return "done"

        plane = Plane(handler, slots=1)
        first, second = plane.begin(), plane.begin()

        assert (await first, await second) == ("done", "done")
        assert plane.now().epoch == 1


class TestThreads:
    @simulated
    async def test_a_thread_keeps_its_place_though_its_task_was_called_off(self) -> None:
        loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        threads: list[threading.Thread] = []

        def handler() -> str:
            threads.append(threading.current_thread())
            if len(threads) == 1:
                loop.call_soon_threadsafe(begun.set)
                assert go.wait(10)
            return "done"

        plane = Plane(handler, slots=1)
        called_off = plane.begin()
        await begun.wait()
        plane.manager.cancel_task(plane.task)
        with pytest.raises(TaskCanceledError):
            await called_off
        result = plane.begin()
        await asyncio.sleep(5)
        meanwhile = len(threads)
        go.set()
        threads[0].join(10)

        assert (meanwhile, await result, len(threads)) == (1, "done", 2)
        assert plane.workplace.slots.running == 0

    @pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), StopIteration()], ids=repr)
    def test_what_would_end_more_than_a_thread_is_a_failure_of_the_agent(self, error: BaseException) -> None:
        def handler() -> None:
            raise error

        @simulated
        async def run(_: None) -> None:
            plane = Plane(handler)
            with pytest.raises(TaskFailedError) as caught:
                await plane.begin()

            assert caught.value.failed == "agent_failed"
            assert plane.workplace.slots.running == 0

        run(None)


class TestTheControlPlaneIsAway:
    @simulated
    async def test_a_step_is_not_done_before_it_is_reported(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(0.5)
        plane.away = True
        await asyncio.sleep(20)
        meanwhile = list(steps.done)
        plane.away = False

        assert (meanwhile, await result, steps.done) == (["first"], ["x = 1", "first", "second"], ["first", "second"])

    @simulated
    async def test_work_goes_on_under_another_lease_after_a_restart(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        begun = plane.begin()
        await asyncio.sleep(0.5)
        await plane.restart()
        task = await plane.until(lambda task: task.state.over)

        assert (task.result, task.epoch, steps.done) == (["x = 1", "first", "second"], 2, ["first", "second"])
        await asyncio.wait({begun})

    @simulated
    async def test_what_was_kept_and_not_acknowledged_counts_once(self) -> None:
        steps = Steps()

        async def handler(context: TaskContext) -> str:
            context.spend(2)
            await context.step("first", steps.named("first"))
            context.spend(3)
            await context.step("second", steps.named("second"))
            return "done"

        plane = Plane(handler)
        begun = plane.begin()
        await asyncio.sleep(0.5)
        plane.loses_answers = True
        await plane.until(lambda task: "first" in task.steps)
        await plane.restart()
        plane.loses_answers = False
        task = await plane.until(lambda task: task.state.over)

        assert (task.spent, steps.done) == (5.0, ["first", "second"])
        assert plane.kinds().count("step_completed") == 2
        await asyncio.wait({begun})

    @simulated
    async def test_an_answer_that_was_given_during_a_restart_arrives(self) -> None:
        async def handler(context: TaskContext) -> str:
            return str(await context.ask("Which one?"))

        plane = Plane(handler)
        begun = plane.begin()
        await plane.until(lambda task: task.state.waiting)
        plane.away = True
        await plane.restart()
        plane.manager.answer(plane.task, "this one")
        plane.away = False
        task = await plane.until(lambda task: task.state.over)

        assert (task.result, plane.kinds().count("input_required")) == ("this one", 1)
        await asyncio.wait({begun})

    @simulated
    async def test_a_result_that_was_not_judged_is_told_again(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        begun = plane.begin()
        await plane.until(lambda task: "first" in task.steps)
        await asyncio.sleep(0.5)
        plane.attempts.clear()  # nobody waits any more
        await asyncio.sleep(10)
        await plane.restart()
        task = await plane.until(lambda task: task.state.over)

        assert (task.state, steps.done) == (TaskState.COMPLETED, ["first", "second"])
        await asyncio.wait({begun})

    @simulated
    async def test_who_is_out_of_reach_for_longer_than_his_lease_goes_on_where_he_is(self) -> None:
        steps = Steps(2 * LEASE)
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(1)
        plane.away = True
        await plane.until(lambda task: task.epoch == 2)
        plane.away = False

        assert (await result, steps.done) == (["x = 1", "first", "second"], ["first", "second"])
        assert [failure.code for failure in plane.now().failures] == ["agent_lost"]

    @simulated
    async def test_a_question_outlives_who_has_asked_it(self) -> None:
        steps = Steps()

        async def handler(context: TaskContext) -> str:
            await context.step("first", steps.named("first"))
            answer = await context.ask("Go on?")
            await context.step("second", steps.named("second"))
            return str(answer)

        plane = Plane(handler)
        result = plane.begin(budget=Budget(attempts=1))
        await plane.until(lambda task: task.state.waiting)
        await plane.kill_worker()
        await asyncio.sleep(20 * LEASE)
        waiting = plane.now()
        plane.manager.answer(plane.task, "yes")

        assert (waiting.state, waiting.lease, waiting.epoch) == (TaskState.INPUT_REQUIRED, None, 1)
        assert (await result, steps.done, plane.now().epoch) == ("yes", ["first", "second"], 2)

    @simulated
    async def test_the_last_attempt_that_the_budget_allows_outlives_a_restart(self) -> None:
        steps = Steps(5)

        async def handler(context: TaskContext) -> str:
            await context.step("pay", steps.named("pay"), repeatable=False)
            return "paid"

        plane = Plane(handler)
        begun = plane.begin(budget=Budget(attempts=1))
        for _ in range(3):
            await asyncio.sleep(1)
            await plane.restart()
        task = await plane.until(lambda task: task.state.over)

        assert (task.result, task.epoch, steps.done) == ("paid", 4, ["pay"])
        await asyncio.wait({begun})

    @simulated
    async def test_work_ends_when_the_time_for_it_is_over(self) -> None:
        ended = asyncio.Event()

        async def handler() -> None:
            try:
                await asyncio.sleep(1e6)
            finally:
                ended.set()

        plane = Plane(handler)
        result = plane.begin(timeout=100)
        await asyncio.sleep(1)
        _, running = plane.jobs[plane.task.task_id]
        plane.away = True
        with pytest.raises(TaskTimeoutError):
            await result
        await asyncio.wait({running}, timeout=10)

        assert (running.done(), ended.is_set()) == (True, True)

    @simulated
    async def test_who_was_told_nothing_to_do_asks_no_more_after_a_while(self) -> None:
        plane = Plane(two_steps(Steps()))
        plane.away = True
        plane.notice("nobody-knows", 1)
        _, running = plane.jobs["nobody-knows"]
        await asyncio.wait({running}, timeout=120)

        assert running.done()


class TestWhoHasNoSay:
    @simulated
    async def test_work_on_a_task_that_was_called_off_is_cancelled(self) -> None:
        cancelled = asyncio.Event()

        async def handler() -> None:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        plane = Plane(handler)
        result = plane.begin()
        await asyncio.sleep(1)
        plane.manager.cancel_task(plane.task)
        async with asyncio.timeout(5):
            await cancelled.wait()

        with pytest.raises(TaskCanceledError):
            await result

    @simulated
    async def test_a_notice_of_what_is_not_so_changes_nothing(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(0.5)
        for epoch in (0, 1, 7, 2**50):
            plane.notice(plane.task.task_id, epoch)
            await asyncio.sleep(0.01)

        assert (await result, steps.done) == (["x = 1", "first", "second"], ["first", "second"])

    @simulated
    async def test_who_comes_back_after_somebody_else_has_worked_begins_anew(self) -> None:
        steps = Steps(10)
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(1)
        task_id = plane.task.task_id
        attempt = plane.attempts[task_id]
        plane.away = plane.deaf = True
        await plane.until(lambda task: task.epoch == 2)
        await settled()
        other = plane.attempts[task_id]
        await other.report(Report(2, "another", begins=True))
        await other.report(Report(2, "another", changes=[StepCompleted("first", "by another")]))
        plane.deaf = False
        await plane.until(lambda task: task.epoch == 3)
        plane.away = False

        assert attempt is not other
        assert await result == ["x = 1", "by another", "second"]
        assert steps.done == ["first", "second"], "what was not reported is not known"

    @simulated
    async def test_who_has_stood_still_for_longer_than_his_lease_begins_no_step_that_another_has_done(self) -> None:
        steps, goes_on = Steps(0.0), asyncio.Event()

        async def handler(context: TaskContext) -> None:
            await context.step("first", steps.named("first"))
            await goes_on.wait()
            await context.step("second", steps.named("second"))

        plane = Plane(handler)
        result = plane.begin()
        await plane.until(lambda task: "first" in task.steps)
        _, running = plane.jobs[plane.task.task_id]
        plane.away = plane.deaf = True
        await plane.until(lambda task: task.epoch == 2)
        await settled()
        other = plane.attempts[plane.task.task_id]
        await other.report(Report(2, "another", begins=True))
        await other.report(Report(2, "another", changes=[StepCompleted("second", "by another")]))
        goes_on.set()
        await settled()
        plane.away = False
        await asyncio.wait({running}, timeout=LEASE)
        await other.report(Report(2, "another", first=1, changes=[Completed("done")]))

        assert (running.done(), steps.done, await result) == (True, ["first"], "done")

    @simulated
    async def test_a_step_after_a_long_silence_is_begun_when_the_lease_is_confirmed(self) -> None:
        steps, goes_on = Steps(), asyncio.Event()

        async def handler(context: TaskContext) -> str:
            await goes_on.wait()
            return str(await context.step("first", steps.named("first")))

        plane = Plane(handler)
        result = plane.begin()
        await asyncio.sleep(1)
        plane.away = True
        await asyncio.sleep(LEASE * 0.6)
        goes_on.set()
        await asyncio.sleep(2)
        before = list(steps.done)
        plane.away = False

        assert (before, await result, plane.now().epoch) == ([], "first", 1)

    @simulated
    async def test_what_is_refused_ends_the_attempt(self) -> None:
        plane = Plane(two_steps(Steps()))
        result = plane.begin()
        await asyncio.sleep(0.5)
        plane.refuses = True

        with pytest.raises(TaskFailedError) as caught:
            await result

        assert (caught.value.failed, caught.value.reason) == ("garbage", "reviewer: what is this")


class Slow(Plane):
    """Its answer comes when there has been notice of the next lease, if the one of the report is over then."""

    async def _notice_of_the_next(self, epoch: int) -> None:
        await self.until(lambda task: task.epoch > epoch)
        await settled()


class TestTheNextLeaseIsFasterThanTheAnswer:
    @simulated
    async def test_the_work_goes_on_under_that_when_the_report_came_too_late(self) -> None:
        class Refusing(Slow):
            async def send(self, task_id: str, report: object) -> Heard:
                try:
                    return await super().send(task_id, report)
                except LeaseOverError:
                    await self._notice_of_the_next(1)
                    raise

        steps = Steps()
        plane = Refusing(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(0.5)
        plane.attempts[plane.task.task_id].lose("its component has ended")
        plane.notice(plane.task.task_id, 1)

        assert (await result, steps.done, plane.now().epoch) == (
            ["x = 1", "first", "second"],
            ["first", "second"],
            2,
        )

    @simulated
    async def test_the_work_begins_anew_when_its_end_was_told_too_late(self) -> None:
        class Impatient(Slow):
            async def send(self, task_id: str, report: object) -> Heard:
                changes = msgspec.json.decode(msgspec.json.encode(report), type=Report).changes
                if self.now().epoch > 1 or not changes or not isinstance(changes[-1], Completed):
                    return await super().send(task_id, report)
                self.attempts[task_id].lose("its component has ended")
                heard = await super().send(task_id, report)
                await self._notice_of_the_next(1)
                return heard

        steps = Steps()
        plane = Impatient(two_steps(steps))

        assert (await plane.begin(), steps.done, plane.now().epoch) == (
            ["x = 1", "first", "second"],
            ["first", "second"],
            2,
        )


class TestDying:
    @simulated
    async def test_a_completed_step_is_not_repeated_by_the_next_process(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await plane.until(lambda task: "first" in task.steps)
        await asyncio.sleep(0.5)
        await plane.kill_worker()

        assert await result == ["x = 1", "first", "second"]
        assert steps.done == ["first", "second"]
        assert [failure.code for failure in plane.now().failures] == ["agent_lost"]

    @simulated
    async def test_a_step_that_must_not_be_repeated_fails_the_task(self) -> None:
        steps = Steps(5)

        async def handler(context: TaskContext) -> None:
            await context.step("pay", steps.named("pay"), repeatable=False)

        plane = Plane(handler)
        result = plane.begin()
        await plane.until(lambda task: "pay" in task.begun)
        await plane.kill_worker()

        with pytest.raises(TaskFailedError) as caught:
            await result

        assert (caught.value.failed, steps.done) == ("step_unknown", [])

    @simulated
    async def test_when_both_sides_die_at_once_no_completed_step_is_repeated(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        begun = plane.begin()
        await plane.until(lambda task: "first" in task.steps)
        await asyncio.sleep(0.5)
        await plane.kill_worker()
        await plane.restart()
        task = await plane.until(lambda task: task.state.over)

        assert (task.result, steps.done, task.failures) == (["x = 1", "first", "second"], ["first", "second"], ())
        await asyncio.wait({begun})

    @simulated
    async def test_when_both_sides_die_at_once_nobody_knows_what_came_of_a_step(self) -> None:
        steps = Steps(5)

        async def handler(context: TaskContext) -> None:
            await context.step("pay", steps.named("pay"), repeatable=False)

        plane = Plane(handler)
        begun = plane.begin()
        await plane.until(lambda task: "pay" in task.begun)
        await plane.kill_worker()
        await plane.restart()
        task = await plane.until(lambda task: task.state.over)

        assert (task.failure and task.failure.code, steps.done) == ("step_unknown", [])
        await asyncio.wait({begun})

    @simulated
    async def test_who_dies_again_and_again_is_asked_so_often_and_no_more(self) -> None:
        async def handler() -> None:
            await asyncio.sleep(1e6)

        plane = Plane(handler)
        result = plane.begin(budget=Budget(attempts=3))
        while not result.done():
            await plane.kill_worker()
            await asyncio.sleep(LEASE / 2)

        with pytest.raises(TaskFailedError) as caught:
            await result

        leases = [event for event in plane.log.read(plane.task.task_id) if isinstance(event.change, Leased)]
        assert (caught.value.failed, len(leases)) == ("task_budget", 3)


class TestLeaving:
    @simulated
    async def test_a_task_is_given_back_when_its_step_is_done(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        result = plane.begin()
        await asyncio.sleep(0.5)
        job, running = plane.jobs[plane.task.task_id]
        job.leave()
        await asyncio.wait({running}, timeout=5)
        given_back = list(steps.done)

        assert (given_back, await result, steps.done) == (
            ["first"],
            ["x = 1", "first", "second"],
            ["first", "second"],
        )
        assert [failure.reason for failure in plane.now().failures] == ["its component is stopping"]

    @simulated
    async def test_a_task_that_waits_is_given_back_at_once(self) -> None:
        async def handler(context: TaskContext) -> str:
            return str(await context.ask("Which one?"))

        plane = Plane(handler)
        result = plane.begin()
        await plane.until(lambda task: task.state.waiting)
        job, _ = plane.jobs[plane.task.task_id]
        job.leave()
        given_back = await plane.until(lambda task: task.lease is None)
        plane.manager.answer(plane.task, "this one")

        assert (given_back.state, await result) == (TaskState.INPUT_REQUIRED, "this one")

    @simulated
    async def test_a_step_that_takes_too_long_is_given_up(self) -> None:
        steps = Steps(1000)
        plane = Plane(two_steps(steps))
        plane.begin()
        await asyncio.sleep(1)
        job, running = plane.jobs[plane.task.task_id]
        job.leave()
        await asyncio.sleep(1)
        waits = not running.done()
        job.leave(now=True)
        await asyncio.wait({running}, timeout=1)

        assert (waits, running.done(), steps.done) == (True, True, [])

    @simulated
    async def test_what_was_not_begun_is_given_back_unbegun(self) -> None:
        steps = Steps()
        plane = Plane(two_steps(steps))
        plane.away = True
        result = plane.begin()
        await asyncio.sleep(0.05)
        job, running = plane.jobs[plane.task.task_id]
        job.leave()
        plane.away = False
        await asyncio.wait({running}, timeout=5)

        assert (running.done(), steps.done) == (True, [])
        assert await result == ["x = 1", "first", "second"]
