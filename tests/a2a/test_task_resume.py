"""A crash at any point: what was completed is not done again, and it ends as if there had been none."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import (
    Budget,
    Canceled,
    Change,
    Completed,
    Created,
    Leased,
    PlannedTask,
    StepCompleted,
    TaskEvent,
)
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskChange, TaskManager
from tekton.a2a.task_steps import TaskContext, idempotency_key
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.tekton_errors import StaleLeaseError, TaskFailedError, TaskTimeoutError


class Recorded(MemoryTaskLog):
    """Remembers the events of all tasks, in the order in which a disk would have them."""

    def __init__(self, events: Sequence[TaskEvent] = ()) -> None:
        super().__init__(events)
        self.events = list(events)

    def append(
        self,
        task_id: str,
        changes: Sequence[Change],
        at: float,
        *,
        expected: int | None = None,
        epoch: int | None = None,
    ) -> list[TaskEvent]:
        made = super().append(task_id, changes, at, expected=expected, epoch=epoch)
        self.events += made
        return made


class World:
    """A process with agents that work in steps and ask, one that always fails first; what it runs is counted."""

    def __init__(self, events: Sequence[TaskEvent] = ()) -> None:
        self.log = Recorded(events)
        self.ran: Counter[str] = Counter()
        registry = AgentRegistry()
        registry.register_agent("breaks", ["review"], handler=self._breaks)
        registry.register_agent("works", ["review"], handler=self._works)
        self.manager = TaskManager(registry, log=self.log, clock=current_clock())
        self.manager.planners.register("feature", self._plan)
        self.manager.listen(self._answer)

    def _plan(self, task: Any) -> list[Subtask]:
        rng = random.Random(task.inputs["seed"])
        names = [f"p{number}" for number in range(rng.randint(2, 5))]
        return [
            Subtask(
                name,
                "review",
                {"steps": rng.randint(0, 3), "asks": rng.random() < 0.4},
                [other for other in names[:place] if rng.random() < 0.5],
            )
            for place, name in enumerate(names)
        ]

    def _count(self) -> str:
        key = idempotency_key()
        self.ran[key] += 1
        return key.partition("/")[2]

    async def _step(self) -> str:
        return self._count()

    async def _breaks(self, context: TaskContext) -> None:
        await context.step("shared", self._step)
        raise OSError("it always does")

    async def _works(self, steps: int, asks: bool, context: TaskContext) -> list[Any]:
        done = [await context.step("shared", self._step)]
        done += [await context.step("each", self._step) for _ in range(steps)]
        if asks:
            done.append(await context.ask("and now?"))
        done.append(await context.step("last", self._step, repeatable=True))
        return [sorted(context.results.items()), done]

    def _answer(self, change: TaskChange) -> None:
        if change.task.question is not None and change.event.number == change.task.number:
            self._answer_open(change.task.task_id)

    def _answer_open(self, task_id: str) -> None:
        def give() -> None:
            if self.manager.get_task_status(task_id).state is TaskState.INPUT_REQUIRED:
                self.manager.answer(task_id, "go on")

        asyncio.get_running_loop().call_soon(give)

    def answer_all(self) -> None:
        for task in self.manager.tasks(open_only=True):
            if task.question is not None:
                self._answer_open(task.task_id)


def completed_steps(events: Sequence[TaskEvent]) -> set[str]:
    origins = {event.task_id: event.change.origin for event in events if isinstance(event.change, Created)}
    return {
        f"{origins[event.task_id]}/{event.change.step}" for event in events if isinstance(event.change, StepCompleted)
    }


@pytest.mark.parametrize("seed", range(6))
@virtual_time
async def test_after_a_crash_at_any_event_no_step_is_repeated_and_the_end_is_the_same(seed: int) -> None:
    whole = World()
    task = whole.manager.create_task("feature", {"seed": seed})
    result = await whole.manager.execute_task(task)
    assert set(whole.ran.values()) == {1}

    for length in range(1, len(whole.log.events) + 1):
        prefix = whole.log.events[:length]
        world = World(prefix)
        world.manager.resume()
        world.answer_all()

        assert await world.manager.execute_task(task.task_id) == result
        assert not completed_steps(prefix) & set(world.ran), length
        assert max(world.ran.values(), default=1) == 1
        assert world.manager.tasks(open_only=True) == []
        await world.manager.close()


@virtual_time
async def test_two_crashes_are_as_one() -> None:
    whole = World()
    task = whole.manager.create_task("feature", {"seed": 3})
    result = await whole.manager.execute_task(task)
    for length in range(1, len(whole.log.events), 3):
        first = World(whole.log.events[:length])
        first.manager.resume()
        first.answer_all()
        await first.manager.execute_task(task.task_id)
        for again in range(length, len(first.log.events), 3):
            second = World(first.log.events[:again])
            second.manager.resume()
            second.answer_all()

            assert await second.manager.execute_task(task.task_id) == result
            assert not completed_steps(first.log.events[:again]) & set(second.ran)


def created(**options: Any) -> Created:
    return Created("review", {"steps": 0, "asks": False}, current_clock().time() + 60, Budget(), "t", **options)


@virtual_time
async def test_the_former_worker_cannot_write_any_more() -> None:
    world = World()
    world.log.append("t", [created(), Leased("former", "works")], 1.0)
    world.manager.resume()
    await world.manager.execute_task("t")

    for change in (StepCompleted("late", 1), Completed("mine")):
        with pytest.raises(Exception, match=r"lease 1 of task t is over|task t is completed"):
            world.log.append("t", [change], 2.0, epoch=1)


@virtual_time
async def test_the_lease_of_the_former_worker_is_over_when_another_has_taken_the_task() -> None:
    log = MemoryTaskLog()
    log.append("t", [created(), Leased("former", "works"), Leased("other", "works")], 1.0)

    with pytest.raises(StaleLeaseError):
        log.append("t", [Completed("mine")], 2.0, epoch=1)


@virtual_time
async def test_a_task_that_ends_the_process_every_time_is_given_up() -> None:
    world = World()
    world.log.append("t", [created(), *[Leased("former", "works")] * 5], 1.0)
    world.manager.resume()

    with pytest.raises(TaskFailedError) as caught:
        await world.manager.execute_task("t")
    assert caught.value.failed == "task_budget"


@virtual_time
async def test_a_task_whose_time_has_passed_meanwhile_is_not_begun() -> None:
    world = World()
    world.log.append("t", [created()], 1.0)
    current_clock().advance(61)

    assert world.manager.resume() == ["t"]
    with pytest.raises(TaskTimeoutError):
        await world.manager.execute_task("t")
    assert world.ran == {}


@virtual_time
async def test_parts_that_outlived_the_whole_are_called_off() -> None:
    world = World()
    world.log.append("t", [created(), Canceled()], 1.0)
    world.log.append("u", [created(parent_id="t")], 1.0)
    world.log.append("v", [created(parent_id="forgotten")], 1.0)

    assert world.manager.resume() == []
    assert world.manager.tasks(open_only=True) == []


@virtual_time
async def test_parts_of_parts_that_outlived_the_whole_are_called_off_once() -> None:
    world = World()
    plan = [PlannedTask("p", "b", "review", {})]
    world.log.append("w", [created(plan=[PlannedTask("p", "a", "feature", {})]), Canceled()], 1.0)
    world.log.append("a", [created(parent_id="w", plan=plan)], 1.0)
    world.log.append("b", [created(parent_id="a")], 1.0)

    assert world.manager.resume() == []
    assert world.manager.tasks(open_only=True) == []


@virtual_time
async def test_tasks_that_are_taken_up_wait_for_agents_that_come_later() -> None:
    log = MemoryTaskLog()
    log.append("t", [created()], 1.0)
    registry = AgentRegistry()
    manager = TaskManager(registry, log=log, clock=current_clock())

    assert (manager.resume(), manager.resume()) == (["t"], [])
    await asyncio.sleep(20)
    registry.register_agent("ada", ["review"], handler=lambda: "done")

    async with asyncio.timeout(5):
        while not manager.get_task_status("t").state.over:
            await manager.changed(manager.version)
    assert manager.get_task_status("t").result == "done"


@virtual_time
async def test_many_open_tasks_are_taken_up_at_once() -> None:
    world = World()
    for number in range(1200):
        world.log.append(f"t{number:04}", [created()], 1.0)

    assert len(world.manager.resume()) == 1200
    assert (await world.manager.execute_task("t1199"))[1] == ["shared", "last"]
    await world.manager.close()


@virtual_time
async def test_soon_after_a_start_a_new_task_fails_with_its_only_agent_and_one_taken_up_waits_for_another() -> None:
    log = MemoryTaskLog()
    log.append("t", [created()], 1.0)
    registry = AgentRegistry()

    async def breaks() -> None:
        raise OSError("no")

    registry.register_agent("ada", ["review"], handler=breaks)
    manager = TaskManager(registry, log=log, clock=current_clock())
    manager.resume()
    began = asyncio.get_running_loop().time()

    with pytest.raises(TaskFailedError):
        await manager.execute_task(manager.create_task("review"))
    assert asyncio.get_running_loop().time() - began < 1.0
    registry.register_agent("bob", ["review"], handler=lambda: "done")

    assert await manager.execute_task("t") == "done"


@virtual_time
async def test_a_task_for_all_agents_that_is_taken_up_waits_for_them() -> None:
    log = MemoryTaskLog()
    log.append("t", [msgspec.structs.replace(created(), strategy="all")], 1.0)
    registry = AgentRegistry()
    manager = TaskManager(registry, log=log, clock=current_clock())
    manager.resume()
    await asyncio.sleep(20)
    registry.register_agent("ada", ["review"], handler=lambda: "done")

    assert await manager.execute_task("t") == {"ada": "done"}


@virtual_time
async def test_a_planner_that_has_left_a_task_whole_is_not_asked_again_after_a_restart() -> None:
    log = MemoryTaskLog()
    asked: list[str] = []

    async def works(context: TaskContext) -> str:
        await context.step("first", lambda: 1)
        await asyncio.sleep(100)
        return "whole"

    def plan(task: Task) -> list[Subtask]:
        asked.append(task.task_id)
        return [] if len(asked) == 1 else [Subtask("p", "painting")]

    def start() -> TaskManager:
        registry = AgentRegistry()
        registry.register_agent("ada", ["review"], handler=works)
        manager = TaskManager(registry, log=log, clock=current_clock())
        manager.planners.register("review", plan)
        return manager

    former = start()
    task = former.create_task("review")
    former.begin_task(task)
    await asyncio.sleep(50)
    await former.close()
    manager = start()
    manager.resume()

    assert (await manager.execute_task(task), asked) == ("whole", [task.task_id])
