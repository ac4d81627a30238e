"""The port that `up --auto-port` takes."""

import os
import socket
from collections.abc import Iterator

import pytest

from tekton.cli.address import shifted
from tekton.testing import free_port

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_kept() -> None:
    assert shifted(LOOPBACK, free_port(), ()) is None


def test_any_free_one_is_kept() -> None:
    assert shifted(LOOPBACK, 0, ()) is None


def test_another_port_is_found_for_one_that_is_taken_and_its_owner_is_named(taken: int) -> None:
    found = shifted(LOOPBACK, taken, {taken + 1})

    assert found is not None
    assert found.port > taken + 1
    assert f"process {os.getpid()}" in found.owner


def test_a_port_that_is_taken_at_another_address_is_kept(taken: int) -> None:
    assert shifted("127.0.0.2", taken, ()) is None
