"""Lines of JSON over a non-blocking socket: the guard's end of its connection to the control plane.

Nothing here waits: what cannot be sent yet is kept, and how much is kept is the business of the owner (`backlog`).
"""

import json
import socket
from typing import Any

Message = dict[str, Any]
"""One JSON object."""

MAX_LINE_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


class WireClosedError(Exception):
    """The other end has gone, or no longer speaks the protocol."""


class Wire:
    """One end of a stream socket that carries JSON lines. Takes the socket over."""

    __slots__ = ("_received", "_socket", "_unsent")

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._received = bytearray()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def backlog(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._unsent)

    def send(self, message: Message) -> None:
        """Send *message*, or keep what the socket does not take. Never raises: `receive` tells of a lost peer."""
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()

    def receive(self) -> list[Message]:
        """The messages that have arrived. Raises WireClosedError at the end, or when the peer sends nonsense."""
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise WireClosedError(str(error)) from error
        if not chunk:
            raise WireClosedError("closed")
        self._received += chunk
        return self._complete_lines()

    def close(self) -> None:
        """Close the socket; what was not sent is lost."""
        self._socket.close()

    def _complete_lines(self) -> list[Message]:
        *lines, rest = self._received.split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise WireClosedError(f"a line of more than {MAX_LINE_BYTES} bytes")
        self._received = rest
        return [_decode(line) for line in lines]


def _decode(line: bytearray) -> Message:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise WireClosedError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireClosedError("not a JSON object")
    return message
