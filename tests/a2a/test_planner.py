"""How tasks are taken apart."""

import sys
from typing import Any

import pytest

from tekton.a2a.planner import Planners
from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, Created
from tekton.a2a.task_graph import Subtask
from tekton.utils.tekton_errors import InvalidTaskError, TaskCycleError, TaskFailedError

TASK = Task("t", Created("feature", {"text": "x"}, 1.0, Budget(), "t"), 0.0, 0.0)


async def parts(planners: Planners) -> list[tuple[str, dict[str, Any]]]:
    return [(part.name, part.inputs) for part in await planners.plan(TASK)]


async def test_declared_parts_without_inputs_get_those_of_the_task() -> None:
    planners = Planners()
    planners.declare("feature", [Subtask("a", "write"), Subtask("b", "check", {"strict": True}, ["a"])])

    assert "feature" in planners
    assert await parts(planners) == [("a", {"text": "x"}), ("b", {"strict": True})]


def test_a_declared_cycle_is_refused_at_once() -> None:
    planners = Planners()

    with pytest.raises(TaskCycleError):
        planners.declare("feature", [Subtask("a", "write", {}, ["b"]), Subtask("b", "write", {}, ["a"])])

    assert "feature" not in planners


def test_a_type_that_would_be_a_part_of_itself_by_others_is_refused_with_the_circle() -> None:
    planners = Planners()
    planners.declare("a", [Subtask("x", "b"), Subtask("y", "write")])
    planners.declare("b", [Subtask("x", "c")])

    with pytest.raises(TaskCycleError) as caught:
        planners.declare("c", [Subtask("x", "write"), Subtask("y", "a", {}, ["x"])])
    with pytest.raises(TaskCycleError, match="d -> d"):
        planners.declare("d", [Subtask("x", "d")])

    assert (sorted(caught.value.cycle), list(planners)) == (["a", "b", "c"], ["a", "b"])


def test_a_part_that_one_agent_has_to_do_is_not_taken_apart_and_closes_no_circle() -> None:
    planners = Planners()
    planners.declare("a", [Subtask("x", "a", {}, (), "ada")])

    assert "a" in planners
    planners.forget("a")
    assert "a" not in planners


async def test_a_planner_may_be_async_or_plain_and_may_leave_a_task_whole() -> None:
    async def plan(task: Task) -> list[Subtask]:
        return [Subtask("a", "write", task.inputs)]

    planners = Planners()
    assert await parts(planners) == []
    planners.register("feature", plan)
    assert await parts(planners) == [("a", {"text": "x"})]
    planners.register("feature", lambda _: [])
    assert await parts(planners) == []


async def test_a_planner_that_fails_or_answers_nonsense_is_told_apart() -> None:
    planners = Planners()

    planners.register("feature", lambda _: "a plan")  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidTaskError):
        await planners.plan(TASK)
    planners.register("feature", lambda _: sys.exit(3))
    with pytest.raises(TaskFailedError, match="its planner has failed: SystemExit: 3"):
        await planners.plan(TASK)
