"""What a component publishes, as those who watch see it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Self

import aiohttp
import msgspec
import pytest

from tekton.component import Component, topics
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import InvalidIdError
from tekton.utils.tekton_http import HttpClient


@pytest.fixture
async def app() -> AsyncIterator[Component]:
    async with Component("engram", port=0, register=False) as app:
        yield app


class Watcher:
    """One event stream. Everything it waits for comes within 5 s."""

    def __init__(self, app: Component, path: str, last: str | None = None) -> None:
        self._client = HttpClient(f"http://127.0.0.1:{app.port}")
        self._events = self._client.stream_events(path, last)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]
        await self._client.close()

    async def get(self) -> ServerSentEvent:
        async with asyncio.timeout(5):
            return await anext(self._events)


async def read(app: Component, path: str, last: int | None, count: int) -> list[tuple[str | None, str]]:
    async with Watcher(app, path, None if last is None else str(last)) as watcher:
        return [(event.event, event.data) for event in [await watcher.get() for _ in range(count)]]


async def test_an_event_goes_to_those_who_watch_its_topic(app: Component) -> None:
    seen: list[str] = []

    async def watch() -> None:
        async with Watcher(app, "/events/memory/updated") as watcher:
            seen.append((await watcher.get()).data)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        while not watching.done():  # a subscription does not tell when it is there
            await app.publish("memory.deleted", 0)
            await app.publish("memory.updated", {"key": "a"})
            await asyncio.sleep(0.01)

    assert seen == ['{"key":"a"}']


async def test_who_comes_back_gets_what_was_published_meanwhile(app: Component) -> None:
    first = await app.publish("memory.updated", 1)
    await app.publish("memory.deleted", 2)
    await app.publish("memory.updated", 3)

    assert await read(app, "/events/memory/updated", first, 1) == [("memory.updated", "3")]


@pytest.mark.parametrize("last", [1, 10**17])
async def test_a_position_that_is_not_known_is_reset(app: Component, last: int) -> None:
    assert await read(app, "/events/memory/updated", last, 1) == [("reset", '{"reason":"position not known"}')]


async def test_only_so_much_is_kept(app: Component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST_EVENTS", 2)
    numbers = [await app.publish("a", number) for number in range(4)]

    assert await read(app, "/events/a", numbers[0], 1) == [("reset", '{"reason":"position not known"}')]
    assert await read(app, "/events/a", numbers[1], 2) == [("a", "2"), ("a", "3")]


async def test_the_socket_has_the_same_events(app: Component) -> None:
    first = await app.publish("memory.updated", 1)
    second = await app.publish("memory.updated", {"key": "b"})

    url = f"http://127.0.0.1:{app.port}/ws?v=1"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:

        async def ask(frame: dict[str, Any]) -> Any:
            await socket.send_str(json.dumps(frame))
            return json.loads(await socket.receive_str(timeout=5))

        known = await ask({"op": "sub", "id": 1, "topic": "memory.updated", "since": first})
        unknown = await ask({"op": "sub", "id": 2, "topic": "memory.updated", "since": 1})
        wrong = await ask({"op": "sub", "id": 3, "topic": "Memory"})
        beat = await ask({"op": "beat", "component_id": "a", "instance_uuid": "b"})

    assert known == {"id": 1, "t": "event", "seq": second, "topic": "memory.updated", "data": {"key": "b"}}
    assert unknown == {"id": 2, "t": "reset", "seq": second}
    assert (wrong["t"], wrong["code"]) == ("error", "invalid")
    assert "control plane" in beat["detail"]


async def test_a_stop_says_goodbye_to_those_who_watch() -> None:
    async with Component("engram", port=0, register=False) as app:
        await app.publish("a", 1)
        async with Watcher(app, "/events/a", "1") as watcher:
            reset = await watcher.get()
            async with asyncio.TaskGroup() as group:
                group.create_task(app.stop())
                last = await watcher.get()

    assert (reset.event, last.event) == ("reset", "bye")


async def test_what_cannot_be_published_is_refused(app: Component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MAX_EVENT", 10)

    with pytest.raises(InvalidIdError):
        await app.publish("Memory", 1)
    with pytest.raises(ValueError, match="10 bytes"):
        await app.publish("memory", "x" * 10)
    with pytest.raises(ValueError, match="parts"):
        await app.publish("a.b.c.d.e.f.g", 1)
    for reserved in ("tekton", "tekton.components"):
        with pytest.raises(ValueError, match="Tekton's own"):
            await app.publish(reserved, 1)
    with pytest.raises(TypeError):
        await app.publish("memory", object())


async def test_a_path_that_is_no_topic_is_refused(app: Component) -> None:
    async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
        answer = await client.send("GET", "/events/Memory")

    assert (answer.status, msgspec.json.decode(answer.body)["pointer"]) == (422, "/topic")


async def test_a_watcher_that_falls_behind_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    from tekton.clock import SYSTEM_CLOCK

    monkeypatch.setattr(topics, "MOST_EVENTS", 2)
    log = topics.Topics(SYSTEM_CLOCK)
    first = await log.publish("a", 0)
    stream = log.stream("a", str(first))
    async with aclosing(stream.source) as source:  # type: ignore[type-var]
        await anext(source)
        for number in range(1, 6):
            await log.publish("a", number)

        assert b"fell behind" in await anext(source)
