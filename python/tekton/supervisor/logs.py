"""Reading the log files of components: their end, what is new, and what they said before they died.

Logs are appended to by the processes themselves. The guard rotates them meanwhile, and anyone may truncate or replace
them at any time. Positions count all that was ever written (see `log_rotation`), so they outlive a rotation; what has
been moved to `<log>.1` and beyond is read there.
"""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.supervisor.log_files import open_log_file
from tekton.supervisor.log_lines import LineFilter
from tekton.supervisor.log_rotation import expected, first_position, last_start, removed

_T = TypeVar("_T")
_BLOCK_BYTES = 64 * 1024
_MAX_LINE_BYTES = 64 * 1024
_MAX_TAIL_BYTES = 16 * 1024 * 1024
_POLL = 0.1
_EVIDENCE_BYTES = 8 * 1024
_ATTEMPTS = 5
_PATIENCE = 10.0
"""Seconds after which a rotation that has not come to its end was killed, it seems."""

_ALL = LineFilter()


def tail(path: Path, lines: int, *, previous: bool = False, only: LineFilter = _ALL) -> list[str]:
    """The last *lines* lines of a log, oldest first; none when there is no such file. Reads at most 16 MiB of its end.

    With *previous*, those from before its process was last started. Lines that do not pass *only* do not count. Raises
    OSError when it cannot be read, or is not a regular file.
    """
    try:
        return _steady(path, lambda log: log.tail(lines, log.last_start if previous else log.end, only)[0])
    except FileNotFoundError:
        return []


def evidence(path: Path, position: int, lines: int = 10) -> list[str]:
    """The last *lines* lines that are not empty and were written after *position*. Reads at most 8 KiB.

    None of a log that cannot be read: who asks is telling of something worse.
    """
    try:
        data = _steady(path, lambda log: log.read(max(position, log.end - _EVIDENCE_BYTES), log.end))
    except OSError:
        return []
    return [line.rstrip() for line in _decode(data).splitlines() if line.strip()][-lines:]


def end_of(path: Path) -> int:
    """The position of the end of a log; 0 when there is no such file."""
    try:
        return _steady(path, lambda log: log.end)
    except FileNotFoundError:
        return 0


def block_before(path: Path, end: int | None, size: int) -> tuple[int, bytes]:
    """What stands in a log before position *end* (at its end, without one): at most *size* bytes, and where they begin.

    Nothing when there is no more of it. Raises OSError as `tail` does.
    """

    def read(log: _Series) -> tuple[int, bytes]:
        stop = log.end if end is None else min(end, log.end)
        data = log.read(max(stop - size, 0), stop)
        return stop - len(data), data

    try:
        return _steady(path, read)
    except FileNotFoundError:
        return 0, b""


async def follow(path: Path, lines: int = 0, *, poll: float = _POLL, only: LineFilter = _ALL) -> AsyncIterator[str]:
    """The last *lines* lines, then every complete line that is added, as long as the caller wants, if it passes *only*.

    Looks every *poll* seconds. When the file is replaced, the rest of the old one comes first.
    """
    import asyncio  # the rest of this file serves programs that have no event loop

    last, cursor = tail_and_cursor(path, lines, only=only)
    for line in last:
        yield line
    with cursor:
        while True:
            for line in filter(only.passes, cursor.read()):
                yield line
            await asyncio.sleep(poll)


def tail_and_cursor(path: Path, lines: int, *, only: LineFilter = _ALL) -> tuple[list[str], "LogCursor"]:
    """The last *lines* complete lines that pass *only*, and a cursor that continues after them."""
    try:
        last, position = _steady(path, lambda log: log.tail(lines, log.end, only, complete=True))
    except FileNotFoundError:
        last, position = [], 0
    return last, LogCursor(path, position)


