"""Counting tasks: how many there are, what came of them, and how many kinds have numbers of their own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task_event import AttemptFailed, Leased
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.core.metrics.metrics import Distribution
from tekton.service.task_meter import MOST_TYPES, OTHER, TaskMeter
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import TaskFailedError, TaskRejectedError, TektonError


def counted(meter: TaskMeter, name: str) -> dict[tuple[str, ...], Any]:
    """What is read under *name*, by labels, without what is nothing."""
    return {one.labels: one.value for one in meter.read() if one.name == name and one.value}


async def review(code: str, context: TaskContext) -> str:
    await context.step("look", lambda: code)
    if code == "ask":
        return str(await context.ask("Really?"))
    if code == "refuse":
        raise TaskRejectedError(context.task_id, "never")
    if code == "break":
        raise RuntimeError("it is broken")
    return code


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def meter() -> TaskMeter:
    return TaskMeter()


@pytest.fixture
async def manager(meter: TaskMeter, clock: ManualClock) -> AsyncIterator[TaskManager]:
    agents = AgentRegistry()
    agents.register_agent("reviewer", ["review"], handler=review)
    async with TaskManager(agents, clock=clock) as manager:
        manager.listen(meter.follow)
        yield manager


async def run(manager: TaskManager, code: str) -> None:
    await manager.execute_task(manager.create_task("review", {"code": code}))


async def test_what_came_of_tasks_is_counted_with_their_steps(manager: TaskManager, meter: TaskMeter) -> None:
    await run(manager, "fine")
    with pytest.raises(TaskRejectedError):
        await run(manager, "refuse")
    with pytest.raises(TaskFailedError):
        await run(manager, "break")
    manager.cancel_task(manager.create_task("review", {"code": "x"}))

    assert counted(meter, "tekton_tasks_created") == {("review",): 4}
    assert counted(meter, "tekton_tasks_ended") == {
        ("review", "completed"): 1,
        ("review", "rejected"): 1,
        ("review", "failed"): 1,
        ("review", "canceled"): 1,
    }
    assert counted(meter, "tekton_task_steps") == {(): 3}
    assert counted(meter, "tekton_task_attempts_failed") == {("agent_failed",): 1}
    assert counted(meter, "tekton_tasks_open") == {}


async def test_one_that_was_not_done_in_time_is_told_apart(
    manager: TaskManager, meter: TaskMeter, clock: ManualClock
) -> None:
    task = manager.create_task("review", {"code": "x"}, timeout=5.0)
    clock.advance(5.0)
    with pytest.raises(TektonError):
        await manager.execute_task(task)

    assert counted(meter, "tekton_tasks_ended") == {("review", "timeout"): 1}
    (seconds,) = counted(meter, "tekton_task_duration").values()
    assert isinstance(seconds, Distribution)
    assert (seconds.count, seconds.sum) == (1, 5.0)


async def test_what_is_open_is_counted_by_where_it_is(manager: TaskManager, meter: TaskMeter) -> None:
    task = manager.create_task("review", {"code": "ask"})
    before = counted(meter, "tekton_tasks_open"), counted(meter, "tekton_tasks_unattended")

    manager.begin_task(task)
    async with asyncio.timeout(5):
        while manager.get_task_status(task).question is None:
            await manager.next_change(task)
    asking = counted(meter, "tekton_tasks_open"), counted(meter, "tekton_tasks_unattended")
    manager.answer(task, "yes")
    assert await manager.execute_task(task) == "yes"

    assert before == ({("submitted",): 1}, {(): 1})
    assert asking == ({("input_required",): 1}, {})
    assert counted(meter, "tekton_tasks_open") == {}
    assert counted(meter, "tekton_task_steps") == {(): 2}


async def test_of_parts_only_is_told_what_is_open(manager: TaskManager, meter: TaskMeter) -> None:
    parts = [Subtask("a", "review", {"code": "x"}), Subtask("b", "review", {"code": "ask"})]
    task = manager.create_task("feature", subtasks=parts)
    manager.begin_task(task)
    async with asyncio.timeout(5):
        while counted(meter, "tekton_tasks_open") != {("input_required",): 2}:  # the whole asks what its part does
            await manager.changed(manager.version)

    assert counted(meter, "tekton_tasks_created") == {("feature",): 1}
    manager.cancel_task(task)
    assert counted(meter, "tekton_tasks_ended") == {("feature", "canceled"): 1}
    assert counted(meter, "tekton_tasks_open") == {}


async def test_what_is_open_from_before_is_counted(manager: TaskManager) -> None:
    manager.create_task("review", {"code": "x"})
    later = TaskMeter()

    later.load(manager.tasks(open_only=True))

    assert counted(later, "tekton_tasks_open") == {("submitted",): 1}
    assert counted(later, "tekton_tasks_created") == {}


async def test_who_makes_up_types_gets_no_more_series_than_there_is_room_for(
    manager: TaskManager, meter: TaskMeter
) -> None:
    for number in range(MOST_TYPES + 5):
        manager.create_task(f"type{number}")
    manager.create_task("type3")

    created = counted(meter, "tekton_tasks_created")
    assert len(created) == MOST_TYPES + 1
    assert (created[(OTHER,)], created[("type3",)]) == (5, 2)


@pytest.mark.parametrize(
    ("code", "shown"), [("agent_lost", "agent_lost"), ("tool_timeout", "tool_timeout"), ("made_up_17", OTHER)]
)
def test_codes_that_are_not_ours_are_one(meter: TaskMeter, code: str, shown: str) -> None:
    log = MemoryTaskLog()
    manager = TaskManager(AgentRegistry(), log=log)
    manager.listen(meter.follow)
    task = manager.create_task("review")
    journal = manager._journal
    journal.append(task.task_id, Leased("w", "reviewer"))

    journal.append(task.task_id, AttemptFailed("reviewer", code, "why"), epoch=1)

    assert counted(meter, "tekton_task_attempts_failed") == {(shown,): 1}
    assert counted(meter, "tekton_tasks_unattended") == {(): 1}
