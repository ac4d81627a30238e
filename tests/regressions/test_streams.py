"""Streams whose client has left.

Over ASGI, Granian's `send` says nothing when the client of a stream has gone: 25 more sends "succeeded", and a handler
that never waits then spins the event loop for ever. Here the client really leaves, in the middle of a stream that never
waits for anything.
"""

import asyncio
from collections.abc import AsyncIterator

from tekton.gateway.app import EventStream, Gateway, Request, Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sse import event


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield event(b"1")


async def stream(_: Request) -> EventStream:
    return EventStream(endless())


async def answer(_: Request) -> bytes:
    return b"{}"


async def ask(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return reader, writer


async def test_a_stream_that_never_waits_ends_with_its_client_and_others_are_served() -> None:
    gateway = Gateway([Route("GET", "/stream", stream, ""), Route("GET", "/answer", answer, "")])
    server = GatewayServer(gateway, "127.0.0.1", 0)
    await server.start()
    try:
        async with asyncio.timeout(20):
            reader, watcher = await ask(server.port, "/stream")
            await reader.readuntil(b"data: 1")
            assert len(gateway.streams) == 1

            others, other = await ask(server.port, "/answer")
            assert (await others.readline()).startswith(b"HTTP/1.1 200")
            other.close()

            watcher.transport.abort()
            await gateway.streams._none_left.wait()
            assert len(gateway.streams) == 0
    finally:
        await server.stop()
