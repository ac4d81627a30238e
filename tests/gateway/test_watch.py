"""Watching a registry that is being written to: whoever comes back gets exactly what it missed, or is told to reset.

`TEKTON_WATCH_RECONNECTS` sets how often the watchers of each protocol come back (240; a thousand or more at night).
"""

import asyncio
import os
import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRecord, ComponentRegistration, ComponentState
from tekton.gateway.changes import ChangeSource
from tekton.gateway.component_topic import ComponentSocket
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sse import ChangeEvents, EventStream

RECONNECTS = int(os.environ.get("TEKTON_WATCH_RECONNECTS", "240"))
RETAINED = 150
WATCHERS = 4

Item = tuple[str, int, Any]
"""What a watcher gets: kind, revision (0: none), data."""
Watch = Callable[[int | None], Any]
"""`watch(position)`: an async context manager of an async iterator of items."""


class Site:
    """A registry under writes, and what it really published."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.changes: list[Change] = []
        self.source = ChangeSource(registry.feed, registry.all_instances)
        registry.feed.add_listener(self.changes.append)

    def after(self, position: int) -> list[Change]:
        return self.changes[bisect_right(self.changes, position, key=lambda change: change.revision) :]

    async def write(self, writer: int) -> None:
        """Commands and observations about a few components, for ever."""
        rng = random.Random(writer)
        while True:
            name = f"w{writer}-{rng.randrange(5)}"
            one = ComponentRegistration(component_id=name, metadata={"turn": rng.random()})
            await self.registry.register(one)
            await self.registry.make_ready(name, one.instance_uuid)
            self.registry.observe(name, one.instance_uuid, ComponentState.FAILED, "killed")
            if rng.random() < 0.5:
                await self.registry.deregister(name, one.instance_uuid)
            await asyncio.sleep(rng.random() / 50)


@asynccontextmanager
async def writing(site: Site, writers: int = 3) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(site.write(number)) for number in range(writers)]
        yield
        for task in tasks:
            task.cancel()


async def follow(site: Site, watch: Watch, rng: random.Random, turns: int, resets: list[int]) -> None:
    """Come back *turns* times, at any position that was ever seen, and check what is told against what happened."""
    seen: list[int] = [site.registry.revision]
    for _ in range(turns):
        position = rng.choice(seen[-200:]) if rng.random() < 0.8 else rng.choice(seen)
        # What is retained when the server is asked may be less than now, never more.
        oldest = site.registry.feed.first
        async with watch(position) as items:
            kind, revision, data = await anext(items)
            if kind == "reset":
                assert position < site.registry.feed.first
                resets.append(position)
                kind, revision, data = await anext(items)
                assert kind == "snapshot"
                assert {record.instance_uuid for record in data} == instances_at(site, revision)
                position, kind = revision, ""
            else:
                assert position >= oldest
            missed = site.after(position)
            for number in range(rng.randrange(1, 40)):
                if kind != "change":
                    kind, revision, data = await anext(items)
                if kind == "reset":
                    # So slow that the feed has overtaken it meanwhile.
                    assert (seen[-1] if number else position) < site.registry.feed.first
                    resets.append(position)
                    break
                while len(missed) <= number:
                    missed = site.after(position)
                    await asyncio.sleep(0)
                assert (kind, revision) == ("change", missed[number].revision)
                assert data == missed[number]
                seen.append(revision)
                kind = ""


def instances_at(site: Site, revision: int) -> set[str]:
    """The instances that exist once all changes up to *revision* have been made."""
    alive: set[str] = set()
    for change in site.changes:
        if change.revision > revision:
            break
        if change.kind == "deregistered":
            alive.discard(change.instance_uuid)
        else:
            alive.add(change.instance_uuid)
    return alive


_records = msgspec.json.Decoder(list[ComponentRecord]).decode
_change = msgspec.json.Decoder(Change).decode


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Item]:
    fields: dict[str, str] = {}
    while line := (await response.content.readline()).decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            kind, data = fields["event"], fields["data"]
            decoded = {"snapshot": _records, "change": _change}.get(kind, msgspec.json.decode)(data.encode())
            yield kind, int(fields.get("id", "0")), decoded
            fields = {}
        else:
            fields = {}


async def frames(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Item]:
    names = {"snap": "snapshot", "delta": "change"}
    while True:
        frame = await socket.receive_str()
        head = msgspec.json.decode(frame)
        kind = names.get(head["t"], head["t"])
        if kind == "snapshot":
            yield kind, head["seq"], msgspec.convert(head["data"], list[ComponentRecord])
        elif kind == "change":
            yield kind, head["seq"], msgspec.convert(head["data"], Change)
        elif kind != "lag":  # which comes before a reset, and says no more
            yield kind, 0, None


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with ComponentRegistry() as registry:
        registry.feed._capacity = RETAINED
        yield Site(registry)


@pytest.fixture(params=["sse", "websocket"])
async def watch(request: pytest.FixtureRequest, site: Site, serve: Any) -> AsyncIterator[Watch]:
    changes = ChangeEvents(site.source)

    async def components(call: Request) -> EventStream:
        return changes.stream(call.headers.get("last-event-id"))

    server = await serve(
        [Route("GET", "/events/components", components, "")],
        websocket=ComponentSocket(site.source, lambda *_: pytest.fail("nobody sends heartbeats")),
    )
    async with aiohttp.ClientSession(read_bufsize=2**22) as session:

        @asynccontextmanager
        async def over_sse(position: int | None) -> AsyncIterator[AsyncIterator[Item]]:
            headers = {} if position is None else {"last-event-id": str(position)}
            async with session.get(f"{server.url}/events/components", headers=headers) as response:
                yield events(response)

        @asynccontextmanager
        async def over_websocket(position: int | None) -> AsyncIterator[AsyncIterator[Item]]:
            since = {} if position is None else {"since": position}
            async with session.ws_connect(f"{server.url}/ws", max_msg_size=0) as socket:
                await socket.send_json({"op": "sub", "id": 1, "topic": "components", **since})
                yield frames(socket)

        yield over_sse if request.param == "sse" else over_websocket


async def test_whoever_comes_back_gets_exactly_what_it_missed_or_is_reset(site: Site, watch: Watch) -> None:
    resets: list[int] = []
    async with asyncio.timeout(30 + RECONNECTS / 5), writing(site), asyncio.TaskGroup() as group:
        for number in range(WATCHERS):
            turns = RECONNECTS // WATCHERS
            group.create_task(follow(site, watch, random.Random(number), turns, resets))

    assert len(site.changes) > RETAINED
    assert resets


async def test_positions_of_another_run_are_reset(tmp_path: Path) -> None:
    positions: list[int] = []
    for _ in range(3):
        async with ComponentRegistry(tmp_path) as registry:
            changes = ChangeEvents(ChangeSource(registry.feed, registry.all_instances))
            positions.append(registry.revision)
            for position in positions[:-1]:
                assert await first_events(changes, position) == ["reset", "snapshot"]
            one = ComponentRegistration(component_id=f"c{len(positions)}")
            await registry.register(one)
            await registry.make_ready(one.component_id, one.instance_uuid)
            positions.append(registry.revision)
            assert await first_events(changes, positions[-2]) == ["change"] * 4


async def first_events(changes: ChangeEvents, position: int) -> list[str]:
    source = changes.stream(str(position)).source
    try:
        async with asyncio.timeout(5):
            text = await anext(source)
            if text == b": resumed\n\n":
                text = await anext(source)
    finally:
        await source.aclose()  # type: ignore[attr-defined]
    return [line[7:] for line in text.decode().splitlines() if line.startswith("event: ")]
