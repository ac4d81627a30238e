"""Watching components over a real WebSocket."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.testing.cut_connections import CuttingProxy
from tekton.utils import tekton_websocket
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_config import FallbackSpec
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_websocket import CallSettings, Event, Lost, Resumed, Snapshot, WebSocketClient


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekton_websocket, "BACKOFF", (0.01, 0.02))


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


async def register(plane: InMemoryControlPlane, component_id: str) -> ComponentRegistration:
    registration = ComponentRegistration(component_id=component_id)
    await plane.registry.register(registration)
    return registration


async def following(events: AsyncGenerator[Snapshot | Change, None]) -> Snapshot | Change:
    async with asyncio.timeout(5):
        return await anext(events)


async def test_a_snapshot_comes_first_and_then_each_change(plane: InMemoryControlPlane) -> None:
    await register(plane, "hermes")

    async with WebSocketClient(plane.address) as client, aclosing(client.watch()) as events:
        snapshot = await following(events)
        engram = await register(plane, "engram")
        await plane.registry.set_state("engram", engram.instance_uuid, ComponentState.INITIALIZING)
        changes = [await following(events), await following(events)]

    assert isinstance(snapshot, Snapshot)
    assert [record.component_id for record in snapshot.records] == ["hermes"]
    assert [(change.record.component_id, change.record.state) for change in changes if isinstance(change, Change)] == [
        ("engram", ComponentState.REGISTERING),
        ("engram", ComponentState.INITIALIZING),
    ]


async def test_a_known_position_needs_no_snapshot(plane: InMemoryControlPlane) -> None:
    await register(plane, "hermes")
    seen = plane.registry.revision
    await register(plane, "engram")

    async with WebSocketClient(plane.address) as client, aclosing(client.watch(since=seen)) as events:
        event = await following(events)

    assert isinstance(event, Change)
    assert event.component_id == "engram"


async def test_a_lost_connection_is_resumed_without_loss_or_repetition(plane: InMemoryControlPlane) -> None:
    async with WebSocketClient(plane.address) as client, aclosing(client.watch()) as events:
        await following(events)
        await register(plane, "hermes")
        first = await following(events)

        assert client._socket._session is not None
        assert client._socket._session.connector is not None
        for transports in client._socket._session.connector._acquired:  # type: ignore[attr-defined]
            transports.transport.abort()
        await register(plane, "engram")
        second = await following(events)

    assert isinstance(first, Change)
    assert isinstance(second, Change)
    assert (first.component_id, second.component_id) == ("hermes", "engram")


async def test_after_a_restart_that_forgot_everything_there_is_a_new_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WebSocketClient, "_delay", lambda *_: 0.01)
    received, port = asyncio.Queue[Snapshot | Change](), free_port()

    async def follow(plane: ControlPlane) -> None:
        async with WebSocketClient(plane) as client, aclosing(client.watch()) as events:
            async for event in events:
                received.put_nowait(event)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        async with InMemoryControlPlane(port=port) as first:
            follower = group.create_task(follow(first.address))
            await received.get()
            for component_id in ("hermes", "engram", "rhetor"):
                await register(first, component_id)
                await received.get()
        async with InMemoryControlPlane(port=port):
            event = await received.get()
            follower.cancel()

    assert isinstance(event, Snapshot)
    assert event.records == []


async def test_one_that_is_not_open_says_so() -> None:
    with pytest.raises(TransportError, match="not open"):
        await following(WebSocketClient(ControlPlane("http://127.0.0.1:1")).watch())


class TestCut:
    """With a proxy between client and server that breaks connections."""

    @pytest.fixture
    async def proxy(self, plane: InMemoryControlPlane) -> AsyncIterator[CuttingProxy]:
        async with CuttingProxy("127.0.0.1", int(plane.address.url.rpartition(":")[2])) as proxy:
            yield proxy

    @pytest.fixture
    async def client(self, proxy: CuttingProxy) -> AsyncIterator[WebSocketClient]:
        async with WebSocketClient(ControlPlane(f"http://127.0.0.1:{proxy.port}")) as client:
            yield client

    async def test_nothing_is_missed_or_repeated_however_often_it_is_cut(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, client: WebSocketClient
    ) -> None:
        seen: list[int] = []
        watching = asyncio.Event()

        async def watch() -> None:
            async with aclosing(client.watch()) as events:
                async for event in events:
                    watching.set()
                    if isinstance(event, Change):
                        seen.append(event.revision)
                        if event.component_id == "last":
                            return

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            follower = group.create_task(watch())
            await watching.wait()
            chance = random.Random(1)
            for number in range(60):
                if chance.random() < 0.3:
                    proxy.cut()
                    await asyncio.sleep(chance.choice((0, 0.001, 0.03)))
                await register(plane, f"component-{number}")
            await register(plane, "last")
            await follower

        assert seen == sorted(set(seen))
        assert len(seen) == 61
        assert proxy.connections > 3

    async def test_what_becomes_of_the_connection_is_told(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, client: WebSocketClient
    ) -> None:
        async with aclosing(client.follow()) as events:
            first = await following_all(events)
            proxy.refuse()
            proxy.cut()
            lost = [await following_all(events) for _ in range(3)]
            proxy.allow()
            while isinstance(again := await following_all(events), Lost):
                pass
            await register(plane, "hermes")
            change = await following_all(events)

        assert isinstance(first, Snapshot)
        assert [type(each) for each in lost] == [Lost] * 3
        assert isinstance(again, Resumed)
        assert isinstance(change, Change)

    async def test_a_connection_that_only_seems_to_be_there_is_given_up(
        self, proxy: CuttingProxy, client: WebSocketClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tekton_websocket, "SILENCE", 0.05)

        async with aclosing(client.follow()) as events:
            await following_all(events)
            proxy.stall()
            silent = await following_all(events)

        assert isinstance(silent, Lost)
        assert "silent" in silent.reason

    async def test_one_that_reads_slowly_makes_the_server_wait_and_misses_nothing(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, client: WebSocketClient
    ) -> None:
        big = {"text": "x" * 60_000}
        async with aclosing(client.watch()) as events:
            await following(events)
            for number in range(200):
                await plane.registry.register(ComponentRegistration(component_id=f"c{number}", metadata=big))
            passed = -1
            while passed != proxy.passed:  # until no more comes through
                passed = proxy.passed
                await asyncio.sleep(0.2)
            seen = [await following(events) for _ in range(200)]

        assert passed < 200 * 60_000
        assert [event.component_id for event in seen if isinstance(event, Change)] == [f"c{n}" for n in range(200)]


async def following_all(events: AsyncGenerator[Event, None]) -> Event:
    """The next event that is about the components or the connection."""
    async with asyncio.timeout(5):
        while isinstance(event := await anext(events), CallSettings):
            pass
        return event


async def test_what_callers_go_by_is_told_at_the_beginning_and_when_it_changes(plane: InMemoryControlPlane) -> None:
    async with WebSocketClient(plane.address) as client, aclosing(client.follow()) as events, asyncio.timeout(5):
        values = []
        for fallback in ("local", "cloud"):
            plane.degradation.adopt({"chat": [FallbackSpec(component=fallback)]})
            while not isinstance(event := await anext(events), CallSettings):
                pass
            values.append([one["component"] for one in event.value["fallbacks"]["chat"]])

    assert values == [["local"], ["cloud"]]


async def test_a_server_that_does_not_tell_what_callers_go_by_is_followed_all_the_same(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tekton_websocket, "_CALL_SETTINGS_TOPIC", "what-it-does-not-know")
    async with WebSocketClient(plane.address) as client, aclosing(client.follow()) as events, asyncio.timeout(5):
        both = [await anext(events), await anext(events)]

    assert {type(event) for event in both} == {CallSettings, Snapshot}
    assert CallSettings(None) in both
