"""What every log of tasks does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.a2a.task import TaskState, fold
from tekton.a2a.task_event import Budget, Canceled, Completed, Created, Leased, Progressed, StepCompleted
from tekton.a2a.task_log import MemoryTaskLog, TaskLog, TaskQuery
from tekton.a2a.work.work_store import WorkStore
from tekton.utils.tekton_errors import (
    StaleLeaseError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
    TaskStateError,
)


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TaskLog]:
    if request.param == "memory":
        yield MemoryTaskLog()
        return
    store = await WorkStore.open(tmp_path / "work.db")
    yield store.tasks
    await store.close()


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


def test_what_was_read_before_does_not_grow_with_what_is_appended_together(log: TaskLog) -> None:
    log.append("t", [created(), Leased("w", "ada")], 1.0)
    before = log.task("t")
    log.append("t", [StepCompleted(f"s{number}", number) for number in range(10)], 2.0, epoch=1)
    first = log.task("t")
    log.append("t", [StepCompleted(f"r{number}", number) for number in range(10)], 3.0, epoch=1)

    assert [len(task.steps) for task in (before, first, log.task("t"))] == [0, 10, 20]


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


# Finding


def filled(log: TaskLog) -> None:
    """Tasks a to f; a and d are over."""
    for number, name in enumerate("abcdef"):
        one = Created(
            "review" if number % 2 else "build",
            {},
            100.0,
            Budget(),
            name,
            owner="ann" if number < 3 else "bob",
            conversation_id="talk" if number > 3 else "",
            parent_id="a" if number == 4 else "",
        )
        log.append(name, [one, Leased("w", "ada")], float(number))
    log.append("a", [Canceled()], 10.0)
    log.append("d", [Completed(1)], 11.0, epoch=1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (TaskQuery(), "fedcba"),
        (TaskQuery(owner="ann"), "cba"),
        (TaskQuery(owner="eve"), ""),
        (TaskQuery(conversation_id="talk"), "fe"),
        (TaskQuery(conversation_id=""), "dcba"),
        (TaskQuery(states=frozenset({TaskState.CANCELED, TaskState.WORKING}), owner="ann"), "cba"),
        (TaskQuery(states=frozenset({TaskState.COMPLETED})), "d"),
        (TaskQuery(states=frozenset()), ""),
        (TaskQuery(task_type="build"), "eca"),
        (TaskQuery(parent_id="a"), "e"),
        (TaskQuery(parent_id=""), "fdcba"),
        (TaskQuery(since=4.0), "feda"),
        (TaskQuery(owner="bob", task_type="review", parent_id="", since=5.0), "fd"),
    ],
)
@pytest.mark.parametrize("durable", [False, True])
async def test_tasks_are_found_newest_first_by_what_is_known_of_them(
    log: TaskLog, query: TaskQuery, found: str, durable: bool
) -> None:
    filled(log)
    if durable:
        await log.flush()

    assert "".join(task.task_id for task in log.find(query)) == found
    assert [query.fits(task) for task in log.tasks()] == [task.task_id in found for task in log.tasks()]


@pytest.mark.parametrize("durable", [False, True])
async def test_what_is_found_comes_in_pages(log: TaskLog, durable: bool) -> None:
    filled(log)
    if durable:
        await log.flush()

    def page(before: str, limit: int) -> str:
        return "".join(task.task_id for task in log.find(TaskQuery(), before, limit))

    assert [page("", 2), page("e", 3), page("b", 3), page("a", 3), page("", 0)] == ["fe", "dcb", "a", "", ""]


async def test_all_tasks_are_counted_open_or_over(log: TaskLog) -> None:
    for task_id in ("a", "b", "c"):
        log.append(task_id, [created(task_id)], 1.0)
    log.append("a", [Canceled()], 2.0)
    await log.flush()
    before = log.count(), log.count(open_only=True)
    log.delete("a")

    assert (*before, log.count(), log.count(open_only=True)) == (3, 2, 2, 2)


@pytest.mark.parametrize("durable", [False, True])
async def test_the_states_of_many_are_known_at_once(
    log: TaskLog, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.a2a.work.task_store.KEPT_BYTES", 0)
    filled(log)
    log.append("gone", [created("gone"), Canceled()], 9.0)
    if durable:
        await log.flush()
    log.delete("gone")

    assert log.states(["d", "a", "gone", "none"]) == {task_id: log.task(task_id).state for task_id in "da"}
    assert log.states([]) == {}
