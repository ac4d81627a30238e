"""The guard's connection to the control plane of the moment, within the guard's selector."""

import selectors
import socket
from collections.abc import Callable
from typing import Final

from tekton.supervisor.wire import Message, Wire, WireClosedError

_BACKLOG_PAUSE: Final = 256 * 1024
_BACKLOG_LIMIT: Final = 8 * 1024 * 1024


class Link:
    """At most one connection at a time; what is published without one is dropped.

    While answers wait to be read, no further requests are read. *on_message* gets each request, *on_closed* hears
    why the connection has ended, *on_stuck* that the other end has not read for far too long.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        on_stuck: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._on_message = on_message
        self._on_closed = on_closed
        self._on_stuck = on_stuck
        self._wire: Wire | None = None

    def open(self, connection: socket.socket) -> None:
        """Serve *connection* from now on."""
        self._wire = Wire(connection)
        self._selector.register(self._wire, selectors.EVENT_READ, self._on_ready)

    def close(self) -> None:
        """Close the connection. Closing twice does nothing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._selector.unregister(wire)
            wire.close()

    def publish(self, message: Message) -> None:
        """Send *message* now, or as soon as the other end reads."""
        if self._wire is not None:
            self._wire.send(message)
            self._listen(self._wire)

    def _on_ready(self) -> None:
        wire = self._wire
        if wire is None:
            return
        wire.flush()
        try:
            messages = wire.receive()
        except WireClosedError as error:
            self.close()
            self._on_closed(str(error))
            return
        for message in messages:
            self._on_message(message)
        if self._wire is not None:
            self._listen(self._wire)

    def _listen(self, wire: Wire) -> None:
        if wire.backlog > _BACKLOG_LIMIT:
            self._on_stuck()
        writing = selectors.EVENT_WRITE if wire.backlog else 0
        reading = selectors.EVENT_READ if wire.backlog < _BACKLOG_PAUSE else 0
        self._selector.modify(wire, writing | reading, self._on_ready)
