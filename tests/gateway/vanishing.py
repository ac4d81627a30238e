"""A gateway in a network of its own, with a socket and an event stream; then the network is gone.

Neither end hears of it: nothing that is sent arrives, and nothing says so. Exit 77 where there can be no such network.
The time that a client is given is shortened, unless the word `real` is the argument.
"""

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import sys
from typing import Any

import aiohttp

from tekton.gateway import server, sockets
from tekton.gateway.app import Gateway
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import TopicSocket
from tekton.gateway.sse import EventStream
from tekton.gateway.topics import TopicTable

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def own_network() -> None:
    """Have a network that is nobody else's, with a loopback interface that is down. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def loopback(flags: int) -> None:
    """Set the interface up or down."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


def allow(_: Request, route: Route) -> None:
    """Everybody may."""
    del route


async def silent(_: Request) -> EventStream:
    """An event stream without events."""

    async def source() -> Any:
        yield b": listening\n\n"
        await asyncio.Event().wait()

    return EventStream(source(), ping=sockets.PING_INTERVAL)


async def main(*, real: bool) -> None:
    """Say how many streams and sockets are open while the clients are there, and after they have vanished."""
    if not real:
        sockets.PING_INTERVAL, server.UNREAD_TIMEOUT = 0.2, 0.5  # type: ignore[misc]
    gateway = Gateway([Route("GET", "/silent", silent, "")], policy=allow, websocket=TopicSocket(TopicTable({})))
    port = GatewayServer(gateway, "127.0.0.1", 0)
    await port.start()
    url = f"http://127.0.0.1:{port.port}"
    async with aiohttp.ClientSession() as session:
        # Held on to: what nobody has any more is closed.
        clients = await session.ws_connect(f"{url}/ws"), await session.get(f"{url}/silent")
        await clients[1].content.readuntil(b": listening")
        print(len(gateway.streams), "open", flush=True)
        loopback(0)
        async with asyncio.timeout(40):
            while len(gateway.streams):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.05)
        print(len(gateway.streams), "open", flush=True)
        os._exit(0)


if __name__ == "__main__":
    try:
        own_network()
        loopback(IFF_UP)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    asyncio.run(main(real=sys.argv[1:] == ["real"]))
