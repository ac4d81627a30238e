"""How long tasks that are over are kept."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, Canceled, Created
from tekton.a2a.task_log import TaskLog
from tekton.a2a.task_manager import Subtask, TaskManager
from tekton.a2a.work.work_store import WorkStore
from tekton.service.open_tasks import OpenTasks
from tekton.service.task_retention import Retention
from tekton.testing.clock import ManualClock


class Place:
    """Tasks that are done at once, or fail, and what forgets them."""

    def __init__(self, log: TaskLog | None = None) -> None:
        self.clock = ManualClock()
        agents = AgentRegistry()
        agents.register_agent("echo", ["echo"], handler=self._echo)
        agents.register_agent("failer", ["failing"], handler=self._fail)
        self.manager = TaskManager(agents, log=log, clock=self.clock)
        self.open = OpenTasks(1000, 1000)
        self.manager.listen(self.open.follow)
        self.retention = Retention(self.manager, self.open, self.clock)
        self.retention.age, self.retention.most = 100.0, 1000

    async def _echo(self) -> str:
        return "done"

    async def _fail(self) -> None:
        raise ValueError("no")

    async def done(self, task_type: str = "echo", *parts: str, owner: str = "") -> Task:
        task = self.manager.create_task(task_type, subtasks=[Subtask(name, "echo") for name in parts], owner=owner)
        self.manager.begin_task(task)
        while not (now := self.manager.get_task_status(task)).state.over:
            await self.manager.next_change(task)
        return now

    def left(self) -> list[str]:
        return [task.task_id for task in self.manager.tasks(limit=1000)]

    def shares(self) -> dict[str, int]:
        return self.manager.owners()


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


async def test_of_too_many_those_go_of_whoever_has_most(place: Place) -> None:
    old = await place.done(owner="bob")
    for _ in range(30):
        place.manager.cancel_task(place.manager.create_task("echo", owner="ada"))
    place.retention.most = 10

    assert await place.retention.sweep() == 21
    assert place.shares() == {"ada": 9, "bob": 1}
    assert old.task_id in place.left()


async def test_who_has_as_many_as_others_loses_as_many(place: Place) -> None:
    for owner, count in (("ada", 22), ("bob", 20), ("cora", 3)):
        for _ in range(count):
            place.manager.cancel_task(place.manager.create_task("echo", owner=owner))
    place.retention.most = 15

    assert await place.retention.sweep() == 30
    assert place.shares() == {"ada": 6, "bob": 6, "cora": 3}


async def test_open_tasks_count_for_nobody(place: Place) -> None:
    for _ in range(5):
        place.manager.create_task("echo", owner="ada")
    for _ in range(3):
        await place.done(owner="bob")
    place.retention.most = 2

    assert await place.retention.sweep() == 1
    assert place.shares() == {"ada": 5, "bob": 2}


async def test_whose_tasks_cannot_go_yet_keeps_nobody_from_going(place: Place) -> None:
    failed = [await place.done("failing", owner="ada") for _ in range(3)]
    for task in failed:
        place.manager.retry_task(task)
    for _ in range(2):
        await place.done(owner="bob")
    place.retention.most = 0

    assert await place.retention.sweep() == 2
    assert place.shares() == {"ada": 6}


async def test_what_cannot_be_read_is_gone_round(tmp_path: Path) -> None:
    store = await WorkStore.open(tmp_path / "work.db")
    for number in range(100):
        text = f"text of {number:03} " + "x" * 1000
        created = Created("echo", {"text": text}, 100.0, Budget(), f"t{number:03}", owner="ada")
        store.tasks.append(f"t{number:03}", [created, Canceled()], 1.0)
    await store.close()
    content = bytearray((tmp_path / "work.db").read_bytes())
    content[content.index(b"text of 050")] ^= 1
    (tmp_path / "work.db").write_bytes(content)
    store = await WorkStore.open(tmp_path / "work.db")
    place = Place(store.tasks)
    place.clock.advance(1e6)

    for most in (1000, 0):
        place.retention.most = most
        await place.retention.sweep()

    assert place.left() == []
    assert place.manager.count() == store.damaged > 0
    await place.manager.close()
    await store.close()
