"""The WebSocket: subscriptions, heartbeats, refusals, the end."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.gateway import sockets
from tekton.gateway.component_topic import ComponentSocket
from tekton.gateway.connection import Connection
from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.request import Request
from tekton.gateway.router import Route

SUBSCRIBE = {"op": "sub", "id": 1, "topic": "components"}


class Reply(msgspec.Struct):
    known: bool
    next_interval: float


class Beats:
    """Takes heartbeats."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, float], int | None]] = []

    def __call__(
        self, component_id: str, instance_uuid: str, metrics: Mapping[str, float], sequence: int | None
    ) -> Reply:
        self.heard.append((component_id, instance_uuid, dict(metrics), sequence))
        return Reply(component_id == "rhetor", 10.0)


class Socket:
    """A connected client. Everything it waits for comes within 5 s."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, frame: Any) -> None:
        await self.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def get(self) -> Any:
        return json.loads(await self.socket.receive_str(timeout=5))

    async def ask(self, frame: Any) -> Any:
        await self.send(frame)
        return await self.get()

    async def ended(self) -> bool:
        message = await self.socket.receive(timeout=5)
        return message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


Open = Callable[..., Any]


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
async def site(serve: Any, feed: Any, beats: Beats) -> Any:
    return await serve(websocket=ComponentSocket(feed.source, beats))


@pytest.fixture
async def connect(site: Any) -> AsyncIterator[Callable[..., Awaitable[Socket]]]:
    async with aiohttp.ClientSession() as session:

        async def connect(path: str = "/ws?v=1", **options: Any) -> Socket:
            return Socket(await session.ws_connect(f"{site.url}{path}", max_msg_size=0, **options))

        yield connect


async def test_a_subscriber_gets_a_snapshot_and_then_every_change_in_order(connect: Open, feed: Any) -> None:
    feed.publish("a", "b")
    client = await connect()

    snapshot = await client.ask(SUBSCRIBE)
    feed.publish("c", "d")
    feed.publish("e")
    deltas = [await client.get() for _ in range(3)]

    assert (snapshot["id"], snapshot["t"], snapshot["seq"]) == (1, "snap", 12)
    assert [record["component_id"] for record in snapshot["data"]] == ["a", "b"]
    assert [(delta["id"], delta["t"], delta["seq"]) for delta in deltas] == [(1, "delta", n) for n in (13, 14, 15)]
    assert deltas[0]["data"]["record"]["component_id"] == "c"


async def test_a_known_position_is_resumed_without_a_snapshot(connect: Open, feed: Any) -> None:
    feed.publish("a", "b", "c")
    client = await connect()

    await client.send(SUBSCRIBE | {"since": 11})

    assert [(await client.get())["seq"] for _ in range(2)] == [12, 13]


@pytest.mark.parametrize("since", [0, 9, 99, 2**53])
async def test_an_unknown_position_is_reset(connect: Open, feed: Any, since: int) -> None:
    feed.publish("a")
    client = await connect()

    reset = await client.ask(SUBSCRIBE | {"since": since})
    snapshot = await client.get()

    assert (reset["id"], reset["t"], reset["seq"]) == (1, "reset", 11)
    assert (snapshot["t"], snapshot["seq"]) == ("snap", 11)


async def test_nothing_comes_after_unsubscribing(connect: Open, feed: Any) -> None:
    client = await connect()
    await client.ask(SUBSCRIBE)

    await client.send({"op": "unsub", "id": 1})
    assert (await client.ask({"op": "ping"})) == {"t": "pong"}
    feed.publish("a")
    assert (await client.ask({"op": "ping"})) == {"t": "pong"}

    again = await client.ask(SUBSCRIBE)
    assert again["t"] == "snap"


async def test_subscriptions_are_counted_for_as_long_as_they_last(serve: Any, feed: Any, beats: Beats) -> None:
    handler = ComponentSocket(feed.source, beats)
    site = await serve(websocket=handler)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/ws?v=1") as connection:
        socket = Socket(connection)
        assert (await socket.ask(SUBSCRIBE))["t"] == "snap"
        assert handler.subscriptions == {"components": 1}

        await socket.send({"op": "unsub", "id": 1})
        assert await socket.ask({"op": "ping"}) == {"t": "pong"}

        assert handler.subscriptions == {"components": 0}


async def test_a_heartbeat_is_answered_with_the_reply(connect: Open, beats: Beats) -> None:
    client = await connect()

    known = await client.ask(
        {"op": "beat", "component_id": "rhetor", "instance_uuid": "i", "metrics": {"load": 0.5}, "sequence": 7}
    )
    unknown = await client.ask({"op": "beat", "component_id": 'x"y', "instance_uuid": "i"})

    assert known == {"t": "beat", "component_id": "rhetor", "known": True, "next_interval": 10.0}
    assert unknown == {"t": "beat", "component_id": 'x"y', "known": False, "next_interval": 10.0}
    assert beats.heard == [("rhetor", "i", {"load": 0.5}, 7), ('x"y', "i", {}, None)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "malformed"),
        ("{", "malformed"),
        ("[" * 1000, "malformed"),
        ("[]", "invalid"),
        ("{}", "invalid"),
        ({"op": "shout"}, "invalid"),
        ({"op": "sub", "id": -1, "topic": "components"}, "invalid"),
        ({"op": "sub", "id": 1}, "invalid"),
        ({"op": "sub", "id": 1, "topic": "components", "extra": 1}, "invalid"),
        ({"op": "sub", "id": 1, "topic": "weather"}, "invalid"),
        ({"op": "unsub", "id": 7}, "invalid"),
        ({"op": "beat", "component_id": "a"}, "invalid"),
    ],
)
async def test_what_cannot_be_done_is_answered_and_the_socket_goes_on(connect: Open, frame: Any, code: str) -> None:
    client = await connect()

    error = await client.ask(frame)

    assert (error["t"], error["code"]) == ("error", code)
    assert error["detail"]
    assert await client.ask({"op": "ping"}) == {"t": "pong"}


async def test_errors_of_a_subscription_name_it(connect: Open) -> None:
    client = await connect()
    await client.ask(SUBSCRIBE)

    assert (await client.ask(SUBSCRIBE))["id"] == 1


async def test_subscriptions_are_limited(connect: Open) -> None:
    client = await connect()
    for number in range(sockets.MAX_SUBSCRIPTIONS):
        await client.ask(SUBSCRIBE | {"id": number})

    assert (await client.ask(SUBSCRIBE | {"id": 999}))["t"] == "error"


async def test_bytes_are_read_like_text(connect: Open) -> None:
    client = await connect()
    await client.socket.send_bytes(b'{"op":"ping"}')

    assert await client.get() == {"t": "pong"}


async def test_a_message_that_is_too_large_ends_the_socket_with_a_goodbye(connect: Open) -> None:
    client = await connect()

    error = await client.ask(" " * (sockets.MAX_MESSAGE + 1))
    bye = await client.get()

    assert error["code"] == "too_large"
    assert (bye["op"], bye["reason"]) == ("bye", "message too large")
    assert await client.ended()


async def test_stopping_the_server_says_goodbye_on_every_socket(site: Any, connect: Open) -> None:
    clients = [await connect() for _ in range(3)]
    await clients[0].ask(SUBSCRIBE)

    await site.server.stop()

    for client in clients:
        bye = await client.get()
        assert (bye["op"], bye["reason"]) == ("bye", "stopping")
        assert 1 <= bye["retry"] <= 3
        assert await client.ended()


async def test_a_client_that_leaves_is_forgotten(site: Any, connect: Open) -> None:
    client = await connect()
    await client.ask(SUBSCRIBE)
    assert len(site.gateway.streams) == 1

    await client.socket.close()

    await site.no_streams()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ws?v=2", {}, 422),
        ("/ws?v=x", {}, 422),
        ("/ws?version=1", {}, 422),
        ("/other", {}, 404),
        ("/ws/", {}, 404),
        ("/ws", {"host": "evil.example"}, 421),
        ("/ws", {"origin": "http://evil.example"}, 403),
        ("/ws", {"origin": "null"}, 403),
    ],
)
async def test_a_socket_is_refused_before_the_upgrade(
    connect: Open, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(path, headers=headers)

    assert caught.value.status == status


async def test_a_page_of_ours_and_a_client_without_version_are_welcome(site: Any, connect: Open) -> None:
    client = await connect("/ws", headers={"origin": site.url})

    assert await client.ask({"op": "ping"}) == {"t": "pong"}


async def test_an_ordinary_request_is_told_to_upgrade(site: Any) -> None:
    answer = await site.request("GET", "/ws")

    assert (answer.status, answer.json["code"]) == (426, "upgrade_required")


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"sec-websocket-protocol: \xe4", 101),
        (b"sec-websocket-protocol: v1, \xff\xfe", 101),
        (b"cookie: a=\xc3\xa4", 101),
        (b"origin: http://\xff", 403),
        (b"authorization: \xff", 101),
    ],
)
async def test_headers_that_are_not_ascii_do_no_harm(site: Any, header: bytes, status: int) -> None:
    assert (await site.raw(UPGRADE + header + b"\r\n\r\n")).status == status


async def test_a_stranger_gets_no_socket(serve: Any, feed: Any, beats: Beats, keyed_policy: Any) -> None:
    site = await serve(websocket=ComponentSocket(feed.source, beats), policy=keyed_policy())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{site.url}/ws", headers={"authorization": "Bearer wrong"})
        assert caught.value.status == 401
        async with session.ws_connect(f"{site.url}/ws", headers={"authorization": "Bearer s3cret"}) as socket:
            await socket.send_str('{"op":"ping"}')
            assert await socket.receive_str(timeout=5) == '{"t":"pong"}'


async def test_too_many_sockets_are_refused(serve: Any, feed: Any, beats: Beats) -> None:
    site = await serve(websocket=ComponentSocket(feed.source, beats), max_streams=1)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/ws"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{site.url}/ws")
    assert caught.value.status == 503


@dataclass
class Message:
    kind: int
    data: bytes | str = ""


class Transport:
    """A socket whose client reads only when `reading` is set."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()

    async def receive(self) -> Message:
        return await self.incoming.get()

    def send_str(self, data: str) -> "asyncio.Task[None]":
        return asyncio.create_task(self._send(data))

    async def _send(self, data: str) -> None:
        await self.reading.wait()
        self.sent.put_nowait(data)

    async def get(self) -> Any:
        return json.loads(await self.sent.get())


