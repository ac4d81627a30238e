"""Ports that are free, and ports that are not."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tekton.supervisor.ports import check_port, describe_owner
from tekton.utils.tekton_errors import PortInUseError


async def test_a_free_port_is_fine(free_port: int) -> None:
    await check_port(free_port)
    await check_port(free_port)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
async def test_the_owner_of_a_taken_port_is_named(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            await check_port(port)
    assert caught.value.port == port
    if sys.platform == "linux":
        assert str(caught.value).startswith(f"port {port} is in use by process {os.getpid()} (")


async def test_a_port_whose_connections_are_just_ending_is_free(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)) as server:
        client = socket.create_connection(("127.0.0.1", free_port))
        accepted, _ = server.accept()
        # The side that closes first keeps the port in TIME_WAIT.
        accepted.close()
        client.close()
    await check_port(free_port)


LISTEN = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
input()
"""


@contextmanager
def listener(**environment: str) -> Iterator[tuple[int, int]]:
    """Another process that listens: its pid and port."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", LISTEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_component_that_holds_the_port_is_named() -> None:
    with listener(TEKTON_COMPONENT_ID="engram", TEKTON_RUN_ID="0123.abc.1") as (pid, port):
        owner = describe_owner(port)

    assert owner is not None
    assert owner.startswith(f"process {pid} (")
    assert owner.endswith("), which is engram's")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs /proc, and to become somebody else")
def test_an_owner_that_may_not_be_seen_is_known_by_its_user() -> None:
    script = (
        "import os, sys, psutil; from tekton.supervisor.ports import describe_owner;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); print(describe_owner(int(sys.argv[1])))"
    )
    with listener() as (_, port):
        done = subprocess.run([sys.executable, "-c", script, str(port)], capture_output=True, text=True, check=True)

    assert done.stdout == "a process of user root that is not yours to see\n"
