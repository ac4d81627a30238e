"""What every log of tasks does."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tekton.a2a.task import Task, TaskState, fold
from tekton.a2a.task_event import Budget, Canceled, Completed, Created, Leased, Progressed, StepCompleted
from tekton.a2a.task_log import MemoryTaskLog, TaskLog, TaskQuery, place_of
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
            agent_id="eve" if number in (0, 2) else "",
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
        (TaskQuery(agent_id="eve"), "ca"),
        (TaskQuery(agent_id=""), "fedb"),
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
    assert "".join(task.task_id for task in log.latest(query)) == "".join(name for name in "dafecb" if name in found)
    assert log.count_of(query) == len(found)
    assert [query.fits(task) for task in log.tasks()] == [task.task_id in found for task in log.tasks()]


@pytest.mark.parametrize("durable", [False, True])
async def test_what_is_found_comes_in_pages(log: TaskLog, durable: bool) -> None:
    filled(log)
    if durable:
        await log.flush()

    def page(before: str, limit: int) -> str:
        return "".join(task.task_id for task in log.find(TaskQuery(), before, limit))

    assert [page("", 2), page("e", 3), page("b", 3), page("a", 3), page("", 0)] == ["fe", "dcb", "a", "", ""]


@pytest.mark.parametrize("kept", [0, 1 << 20])
async def test_pages_of_those_that_were_changed_last_go_on_where_the_one_before_ends(
    log: TaskLog, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.a2a.work.task_store.KEPT_BYTES", kept)
    chance = Random(7)
    names = [f"t{number:03}" for number in range(60)]
    for name in chance.sample(names, 60):
        log.append(name, [created(name)], 1.0)
    for name in chance.sample(names, 40):
        log.append(name, [Canceled()], float(chance.randrange(10)))
        if chance.random() < 0.1:
            await log.flush()
    for name in names[::7]:
        if log.task(name).state.over:
            log.delete(name)

    found, before = list[Task](), None
    while page := log.latest(TaskQuery(), before, 7):
        found += page
        before = place_of(page[-1])

    assert found == sorted(log.tasks(), key=place_of, reverse=True)
    assert log.count_of(TaskQuery()) == len(found) == log.count()
    assert log.latest(TaskQuery(), limit=0) == []


async def test_one_that_is_changed_between_two_pages_is_not_on_the_second(log: TaskLog) -> None:
    for number, name in enumerate("abcd"):
        log.append(name, [created(name)], float(number))
    first = log.latest(TaskQuery(), limit=2)
    log.append("c", [Canceled()], 9.0)
    log.append("a", [Canceled()], 10.0)
    await log.flush()

    second = log.latest(TaskQuery(), place_of(first[-1]), 2)

    assert ["".join(task.task_id for task in page) for page in (first, second)] == ["dc", "b"]


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


async def test_tasks_are_counted_by_owner_and_those_of_one_that_are_over_are_found(log: TaskLog) -> None:
    for task_id, owner in (("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "ann")):
        log.append(task_id, [Created("review", {}, 100.0, Budget(), task_id, owner=owner)], 1.0)
    for task_id in ("a", "b"):
        log.append(task_id, [Canceled()], 2.0)
    await log.flush()
    log.append("d", [Canceled()], 2.0)  # its end is not on the disk yet

    assert log.owners() == {"ann": 3, "bob": 1}
    assert [task.task_id for task in log.over_of("ann")] == ["a", "d"]
    assert [task.task_id for task in log.over_of("ann", "a")] == ["d"]
    assert [task.task_id for task in log.over_of("ann", limit=1)] == ["a"]
    await log.flush()
    for task_id in ("a", "b"):
        log.delete(task_id)
    assert log.owners() == {"ann": 2}
