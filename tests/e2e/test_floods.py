"""A control plane under floods: it keeps answering, and its memory stays bounded.

TEKTON_FLOOD_CONNECTIONS and TEKTON_FLOOD_SOCKETS make the floods larger.
"""

import json
import os
import resource
import secrets
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import psutil
import pytest

CONNECTIONS = int(os.environ.get("TEKTON_FLOOD_CONNECTIONS", "150"))
SOCKETS = int(os.environ.get("TEKTON_FLOOD_SOCKETS", "20"))
MOST = 512 * 2**20
"""Bytes that the control plane may have."""

REQUESTS_AT_ONCE = 100
STREAMS = 10
BATCH = 4 * 2**20
ROOM = 16 * 2**20
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Site(NamedTuple):
    """A control plane, and its process."""

    tekton: Any
    process: psutil.Process


@pytest.fixture(scope="module")
def new_site(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tekton = start_tekton(tmp_path_factory.mktemp("floods"))
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = {
        "max_requests_per_caller": REQUESTS_AT_ONCE,
        "max_streams_per_caller": STREAMS,
    }
    file.write_text(json.dumps(settings))
    tekton.up()
    yield Site(tekton, psutil.Process(tekton.control_pid))
    tekton.kill()


@pytest.fixture
def site(new_site: Site) -> Iterator[Site]:
    """The control plane; after the test it answers, is the same, and is no larger than it may be."""
    yield new_site
    assert new_site.tekton.get("/api/health")["status"] == "ok"
    assert new_site.tekton.control_pid == new_site.process.pid
    assert new_site.process.memory_info().rss < MOST


@pytest.fixture
def connect(site: Site) -> Iterator[Callable[[], socket.socket]]:
    """`connect()`: a connection to the port, closed after the test."""
    with ExitStack() as stack:

        def one() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", site.tekton.port), timeout=20))

        yield one


def flood(count: int) -> int:
    """*count*, or as many descriptors as there are."""
    return min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


def status(connection: socket.socket) -> int:
    """The status of the next answer; 0 when the connection ends instead."""
    data = b""
    with suppress(ConnectionError):
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                return 0
            data += more
    return int(data.split(b" ")[1]) if data else 0


def post(path: str, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def until_refused(connect: Callable[[], socket.socket], request: bytes, most: int) -> int:
    """Open connections that send *request*, the beginning of one, until one is answered; the status."""
    for _ in range(most):
        connection = connect()
        with suppress(ConnectionError):
            connection.sendall(request)
        if select.select([connection], [], [], 1.0)[0]:
            return status(connection)
    raise AssertionError(f"{most} of them were taken")


def test_of_slow_bodies_no_more_are_waited_for_than_one_caller_may_have(
    site: Site, connect: Callable[[], socket.socket], eventually: Callable[..., Any]
) -> None:
    beginning = post("/api/components", "content-length: 60000") + b"{" * 50_000
    slow = [connect() for _ in range(flood(CONNECTIONS))]
    for connection in slow:
        with suppress(ConnectionError):
            connection.sendall(beginning)

    assert until_refused(connect, beginning, 10) == 429
    with connect() as another:
        another.sendall(get("/api/health"))
        assert status(another) == 200
    assert site.tekton.get("/api/components")["items"] == []
    for connection in slow:
        connection.close()

    def served() -> bool:
        with socket.create_connection(("127.0.0.1", site.tekton.port), timeout=20) as connection:
            connection.sendall(get("/api/components"))
            return status(connection) == 200

    assert eventually(served, "the caller has its share again")


@pytest.mark.parametrize("framing", ["content-length: 4194304", "transfer-encoding: chunked"])
def test_of_large_bodies_no_more_are_taken_than_there_is_room_for(
    site: Site, connect: Callable[[], socket.socket], framing: str
) -> None:
    before = site.process.memory_info().rss
    chunk = b"[" * 65536
    block = chunk if "length" in framing else b"10000\r\n" + chunk + b"\r\n"
    beginning = post("/api/heartbeats", framing) + block * 60
    for _ in range(ROOM // BATCH):
        with suppress(ConnectionError):
            connect().sendall(beginning)

    assert until_refused(connect, beginning, 20) == 503
    with connect() as small:
        small.sendall(post("/api/heartbeats", "content-length: 17") + b'{"heartbeats":[]}')
        assert status(small) == 200
    assert site.process.memory_info().rss < before + 4 * ROOM


def test_connections_that_idle_cost_little(site: Site, connect: Callable[[], socket.socket]) -> None:
    before = site.process.memory_info().rss
    idle = [connect() for _ in range(flood(CONNECTIONS))]
    for connection in idle[:900]:
        connection.sendall(get("/api/health"))
    assert {status(connection) for connection in idle[:900]} == {200}

    assert site.tekton.get("/api/health")["status"] == "ok"
    assert site.process.memory_info().rss < before + 64 * 2**20


def test_a_caller_gets_his_streams_and_not_one_more(site: Site, connect: Callable[[], socket.socket]) -> None:
    opened = []
    for number in range(STREAMS + 5):
        connection = connect()
        connection.sendall(UPGRADE if number % 2 else get("/events/components"))
        opened.append(status(connection))

    assert sorted(opened) == sorted([200] * (STREAMS // 2) + [101] * (STREAMS // 2) + [429] * 5)


def test_sockets_that_send_faster_than_they_read_are_not_read_on(
    site: Site, connect: Callable[[], socket.socket], eventually: Callable[..., Any]
) -> None:
    """A ping is answered by a pong, which nobody takes: so the pings are left where they are."""
    before = site.process.memory_info().rss
    frame = _frame(b'{"op":"ping"}')

    def opened() -> socket.socket | None:
        connection = connect()
        connection.sendall(UPGRADE)
        return connection if status(connection) == 101 else None

    sockets = [eventually(opened, "a socket") for _ in range(min(SOCKETS, STREAMS))]
    for connection in sockets:
        connection.setblocking(False)
    sent = 0
    for _ in range(50):
        for connection in sockets:
            with suppress(BlockingIOError, ConnectionError):
                sent += connection.send(frame * 4096)

    assert sent > 0
    assert site.tekton.get("/api/health")["status"] == "ok"
    assert site.process.memory_info().rss < before + 128 * 2**20


def _frame(text: bytes) -> bytes:
    mask = b"\1\2\3\4"
    return struct.pack("!BB", 0x81, 0x80 | len(text)) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))


def test_of_guesses_at_a_key_five_a_minute_are_looked_at(site: Site, connect: Callable[[], socket.socket]) -> None:
    """The right one would be answered as the wrong ones are; other ways in are open all the while."""
    connection = connect()
    answers = []
    key = secrets.token_hex(6)
    for number in range(50):
        credential = f"authorization: Bearer tk_{key}_{number}\r\n\r\n"
        connection.sendall(get("/api/components")[:-2] + credential.encode())
        answers.append(status(connection))

    assert answers[:5] == [401] * 5
    assert set(answers) == {401, 429}
    connection.sendall(get("/api/components"))
    assert status(connection) == 200
    assert site.tekton.get("/api/components")["items"] == []
