"""A control plane against those who mean it ill: bytes that no client sends, or not so many, or not so slowly.

What the server below us decides (Granian, on hyper) is pinned here as well as what we decide: a new version of it that
answers otherwise is noticed. After every case the control plane still answers, is the same process, and has not grown.

TEKTON_SILENT_CONNECTIONS, TEKTON_SLOW_BODIES, TEKTON_PIPELINED and TEKTON_FLOOD_MIB make it larger.
"""

import json
import os
import resource
import select
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

import psutil
import pytest

from tekton.testing import free_port

SILENT = int(os.environ.get("TEKTON_SILENT_CONNECTIONS", "2000"))
SLOW = int(os.environ.get("TEKTON_SLOW_BODIES", "200"))
PIPELINED = int(os.environ.get("TEKTON_PIPELINED", "1000"))
FLOOD = int(os.environ.get("TEKTON_FLOOD_MIB", "64")) * 2**20
GROWTH = 96 * 2**20
"""Bytes that the control plane may grow by in the whole of this file."""

PAGE = "https://ops.example"
HOST = b"host: localhost\r\n"
JSON = b"content-type: application/json\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
MARK = b"GET /api/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


class Site(NamedTuple):
    """A control plane, its process when it was new, and how large that was."""

    tekton: Any
    ops_port: int
    process: psutil.Process
    size: int


@pytest.fixture(scope="module")
def new_site(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tekton = start_tekton(tmp_path_factory.mktemp("abuse"))
    tekton.configure({})
    ops_port = free_port()
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = {"ops_port": ops_port, "allowed_origins": [PAGE]}
    file.write_text(json.dumps(settings))
    tekton.up()
    for _ in range(50):
        tekton.get("/api/components")
    process = psutil.Process(tekton.control_pid)
    yield Site(tekton, ops_port, process, process.memory_info().rss)
    tekton.kill()


@pytest.fixture
def site(new_site: Site) -> Iterator[Site]:
    """The control plane; after the test it is as it was."""
    yield new_site
    assert new_site.tekton.get("/api/health")["status"] == "ok"
    assert new_site.tekton.control_pid == new_site.process.pid
    assert new_site.process.memory_info().rss < new_site.size + GROWTH


def connect(site: Site, port: int | None = None) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port or site.tekton.port), timeout=20)


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def ours(self) -> bool:
        """True for a problem document, false for what the server below us answers by itself."""
        return b"application/problem+json" in self.head


def next_answer(connection: socket.socket, kept: bytearray) -> Answer | None:
    """The next answer; None when the connection ends instead. *kept* is what was read too much."""
    while b"\r\n\r\n" not in kept:
        if not _read(connection, kept):
            return None
    head, _, rest = bytes(kept).partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", b"0"))
    kept[:] = rest
    while len(kept) < length:
        if not _read(connection, kept):
            return None
    body = bytes(kept[:length])
    del kept[:length]
    return Answer(int(head.split(b" ")[1]), head, body)


def _read(connection: socket.socket, kept: bytearray) -> bool:
    try:
        data = connection.recv(65536)
    except ConnectionError:
        return False
    kept += data
    return bool(data)


def answers(site: Site, data: bytes) -> list[Answer]:
    """All answers to *data*, and to a question behind it if the connection is still open after the first."""
    with closing(connect(site)) as connection:
        kept = bytearray()
        with suppress(ConnectionError):
            connection.sendall(data)
        found = [next_answer(connection, kept)]
        with suppress(ConnectionError):
            connection.sendall(MARK)
        while found[-1] is not None:
            found.append(next_answer(connection, kept))
    return [answer for answer in found if answer is not None]


def outcome(site: Site, data: bytes) -> str:
    """The statuses, and what became of the connection: `400 closed`, `200 open`; `server` for answers not of ours."""
    found = answers(site, data)
    marked = bool(found) and b'"python"' in found[-1].body
    told = [
        f"{one.status}" + ("" if one.ours or one.status < 400 else " server") for one in found[: len(found) - marked]
    ]
    return " ".join([*told, "open" if marked else "closed"])