def permit(route: Route, component_id: str) -> None:
    """Everything."""


@asynccontextmanager
async def session(
    feed: Any, may: Callable[[Route, str], None] = permit
) -> AsyncIterator[tuple[Transport, asyncio.Event]]:
    """A session on a transport without a server; it must end by itself."""
    transport, closing = Transport(), asyncio.Event()
    handler = ComponentSocket(feed.source, Beats())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(handler(Connection(transport, may, closing)))
        yield transport, closing


async def test_a_subscriber_that_falls_behind_is_told_and_starts_again(small_feed: Any) -> None:
    async with session(small_feed) as (transport, closing):
        transport.incoming.put_nowait(Message(2, json.dumps(SUBSCRIBE)))
        await transport.get()
        transport.reading.clear()
        small_feed.publish("first")
        await asyncio.sleep(0)
        small_feed.publish(*(f"c{number}" for number in range(20)))
        transport.reading.set()

        frames: list[Any] = []
        while not frames or frames[-1]["t"] != "snap":
            frames.append(await transport.get())
        small_feed.publish("last")
        frames.append(await transport.get())
        closing.set()

    assert [frame["t"] for frame in frames][-4:] == ["lag", "reset", "snap", "delta"]
    assert len(frames[-2]["data"]) == 21
    assert frames[-1]["seq"] == small_feed.feed.revision


