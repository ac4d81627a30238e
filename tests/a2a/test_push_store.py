"""What every store of pushes does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tekton.a2a.push_store import MemoryPushStore, PushConfig, PushStore
from tekton.a2a.task_event import Budget, Canceled, Created, Leased
from tekton.a2a.task_log import MemoryTaskLog, TaskLog
from tekton.a2a.work.work_store import WorkStore
from tekton.utils.tekton_errors import TaskNotFoundError


class Stores(NamedTuple):
    tasks: TaskLog
    push: PushStore


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Stores in which are the tasks t and u, with two events each."""
    work = None
    if request.param == "memory":
        tasks = MemoryTaskLog()
        made = Stores(tasks, MemoryPushStore(tasks))
    else:
        work = await WorkStore.open(tmp_path / "work.db")
        made = Stores(work.tasks, work.push)
    for task_id in ("t", "u"):
        made.tasks.append(task_id, [Created("review", {}, 100.0, Budget(), task_id), Leased("w", "ada")], 1.0)
    yield made
    if work is not None:
        await work.close()


def config(task_id: str, config_id: str, delivered: int = 0) -> PushConfig:
    return PushConfig(task_id, config_id, "https://example.org/hook", "secret", "Bearer", "x", "ann", delivered)


async def test_configurations_are_kept_by_task_and_replaced_by_id(stores: Stores) -> None:
    for one in (config("t", "b"), config("t", "a"), config("u", "a"), config("t", "a", 1)):
        stores.push.put(one)
    await stores.push.flush()

    assert stores.push.of_task("t") == [config("t", "a", 1), config("t", "b")]
    assert stores.push.get("u", "a") == config("u", "a")
    assert (stores.push.get("u", "b"), stores.push.of_task("v")) == (None, [])


def test_there_are_none_of_a_task_that_there_is_not(stores: Stores) -> None:
    with pytest.raises(TaskNotFoundError):
        stores.push.put(config("v", "a"))

    assert stores.push.get("v", "a") is None


def test_a_configuration_is_deleted_once(stores: Stores) -> None:
    stores.push.put(config("t", "a"))

    assert (stores.push.delete("t", "a"), stores.push.delete("t", "a")) == (True, False)
    assert stores.push.of_task("t") == []


def test_what_has_arrived_becomes_more_and_brings_nothing_back(stores: Stores) -> None:
    stores.push.put(config("t", "a", 1))
    stores.push.note_delivered("t", "a", 2)
    stores.push.note_delivered("t", "a", 1)
    assert stores.push.get("t", "a") == config("t", "a", 2)

    stores.push.delete("t", "a")
    stores.push.note_delivered("t", "a", 3)
    assert stores.push.get("t", "a") is None


def test_those_wait_whose_task_has_events_that_have_not_arrived(stores: Stores) -> None:
    for one in (config("t", "b", 1), config("t", "a", 2), config("u", "a", 1), config("u", "b")):
        stores.push.put(one)

    assert stores.push.waiting() == [config("t", "b", 1), config("u", "a", 1), config("u", "b")]
    assert stores.push.waiting(1, ("t", "b")) == [config("u", "a", 1)]
    stores.tasks.append("t", [Canceled()], 2.0)
    assert stores.push.waiting(1) == [config("t", "a", 2)]


async def test_with_a_task_all_that_belongs_to_it_is_forgotten(stores: Stores) -> None:
    stores.push.put(config("t", "a"))
    stores.tasks.append("t", [Canceled()], 2.0)
    await stores.push.flush()

    stores.tasks.delete("t")

    assert (stores.push.get("t", "a"), stores.push.waiting()) == (None, [])
    stores.tasks.append("t", [Created("review", {}, 100.0, Budget(), "t")], 3.0)
    assert stores.push.of_task("t") == []
