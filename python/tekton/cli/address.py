"""The port that `up --auto-port` takes when somebody else has the configured one."""

import socket
from collections.abc import Container
from typing import NamedTuple

from tekton.supervisor.ports import describe_owner

_FARTHEST = 1000


class Shift(NamedTuple):
    """Another port than the configured one, and who has that."""

    port: int
    owner: str


def shifted(host: str, port: int, reserved: Container[int]) -> Shift | None:
    """The next port that is free on *host* and not *reserved*; None when *port* itself is free, or no other is."""
    if port == 0 or _is_free(host, port):
        return None
    candidates = range(port + 1, min(port + _FARTHEST, 65536))
    free = next((other for other in candidates if other not in reserved and _is_free(host, other)), None)
    return None if free is None else Shift(free, describe_owner(port) or "another process")


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True
