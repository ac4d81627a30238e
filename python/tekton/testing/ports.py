"""Ports for what a test starts."""

import random
import socket
from typing import Final

# Below the range from which systems take ports by themselves (32768 on Linux, 49152 elsewhere), for outgoing
# connections and for listeners that do not care: nobody gets one of these by chance between the look and the use.
_FIRST: Final = 20_000
_LAST: Final = 32_000

_next = random.Random().randrange(_FIRST, _LAST)


def free_port(count: int = 1) -> int:
    """A port of 127.0.0.1 that nobody uses, the first of *count* such in a row; the next call returns others.

    Raises OSError when there are none.
    """
    global _next
    for _ in range(_FIRST, _LAST):
        port, _next = _next, _next + count if _next + 2 * count <= _LAST else _FIRST
        if all(_is_free(port + offset) for offset in range(count)):
            return port
    raise OSError(f"no {count} free ports from {_FIRST} to {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
