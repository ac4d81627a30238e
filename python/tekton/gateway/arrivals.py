"""How long ago a request has reached this machine, as the kernel knows it.

The server reads requests by itself and hands them on one by one, so that most of the time a request waits goes by
before we see it: in the queue of connections, unread, in the server's own queue. No part of that shows in Python. But
the kernel tells of each connection when it last received something, and that is when the request came.

Asked is the kernel's table of sockets (sock_diag(7)), by the two addresses of a connection: about five microseconds. It
answers on Linux only, and not in every sandbox.
"""

import errno
import math
import socket
import struct
import sys
from typing import Final

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ERROR: Final = 2
_ANY_STATE: Final = 0xFFFFFFFF
_INFO: Final = 2
_LISTENING: Final = 10
"""The state of the socket that is found when there is no such connection any more."""

_HEADER: Final = struct.Struct("=IHHII")
_QUESTION: Final = struct.Struct("=BBBxI")
_PORTS: Final = struct.Struct("!HH")
_REST: Final = struct.Struct("=III")
_ANSWER_BYTES: Final = 72
_ATTRIBUTE: Final = struct.Struct("=HH")
_LAST_DATA_RECEIVED: Final = 8 + 4 * 11
"""Its place in `struct tcp_info`, where it is in milliseconds."""


def age(client: str, server: str) -> float | None:
    """Seconds since something came in on the connection between two `address:port`; None when nobody can tell.

    Infinite when there is no such connection any more: whoever has asked has given it up.
    """
    if not client or sys.platform != "linux":
        return None
    try:
        question = _question(client, server)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
            kernel.setblocking(False)  # the kernel has answered before `send` returns
            kernel.send(question)
            return _age_in(kernel.recv(4096))
    except (OSError, ValueError, struct.error):
        return None


def _question(client: str, server: str) -> bytes:
    family, here, port = _parts(server)
    _, there, their_port = _parts(client)
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), _ANY_STATE)
    body = question + _PORTS.pack(port, their_port) + here + there + _REST.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body


def _parts(address: str) -> tuple[int, bytes, int]:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return family, socket.inet_pton(family, host.strip("[]")).ljust(16, b"\0"), int(port)


def _age_in(answer: bytes) -> float | None:
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        return math.inf if struct.unpack_from("=i", answer, _HEADER.size)[0] == -errno.ENOENT else None
    if kind != _BY_FAMILY:
        return None
    if answer[_HEADER.size + 1] == _LISTENING:
        return math.inf
    at = _HEADER.size + _ANSWER_BYTES
    while at + _ATTRIBUTE.size <= len(answer):
        length, name = _ATTRIBUTE.unpack_from(answer, at)
        if name == _INFO:
            (milliseconds,) = struct.unpack_from("=I", answer, at + _ATTRIBUTE.size + _LAST_DATA_RECEIVED)
            return float(milliseconds) / 1000
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return None
