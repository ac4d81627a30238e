"""JSON lines in pieces of any size."""

import json
import socket
from collections.abc import Iterator

import pytest

from tekton.supervisor.wire import MAX_LINE_BYTES, Message, Wire, WireClosedError


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire, and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    yield wire, theirs
    wire.close()
    theirs.close()


def receive_all(wire: Wire) -> list[Message]:
    messages: list[Message] = []
    while received := wire.receive():
        messages += received
    return messages


def test_a_message_may_arrive_byte_by_byte(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    received = []
    for byte in b'{"a": 1}\n{"b": "\\u00e9"}\n':
        peer.send(bytes([byte]))
        received += wire.receive()
    assert received == [{"a": 1}, {"b": "é"}]


def test_nothing_there_is_no_error(ends: tuple[Wire, socket.socket]) -> None:
    assert ends[0].receive() == []


def test_what_the_peer_does_not_read_is_kept_and_sent_later(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    sent = [{"n": n, "text": "x" * 1000} for n in range(2000)]
    for message in sent:
        wire.send(message)
    assert wire.backlog > 0

    received = b""
    while received.count(b"\n") < len(sent):
        received += peer.recv(1 << 20)
        wire.flush()

    assert wire.backlog == 0
    assert [json.loads(line) for line in received.splitlines()] == sent


def test_sending_to_a_peer_that_has_gone_is_silent_and_receiving_tells(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    peer.close()
    wire.send({"a": 1})
    assert wire.backlog == 0
    with pytest.raises(WireClosedError):
        wire.receive()


@pytest.mark.parametrize("nonsense", [b"hello\n", b"[1]\n", b"\xff\n", b"\n"])
def test_nonsense_ends_the_conversation(ends: tuple[Wire, socket.socket], nonsense: bytes) -> None:
    wire, peer = ends
    peer.send(nonsense)
    with pytest.raises(WireClosedError):
        wire.receive()


def test_a_line_without_end_ends_the_conversation(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    peer.setblocking(False)
    with pytest.raises(WireClosedError, match="a line of more than"):
        send_without_end(peer, wire)


def send_without_end(peer: socket.socket, wire: Wire) -> None:
    for _ in range(2 * MAX_LINE_BYTES // 65536):
        peer.send(b"x" * 65536)
        receive_all(wire)
