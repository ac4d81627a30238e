"""A WebSocket as its handler sees it: what is sent without waiting, and clients that do not read."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tekton.gateway.connection import MAX_BEGUN, Connection

COUNT = 3000


class Transport:
    """A socket that sends nothing before the test says so."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.sending: list[asyncio.Future[None]] = []

    async def receive(self) -> Any:
        raise AssertionError("nothing is received")

    def send_str(self, data: str) -> "asyncio.Future[None]":
        self.sent.append(data)
        self.sending.append(asyncio.get_running_loop().create_future())
        return self.sending[-1]

    def send_bytes(self, data: bytes) -> "asyncio.Future[None]":
        return self.send_str(data.decode())


def connection(transport: Transport) -> Connection:
    return Connection(transport, lambda *_: None, asyncio.Event())


async def test_what_is_sent_without_waiting_arrives_in_order(serve: Any) -> None:
    async def count(connection: Connection) -> None:
        number = 0
        while number < COUNT:
            size = number % 7 + 1
            frames = [str(one) if one % 3 else str(one).encode() for one in range(number, number + size)]
            assert await (connection.pass_on if number % 5 else connection.send_all)(frames, 5.0)
            number += size
        await connection.send("the end", 5.0)

    site = await serve(websocket=count)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/ws") as socket:
        got: list[int] = []
        while (message := await socket.receive(timeout=5)).data != "the end":
            got.append(int(message.data))

    assert got == list(range(len(got)))
    assert len(got) >= COUNT


async def test_only_so_much_is_begun_without_waiting() -> None:
    transport = Transport()
    peer = connection(transport)

    for _ in range(MAX_BEGUN - 1):
        assert await peer.pass_on(["x"], 5.0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(peer.pass_on(["x"], 5.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        transport.sending[-1].set_result(None)

    assert waiting.result() is True
    peer.release()


@pytest.mark.parametrize("size", [70_000])
async def test_what_is_large_is_waited_for_at_once(size: int) -> None:
    transport = Transport()
    peer = connection(transport)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(peer.pass_on(["x" * size], 5.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        transport.sending[-1].set_result(None)

    assert waiting.result() is True
    peer.release()


async def test_nothing_more_is_sent_to_who_did_not_read_in_time() -> None:
    transport = Transport()
    peer = connection(transport)

    async with asyncio.timeout(5):
        sent = await peer.send("x", 0.01)

    assert sent is False
    assert transport.sending[0].cancelled()
    assert await peer.send("x", 5.0) is False


async def test_all_that_is_on_its_way_is_given_up_with_the_first_that_is_not_read_in_time() -> None:
    transport = Transport()
    peer = connection(transport)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        patient = group.create_task(peer.send("x", 1000.0))
        sent = [group.create_task(peer.send("y", 0.01)) for _ in range(3)]

    assert not patient.result()
    assert not any(one.result() for one in sent)
    assert all(one.cancelled() for one in transport.sending)


async def test_a_sender_that_is_cancelled_is_cancelled() -> None:
    peer = connection(Transport())

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(peer.send("x", 5.0))
        await asyncio.sleep(0)
        sending.cancel()

    assert sending.cancelled()
    peer.release()


async def test_a_client_that_has_left_is_found_out() -> None:
    transport = Transport()
    peer = connection(transport)

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(peer.send("x", 5.0))
        await asyncio.sleep(0)
        transport.sending[0].set_exception(RuntimeError("the transport is closed"))

    assert sending.result() is False
    assert await peer.pass_on(["x"], 5.0) is False
