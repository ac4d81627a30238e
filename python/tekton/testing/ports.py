"""Ports for what a test starts."""

import random
import socket
from collections import deque
from contextlib import ExitStack
from typing import Final

# Below the range from which systems take ports by themselves (32768 on Linux, 49152 elsewhere), for outgoing
# connections and for listeners that do not care: nobody gets one of these by chance between the look and the use.
_FIRST: Final = 20_000
_LAST: Final = 32_000
_KEPT: Final = 256

_next = random.Random().randrange(_FIRST, _LAST)
_given: Final[deque[int]] = deque()
"""UDP sockets on the numbers that were given away last: tests in other processes see by them that these are taken.

File descriptors, since nobody is there to close objects in the end.
"""


def free_port(count: int = 1) -> int:
    """A port of 127.0.0.1 that nobody uses, the first of *count* such in a row; the next call returns others.

    Calls in other processes return others, too, as long as this one goes on and has not asked for some hundreds more.
    Raises OSError when there are none.
    """
    global _next
    for _ in range(_FIRST, _LAST):
        port, _next = _next, _next + count if _next + 2 * count <= _LAST else _FIRST
        if _take(range(port, port + count)):
            return port
    raise OSError(f"no {count} free ports from {_FIRST} to {_LAST}")


def _take(ports: range) -> bool:
    with ExitStack() as taken:
        try:
            marks = [taken.enter_context(_bound(port, socket.SOCK_DGRAM)) for port in ports]
            for port in ports:
                _bound(port, socket.SOCK_STREAM).close()
        except OSError:
            return False
        taken.pop_all()
    _given.extend(mark.detach() for mark in marks)
    while len(_given) > _KEPT:
        socket.close(_given.popleft())
    return True


def _bound(port: int, kind: socket.SocketKind) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound
