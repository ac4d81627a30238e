"""The topics of tasks on the socket, over tasks that are really done."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.gateway.errors import InvalidInputError, PermissionDeniedError
from tekton.gateway.sockets import Sub
from tekton.service.task_topics import task_topics
from tekton.service.tasks import Tasks
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import TaskNotFoundError


def somebody(name: str, *roles: str) -> Principal:
    return Principal(subject=name, roles=roles, component_id=name, via="token", grants=RoleTable().grants(roles, name))


ADA, BOB = somebody("ada", "component"), somebody("bob", "component")
OTTO = somebody("otto", "operator")


class Place:
    """Tasks, and who listens to them."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.topics = task_topics(tasks)
        self.go_on = asyncio.Event()
        self.who = ADA

    async def wait(self) -> str:
        await self.go_on.wait()
        return "done"

    def open(self, topic: str, query: str = "", **more: Any) -> AsyncGenerator[str, None]:
        return self.topics[topic].open(Sub(id=1, topic=topic, query=query, **more), lambda: self.who)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with InMemoryControlPlane() as plane:
        place = Place(plane.tasks)
        plane.agents.registry.register_agent("waiter", ["waiting"], handler=place.wait)
        yield place


async def taken(frames: AsyncGenerator[str, None], count: int = 1000) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(10):
        async for frame in frames:
            found.append(json.loads(frame))
            if len(found) >= count:
                break
    return found


async def test_one_task_is_told_to_its_end(place: Place) -> None:
    task = await place.tasks.create(ADA, "waiting")
    async with aclosing(place.open("task", task.task_id)) as frames:
        first = await taken(frames, 2)
        place.go_on.set()
        rest = await taken(frames)

    assert [(frame["t"], frame["seq"], frame["data"]["event"]) for frame in [*first, *rest[:-1]]] == [
        ("event", 1, "created"),
        ("event", 2, "leased"),
        ("event", 3, "completed"),
    ]
    assert rest[-1] == {"id": 1, "t": "end"}


async def test_what_is_known_already_is_not_told_again(place: Place) -> None:
    task = await place.tasks.create(ADA, "waiting")
    place.go_on.set()
    await place.tasks.wait(task.task_id, 10)

    frames = await taken(place.open("task", task.task_id, since=2))

    assert [frame.get("seq") for frame in frames] == [3, None]


async def test_nobody_watches_the_task_of_another(place: Place) -> None:
    task = await place.tasks.create(BOB, "waiting")

    for task_id in (task.task_id, "nothing"):
        with pytest.raises(TaskNotFoundError):
            place.open("task", task_id)
    with pytest.raises(InvalidInputError):
        place.open("task")
    place.who = OTTO
    async with aclosing(place.open("task", task.task_id)) as frames:
        assert len(await taken(frames, 2)) == 2


async def test_who_loses_the_right_is_told_no_more(place: Place) -> None:
    task = await place.tasks.create(BOB, "waiting")
    place.who = OTTO
    for topic, query, count in (("task", task.task_id, 2), ("tasks", "all", 1)):
        async with aclosing(place.open(topic, query)) as frames:
            await taken(frames, count)
            place.who = somebody("otto")
            place.go_on.set()
            other = await place.tasks.create(BOB, "waiting")
            with pytest.raises(PermissionDeniedError):
                await taken(frames)
        await place.tasks.wait(other.task_id, 10)
        place.who = OTTO
        place.go_on.clear()
        task = await place.tasks.create(BOB, "waiting")


async def test_all_that_one_has_begins_with_what_is_open(place: Place) -> None:
    first = await place.tasks.create(ADA, "waiting")
    second = await place.tasks.create(ADA, "waiting")
    await place.tasks.create(BOB, "waiting")
    async with aclosing(place.open("tasks")) as frames:
        [snapshot] = await taken(frames, 1)
        await place.tasks.cancel(ADA, first.task_id)
        third = await place.tasks.create(ADA, "waiting")
        told = await taken(frames, 2)

    assert snapshot["t"] == "snap"
    assert [note["task_id"] for note in snapshot["data"]] == [second.task_id, first.task_id]
    notes = [frame["data"] for frame in told if frame["t"] == "note"]
    assert {(note["task_id"], note["event"]) for note in notes} <= {
        (first.task_id, "leased"),
        (second.task_id, "leased"),
        (first.task_id, "canceled"),
        (third.task_id, "created"),
    }


async def test_only_who_manages_tasks_watches_those_of_everybody(place: Place) -> None:
    await place.tasks.create(BOB, "waiting")

    with pytest.raises(PermissionDeniedError):
        place.open("tasks", "all")
    with pytest.raises(InvalidInputError):
        place.open("tasks", "some")
    place.who = OTTO
    async with aclosing(place.open("tasks", "all")) as frames:
        [snapshot] = await taken(frames, 1)

    assert [note["owner"] for note in snapshot["data"]] == ["bob"]


async def test_who_does_not_keep_up_is_told_and_begins_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.task_news.MOST", 2)
    async with aclosing(place.open("tasks")) as frames:
        await taken(frames, 1)
        for _ in range(5):
            await place.tasks.create(ADA, "waiting")
        lag, snapshot = await taken(frames, 2)

    assert lag["t"] == "lag"
    assert lag["dropped"] >= 3
    assert len(snapshot["data"]) == 5
