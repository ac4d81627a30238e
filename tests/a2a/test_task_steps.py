"""What an agent does in steps, and that it does none of them twice."""

import asyncio
from typing import Any

import pytest

from tekton.a2a.task import TaskState
from tekton.a2a.task_event import AttemptFailed, Budget, Canceled, Created, InputGiven, InputRequired, Leased
from tekton.a2a.task_journal import TaskJournal
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_steps import TaskContext, idempotency_key
from tekton.core.calls import Outcome
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    StepUnknownError,
    TaskBudgetError,
    TaskStateError,
)


class Tried:
    """A task, of which there are attempts."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.journal = TaskJournal(MemoryTaskLog(), ManualClock())
        created = Created("review", {}, 1_700_000_010.0, budget or Budget(), "origin", results={"build": "ok"})
        self.journal.append("t", created)
        self.done: list[str] = []

    def attempt(self) -> TaskContext:
        return TaskContext(self.journal, self.journal.append("t", Leased("w", "ada")), "ada")

    def work(self, what: str) -> Any:
        self.done.append(what)
        return (what, len(self.done))


async def test_a_step_that_was_completed_is_not_run_again_and_results_in_the_same() -> None:
    tried = Tried()

    first = await tried.attempt().step("parse", tried.work, "a")
    second = await tried.attempt().step("parse", tried.work, "b")

    assert first == second == ["a", 1]
    assert tried.done == ["a"]


async def test_steps_of_one_name_are_told_apart_by_their_order() -> None:
    tried = Tried()
    context = tried.attempt()
    for what in "ab":
        await context.step("each", tried.work, what)

    again = tried.attempt()
    results = [await again.step("each", tried.work, what) for what in "abc"]

    assert results == [["a", 1], ["b", 2], ["c", 3]]
    assert list(again.task.steps) == ["each", "each#2", "each#3"]


async def test_what_is_done_to_a_result_does_not_change_the_log() -> None:
    tried = Tried()
    (await tried.attempt().step("parse", tried.work, "a")).append("more")
    (await tried.attempt().step("parse", tried.work, "a")).append("more")

    assert tried.attempt().task.steps == {"parse": ["a", 1]}


async def test_a_step_that_raises_is_run_again() -> None:
    tried = Tried()
    with pytest.raises(ZeroDivisionError):
        await tried.attempt().step("divide", lambda: 1 / 0)

    assert await tried.attempt().step("divide", tried.work, "a") == ["a", 1]


async def test_a_step_that_must_not_be_repeated_is_not_when_nobody_knows_what_came_of_it() -> None:
    tried = Tried()
    with pytest.raises(ZeroDivisionError):
        await tried.attempt().step("pay", lambda: 1 / 0, repeatable=False)

    with pytest.raises(StepUnknownError, match="step 'pay' of task t"):
        await tried.attempt().step("pay", tried.work, "a", repeatable=False)

    assert tried.done == []


async def test_the_key_of_a_step_is_that_of_the_first_task_and_the_same_in_threads() -> None:
    async def key() -> str:
        return idempotency_key()

    context = Tried().attempt()

    assert await context.step("pay", key) == "origin/pay"
    assert await context.step("pay", idempotency_key) == "origin/pay#2"
    with pytest.raises(LookupError):
        idempotency_key()


async def test_a_result_that_is_no_json_is_refused_and_not_kept() -> None:
    tried = Tried()

    with pytest.raises(InvalidTaskError, match="the result of step 'parse' cannot be kept"):
        await tried.attempt().step("parse", object)

    assert tried.attempt().task.steps == {}


@pytest.mark.parametrize("name", ["", "a#2", "x" * 129])
async def test_a_step_has_a_name_that_can_be_numbered(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a step"):
        await Tried().attempt().step(name, list)


async def test_who_has_lost_the_lease_is_refused() -> None:
    tried = Tried()
    stale, current = tried.attempt(), tried.attempt()

    for repeatable in (True, False):
        with pytest.raises(StaleLeaseError):
            await stale.step("parse", tried.work, "a", repeatable=repeatable)
    with pytest.raises(StaleLeaseError):
        stale.progress(1)
    current.progress(1, 3, "one")
    tried.journal.append("t", AttemptFailed("ada", "x", "y"), epoch=2)
    with pytest.raises(StaleLeaseError):
        current.artifact("patch", "…")
    with pytest.raises(StaleLeaseError):
        await current.step("parse", tried.work, "b")
    tried.journal.append("t", Canceled())
    with pytest.raises(TaskStateError):
        current.spend(1)
    with pytest.raises(TaskStateError):
        await current.step("parse", tried.work, "c")
    assert tried.done == []


async def test_a_step_begins_when_the_lease_is_confirmed_and_not_if_that_was_lost_meanwhile() -> None:
    tried = Tried()

    async def lose() -> None:
        tried.attempt()

    task = tried.attempt().task
    with pytest.raises(StaleLeaseError):
        await TaskContext(tried.journal, task, "ada", confirm=lose).step("parse", tried.work, "a")

    assert tried.done == []


async def test_who_is_not_waited_for_any_more_begins_no_step() -> None:
    tried = Tried()
    context = tried.attempt()
    context.close()

    with pytest.raises(StaleLeaseError):
        await context.step("parse", tried.work, "a")

    assert tried.done == []


async def test_budgets_of_steps_and_units_end() -> None:
    context = Tried(Budget(steps=1, units=2.0)).attempt()
    await context.step("a", list)
    context.spend(2)

    with pytest.raises(TaskBudgetError, match="may use 1 steps"):
        await context.step("b", list)
    with pytest.raises(TaskBudgetError, match="may use 2 units"):
        context.spend(0.5)
    with pytest.raises(ValueError, match="cannot be spent"):
        context.spend(-1)


async def test_what_is_said_of_the_task_is_in_it() -> None:
    context = Tried().attempt()
    context.progress(1, 3, "one")
    context.artifact("patch", {"lines": 3})

    assert context.task.progress is not None
    assert (context.task.progress.total, context.task.artifacts) == (3, {"patch": {"lines": 3}})
    assert (context.results, context.time_left, context.inputs) == ({"build": "ok"}, 10.0, {})
    with pytest.raises(InvalidTaskError, match="artifact 'odd' cannot be kept"):
        context.artifact("odd", object())


async def test_a_question_waits_for_its_answer_and_is_not_asked_again() -> None:
    tried = Tried()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(tried.attempt().ask("sure?", {"type": "string"}))
        await tried.journal.changed(2)
        assert tried.journal.log.task("t").question == InputRequired("ask", "sure?", {"type": "string"})
        asked_again = group.create_task(tried.attempt().ask("sure?"))
        await asyncio.sleep(0)
        events = tried.journal.version
        tried.journal.append("t", InputGiven("ask", {"yes": True}))

    assert asking.result() == asked_again.result() == {"yes": True}
    assert (tried.journal.version, await tried.attempt().ask("sure?")) == (events + 1, {"yes": True})


async def test_questions_with_names_of_their_own_have_answers_of_their_own() -> None:
    tried = Tried()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(tried.attempt().ask("sure?", name="second"))
        await tried.journal.changed(2)
        tried.journal.append("t", InputGiven("second", "yes"))

    assert asking.result() == await tried.attempt().ask("", name="second") == "yes"


async def test_leave_is_asked_for_in_a_state_of_its_own() -> None:
    tried = Tried()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(tried.attempt().ask("may I?", auth=True))
        await tried.journal.changed(2)
        assert tried.journal.log.task("t").state is TaskState.AUTH_REQUIRED
        tried.journal.append("t", InputGiven("ask", True))


async def test_only_the_first_answer_counts() -> None:
    tried = Tried()
    context = tried.attempt()

    context.answer(1)
    context.answer(2)
    context.settle(Outcome(None, None))

    assert (await context.outcome, tried.journal.late) == (Outcome(1, None), 1)


async def test_what_is_answered_when_nobody_waits_is_counted() -> None:
    tried = Tried()
    context = tried.attempt()
    context.close()

    context.answer("late")

    assert (context.outcome.cancelled(), tried.journal.late) == (True, 1)
