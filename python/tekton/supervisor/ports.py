"""Whether a port is free, and if it is not, whose it is."""

import asyncio
import errno
import os
import socket
from typing import Final

from tekton.supervisor import procfs
from tekton.utils.tekton_errors import PortInUseError

_COMMAND_CHARACTERS: Final = 80
_LISTENING: Final = b"0A"


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
        listening = [c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
        pid = next(filter(None, listening), None)
        if pid is None:
            return _hidden_owner(port) if listening else None
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return None
    return f"process {pid} ({_shortened(command)}){_component(pid)}"


def _shortened(command: str) -> str:
    return command if len(command) <= _COMMAND_CHARACTERS else f"{command[: _COMMAND_CHARACTERS - 1]}…"


def _component(pid: int) -> str:
    """Whose a process is that a Tekton has started; nothing for others."""
    component = procfs.variable_of(pid, "TEKTON_COMPONENT_ID")
    mark = procfs.mark_of(pid)
    if component is None or mark is None:
        return ""
    ours = procfs.mark_of(os.getpid())
    elsewhere = ours is not None and ours.partition(".")[0] != mark.partition(".")[0]
    return f", which is {component}'s" + (" in another Tekton system" if elsewhere else "")


def _hidden_owner(port: int) -> str:
    """Words for a process that only its own user and root may look at."""
    users = {_user_name(uid) for uid in _listening_users(port)}
    return f"a process of {' and '.join(sorted(users)) or 'somebody else'} that is not yours to see"


def _listening_users(port: int) -> set[int]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        found |= {int(row[7]) for row in rows if row[3] == _LISTENING and int(row[1].rpartition(b":")[2], 16) == port}
    return found


def _user_name(uid: int) -> str:
    import pwd  # there is none on Windows

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
