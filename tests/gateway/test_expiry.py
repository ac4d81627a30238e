"""What was opened with a credential ends when that does, and what a client has left that says nothing any more."""

import asyncio
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.clock import SYSTEM_CLOCK
from tekton.gateway import server, sockets, sse
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError
from tekton.gateway.component_topic import ComponentSocket
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream
from tekton.gateway.streams import next_look

VANISHING = Path(__file__).with_name("vanishing.py")
REAL = ["real"] if "TEKTON_REAL_TIMEOUTS" in os.environ else []
"""The argument that has the times not shortened."""
GRANTS = RoleTable().grants(["monitor"])


async def silent(_: Request) -> EventStream:
    async def source() -> Any:
        yield b": listening\n\n"
        await asyncio.Event().wait()

    return EventStream(source())


@pytest.fixture
async def site(serve: Any, feed: Any) -> Any:
    """What is shown is valid once, for a moment."""
    shown: list[str] = []

    def identify(credential: str) -> Principal:
        shown.append(credential)
        if len(shown) > 1:
            raise InvalidCredentialError("expired")
        end = SYSTEM_CLOCK.time() + 0.3
        return Principal(subject="mona", roles=(), via="token", grants=GRANTS, expires_at=end)

    route = Route("GET", "/silent", silent, "", "components:read", response=EventStream)
    socket = ComponentSocket(feed.source, lambda *_: pytest.fail("a heartbeat"))
    return await serve([route], websocket=socket, policy=AccessPolicy(identify))


async def test_a_socket_ends_at_the_moment_in_which_its_token_does(site: Any) -> None:
    headers = {"authorization": "Bearer brief"}
    url = f"http://127.0.0.1:{site.server.port}/ws"
    async with (
        asyncio.timeout(5),
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(url) as socket,
    ):
        frames = [json.loads(await socket.receive_str())]
        end = await socket.receive()

    # Long before it would have been pinged.
    assert [(frame["op"], frame["reason"]) for frame in frames] == [("bye", "unauthenticated")]
    assert end.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert len(site.gateway.streams) == 0


async def test_an_event_stream_ends_at_the_moment_in_which_its_token_does(site: Any) -> None:
    headers = {"authorization": "Bearer brief"}
    url = f"http://127.0.0.1:{site.server.port}/silent"
    async with asyncio.timeout(5), aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        told = (await answer.read()).decode()

    assert ": ping" not in told
    assert '"reason":"unauthenticated"' in told


@pytest.mark.parametrize(("left", "expected"), [(math.inf, 10.0), (3.0, 3.0), (10.5, 10.0), (0.0, 1.0), (-1.0, 1.0)])
def test_when_to_look_again(left: float, expected: float) -> None:
    assert next_look(10.0, left) == expected


@pytest.mark.parametrize("ping", [sockets.PING_INTERVAL, sse.PING_INTERVAL])
def test_who_has_vanished_is_given_up_within_half_a_minute(ping: float) -> None:
    assert ping + server.UNREAD_TIMEOUT <= 30.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives such connections up")
async def test_what_a_client_has_left_that_has_vanished_without_a_word_is_freed() -> None:
    command = [sys.executable, str(VANISHING), *REAL]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=50, check=False)

    if done.returncode == 77:
        pytest.skip(f"no network of its own: {done.stderr.strip()}")
    assert done.stdout == "2 open\n0 open\n", done.stderr