class LogCursor:
    """A position in a log that may not exist yet. `read()` returns what has been added since."""

    def __init__(self, path: Path, position: int = 0, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._position = position
        self._clock = clock
        self._file: int | None = None
        self._partial = b""
        self._busy_since: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[str]:
        """The complete lines that were added since the last call; a line of more than 64 KiB comes in pieces."""
        if self._file is None and not self._open():
            return []
        while data := self._next_block():
            if lines := self._complete_lines(data):
                return lines
        return []

    @property
    def line_position(self) -> int:
        """Where the line begins that comes next."""
        return self._position - len(self._partial)

    def rest(self) -> str:
        """What has been read of a line that has no end yet."""
        return _decode(self._partial)

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> bool:
        try:
            file = open_log_file(self._path)
        except FileNotFoundError:
            return False
        self.close()
        self._file = file
        return True

    def _next_block(self) -> bytes:
        data = self._read_block()
        if not data and self._replaced() and self._open():
            self._start_anew(0)
            data = self._read_block()
        return data

    def _read_block(self) -> bytes:
        """What comes next; nothing, too, while the log is just being rotated."""
        assert self._file is not None
        start = self._first_position(self._file)
        size = os.fstat(self._file).st_size
        if start is None or self._first_position(self._file) != start:
            return b""
        if self._position > start + size:
            # Truncated in place: what is there now is new.
            self._start_anew(start)
        if self._position < start:
            return self._read_older(start)
        data = os.pread(self._file, _BLOCK_BYTES, self._position - start)
        if self._first_position(self._file) != start:
            return b""
        self._position += len(data)
        return data

    def _first_position(self, file: int) -> int | None:
        start = removed(file)
        if start is not None:
            self._busy_since = None
            return start
        now = self._clock.monotonic()
        self._busy_since = now if self._busy_since is None else self._busy_since
        return expected(file) if now - self._busy_since > _PATIENCE else None

    def _read_older(self, start: int) -> bytes:
        end = min(start, self._position + _BLOCK_BYTES)
        data = _steady(self._path, lambda log: log.read(self._position, end))
        if self._file is None or self._first_position(self._file) != start:
            return b""
        if not data or self._replaced():
            self._start_anew(start)
            return b""
        self._position = end
        return data

    def _start_anew(self, position: int) -> None:
        self._position = position
        self._partial = b""

    def _complete_lines(self, data: bytes) -> list[str]:
        *complete, rest = (self._partial + data).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            complete, rest = [*complete, rest], b""
        self._partial = rest
        return [_decode(line).rstrip("\r") for line in complete]

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False


class _Series:
    """A log and the files that its older parts were moved to, as one row of bytes. Raises FileNotFoundError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = [open_log_file(path)]
        self._starts = [first_position(self._files[0])]
        self.end = self._starts[0] + os.fstat(self._files[0]).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for file in self._files:
            os.close(file)

    @property
    def has_moved(self) -> bool:
        """True when what was read may have been at another place by then."""
        return first_position(self._files[0]) != self._starts[0]

    @property
    def last_start(self) -> int:
        """Where the last run began; where that is unknown, the beginning of the log itself."""
        found = last_start(self._files[0])
        return self._starts[0] if found is None else min(found, self.end)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from position *start* to *end*, as far as they are still there."""
        data = b""
        number = 0
        while start < end and self._has(number):
            first = max(start, self._starts[number])
            if first < end:
                data = os.pread(self._files[number], end - first, first - self._starts[number]) + data
                end = first
            number += 1
        return data

    def tail(self, lines: int, end: int, only: LineFilter, *, complete: bool = False) -> tuple[list[str], int]:
        """The last lines before *end*, and the position after them. *complete*: without a line that has no end yet."""
        start, data, enough = end, b"", False
        while not enough and len(data) < _MAX_TAIL_BYTES:
            block = self.read(start - max(_BLOCK_BYTES, len(data)), start)
            if not block:
                break
            start -= len(block)
            data = block + data
            # One more line break than lines: the one before the first of them.
            if data.count(b"\n") > lines + 1:
                enough = only.open or len(only.choose(_split(data[data.find(b"\n") + 1 :]))) >= lines
        if complete:
            data = data[: data.rfind(b"\n") + 1]
            end = start + len(data)
        texts = only.choose(_split(data))
        return texts[len(texts) - min(lines, len(texts)) :], end

    def _has(self, number: int) -> bool:
        if number == len(self._files):
            try:
                file = open_log_file(f"{self._path}.{number}")
            except FileNotFoundError:
                return False
            self._files.append(file)
            self._starts.append(self._starts[-1] - os.fstat(file).st_size)
        return True


def _steady(path: Path, read: Callable[[_Series], _T]) -> _T:
    """What *read* gives, from a log that was not rotated meanwhile."""
    attempts = _ATTEMPTS
    while True:
        attempts -= 1
        with _Series(path) as log:
            result = read(log)
            if not log.has_moved or attempts == 0:
                return result


def _split(data: bytes) -> list[str]:
    return [line.rstrip("\r") for line in _decode(data).removesuffix("\n").split("\n")] if data else []


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
