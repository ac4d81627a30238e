"""What every log of tasks does."""

import pytest

from tekton.a2a.task import TaskState, fold
from tekton.a2a.task_event import Budget, Canceled, Created, Leased, Progressed, StepCompleted
from tekton.a2a.task_log import MemoryTaskLog, TaskLog
from tekton.utils.tekton_errors import (
    StaleLeaseError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
    TaskStateError,
)


@pytest.fixture(params=[MemoryTaskLog], ids=["memory"])
def log(request: pytest.FixtureRequest) -> TaskLog:
    made: TaskLog = request.param()
    return made


def created(task_id: str = "t") -> Created:
    return Created("review", {}, 100.0, Budget(), task_id)


def test_events_are_numbered_and_fold_into_the_task(log: TaskLog) -> None:
    log.append("t", [created()], 1.0, expected=0)
    log.append("t", [Leased("w", "ada")], 2.0, expected=1)
    made = log.append("t", [Progressed(1), StepCompleted("a", 1)], 3.0, epoch=1)

    assert [(event.number, event.at, event.epoch) for event in made] == [(3, 3.0, 1), (4, 3.0, 1)]
    assert log.read("t", 2) == made
    assert log.read("t", 1, 1) == [log.read("t")[1]]
    assert fold(log.read("t")) == log.task("t")


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_another_number_than_the_expected_one_refuses_the_append(log: TaskLog, expected: int) -> None:
    log.append("t", [created(), Leased("w", "ada")], 1.0)

    with pytest.raises(TaskConflictError):
        log.append("t", [Canceled()], 2.0, expected=expected)

    assert log.task("t").number == 2


def test_what_comes_from_a_lease_that_is_over_is_refused(log: TaskLog) -> None:
    log.append("t", [created(), Leased("w", "ada"), Leased("v", "ada")], 1.0)

    with pytest.raises(StaleLeaseError):
        log.append("t", [Progressed(1)], 2.0, epoch=1)

    log.append("t", [Progressed(1)], 2.0, epoch=2)
    assert log.task("t").progress == Progressed(1)


def test_of_changes_that_are_refused_none_is_applied(log: TaskLog) -> None:
    log.append("t", [created(), Leased("w", "ada")], 1.0)

    with pytest.raises(TaskStateError):
        log.append("t", [Progressed(1), Canceled(), Progressed(2)], 2.0, epoch=1)

    assert (log.task("t").number, log.task("t").progress) == (2, None)


def test_a_task_is_created_once_and_is_not_there_before(log: TaskLog) -> None:
    with pytest.raises(TaskNotFoundError):
        log.append("t", [Canceled()], 1.0)
    log.append("t", [created()], 1.0)

    with pytest.raises(TaskExistsError):
        log.append("t", [created()], 2.0)
    with pytest.raises(TaskNotFoundError):
        log.task("other")
    with pytest.raises(TaskNotFoundError):
        log.read("other")


def test_tasks_are_paged_by_id_and_open_ones_by_themselves(log: TaskLog) -> None:
    for name in ("c", "a", "b"):
        log.append(name, [created(name)], 1.0)
    log.append("b", [Canceled()], 2.0)

    assert [task.task_id for task in log.tasks()] == ["a", "b", "c"]
    assert [task.task_id for task in log.tasks("a", 1)] == ["b"]
    assert [task.task_id for task in log.tasks(open_only=True)] == ["a", "c"]
    assert log.tasks("c") == []


def test_only_a_task_that_is_over_can_be_forgotten(log: TaskLog) -> None:
    log.append("t", [created()], 1.0)
    with pytest.raises(TaskStateError):
        log.delete("t")
    log.append("t", [Canceled()], 2.0)

    log.delete("t")

    assert log.tasks() == []
    with pytest.raises(TaskNotFoundError):
        log.delete("t")


async def test_a_log_can_be_flushed_and_closed_twice(log: TaskLog) -> None:
    log.append("t", [created()], 1.0)
    await log.flush()
    await log.close()
    await log.close()


def test_a_log_in_memory_can_begin_with_the_events_of_another() -> None:
    first = MemoryTaskLog()
    first.append("t", [created(), Leased("w", "ada")], 1.0)
    first.append("u", [created("u"), Canceled()], 1.0)

    second = MemoryTaskLog([*first.read("t"), *first.read("u")])

    assert second.tasks() == first.tasks()
    assert [task.state for task in second.tasks(open_only=True)] == [TaskState.WORKING]
