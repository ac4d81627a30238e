"""Whether a port is free, and if it is not, whose it is."""

import asyncio
import errno
import socket
from typing import Final

from tekton.utils.tekton_errors import PortInUseError

_COMMAND_CHARACTERS: Final = 80


async def check_port(port: int) -> None:
    """Raise PortInUseError, naming the owner if it can be found, when something listens on *port*.

    Nothing is done about the owner. Another process may still take the port before the one it is meant for.
    """
    if not _is_free(port):
        raise PortInUseError(port, await asyncio.to_thread(_find_owner, port))


def describe_owner(port: int) -> str | None:
    """Who listens on *port*, in words; None when nobody does. Blocks for some 20 ms when somebody does."""
    return None if _is_free(port) else _find_owner(port) or "another process"


def _is_free(port: int) -> bool:
    return all(_can_bind(family, address, port) for family, address in _ANY)


_ANY: Final = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        # No IPv6 here.
        return True
    with probe:
        # Connections that wait for their last packets do not count as owners.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _find_owner(port: int) -> str | None:
    import psutil

    try:
        connections = psutil.net_connections("tcp")
        pid = next((c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port), None)
        if pid is None:
            return None
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return None
    return f"process {pid} ({command[:_COMMAND_CHARACTERS]})"
