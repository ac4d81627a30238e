"""Listening, refusing to listen, stopping."""

import asyncio
import errno
import logging
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tekton.gateway.app import EventStream, Gateway, Request, Route
from tekton.gateway.auth import LocalPolicy
from tekton.gateway.server import GatewayServer, _listen_error
from tekton.gateway.sse import event
from tekton.utils.tekton_errors import AddressError, PortInUseError, SupervisionError


async def hello(_: Request) -> dict[str, str]:
    return {"hello": "world"}


HELLO = Route("GET", "/hello", hello, "")


async def test_what_connects_after_start_is_served(serve: Any) -> None:
    for _ in range(10):
        site = await serve([HELLO])

        assert (await site.request("GET", "/hello")).json == {"hello": "world"}
        await site.server.stop()


async def test_a_taken_port_is_refused_with_its_owner(serve: Any) -> None:
    site = await serve([HELLO])

    with pytest.raises(PortInUseError) as caught:
        await GatewayServer(Gateway([HELLO]), "127.0.0.1", site.port).start()

    assert caught.value.port == site.port
    assert caught.value.owner == f"{psutil.Process().name()} (process {os.getpid()})"
    assert (await site.request("GET", "/hello")).status == 200


async def test_a_port_that_was_just_in_use_can_be_taken_at_once(serve: Any) -> None:
    site = await serve([HELLO])
    await site.request("GET", "/hello")
    await site.server.stop()

    again = GatewayServer(Gateway([HELLO]), "127.0.0.1", site.port)
    await again.start()
    await again.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(AddressError, match=host) as caught:
        await GatewayServer(Gateway([HELLO]), host, 0).start()

    assert (caught.value.host, caught.value.port) == (host, 0)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, AddressError), (errno.EADDRNOTAVAIL, AddressError), (errno.EMFILE, None)]
)
def test_only_what_will_not_get_better_is_blamed_on_the_address(number: int, kind: type[Exception] | None) -> None:
    error = _listen_error("127.0.0.1", 80, OSError(number, "no"))

    assert type(error) is (kind or SupervisionError)
    assert "127.0.0.1 port 80" in str(error)


async def test_a_failed_start_leaves_nothing_open(serve: Any) -> None:
    taken = await serve([HELLO])
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        probe.listen()
        port = probe.getsockname()[1]
        with pytest.raises(PortInUseError):
            await GatewayServer(Gateway([HELLO]), ["127.0.0.3", "127.0.0.2"], port).start()

    with socket.socket() as probe:
        probe.bind(("127.0.0.3", port))
    assert (await taken.request("GET", "/hello")).status == 200


async def test_several_addresses_share_a_port() -> None:
    server = GatewayServer(Gateway([HELLO]), ["127.0.0.1", "127.0.0.2"], 0)
    await server.start()
    try:
        for host in ("127.0.0.1", "127.0.0.2"):
            _, writer = await asyncio.open_connection(host, server.port)
            writer.close()
    finally:
        await server.stop()


async def test_the_unix_socket_is_the_owners(serve: Any, tmp_path: Path) -> None:
    async def control(_: Request) -> None:
        pass

    path = tmp_path / "control.sock"
    routes = [Route("POST", "/control", control, "", "system:control")]
    site = await serve(routes, uds=path, policy=LocalPolicy("s3cret"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    wire = await site.connect(uds=path)
    assert (await wire.request("POST", "/control")).status == 204
    assert (await wire.request("POST", "/control", forwarded="for=1")).status == 401
    assert (await site.request("POST", "/control")).status == 401
    assert (await site.request("POST", "/control", authorization="Bearer s3cret")).status == 204
    await site.server.stop()
    assert not path.exists()


async def test_a_unix_socket_that_nobody_listens_on_is_replaced(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    site = await serve([HELLO], uds=path)

    assert (await (await site.connect(uds=path)).request("GET", "/hello")).status == 200


async def test_a_unix_socket_in_use_is_refused_and_the_port_is_given_back(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    await serve([HELLO], uds=path)
    second = GatewayServer(Gateway([HELLO]), "127.0.0.1", 0, uds=path)

    with pytest.raises(SupervisionError, match="another process"):
        await second.start()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", second.port)
    assert path.exists()


async def test_stopping_answers_what_is_in_progress_and_takes_no_more(serve: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> dict[str, bool]:
        begun.set()
        await go_on.wait()
        return {"done": True}

    site = await serve([Route("GET", "/slow", slow, "")])
    wire, idle = await site.connect(), await site.connect()
    await wire.send(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        await begun.wait()
        group.create_task(site.server.stop())
        await site.gateway.streams.closing.wait()
        go_on.set()
        answer = await wire.answer()

    assert answer.json == {"done": True}
    assert site.gateway.draining
    assert await idle.closed()
    with pytest.raises(ConnectionRefusedError):
        await site.connect()


async def test_stopping_is_bounded_whatever_a_handler_does(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.Event()

    async def never(_: Request) -> None:
        begun.set()
        await asyncio.Event().wait()

    site = await serve([Route("GET", "/never", never, "")])
    wire = await site.connect()
    await wire.send(b"GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n")

    async with asyncio.timeout(5):
        await begun.wait()
        await site.server.stop(timeout=0.1)
        await site.server.stop()

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_stream_that_does_not_end_does_not_hold_the_stop(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def stubborn() -> AsyncIterator[bytes]:
        yield event(b"1")
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    async def watch(_: Request) -> EventStream:
        return EventStream(stubborn())

    site = await serve([Route("GET", "/watch", watch, "")])
    wire = await site.connect()
    await wire.send(b"GET /watch HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await wire.reader.readuntil(b"data: 1")

    async with asyncio.timeout(5):
        await site.server.stop(timeout=0.1)

    assert "1 streams did not end" in caplog.text
    release.set()
    await site.no_streams()


async def test_new_streams_are_refused_while_stopping(serve: Any) -> None:
    async def watch(_: Request) -> EventStream:
        await site.gateway.drain()
        return EventStream(aiter_nothing())

    async def aiter_nothing() -> AsyncIterator[bytes]:
        yield b""

    site = await serve([Route("GET", "/watch", watch, "")])

    answer = await site.request("GET", "/watch")

    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")


async def test_signals_and_logging_stay_ours(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    handler = logging.StreamHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    handlers = list(root.handlers)
    try:
        site = await serve([HELLO])

        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
        assert root.handlers == handlers
        assert not logging.getLogger("_granian").handlers
        await site.server.stop()
    finally:
        root.removeHandler(handler)
    assert "experimental" not in caplog.text
    assert "granian" not in caplog.text.lower()


async def test_a_silent_connection_is_closed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.gateway.server.HEADER_TIMEOUT", 0.05)
    site = await serve([HELLO])
    silent, dripping = await site.connect(), await site.connect()
    await dripping.send(b"GET /hello HT")

    assert await silent.closed()
    assert await dripping.closed()
