"""Watching components over a real WebSocket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import tekton_websocket
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_websocket import Snapshot, WebSocketClient


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

        assert client._session is not None
        assert client._session.connector is not None
        for transports in client._session.connector._acquired:  # type: ignore[attr-defined]
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
    received = asyncio.Queue[Snapshot | Change]()

    async def follow(plane: ControlPlane) -> None:
        async with WebSocketClient(plane) as client, aclosing(client.watch()) as events:
            async for event in events:
                received.put_nowait(event)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        async with InMemoryControlPlane() as first:
            follower = group.create_task(follow(first.address))
            await received.get()
            for component_id in ("hermes", "engram", "rhetor"):
                await register(first, component_id)
                await received.get()
            port = int(first.address.url.rpartition(":")[2])
        async with InMemoryControlPlane(port=port):
            event = await received.get()
            follower.cancel()

    assert isinstance(event, Snapshot)
    assert event.records == []


async def test_one_that_is_not_open_says_so() -> None:
    with pytest.raises(TransportError, match="not open"):
        await following(WebSocketClient(ControlPlane("http://127.0.0.1:1")).watch())