async def test_a_client_that_reads_nothing_is_cut(feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "STALL_TIMEOUT", 0.01)

    async with session(feed) as (transport, _):
        transport.reading.clear()
        transport.incoming.put_nowait(Message(2, json.dumps(SUBSCRIBE)))


async def test_a_client_that_reads_nothing_is_cut_while_it_is_pinged(
    feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "STALL_TIMEOUT", 0.1)
    monkeypatch.setattr(sockets, "PING_INTERVAL", 0.05)

    async with session(feed) as (transport, _):
        transport.reading.clear()
        transport.incoming.put_nowait(Message(2, json.dumps(SUBSCRIBE)))


async def test_a_topic_that_has_ended_leaves_its_place_to_others() -> None:
    class Brief:
        def permission(self, topic: str) -> str:
            del topic
            return "components:read"

        async def open(self, *_: Any) -> AsyncGenerator[str, None]:
            yield '{"t":"end"}'

    transport, closing = Transport(), asyncio.Event()
    handler = sockets.TopicSocket(Brief())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(handler(Connection(transport, permit, closing)))
        for number in [*range(sockets.MAX_SUBSCRIPTIONS + 1), 0]:
            transport.incoming.put_nowait(Message(2, json.dumps({"op": "sub", "id": number, "topic": "brief"})))
            assert await transport.get() == {"t": "end"}
            transport.incoming.put_nowait(Message(2, '{"op":"ping"}'))
            assert await transport.get() == {"t": "pong"}
        closing.set()


