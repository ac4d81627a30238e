"""Server-sent events, the receiving side: from the bytes of a stream to its events."""

import re
from dataclasses import dataclass, field

MAX_EVENT_BYTES = 64 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLargeError(Exception):
    """The stream sends an event without end."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. `id` is the last id that the stream gave, "" before the first."""

    event: str
    data: str
    id: str


@dataclass(slots=True)
class EventStreamParser:
    """Feed it the stream in pieces of any size; follows the parsing rules of the HTML standard.

    `retry` is the pause before reconnecting, in seconds, if the server named one. An event has at most *most* bytes.
    """

    retry: float | None = None
    most: int = MAX_EVENT_BYTES
    _buffer: bytearray = field(default_factory=bytearray)
    _scanned: int = 0
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _size: int = 0
    _id: str = ""
    _after_cr: bool = False
    _started: bool = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that *chunk* completes. Raises `EventTooLargeError` for one that is too large."""
        self._buffer += chunk
        events = []
        while (line := self._next_line()) is not None:
            if (event := self._take(line)) is not None:
                events.append(event)
        if len(self._buffer) + self._size > self.most:
            raise EventTooLargeError(f"an event is larger than {self.most} bytes")
        return events

    def _next_line(self) -> str | None:
        """The next whole line without its end, which is CR, LF or CRLF."""
        if self._after_cr and self._buffer:
            self._after_cr = False
            if self._buffer.startswith(b"\n"):
                del self._buffer[:1]
        end = _LINE_END.search(self._buffer, self._scanned)
        if end is None:
            self._scanned = len(self._buffer)
            return None
        line = self._buffer[: end.start()].decode("utf-8", "replace")
        self._after_cr = end.group() == b"\r"
        del self._buffer[: end.end()]
        self._scanned = 0
        if not self._started:
            self._started = True
            line = line.removeprefix("\ufeff")
        return line

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1  # with its end: lines that are empty are not free
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._event or "message", "\n".join(self._data), self._id) if self._data else None
        self._event = ""
        self._data = []
        self._size = 0
        return event
