"""Ports that are free, and ports that are not."""

import os
import socket
import sys

import pytest

from tekton.supervisor.ports import check_port
from tekton.utils.tekton_errors import PortInUseError


async def test_a_free_port_is_fine(free_port: int) -> None:
    await check_port(free_port)
    await check_port(free_port)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_the_owner_of_a_taken_port_is_named(address: str) -> None:
    with socket.create_server((address, 0)) as server:
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
