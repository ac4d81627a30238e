"""What a task has used up, with all its parts."""

import pytest

from tekton.a2a.plan_usage import MOST_DESCENDANTS, Usage, used_by
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget, Created, PlannedTask
from tekton.utils.tekton_errors import InvalidTaskError, TaskBudgetError


def task(task_id: str, parent: str = "", *parts: str, **known: object) -> Task:
    plan = tuple(PlannedTask(part, part, "x", {}) for part in parts)
    created = Created("x", {}, 1.0, Budget(), task_id, parent_id=parent)
    return Task(task_id, created, 0.0, 0.0, plan=plan, **known)  # type: ignore[arg-type]


def test_what_parts_have_used_up_is_that_of_the_whole_but_for_what_goes_on_or_is_of_another_task() -> None:
    tasks = {
        "over": task("over", "t", "leaf", state=TaskState.COMPLETED, steps={"leaf/ask": 1}),
        "leaf": task("leaf", "over", steps={"a": 1, "b": 2}, spent=2.5),
        "open": task("open", "t", steps={"a": 1}, spent=1.0),
        "goes-on": task("goes-on", "t", "leaf"),
        "former": task("former", "another", steps={"a": 1}, spent=100.0),
    }

    assert used_by(task("t", "", *tasks, "not-begun"), tasks.get) == Usage(3, 3.5, 7)


@pytest.mark.parametrize(
    ("used", "error"),
    [
        (Usage(steps=3), "may use 2 steps"),
        (Usage(units=2.1), "may use 2 units"),
        (Usage(parts=MOST_DESCENDANTS + 1), "more than 2000 parts, those of its parts included"),
    ],
)
def test_more_than_there_may_be_is_refused(used: Usage, error: str) -> None:
    with pytest.raises((TaskBudgetError, InvalidTaskError), match=error):
        used.check(task("t"), Budget(steps=2, units=2.0))


def test_as_much_as_there_may_be_is_not() -> None:
    Usage(2, 2.0, MOST_DESCENDANTS).check(task("t"), Budget(steps=2, units=2.0))
    Usage(2, 1e9).check(task("t"), Budget(steps=2))
