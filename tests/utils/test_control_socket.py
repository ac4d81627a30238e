"""What is said of a connection to the socket of the control plane that does not come about."""

from pathlib import Path

import pytest

from tekton.utils.control_plane import ControlPlane
from tekton.utils.control_socket import ControlSocket
from tekton.utils.tekton_errors import TransportError


async def why(control_plane: ControlPlane) -> str:
    socket = ControlSocket(control_plane)
    socket.open()
    with pytest.raises(TransportError) as failure:
        await socket.connect()
    await socket.close()
    return str(failure.value)


async def test_it_names_the_unix_socket_or_the_address(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    assert await why(ControlPlane(socket=path)) == f"{path}: no such socket"
    assert await why(ControlPlane("http://127.0.0.1:1")) == "ws://127.0.0.1:1/ws?v=1: connection refused"
