"""WebSocket messages whose end does not come: what the server below us keeps of them, which SECURITY.md tells.

Granian gives us whole messages only. Our limit counts then; until then its own does, which is pinned here.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psutil
import pytest

MIB = 2**20
MOST_OF_A_MESSAGE = 64 * MIB
MOST_OF_A_FRAME = 16 * MIB
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT, MORE, FINISHED = 0x01, 0x00, 0x80
"""How a message begins, how it goes on, and the mark of its last frame."""


@pytest.fixture(scope="module")
def tekton(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    system = start_tekton(tmp_path_factory.mktemp("unfinished"))
    system.configure({})
    try:
        system.up()
        yield system
    finally:
        system.kill()


def opened(tekton: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", tekton.port), timeout=20)
    connection.sendall(UPGRADE)
    assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
    return connection


def frame(opcode: int, size: int) -> bytes:
    """The head of a masked frame."""
    return struct.pack("!BBQ", opcode, 0x80 | 127, size) + b"\1\2\3\4"


def send_unfinished(connection: socket.socket, size: int) -> None:
    """Send a message of *size* bytes, in frames of 1 MiB, without its end."""
    for number in range(size // MIB):
        connection.sendall(frame(MORE if number else TEXT, MIB) + bytes(MIB))


def rest(connection: socket.socket) -> bytes:
    """All that comes until the socket is ended, pings included."""
    data = b""
    with suppress(ConnectionError):
        while more := connection.recv(4096):
            data += more
    return data


def test_a_message_without_an_end_is_kept_up_to_a_limit(tekton: Any) -> None:
    process = psutil.Process(tekton.control_pid)
    before = process.memory_info().rss
    with closing(opened(tekton)) as connection:
        send_unfinished(connection, MOST_OF_A_MESSAGE - MIB)
        assert tekton.get("/api/health")["status"] == "ok"
        assert process.memory_info().rss < before + 2 * MOST_OF_A_MESSAGE

        # Now it is complete, and our own limit counts.
        connection.sendall(frame(FINISHED | MORE, 0))
        assert b"too_large" in rest(connection)


def test_a_message_beyond_the_limit_ends_its_socket(tekton: Any) -> None:
    with closing(opened(tekton)) as connection:
        with suppress(ConnectionError):
            send_unfinished(connection, MOST_OF_A_MESSAGE + 2 * MIB)

        assert b"too_large" not in rest(connection)
    assert tekton.get("/api/health")["status"] == "ok"


def test_a_frame_beyond_the_limit_ends_its_socket_at_once(tekton: Any) -> None:
    with closing(opened(tekton)) as connection:
        connection.sendall(frame(FINISHED | TEXT, MOST_OF_A_FRAME + 1))

        assert b"too_large" not in rest(connection)
