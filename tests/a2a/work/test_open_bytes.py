"""What open tasks take in memory, and that it is bounded."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task_event import (
    ArtifactAdded,
    Budget,
    Canceled,
    Created,
    InputGiven,
    InputRequired,
    Leased,
    Progressed,
)
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.work.work_store import WorkStore
from tekton.utils.tekton_errors import TaskBudgetError, TaskFailedError, TooManyTasksError


def created(task_id: str, size: int, owner: str = "ann") -> Created:
    return Created("review", {"text": "x" * size}, 100.0, Budget(), task_id, owner=owner)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WorkStore]:
    store = await WorkStore.open(tmp_path / "work.db")
    yield store
    await store.close()


def test_a_task_for_which_there_is_no_room_is_not_created(store: WorkStore) -> None:
    store.open_bytes.most, store.open_bytes.most_of_one = 30_000, 20_000
    for task_id, owner in (("a", "ann"), ("b", "bob")):
        store.tasks.append(task_id, [created(task_id, 10_000, owner)], 1.0)

    with pytest.raises(TooManyTasksError) as of_one:
        store.tasks.append("c", [created("c", 10_000)], 1.0)
    with pytest.raises(TooManyTasksError) as of_all:
        store.tasks.append("d", [created("d", 15_000, "cora")], 1.0)

    assert (of_one.value.what, of_one.value.limit, of_one.value.owner) == ("bytes", 20_000, "ann")
    assert (of_all.value.what, of_all.value.limit, of_all.value.owner) == ("bytes", 30_000, None)
    assert [task.task_id for task in store.tasks.tasks()] == ["a", "b"]
    store.tasks.append("a", [Canceled()], 2.0)
    store.tasks.append("c", [created("c", 10_000)], 3.0)


async def test_what_is_over_or_does_not_stay_in_memory_does_not_count(store: WorkStore, tmp_path: Path) -> None:
    store.tasks.append("a", [created("a", 1000), Leased("w", "ada")], 1.0)
    begun = store.open_bytes.total
    for number in range(100):
        store.tasks.append("a", [Progressed(number, text="x" * 1000)], 2.0, epoch=1)
    assert store.open_bytes.total == begun > 1000
    store.tasks.append("a", [ArtifactAdded("picture", "\N{EURO SIGN}" * 2000)], 3.0, epoch=1)
    held = store.open_bytes.total
    assert (held > begun + 5000, store.open_bytes.of("ann")) == (True, held)
    await store.close()

    again = await WorkStore.open(tmp_path / "work.db")
    assert (again.open_bytes.total, again.open_bytes.of("ann")) == (held, held)
    again.tasks.append("a", [Canceled()], 4.0)
    assert (again.open_bytes.total, again.open_bytes.of("ann")) == (0, 0)
    await again.close()


def test_an_answer_is_taken_and_what_the_agent_says_then_is_not(store: WorkStore) -> None:
    store.tasks.append("a", [created("a", 0), Leased("w", "ada")], 1.0)
    store.tasks.append("a", [InputRequired("which", "Which?")], 1.0, epoch=1)
    store.open_bytes.most = store.open_bytes.total

    store.tasks.append("a", [InputGiven("which", "x" * 1000)], 2.0)
    with pytest.raises(TaskBudgetError, match="together with all other open tasks"):
        store.tasks.append("a", [ArtifactAdded("picture", 1)], 3.0, epoch=1)

    assert store.tasks.task("a").number == 4


async def test_a_task_whose_agent_has_too_much_to_say_ends_and_others_go_on(store: WorkStore) -> None:
    store.open_bytes.most_of_one = 50_000
    go_on = asyncio.Event()

    async def talk(context: TaskContext) -> Any:
        for number in range(100):
            await asyncio.sleep(0)
            context.artifact(f"a{number}", "x" * 1000)

    async def wait() -> str:
        await go_on.wait()
        return "done"

    agents = AgentRegistry()
    agents.register_agent("talker", ["talking"], handler=talk)
    agents.register_agent("waiter", ["waiting"], handler=wait)
    async with TaskManager(agents, log=store.tasks) as manager:
        other = asyncio.ensure_future(manager.execute_task(manager.create_task("waiting", owner="ann")))

        with pytest.raises(TaskFailedError) as failed:
            await manager.execute_task(manager.create_task("talking", owner="ann"))

        assert failed.value.failed == "task_budget"
        assert "bytes together with the other open tasks of ann" in failed.value.reason
        go_on.set()
        assert await other == "done"
        assert store.open_bytes.total == 0
