"""Tests of tekton.gateway.topics: the table of topics, and topics of which only the newest value counts."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tekton.gateway.connection import Connection
from tekton.gateway.errors import InvalidInputError, MalformedRequestError
from tekton.gateway.router import Route
from tekton.gateway.sockets import SOCKET, Sub, TopicSocket
from tekton.gateway.topics import Conflated, Topic, TopicTable


@dataclass
class Message:
    data: str
    kind: int = 2


class Client:
    """The far end of a socket without a server: it reads one frame after the other, when it is asked to."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._frames: asyncio.Queue[str] = asyncio.Queue(1)

    async def receive(self) -> Message:
        return await self.incoming.get()

    def send_str(self, data: str) -> "asyncio.Task[None]":
        return asyncio.create_task(self._frames.put(data))

    def send_bytes(self, data: bytes) -> "asyncio.Task[None]":
        raise AssertionError(f"frames are text, not {data!r}")

    def send(self, **operation: Any) -> None:
        self.incoming.put_nowait(Message(json.dumps(operation)))

    async def get(self) -> Any:
        return json.loads(await self._frames.get())


@asynccontextmanager
async def connected(topics: TopicTable, asked: list[str] | None = None) -> AsyncIterator[Client]:
    client, closing = Client(), asyncio.Event()

    def permit(route: Route, _: str) -> None:
        if asked is not None:
            asked.append(route.permission)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(TopicSocket(topics)(Connection(client, permit, closing)))
        yield client
        closing.set()
        while (await client.get()).get("op") != "bye":
            pass


async def said(operation: Sub) -> AsyncGenerator[str, None]:
    """A topic that repeats what it was asked."""
    yield json.dumps({"id": operation.id, "t": "said", "query": operation.query})
    await asyncio.Event().wait()


async def broken(operation: Sub) -> AsyncGenerator[str, None]:
    raise MalformedRequestError("it broke")
    yield ""


async def test_each_topic_is_opened_by_its_name_with_its_permission() -> None:
    asked: list[str] = []
    topics = TopicTable({"a": Topic("metrics:read", said), "b": Topic("logs:read", said, queried=True)})

    async with connected(topics, asked) as client:
        client.send(op="sub", id=1, topic="a")
        assert (await client.get())["id"] == 1
        client.send(op="sub", id=2, topic="b", query="level>=warn")
        assert await client.get() == {"id": 2, "t": "said", "query": "level>=warn"}

    assert asked == ["metrics:read", "logs:read"]


async def test_a_topic_that_does_not_exist_is_answered_with_the_nearest_one() -> None:
    asked: list[str] = []
    async with connected(TopicTable({"resources": Topic("metrics:read", said)}), asked) as client:
        client.send(op="sub", id=1, topic="resource")
        error = await client.get()

    assert (error["code"], error["detail"]) == ("invalid", "there is no topic 'resource'")
    assert error["hint"] == "did you mean 'resources'?"
    assert asked == [SOCKET.permission]


def test_a_query_for_a_topic_that_takes_none_is_refused() -> None:
    topics = TopicTable({"a": Topic("metrics:read", said)})

    with pytest.raises(InvalidInputError, match="'a' takes no query"):
        topics.open(Sub(id=1, topic="a", query="x"))


async def test_what_a_topic_raises_ends_its_subscription_and_nothing_else() -> None:
    async with connected(TopicTable({"a": Topic("metrics:read", broken)})) as client:
        client.send(op="sub", id=1, topic="a")
        error = await client.get()
        client.send(op="unsub", id=1)
        gone = await client.get()
        client.send(op="ping")
        pong = await client.get()

    assert (error["id"], error["t"], error["detail"]) == (1, "error", "it broke")
    assert gone["detail"] == "1 is not subscribed"
    assert pong == {"t": "pong"}


class TestConflated:
    async def test_who_comes_gets_the_newest_value_and_then_each_new_one(self) -> None:
        topic = Conflated()
        topic.publish({"n": 1})
        topic.publish({"n": 2})

        async with connected(TopicTable({"a": Topic("metrics:read", topic.open)})) as client:
            client.send(op="sub", id=7, topic="a", since=1)
            first = await client.get()
            topic.publish({"n": 3})
            second = await client.get()

        assert first == {"id": 7, "t": "snap", "seq": 2, "data": {"n": 2}}
        assert second == {"id": 7, "t": "snap", "seq": 3, "data": {"n": 3}}

    async def test_before_the_first_value_nothing_is_sent(self) -> None:
        topic = Conflated()

        async with connected(TopicTable({"a": Topic("metrics:read", topic.open)})) as client:
            client.send(op="sub", id=1, topic="a")
            client.send(op="ping")
            assert await client.get() == {"t": "pong"}
            topic.publish(1)
            assert (await client.get())["seq"] == 1

    async def test_a_slow_client_passes_over_values_and_ends_with_the_newest(self) -> None:
        topic = Conflated()
        got = []

        async with connected(TopicTable({"a": Topic("metrics:read", topic.open)})) as client:
            client.send(op="sub", id=1, topic="a")
            topic.publish(0)
            got.append((await client.get())["data"])
            for value in range(1, 1001):
                topic.publish(value)
                await asyncio.sleep(0)
            while got[-1] != 1000:
                got.append((await client.get())["data"])

        assert got == sorted(got)
        assert len(got) < 6

    async def test_a_value_is_encoded_when_somebody_wants_it_and_once_for_all(self) -> None:
        topic = Conflated()
        topic.publish(object())  # which nobody could encode
        topic.publish([1])
        subscriptions = [topic.open(Sub(id=number, topic="a")) for number in (1, 2)]

        frames = [await anext(one) for one in subscriptions]

        assert frames == [f'{{"id":{number},"t":"snap","seq":2,"data":[1]}}' for number in (1, 2)]
        for one in subscriptions:
            await one.aclose()

    async def test_watchers_are_counted(self) -> None:
        topic = Conflated()
        topic.publish(1)

        async with connected(TopicTable({"a": Topic("metrics:read", topic.open)})) as client:
            client.send(op="sub", id=1, topic="a")
            await client.get()
            assert topic.watchers == 1

        assert topic.watchers == 0
