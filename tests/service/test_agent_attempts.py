"""Whatever whoever is there reports: what he may say happens once, everything else is refused, and the task ends."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any

import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    Budget,
    Change,
    Completed,
    InputRequired,
    Progressed,
    Rejected,
    Spent,
    StepBegun,
    StepCompleted,
    TaskEvent,
)
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_reports import Heard, Report, Reported
from tekton.a2a.task_steps import TaskContext
from tekton.gateway.errors import UnavailableError
from tekton.service import agent_attempts
from tekton.service.agent_attempts import Attempt
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    TaskBudgetError,
    TaskError,
    TaskFailedError,
    TaskRejectedError,
    TaskTimeoutError,
)

LEASE = 30.0


class Plane:
    """A manager whose agent is elsewhere, where the test is."""

    def __init__(self) -> None:
        self.log = MemoryTaskLog()
        self.agents = AgentRegistry()
        self.agents.register_agent("reviewer", ["review"], endpoint="http://shop.test", component_id="shop")
        self.begun = asyncio.Event()
        self.start()

    def start(self) -> None:
        self.manager = TaskManager(self.agents, log=self.log, remote=self, clock=current_clock())

    async def __call__(self, _: Agent, context: TaskContext) -> Any:
        self.attempt = Attempt("shop", context, self.log, LEASE, current_clock())
        self.begun.set()
        return await self.attempt.outcome()

    async def begin(self, **options: Any) -> "asyncio.Task[Any]":
        self.begun.clear()
        self.task = self.manager.create_task("review", **options)
        running = asyncio.get_running_loop().create_task(self.manager.execute_task(self.task))
        await self.begun.wait()
        return running

    async def say(self, *changes: Reported, first: int = 0, epoch: int = 1, worker: str = "w") -> Heard:
        return await self.attempt.report(Report(epoch, worker, first, list(changes)))

    async def take(self, epoch: int = 1, worker: str = "w", worked: int = 0) -> Heard:
        return await self.attempt.report(Report(epoch, worker, begins=True, worked=worked))

    def now(self) -> Task:
        return self.log.task(self.task.task_id)

    def kinds(self) -> list[str]:
        return [str(event.change.__struct_config__.tag) for event in self.log.read(self.task.task_id)]


def with_a_plane(test: Callable[[Plane], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """In virtual time, with a plane that ends with the test."""

    @virtual_time
    async def run() -> None:
        plane = Plane()
        async with plane.manager:
            await test(plane)

    # pytest looks for fixtures in the signature, so that of the test is left out.
    return _renamed(run, test)


def _renamed(run: Callable[[], None], test: Callable[..., Any]) -> Callable[[], None]:
    named = wraps(test)(run)
    del named.__wrapped__  # type: ignore[attr-defined]
    return named


async def failed(running: "asyncio.Task[Any]") -> tuple[str, str]:
    with pytest.raises(TaskFailedError) as caught:
        await running
    return caught.value.failed, caught.value.reason


# Who may say something


@with_a_plane
async def test_who_has_not_begun_has_no_say(plane: Plane) -> None:
    await plane.begin()

    with pytest.raises(StaleLeaseError):
        await plane.say(Completed("done"))
    assert plane.now().state is TaskState.WORKING


@with_a_plane
async def test_the_first_to_begin_has_the_task(plane: Plane) -> None:
    await plane.begin()
    await plane.take(worker="first")
    again = await plane.take(worker="first")

    with pytest.raises(StaleLeaseError):
        await plane.take(worker="second")
    with pytest.raises(StaleLeaseError):
        await plane.say(Completed("done"), worker="second")
    assert again.assignment is not None


@with_a_plane
async def test_a_lease_that_there_is_not_says_nothing(plane: Plane) -> None:
    await plane.begin()
    await plane.take()

    for epoch in (0, 2, 2**50):
        with pytest.raises(StaleLeaseError):
            await plane.say(Completed("done"), epoch=epoch)
    assert plane.now().state is TaskState.WORKING


@with_a_plane
async def test_who_has_lost_his_lease_is_refused(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    plane.begun.clear()
    await asyncio.sleep(LEASE + 1)
    await plane.begun.wait()

    with pytest.raises(UnavailableError):  # perhaps the new one is his, and he does not know it yet
        await plane.say(Completed("old"))
    await plane.take(epoch=2, worker="other")
    with pytest.raises(StaleLeaseError):
        await plane.say(Completed("old"))
    await plane.say(Completed("new"), epoch=2, worker="other")

    assert await running == "new"


@with_a_plane
async def test_after_it_was_called_off_nothing_more_happens(plane: Plane) -> None:
    await plane.begin()
    await plane.take()
    plane.manager.cancel_task(plane.task)

    for change in (StepCompleted("a", 1), Completed("done")):
        with pytest.raises(StaleLeaseError):
            await plane.say(change)
    assert plane.kinds() == ["created", "leased", "canceled"]


@with_a_plane
async def test_a_result_that_comes_twice_counts_once(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    first = await plane.say(Completed("first"))
    with pytest.raises(StaleLeaseError):
        await plane.say(Completed("second"))

    assert (first.state, await running) == ("completed", "first")


# What happens


@with_a_plane
async def test_a_report_that_comes_twice_is_taken_once(plane: Plane) -> None:
    await plane.begin()
    await plane.take()
    for _ in range(3):
        heard = await plane.say(StepCompleted("a", 1), Spent(2.0))
    more = await plane.say(Spent(2.0), Spent(3.0), first=1)

    assert (heard.taken, more.taken, plane.now().spent) == (2, 3, 5.0)


@with_a_plane
async def test_what_is_missing_in_between_is_told(plane: Plane) -> None:
    await plane.begin()
    await plane.take()

    with pytest.raises(InvalidTaskError):
        await plane.say(Spent(1.0), first=1)
    assert plane.now().spent == 0


@with_a_plane
async def test_of_a_report_all_is_taken_or_nothing(plane: Plane) -> None:
    await plane.begin()
    await plane.take()

    with pytest.raises(InvalidTaskError):
        await plane.say(StepCompleted("a", 1), InputRequired("b", "?"), InputRequired("c", "?"))
    assert (plane.now().steps, plane.now().question) == ({}, None)


@with_a_plane
async def test_an_answer_is_heard_with_the_next_report(plane: Plane) -> None:
    await plane.begin()
    await plane.take()
    asked = await plane.say(InputRequired("ask", "Which?"))
    plane.manager.answer(plane.task, "that one")
    heard = [(await plane.say()).answers for _ in range(2)]

    assert asked.question is not None
    assert (asked.question.question, heard) == ("Which?", [{"ask": "that one"}] * 2)


@with_a_plane
async def test_who_takes_over_hears_the_answer_of_before(plane: Plane) -> None:
    await plane.begin()
    await plane.take()
    await plane.say(StepCompleted("a", 1), InputRequired("ask", "Which?"))
    await plane.manager.close()
    plane.begun.clear()
    plane.start()
    plane.manager.resume()
    await plane.begun.wait()
    begun = (await plane.take(epoch=2, worked=1)).assignment
    plane.manager.answer(plane.task, "that one")
    heard = await plane.say(epoch=2)
    await plane.manager.close()

    assert begun is not None
    assert (begun.steps, begun.question and begun.question.step, begun.taken) == ({"a": 1}, "ask", 2)
    assert heard.answers == {"ask": "that one"}


@with_a_plane
async def test_a_result_is_judged_as_that_of_anybody(plane: Plane) -> None:
    def short(result: Any) -> None:
        if len(result) > 3:
            raise ValueError("too long")

    plane.manager.register_task_type("review", ["review"], check=short)
    running = await plane.begin()
    await plane.take()
    heard = await plane.say(Completed("far too long"))

    assert heard.state == "failed"
    assert await failed(running) == ("garbage", "reviewer: not what was wanted: ValueError: too long")


@with_a_plane
async def test_a_task_may_be_rejected(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    await plane.say(Rejected("not my language"))

    with pytest.raises(TaskRejectedError):
        await running


@with_a_plane
async def test_a_failure_is_told_in_words_that_can_be_shown(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    await plane.say(AttemptFailed("somebody-else", "No Code!\n", "x" * 5000))

    assert await failed(running) == ("agent_failed", "reviewer: " + "x" * 500)
    assert [failure.agent_id for failure in plane.now().failures] == ["reviewer"]


# What is no more than a claim


@pytest.mark.parametrize(
    "change",
    [
        StepCompleted("", 1),
        StepCompleted("x" * 200, 1),
        StepBegun("x" * 200),
        ArtifactAdded("", 1),
        Spent(-1.0),
        Progressed(1, text="x" * 20_000),
        InputRequired("ask", "x" * 20_000),
        ArtifactAdded("deep", [[[[]]]]),
        StepCompleted("large", "x" * 2000),
        StepCompleted("done", 2),
        StepCompleted("ask", "I answer myself"),
    ],
    ids=lambda change: f"{type(change).__name__} {str(change)[-24:]}",
)
def test_what_a_worker_cannot_say_is_refused(change: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_attempts, "MAX_DEPTH", 2)
    monkeypatch.setattr(agent_attempts, "MOST_RESULT", 1000)

    @with_a_plane
    async def run(plane: Plane) -> None:
        await plane.begin()
        await plane.take()
        await plane.say(StepCompleted("done", 1), InputRequired("ask", "Which?"))
        before = plane.now()
        with pytest.raises(InvalidTaskError):
            await plane.say(change, first=2)
        assert plane.now() is before

    run()


@with_a_plane
async def test_the_end_is_the_last_that_is_said(plane: Plane) -> None:
    await plane.begin()
    await plane.take()

    with pytest.raises(InvalidTaskError):
        await plane.say(Completed("done"), StepCompleted("a", 1))
    with pytest.raises(InvalidTaskError):
        await plane.say(Completed("done"), Completed("done"))
    assert plane.now().state is TaskState.WORKING


@with_a_plane
async def test_who_spends_more_than_there_is_ends_the_task(plane: Plane) -> None:
    running = await plane.begin(budget=Budget(units=3.0))
    await plane.take()
    await plane.say(Spent(5.0))

    assert (await failed(running))[0] == "task_budget"


@with_a_plane
async def test_who_does_more_steps_than_allowed_ends_the_task(plane: Plane) -> None:
    running = await plane.begin(budget=Budget(steps=2))
    await plane.take()
    with pytest.raises(TaskBudgetError):
        await plane.say(*(StepCompleted(f"s{number}", 1) for number in range(3)))

    assert (await failed(running))[0] == "task_budget"
    assert plane.now().steps == {}


@with_a_plane
async def test_what_finds_no_room_in_memory_ends_the_task(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    append = plane.log.append

    def refuse(task_id: str, changes: Sequence[Change], at: float, **more: Any) -> list[TaskEvent]:
        if any(isinstance(change, ArtifactAdded) for change in changes):
            raise TaskBudgetError(task_id, "bytes", 1000)
        return append(task_id, changes, at, **more)

    plane.log.append = refuse  # type: ignore[method-assign]
    with pytest.raises(TaskBudgetError):
        await plane.say(ArtifactAdded("picture", "large"))

    assert (await failed(running))[0] == "task_budget"


@with_a_plane
async def test_who_says_that_the_budget_is_used_up_is_believed_if_it_is(plane: Plane) -> None:
    running = await plane.begin(budget=Budget(steps=2))
    await plane.take()
    await plane.say(AttemptFailed("", "task_budget", "all gone"))

    assert await failed(running) == ("task_budget", "reviewer: all gone")
    assert len(plane.now().failures) == 1, "it was an attempt as any other"


@with_a_plane
async def test_who_reports_without_end_is_ended(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    text = "x" * 500_000
    for number in range(134):
        await plane.say(ArtifactAdded("a", text), first=number)
    with pytest.raises(TaskFailedError):
        await plane.say(ArtifactAdded("a", text), first=134)

    assert await failed(running) == ("garbage", "reviewer: it has reported more than 64 MiB")


@with_a_plane
async def test_what_is_too_large_to_be_told_ends_the_attempt(plane: Plane) -> None:
    limit, agent_attempts.MOST_ASSIGNMENT = agent_attempts.MOST_ASSIGNMENT, 1000  # type: ignore[misc]
    try:
        running = await plane.begin(inputs={"code": "x" * 2000})
        with pytest.raises(TaskFailedError):
            await plane.take()
        assert (await failed(running))[0] == "garbage"
    finally:
        agent_attempts.MOST_ASSIGNMENT = limit  # type: ignore[misc]


# Silence


@with_a_plane
async def test_who_is_not_heard_of_is_lost_and_asked_again(plane: Plane) -> None:
    running = await plane.begin(budget=Budget(attempts=3))
    begun = asyncio.get_running_loop().time()

    assert (await failed(running))[0] == "task_budget"
    assert [failure.code for failure in plane.now().failures] == ["agent_lost"] * 3
    assert asyncio.get_running_loop().time() - begun == pytest.approx(3 * LEASE, abs=0.1)


@with_a_plane
async def test_an_empty_report_renews_the_lease(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    for _ in range(10):
        await asyncio.sleep(LEASE * 0.9)
        await plane.say()
    await plane.say(Completed("done"))

    assert (await running, plane.now().epoch) == ("done", 1)


@with_a_plane
async def test_a_report_that_is_refused_renews_nothing(plane: Plane) -> None:
    await plane.begin()
    await plane.take()
    await asyncio.sleep(LEASE * 0.9)
    with pytest.raises(StaleLeaseError):
        await plane.say(worker="other")
    await asyncio.sleep(LEASE * 0.2)

    assert [failure.code for failure in plane.now().failures] == ["agent_lost"]


@with_a_plane
async def test_nobody_is_lost_because_we_stood_still(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    current_clock().advance(100 * LEASE)
    await asyncio.sleep(1)
    await plane.say(Completed("done"))

    assert (await running, plane.now().failures) == ("done", ())


@with_a_plane
async def test_who_is_heard_of_and_never_done_has_as_long_as_the_task(plane: Plane) -> None:
    running = await plane.begin(timeout=10 * LEASE)
    await plane.take()
    for _ in range(19):
        await asyncio.sleep(LEASE / 2)
        await plane.say()
    await asyncio.sleep(LEASE / 2 + 1)

    with pytest.raises(StaleLeaseError):
        await plane.say()
    with pytest.raises(TaskTimeoutError):
        await running


# Nobody waits any more: we stop


@with_a_plane
async def test_what_is_done_while_we_stop_is_kept(plane: Plane) -> None:
    running = await plane.begin()
    await plane.take()
    await plane.manager.close()
    await asyncio.wait({running})
    plane.attempt.is_orphan = True
    kept = await plane.say(StepCompleted("a", 1))
    await plane.say(AttemptFailed("", "agent_lost", "its component is stopping"), first=1)

    with pytest.raises(UnavailableError):
        await plane.say(Completed("done"), first=1)
    assert (kept.taken, plane.now().steps, plane.now().state) == (1, {"a": 1}, TaskState.WORKING)
    assert isinstance(running.exception(), TaskError)
