"""Which plans are accepted."""

from typing import Any

import pytest

from tekton.a2a.task_graph import MOST_PARTS, Subtask, checked_plan, graph_of
from tekton.utils.tekton_errors import InvalidIdError, InvalidTaskError, TaskCycleError


def part(name: str, *dependencies: str) -> Subtask:
    return Subtask(name, "review", {}, dependencies)


def test_the_parts_get_ids_and_begin_after_what_they_depend_on() -> None:
    plan = checked_plan([part("test", "build"), part("build"), part("lint")])

    assert len({one.task_id for one in plan}) == 3
    assert graph_of(plan).ready() == ["build", "lint"]


def test_a_cycle_is_refused_with_the_cycle() -> None:
    with pytest.raises(TaskCycleError, match="a -> b -> c -> a") as caught:
        checked_plan([part("a", "b"), part("b", "c"), part("c", "a"), part("d", "a"), part("e")])

    assert caught.value.cycle == ["a", "b", "c"]


def test_a_part_that_waits_for_itself_is_a_cycle() -> None:
    with pytest.raises(TaskCycleError, match="a -> a"):
        checked_plan([part("a", "a")])


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([part("a"), part("a")], "/subtasks"),
        ([part("a", "b")], "/subtasks/0/dependencies"),
        ([Subtask("a", "review", {}, "b")], "/subtasks/0/dependencies"),
        ([Subtask("a", "review", {"x": object()})], "/subtasks/0/inputs"),
        ([Subtask("a", "review", [])], "/subtasks/0/inputs"),  # type: ignore[arg-type]
        (["a"], "/subtasks"),
        ([part(f"p{number}") for number in range(MOST_PARTS + 1)], "/subtasks"),
    ],
    ids=["twice", "unknown", "text", "garbage", "list", "no-part", "too-many"],
)
def test_what_is_no_plan_is_refused(parts: Any, field: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        checked_plan(parts)
    assert caught.value.field == field


def test_names_and_types_are_ids() -> None:
    with pytest.raises(InvalidIdError):
        checked_plan([part("No Name")])
    with pytest.raises(InvalidIdError):
        checked_plan([Subtask("a", "No Type")])
