"""What the kernel tells of how long a request has waited."""

import math
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from tekton.gateway.arrivals import age


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection, from the client's side and the server's."""
    try:
        listening = socket.create_server((request.param, 0), family=_family(request.param))
    except OSError:
        pytest.skip("there is no such address here")
    with listening, socket.create_connection(listening.getsockname()[:2]) as client:
        server, _ = listening.accept()
        with server:
            yield client, server


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def named(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ends(pair: tuple[socket.socket, socket.socket]) -> tuple[str, str]:
    client, server = pair
    return named(client.getsockname()), named(server.getsockname())


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
def test_the_age_grows_until_something_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.send(b"x")
    server.recv(1)
    if age(*ends(pair)) is None:
        pytest.skip("this kernel does not tell")
    while (age(*ends(pair)) or 0.0) < 0.1:
        pass

    sent = time.monotonic()
    client.send(b"y")
    server.recv(1)
    found = age(*ends(pair)) or 0.0

    # What came before is older by a tenth of a second; the kernel counts in steps of some milliseconds.
    assert found < time.monotonic() - sent + 0.05


@linux
def test_a_connection_that_is_not_there_has_been_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = ends(pair)
    host = server.rpartition(":")[0]

    assert age(f"{host}:1", server) in (None, math.inf)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("", ""),
        ("", "127.0.0.1:1"),
        ("nonsense", "127.0.0.1:1"),
        ("127.0.0.1:99999", "127.0.0.1:1"),
        ("127.0.0.1:1", "[::1]:1"),
        ("127.0.0.1:1", ""),
        ("unix:/a", "unix:/b"),
    ],
)
def test_of_what_is_no_connection_nothing_is_known(client: str, server: str) -> None:
    assert age(client, server) in (None, math.inf)
