"""The guard's connection when the other end is slow, gone, or stuck."""

import selectors
import socket
from collections.abc import Iterator

import pytest

from tekton.supervisor.guard_link import Link
from tekton.supervisor.wire import Message


class Owner:
    """A link with its selector, and what was heard from it."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.messages: list[Message] = []
        self.closed: list[str] = []
        self.stuck = 0
        self.link = Link(
            self.selector, on_message=self.messages.append, on_closed=self.closed.append, on_stuck=self.on_stuck
        )

    def on_stuck(self) -> None:
        self.stuck += 1

    def turn(self) -> None:
        for key, _ in self.selector.select(0):
            key.data()

    def waits_for(self, event: int) -> bool:
        return any(key.events & event for key in self.selector.get_map().values())


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.link.close()
    owner.selector.close()


@pytest.fixture
def peer(owner: Owner) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    owner.link.open(ours)
    yield theirs
    theirs.close()


def test_requests_are_handed_on(owner: Owner, peer: socket.socket) -> None:
    peer.send(b'{"op": "ack"}\n{"op":')
    owner.turn()
    assert owner.messages == [{"op": "ack"}]


def test_no_requests_are_read_while_answers_wait(owner: Owner, peer: socket.socket) -> None:
    while owner.waits_for(selectors.EVENT_READ):
        owner.link.publish({"text": "x" * 100_000})
    peer.send(b'{"op": "ack"}\n')
    owner.turn()
    assert owner.messages == []

    while not owner.messages:
        peer.recv(1 << 20)
        owner.turn()
    assert owner.messages == [{"op": "ack"}]


def test_a_peer_that_never_reads_is_reported(owner: Owner, peer: socket.socket) -> None:
    for _ in range(100):
        owner.link.publish({"text": "x" * 100_000})
    assert owner.stuck > 0


def test_the_end_of_the_connection_is_told_once(owner: Owner, peer: socket.socket) -> None:
    peer.close()
    owner.turn()
    owner.turn()
    assert owner.closed == ["closed"]
    assert not owner.selector.get_map()


def test_without_a_connection_nothing_is_kept(owner: Owner) -> None:
    owner.link.publish({"event": "exited"})
    assert owner.stuck == 0
