"""Listening, refusing to listen, stopping."""

import asyncio
import datetime
import errno
import logging
import os
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tekton.gateway.app import EventStream, Gateway, Request, Route
from tekton.gateway.server import GatewayServer, _listen_error
from tekton.gateway.sse import event
from tekton.gateway.tls import Tls, TlsFile, read_tls
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


async def test_a_port_that_was_just_in_use_can_be_taken_at_once(free_port: int) -> None:
    for _ in range(2):
        server = GatewayServer(Gateway([HELLO], policy=lambda *_: None), "127.0.0.1", free_port)
        await server.start()
        assert (await ask(free_port, None)).endswith(b'{"hello":"world"}')
        await server.stop()


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


async def test_the_unix_socket_is_the_owners(serve: Any, keyed_policy: Any, tmp_path: Path) -> None:
    async def control(_: Request) -> None:
        pass

    path = tmp_path / "control.sock"
    routes = [Route("POST", "/control", control, "", "system:control")]
    site = await serve(routes, uds=path, policy=keyed_policy())

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


async def test_a_stop_that_is_cancelled_closes_the_listeners(serve: Any, tmp_path: Path) -> None:
    release = asyncio.Event()

    async def stubborn() -> AsyncIterator[bytes]:
        yield event(b"1")
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    async def watch(_: Request) -> EventStream:
        return EventStream(stubborn())

    site = await serve([Route("GET", "/watch", watch, "")], uds=tmp_path / "socket")
    wire = await site.connect()
    await wire.send(b"GET /watch HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await wire.reader.readuntil(b"data: 1")

    stop = asyncio.ensure_future(site.server.stop(timeout=60))
    async with asyncio.timeout(5):
        await site.gateway.streams.closing.wait()
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop

    with pytest.raises(ConnectionRefusedError):
        await site.connect()
    assert not (tmp_path / "socket").exists()
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


async def test_a_head_that_drips_is_cut_when_its_time_is_over(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of the whole head: a byte now and then does not prolong it."""
    monkeypatch.setattr("tekton.gateway.server.HEADER_TIMEOUT", 0.3)
    site = await serve([HELLO])
    wire = await site.connect()
    await wire.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nx: ")

    async def drip() -> None:
        while True:
            await wire.send(b"y")
            await asyncio.sleep(0.02)

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(5):
            await drip()


async def test_bodies_that_stop_in_the_middle_are_all_given_up(serve: Any) -> None:
    async def echo(request: Request) -> Any:
        return request.body

    site = await serve([HELLO, Route("POST", "/echo", echo, "", body=dict)], body_timeout=0.2)
    wires = [await site.connect() for _ in range(200)]
    head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
    for wire in wires:
        await wire.send(head + b'{"a')

    for wire in wires:
        assert (await wire.answer()).status == 408
        assert await wire.closed()
    assert (await site.request("GET", "/hello")).status == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux gives such connections up")
async def test_a_connection_whose_client_reads_nothing_is_given_up(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    were_open: list[bool] = []

    async def much(_: Request) -> str:
        were_open.append(is_open())
        return "x" * 32 * 1024 * 1024

    monkeypatch.setattr("tekton.gateway.server.UNREAD_TIMEOUT", 0.2)
    site = await serve([Route("GET", "/much", much, "")])
    client = socket.create_connection(("127.0.0.1", site.server.port))
    port = client.getsockname()[1]

    def is_open() -> bool:
        connections = psutil.Process().net_connections("tcp")
        return any(one.raddr and one.raddr.port == port and one.laddr.port == site.server.port for one in connections)

    with client:
        client.sendall(b"GET /much HTTP/1.1\r\nhost: localhost\r\n\r\n")
        async with asyncio.timeout(20):
            while not were_open or is_open():  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.02)

    assert were_open == [True]


async def test_an_idle_connection_is_not_kept_for_ever(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.gateway.server.HEADER_TIMEOUT", 0.2)
    site = await serve([HELLO])

    async def answered() -> Any:
        """A connection on which a request came before its time was over."""
        while True:
            wire = await site.connect()
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                assert (await wire.request("GET", "/hello")).status == 200
                return wire

    async with asyncio.timeout(20):
        wire = await answered()
    assert await wire.closed()


# TLS


def tls_of(files: Any, client_ca: Path | None = None) -> Tls:
    cert, key = (TlsFile(path, "tls", "here") for path in files)
    authority = None if client_ca is None else TlsFile(client_ca, "tls", "here")
    return read_tls(cert, key, authority, datetime.datetime.now(datetime.UTC).timestamp())


def trusting(*files: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for one in files:
        context.load_verify_locations(one.cert)
    return context


async def ask(port: int, context: ssl.SSLContext | None, path: str = "/hello") -> bytes:
    """The whole answer, over a connection that the client then closes."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


async def shown(port: int, context: ssl.SSLContext) -> str:
    """The name in the certificate that is shown."""
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        return str(subject[0][0][1])


async def test_the_port_speaks_tls_and_the_unix_socket_does_not(serve: Any, certificate: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    site = await serve([HELLO], uds=tmp_path / "socket", tls=tls_of(files))

    assert (await ask(site.port, trusting(files))).endswith(b'{"hello":"world"}')
    assert (await (await site.connect(uds=tmp_path / "socket")).request("GET", "/hello")).status == 200
    assert not (await ask(site.port, None)).startswith(b"HTTP")
    with pytest.raises(ssl.SSLCertVerificationError):
        await ask(site.port, ssl.create_default_context())


async def test_old_versions_of_tls_are_refused(serve: Any, certificate: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    site = await serve([HELLO], tls=tls_of(files))
    context = trusting(files)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        await ask(site.port, context)


async def test_clients_may_have_to_show_a_certificate_of_an_authority(
    serve: Any, certificate: Any, tmp_path: Path
) -> None:
    files, authority, other = (certificate(tmp_path, name) for name in ("one", "authority", "other"))
    known, stranger = certificate(tmp_path, "known", of=authority), certificate(tmp_path, "stranger", of=other)
    site = await serve([HELLO], tls=tls_of(files, authority.cert))

    for client, served in ((known, True), (stranger, False), (None, False)):
        context = trusting(files)
        if client is not None:
            context.load_cert_chain(*client)
        try:
            answer = await ask(site.port, context)
        except (ssl.SSLError, ConnectionError):
            answer = b""
        assert answer.startswith(b"HTTP/1.1 200") is served


async def test_a_new_certificate_is_shown_while_the_port_is_served_on(
    serve: Any, certificate: Any, tmp_path: Path
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> dict[str, bool]:
        begun.set()
        await go_on.wait()
        return {"done": True}

    one, two = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    site = await serve([HELLO, Route("GET", "/slow", slow, "")], tls=tls_of(one))
    both = trusting(one, two)

    async def shown_or_cut() -> str:
        try:
            return await shown(site.port, both)
        except ConnectionError:
            return "cut in the handshake"

    assert await shown(site.port, both) == "one"

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        slow_one = group.create_task(ask(site.port, both, "/slow"))
        await begun.wait()
        renewal = group.create_task(site.server.renew(tls_of(two)))
        meanwhile = await asyncio.gather(*(shown_or_cut() for _ in range(50)))
        await renewal
        go_on.set()

    assert slow_one.result().endswith(b'{"done":true}')
    assert set(meanwhile) <= {"one", "two", "cut in the handshake"}
    assert {await shown(site.port, both) for _ in range(5)} == {"two"}
    port = site.port
    await site.server.renew(tls_of(one))
    await site.server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_a_stream_outlives_a_new_certificate(serve: Any, certificate: Any, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield event(b"1")
        await go_on.wait()
        yield event(b"2")

    async def watch(_: Request) -> EventStream:
        return EventStream(events())

    files = certificate(tmp_path)
    site = await serve([Route("GET", "/watch", watch, "")], tls=tls_of(files))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=trusting(files))
    writer.write(b"GET /watch HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"data: 1")
        await site.server.renew(tls_of(files))
        go_on.set()
        await reader.readuntil(b"data: 2")
    writer.close()


async def test_without_a_certificate_there_is_none_to_renew(serve: Any, certificate: Any, tmp_path: Path) -> None:
    site = await serve([HELLO])

    await site.server.renew(tls_of(certificate(tmp_path)))

    assert (await site.request("GET", "/hello")).status == 200


# The ops port


async def test_the_ops_port_serves_health_readiness_and_heartbeats_only(serve: Any, free_port: int) -> None:
    paths = ["/api/health", "/api/ready", "/api/components", "/hello"]
    beats = ["/api/heartbeats", "/api/components/a/heartbeat"]
    routes = [*(Route("GET", path, hello, "") for path in paths), *(Route("POST", path, hello, "") for path in beats)]
    site = await serve(routes, ops_port=free_port)

    async def status(method: str, path: str) -> int:
        _, writer = wire = await asyncio.open_connection("127.0.0.1", free_port)
        answer: int = (await type(await site.connect())(*wire, free_port).request(method, path)).status
        writer.close()
        return answer

    assert [await status("GET", path) for path in paths] == [200, 200, 404, 404]
    assert [await status("POST", path) for path in beats] == [200, 200]
    assert await status("GET", "/api/components/../health") == 404


async def test_the_ops_port_opens_no_sockets(serve: Any, free_port: int) -> None:
    async def never(_: Any) -> None:
        raise AssertionError

    site = await serve([HELLO], ops_port=free_port, websocket=never)
    head = b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
    writer.write(head + b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    writer.close()
    assert site.gateway.streams is not None


async def test_an_ops_port_that_is_taken_is_refused_and_leaves_nothing_open(serve: Any, free_port: int) -> None:
    site = await serve([HELLO])
    second = GatewayServer(Gateway([HELLO]), "127.0.0.1", free_port, ops_port=site.port)
    await site.request("GET", "/hello")

    with pytest.raises(PortInUseError) as caught:
        await second.start()

    assert caught.value.port == site.port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_port)) == errno.ECONNREFUSED


async def test_silent_connections_on_the_port_silence_neither_the_ops_port_nor_the_unix_socket(
    serve: Any, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.gateway.server.MAX_CONNECTIONS", 8)
    health = Route("GET", "/api/health", hello, "")
    site = await serve([health], uds=tmp_path / "socket", ops_port=free_port)
    silent = [await site.connect() for _ in range(40)]

    unix = await site.connect(uds=tmp_path / "socket")
    assert (await unix.request("GET", "/api/health")).status == 200
    assert (await ask(free_port, None, "/api/health")).startswith(b"HTTP/1.1 200")

    for wire in silent:
        wire.writer.close()
    assert (await site.request("GET", "/api/health")).status == 200


# The metrics port


async def test_the_metrics_port_serves_the_metrics_only_and_by_the_same_rules(
    serve: Any, free_port: int, keyed_policy: Any
) -> None:
    paths = ["/metrics", "/api/metrics", "/api/health"]
    routes = [Route("GET", path, hello, "", "metrics:read") for path in paths]
    site = await serve(routes, metrics_port=free_port, policy=keyed_policy())

    async def status(path: str, **headers: str) -> int:
        _, writer = wire = await asyncio.open_connection("127.0.0.1", free_port)
        client = type(await site.connect())(*wire, free_port)
        answer: int = (await client.request("GET", path, **headers)).status
        writer.close()
        return answer

    proxied = {"x-forwarded-for": "192.0.2.1"}
    assert [await status(path, authorization="Bearer s3cret", **proxied) for path in paths] == [200, 404, 404]
    assert await status("/metrics", **proxied) == 401
