"""The proxy that breaks connections does so, and only when it is told to."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tekton.testing.cut_connections import CuttingProxy


@pytest.fixture
async def proxy() -> AsyncIterator[CuttingProxy]:
    """In front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with CuttingProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        """What comes back; nothing when the connection is gone."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(5):
                return await self._reader.read(100)
        except OSError:
            return b""


async def connect(proxy: CuttingProxy) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_it_passes_on_and_counts(proxy: CuttingProxy) -> None:
    client = await connect(proxy)

    assert await client.ask(b"hello") == b"hello"
    assert (proxy.connections, proxy.passed) == (1, 5)
    client.writer.close()


async def test_what_is_open_breaks_off_and_new_ones_come_through(proxy: CuttingProxy) -> None:
    first = await connect(proxy)
    await first.ask(b"a")
    proxy.cut()

    assert await first.ask(b"b") == b""
    second = await connect(proxy)
    assert await second.ask(b"c") == b"c"
    first.writer.close()
    second.writer.close()


async def test_new_ones_are_refused_until_they_are_allowed(proxy: CuttingProxy) -> None:
    proxy.refuse()
    refused = await connect(proxy)
    assert await refused.ask(b"a") == b""

    proxy.allow()
    allowed = await connect(proxy)
    assert await allowed.ask(b"b") == b"b"
    refused.writer.close()
    allowed.writer.close()


async def test_a_stall_keeps_what_comes_for_later(proxy: CuttingProxy) -> None:
    client = await connect(proxy)
    proxy.stall()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(client.ask(b"a"))
        await asyncio.sleep(0.05)
        waiting = not asking.done()
        proxy.allow()

    assert (waiting, asking.result()) == (True, b"a")
    client.writer.close()


async def test_a_server_that_is_away_refuses() -> None:
    async with CuttingProxy("127.0.0.1", 1) as proxy:
        client = await connect(proxy)
        assert await client.ask(b"a") == b""
        client.writer.close()