async def test_a_quiet_socket_is_pinged(feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PING_INTERVAL", 0.01)

    async with session(feed) as (transport, closing):
        assert [await transport.get() for _ in range(2)] == [{"t": "ping"}] * 2
        transport.incoming.put_nowait(Message(2, '{"op":"pong"}'))
        assert await transport.get() == {"t": "ping"}
        closing.set()


async def test_a_heartbeat_needs_its_permission(feed: Any) -> None:
    def may_only_read(route: Route, component_id: str) -> None:
        if route.permission != "components:read":
            raise CredentialRequiredError(route.permission)

    async with session(feed, may_only_read) as (transport, closing):
        transport.incoming.put_nowait(Message(2, '{"op":"beat","component_id":"rhetor","instance_uuid":"i"}'))
        answer = await transport.get()
        closing.set()

    assert (answer["t"], answer["code"]) == ("error", "unauthenticated")


async def test_a_topic_needs_its_permission(feed: Any) -> None:
    asked: list[str] = []

    def may_nothing(route: Route, component_id: str) -> None:
        asked.append(route.permission)
        raise CredentialRequiredError("no")

    async with session(feed, may_nothing) as (transport, closing):
        transport.incoming.put_nowait(Message(2, json.dumps(SUBSCRIBE)))
        answer = await transport.get()
        closing.set()

    assert (answer["t"], answer["id"], answer["code"]) == ("error", 1, "unauthenticated")
    assert asked == ["components:read"]


async def test_a_failure_of_a_handler_is_logged_and_ends_its_socket_only(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(connection: Connection) -> None:
        raise ZeroDivisionError("here")

    site = await serve(websocket=broken)
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{site.url}/ws") as socket:
            message = await socket.receive(timeout=5)
            assert message.type is not aiohttp.WSMsgType.TEXT
        async with session.ws_connect(f"{site.url}/ws"):
            pass

    assert "ZeroDivisionError: here" in caplog.text


def test_a_request_for_a_socket_cannot_wait_for_the_client(make_request: Callable[..., Request]) -> None:
    with pytest.raises(RuntimeError):
        asyncio.run(make_request().disconnected())


async def test_heartbeats_for_a_guarded_component_need_a_credential(
    serve: Any, feed: Any, beats: Beats, keyed_policy: Any
) -> None:
    policy = keyed_policy(guarded=lambda component_id: component_id == "rhetor")
    site = await serve(websocket=ComponentSocket(feed.source, beats), policy=policy)
    guarded = '{"op":"beat","component_id":"rhetor","instance_uuid":"i"}'

    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{site.url}/ws") as anonymous:
            await anonymous.send_str(guarded)
            assert json.loads(await anonymous.receive_str(timeout=5))["code"] == "unauthenticated"
            await anonymous.send_str(guarded.replace("rhetor", "hermes"))
            assert json.loads(await anonymous.receive_str(timeout=5))["t"] == "beat"
        async with session.ws_connect(f"{site.url}/ws", headers={"authorization": "Bearer s3cret"}) as owner:
            await owner.send_str(guarded)
            assert json.loads(await owner.receive_str(timeout=5))["t"] == "beat"

    assert [component_id for component_id, *_ in beats.heard] == ["hermes", "rhetor"]
