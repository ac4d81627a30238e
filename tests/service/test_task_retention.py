"""How long tasks that are over are kept."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task
from tekton.a2a.task_manager import Subtask, TaskManager
from tekton.service.open_tasks import OpenTasks
from tekton.service.task_retention import Retention
from tekton.testing.clock import ManualClock


class Place:
    """Tasks that are done at once, or fail, and what forgets them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        agents = AgentRegistry()
        agents.register_agent("echo", ["echo"], handler=self._echo)
        agents.register_agent("failer", ["failing"], handler=self._fail)
        self.manager = TaskManager(agents, clock=self.clock)
        self.open = OpenTasks(1000, 1000)
        self.manager.listen(self.open.follow)
        self.retention = Retention(self.manager, self.open, self.clock)
        self.retention.age, self.retention.most = 100.0, 1000

    async def _echo(self) -> str:
        return "done"

    async def _fail(self) -> None:
        raise ValueError("no")

    async def done(self, task_type: str = "echo", *parts: str) -> Task:
        task = self.manager.create_task(task_type, subtasks=[Subtask(name, "echo") for name in parts])
        self.manager.begin_task(task)
        while not (now := self.manager.get_task_status(task)).state.over:
            await self.manager.next_change(task)
        return now

    def left(self) -> list[str]:
        return [task.task_id for task in self.manager.tasks(limit=1000)]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.manager.close()


async def test_what_has_been_over_for_long_is_forgotten_with_its_parts(place: Place) -> None:
    await place.done("both", "one", "two")
    place.clock.advance(60)
    young = await place.done()
    place.clock.advance(60)

    assert await place.retention.sweep() == 1
    assert place.left() == [young.task_id]
    assert await place.retention.sweep() == 0


async def test_the_time_counts_from_the_end(place: Place) -> None:
    task = place.manager.create_task("echo")
    place.clock.advance(150)
    place.manager.cancel_task(task)

    assert await place.retention.sweep() == 0
    place.clock.advance(150)
    assert await place.retention.sweep() == 1


async def test_of_too_many_the_oldest_are_forgotten(place: Place) -> None:
    tasks = [await place.done() for _ in range(5)]
    place.retention.most = 2

    assert await place.retention.sweep() == 3
    assert place.left() == [task.task_id for task in tasks[3:]]


async def test_parts_that_are_open_are_none_that_are_over(place: Place) -> None:
    over = await place.done()
    whole = place.manager.create_task("both", subtasks=[Subtask(name, "nobody") for name in ("one", "two")])
    place.retention.most = 1
    for part in whole.plan:
        created = msgspec.structs.replace(whole.created, plan=[], parent_id=whole.task_id)
        place.manager.add_task(msgspec.structs.replace(whole, task_id=part.task_id, created=created))

    assert await place.retention.sweep() == 0
    assert over.task_id in place.left()


async def test_what_is_open_or_tried_again_stays(place: Place) -> None:
    waiting = place.manager.create_task("echo")
    failed = await place.done("failing")
    again = place.manager.retry_task(failed)
    over = await place.done()
    place.retention.most = 0
    place.clock.advance(1000)

    assert await place.retention.sweep() == 1
    assert place.left() == [waiting.task_id, failed.task_id, again.task_id]
    assert over.task_id not in place.left()
    place.manager.cancel_task(again)
    assert await place.retention.sweep() == 2


async def test_a_task_with_many_parts_leaves_others_their_turns_when_it_is_forgotten(place: Place) -> None:
    whole = await place.done("both", *(f"p{number}" for number in range(200)))
    place.clock.advance(1000)

    at_once: list[int] = []
    sweeping = asyncio.create_task(place.retention.sweep())
    while not sweeping.done():
        before = place.manager.count()
        await asyncio.sleep(0)
        at_once.append(before - place.manager.count())

    assert (whole.task_id in place.left(), sum(at_once), max(at_once) < 100) == (False, 201, True)


async def test_many_go_in_one_sweep(place: Place) -> None:
    for _ in range(250):
        place.manager.cancel_task(place.manager.create_task("echo"))
    place.clock.advance(1000)

    assert await place.retention.sweep() == 250
    assert place.left() == []