def get(path: bytes, *lines: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(rest: bytes, path: bytes = b"/api/components") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + JSON + rest


SMUGGLED = b"GET /api/health HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        # Two lengths, or two ways to say where the body ends.
        ("400 closed", post(b"content-length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 closed", post(CHUNKED + b"content-length: 6\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"content-length: 0\r\ncontent-length: 44\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"content-length: 44\r\ncontent-length: 0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"content-length: 0, 44\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"content-length: -1\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"content-length: +2\r\n\r\n{}")),
        ("400 server closed", post(b"content-length: 0x2\r\n\r\n{}")),
        ("400 server closed", post(b"content-length: 2 2\r\n\r\n{}")),
        ("400 server closed", post(b"content-length: \r\n\r\n{}")),
        ("400 server closed", post(b"content-length: 18446744073709551616\r\n\r\n{}")),
        ("431 server closed", post(b"content-length: 18446744073709551615\r\n\r\n{}")),
        # Ways to write "chunked" that somebody may not understand.
        ("400 server closed", post(b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"transfer-encoding: identity\r\ncontent-length: 0\r\n\r\n")),
        ("400 server closed", post(b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"transfer-encoding: 'chunked'\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        ("400 server closed", post(b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)),
        # Chunks that lie.
        ("400 closed", post(CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n")),
        ("400 closed", post(CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n")),
        ("400 closed", post(CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n")),
        ("400 closed", post(CHUNKED + b"\r\n2 ;x\r\n{}0\r\n\r\n")),
        ("400 closed", post(CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n")),
        ("400 closed", post(CHUNKED + b"\r\n2;" + b"x" * 2**20 + b"\r\n{}\r\n0\r\n\r\n")),
        ("400 open", post(CHUNKED + b"\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n")),
        # Lines that are none.
        ("400 server closed", get(b"/api/health", b" folded: x")),
        ("400 server closed", get(b"/api/health", b"x: y", b" folded: x")),
        ("400 server closed", get(b"/api/health", b"x : y")),
        ("400 server closed", get(b"/api/health", b": y")),
        ("400 server closed", get(b"/api/health", b"x: y\0z")),
        ("400 server closed", get(b"/api/health", b"x: y\rz: 1")),
        ("400 server closed", b"GET  /api/health HTTP/1.1\r\n" + HOST + b"\r\n"),
        ("400 server closed", b"GET /api/health\tHTTP/1.1\r\n" + HOST + b"\r\n"),
        ("200 open", b"GET /api/health HTTP/1.1\n" + b"host: localhost\n\n"),
        ("200 open", b"\r\n\r\n" + SMUGGLED),
        ("200 open", get(b"/api/health", b"content-length: 0", b"content-length: 0")),
        # Other protocols.
        ("400 server closed", b"GET /api/health\r\n"),
        ("400 server closed", b"GET /api/health HTTP/0.9\r\n\r\n"),
        ("400 server closed", b"GET /api/health HTTP/2.0\r\n" + HOST + b"\r\n"),
        ("200 closed", b"GET /api/health HTTP/1.0\r\n" + HOST + b"\r\n"),
        ("closed", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
        (
            "200 open",
            get(b"/api/health", b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMA"),
        ),
        ("400 server closed", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
        ("400 server closed", b"\0" * 64),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_one_request_or_none(site: Site, expected: str, data: bytes) -> None:
    assert outcome(site, data) == expected


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("200 open", get(b"/api/health", *(b"x-%d: y" % number for number in range(63)))),
        ("431 open", get(b"/api/health", *(b"x-%d: y" % number for number in range(64)))),
        ("431 open", get(b"/api/health", *(b"x: y" for _ in range(64)))),
        ("431 server closed", get(b"/api/health", *(b"x-%d: y" % number for number in range(100)))),
        ("200 open", get(b"/api/health", b"x: " + b"y" * 16_000)),
        ("431 open", get(b"/api/health", b"x: " + b"y" * 16_400)),
        ("431 open", get(b"/api/health", *(b"x-%d: " % number + b"y" * 1000 for number in range(20)))),
        ("431 server closed", get(b"/api/health", *(b"x-%d: " % number + b"y" * 5000 for number in range(90)))),
        ("431 server closed", get(b"/api/health", b"x: " + b"y" * 500 * 1024)),
        ("431 server closed", get(b"/api/health", b"x: " + b"\xff" * 60_000)),
        ("200 open", get(b"/api/health", b"x: " + b"\xff" * 20_000)),  # does not show, and fits into the head
        ("422 open", get(b"/api/health?" + b"x" * 8000)),
        ("414 open", get(b"/api/health?" + b"x" * 8200)),
        ("431 server closed", get(b"/" + b"x" * 60_000)),
    ],
)
def test_a_head_has_limits(site: Site, expected: str, data: bytes) -> None:
    assert outcome(site, data) == expected


@pytest.mark.parametrize(
    ("expected", "line", "host"),
    [
        ("400 open", b"GET /api/components", b""),
        ("400 open", b"GET /api/components", HOST + HOST),
        ("400 open", b"GET /api/components", HOST + b"host: evil.example\r\n"),
        ("421 open", b"GET /api/components", b"host: evil.example\r\n"),
        ("421 open", b"GET /api/components", b"host: localhost.evil.example\r\n"),
        ("421 open", b"GET /api/components", b"host: localhost@evil.example\r\n"),
        ("421 open", b"GET /api/components", b"host: 127.0.0.1.\r\n"),
        ("421 open", b"GET /api/components", b"host: 2130706433\r\n"),
        ("421 open", b"GET /api/components", b"host: 0.0.0.0\r\n"),
        ("400 open", b"GET /api/components", "host: localhöst\r\n".encode()),
        ("200 open", b"GET /api/components", b"host: LOCALHOST:1\r\n"),
        ("200 open", b"GET http://localhost/api/components", HOST),
        ("400 open", b"GET http://evil.example/api/components", HOST),
        ("400 open", b"GET http://evil.example/api/health", HOST),
        ("421 open", b"GET http://evil.example/api/components", b"host: evil.example\r\n"),
        ("400 open", b"CONNECT evil.example:80", HOST),
        ("404 open", b"OPTIONS *", HOST),
        ("405 open", b"TRACE /api/components", HOST),
        ("405 open", b"TRACK /api/components", HOST),
        ("405 open", b"get /api/components", HOST),
        ("405 open", b"BREW /api/components", HOST),
        ("405 open", b"PROPFIND /api/components", HOST),
        ("400 server closed", b"G\xc3\x89T /api/components", HOST),
    ],
)
def test_hosts_and_methods_that_are_not_ours_are_refused(site: Site, expected: str, line: bytes, host: bytes) -> None:
    assert outcome(site, line + b" HTTP/1.1\r\n" + host + b"\r\n") == expected


@pytest.mark.parametrize(
    "path",
    [
        b"//api/system/stop",
        b"/api//system/stop",
        b"/api/./system/stop",
        b"/api/health/../system/stop",
        b"/api/health/%2e%2e/system/stop",
        b"/api/health%2f..%2fsystem/stop",
        b"/api/system/stop/",
        b"/api/system/stop%00",
        b"/api/system/stop%20",
        b"/api/system/stop;x",
        b"/api/system/stop%3b",
        b"/api/system%5cstop",
        b"/api/system%252fstop",
        b"/API/system/stop",
        b"/api/%c0%ae%c0%ae/system/stop",
        b"/api/components/%ff/stop",
        b"/api/components/%00/stop",
        b"/api/components/../system/stop",
        b"/api/components/..%2fsystem/stop",
        b"/api/components/%2e%2e%2f%2e%2e%2fetc%2fpasswd/logs",
    ],
)
def test_no_other_way_to_write_a_path_leads_around_a_permission(site: Site, path: bytes) -> None:
    head = b" HTTP/1.1\r\n" + HOST + JSON + b"content-length: 2\r\n\r\n{}"

    assert outcome(site, b"POST " + path + head).split()[0] in ("400", "401", "404", "405")
    assert outcome(site, b"POST /api/system%2Fstop" + head) == outcome(site, b"POST /api/system/stop" + head)
    assert outcome(site, b"POST /api/system/stop" + head).startswith("401")


@pytest.mark.parametrize(
    "lines",
    [
        [b"origin: \xff"],
        [b"cookie: a=\xc3\xa4; b=\xff"],
        [b"sec-websocket-protocol: \xff"],
        [b"authorization: Bearer \xff"],
        [b"x-forwarded-for: \xff"],
        [b"user-agent: " + bytes(range(0x80, 0x100))],
    ],
)
def test_headers_that_are_not_ascii_do_no_harm(site: Site, lines: list[bytes]) -> None:
    socket_lines = [b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"]
    upgrade = get(b"/ws", *socket_lines, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", *lines)

    assert answers(site, get(b"/api/health", *lines))[0].status == 200
    with closing(connect(site)) as connection:
        connection.sendall(upgrade)
        assert connection.recv(12) in (b"HTTP/1.1 101", b"HTTP/1.1 401", b"HTTP/1.1 403")


def test_a_page_of_another_origin_gets_no_socket(site: Site) -> None:
    lines = [b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"]
    key = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="

    for origin, status in ((b"https://evil.example", b"403"), (b"null", b"403"), (PAGE.encode(), b"101")):
        with closing(connect(site)) as connection:
            connection.sendall(get(b"/ws", *lines, key, b"origin: " + origin))
            assert connection.recv(12) == b"HTTP/1.1 " + status


def test_a_page_that_attacks_a_local_control_plane_changes_nothing(site: Site) -> None:
    body = b'{"component_id":"planted"}'
    length = b"content-length: %d\r\n" % len(body)

    def registered(*lines: bytes) -> int:
        head = b"POST /api/components HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines)
        return answers(site, head + length + b"\r\n" + body)[0].status

    assert registered(b"host: localhost", b"origin: https://evil.example", b"content-type: application/json") == 403
    assert registered(b"host: localhost", b"origin: null", b"content-type: text/plain") == 403
    assert registered(b"host: localhost", b"content-type: text/plain") == 415
    assert registered(b"host: localhost", b"content-type: application/x-www-form-urlencoded") == 415
    assert registered(b"host: rebound.example", b"content-type: application/json") == 421
    assert "planted" not in site.tekton.everything()


# Bodies


@pytest.mark.parametrize("framing", [b"content-length: 1073741824\r\n\r\n", CHUNKED + b"\r\n"])
def test_a_body_that_is_too_large_is_refused_at_the_first_byte_too_many(site: Site, framing: bytes) -> None:
    """The sender goes on for as long as anybody takes what it sends."""
    chunk = b"x" * 65536
    block = chunk if b"length" in framing else b"10000\r\n" + chunk + b"\r\n"
    with closing(connect(site)) as connection:
        connection.sendall(post(framing))
        sent, answered = 0, False
        connection.setblocking(False)
        while not answered and sent < FLOOD:
            readable, writable, _ = select.select([connection], [connection], [], 20)
            answered = bool(readable)
            if writable and not answered:
                with suppress(BlockingIOError, ConnectionError):
                    sent += connection.send(block)
            assert readable or writable
        connection.setblocking(True)
        answer = next_answer(connection, bytearray())

    assert answered
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "too_large")
    assert sent < 16 * 2**20


def test_bodies_that_stop_in_the_middle_hold_up_nobody(site: Site) -> None:
    """Nobody waits here for their end, which is at the body deadline; they take permits, and the owner has a way in."""
    stuck = [connect(site) for _ in range(SLOW)]
    try:
        for connection in stuck:
            connection.sendall(post(b"content-length: 10\r\n\r\n{}}"))
        assert outcome(site, get(b"/api/health")) == "200 open"
        assert site.tekton.get("/api/components")["items"] == []
    finally:
        for connection in stuck:
            connection.close()


# Connections


def test_silent_connections_silence_nobody_who_comes_by_another_door(
    site: Site, eventually: Callable[..., Any]
) -> None:
    silent = [connect(site) for _ in range(min(SILENT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200))]
    try:
        for _ in range(5):
            assert site.tekton.get("/api/health")["status"] == "ok"
            with closing(connect(site, site.ops_port)) as connection:
                connection.sendall(SMUGGLED)
                answer = next_answer(connection, bytearray())
                assert answer is not None
                assert answer.status == 200
    finally:
        for connection in silent:
            connection.close()
    assert eventually(lambda: outcome(site, get(b"/api/health")) == "200 open", "the port serves again")


def test_a_thousand_requests_in_a_row_are_answered_in_order(site: Site) -> None:
    paths = [b"/api/health", b"/nowhere", b"/api/components"]
    with closing(connect(site)) as connection:
        kept = bytearray()
        statuses = []
        for begin in range(0, PIPELINED, 100):
            connection.sendall(b"".join(get(paths[number % 3]) for number in range(begin, begin + 100)))
            for _ in range(100):
                answer = next_answer(connection, kept)
                assert answer is not None
                statuses.append(answer.status)

    assert statuses == [(200, 404, 200)[number % 3] for number in range(PIPELINED)]


def test_who_asks_and_never_reads_is_not_answered_into_memory(site: Site) -> None:
    """The server stops reading when nobody takes its answers, so what it keeps for them is bounded."""
    request = get(b"/api/version") * 100
    with closing(connect(site)) as connection:
        connection.setblocking(False)
        sent, quiet = 0, 0
        while quiet < 5 and sent < FLOOD:
            if select.select([], [connection], [], 0.1)[1]:
                with suppress(BlockingIOError):
                    sent += connection.send(request)
                    quiet = 0
            else:
                quiet += 1

    assert sent < FLOOD


# Answers


@pytest.mark.parametrize(
    "text", ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rx-evil: 1", "a\0b", "a\u2028b", "a\u0085x-evil: 1"]
)
def test_nothing_that_is_sent_becomes_a_header(site: Site, text: str) -> None:
    escaped = text.replace("\r", "%0d").replace("\n", "%0a").replace("\0", "%00").encode("utf-8")
    quoted = b"".join(bytes([byte]) if byte < 0x80 else b"%%%02x" % byte for byte in escaped)
    body = json.dumps({"component_id": text, "component_name": text, "instance_uuid": str(uuid.uuid4())}).encode()
    named = json.dumps({"component_id": "split", "component_name": text, "instance_uuid": str(uuid.uuid4())}).encode()
    requests = [
        get(b"/" + quoted),
        get(b"/api/components/" + quoted),
        get(b"/api/components?cursor=" + quoted),
        get(b"/api/health", b"x-request-id: " + quoted, b"traceparent: " + quoted, b"origin: " + quoted),
        post(b"content-length: %d\r\n\r\n" % len(body) + body),
        post(b"content-length: %d\r\n\r\n" % len(named) + named),
    ]

    for request in requests:
        answer = answers(site, request)[0]
        assert b"x-evil" not in answer.head.lower()
        assert answer.status < 500
    site.tekton.request("DELETE", "/api/components/split")
