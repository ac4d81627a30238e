"""Reading the log files of components: their end, what is new, and what they said before they died.

Logs are appended to by the processes themselves and may be rotated or truncated by anyone at any time.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Self

_BLOCK_BYTES = 64 * 1024
_MAX_LINE_BYTES = 64 * 1024
_MAX_TAIL_BYTES = 16 * 1024 * 1024
_POLL = 0.1
_EVIDENCE_BYTES = 8 * 1024


def tail(path: Path, lines: int) -> list[str]:
    """The last *lines* lines of a log, oldest first; none when there is no such file. Reads only the end of it."""
    return _tail(path, lines)[0]


def evidence(path: Path, offset: int, lines: int = 10) -> list[str]:
    """The last *lines* lines that are not empty and were written after byte *offset*. Reads at most 8 KiB."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = max(min(offset, size), size - _EVIDENCE_BYTES)
            file.seek(start)
            found = [line.rstrip() for line in _decode(file.read(_EVIDENCE_BYTES)).splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    return found[-lines:]


async def follow(path: Path, lines: int = 0, *, poll: float = _POLL) -> AsyncIterator[str]:
    """The last *lines* lines, then every complete line that is added, as long as the caller wants.

    Looks every *poll* seconds. When the file is replaced, the rest of the old one comes first.
    """
    import asyncio  # the rest of this file serves programs that have no event loop

    last, cursor = tail_and_cursor(path, lines)
    for line in last:
        yield line
    with cursor:
        while True:
            for line in cursor.read():
                yield line
            await asyncio.sleep(poll)


def tail_and_cursor(path: Path, lines: int) -> tuple[list[str], "LogCursor"]:
    """The last *lines* complete lines, and a cursor that continues after them."""
    last, position = _tail(path, lines, complete=True)
    return last, LogCursor(path, position)


class LogCursor:
    """A position in a log that may not exist yet. `read()` returns what has been added since."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._file: BinaryIO | None = None
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[str]:
        """The complete lines that were added since the last call; a line of more than 64 KiB comes in pieces."""
        if self._file is None and not self._open(self._offset):
            return []
        lines = self._read_lines()
        if not lines and self._replaced() and self._open(0):
            lines = self._read_lines()
        return lines

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, offset: int) -> bool:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file = file
        self._partial = b""
        file.seek(offset)
        return True

    def _read_lines(self) -> list[str]:
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        if size < self._file.tell():
            # Truncated in place: what is there now is new.
            self._file.seek(0)
            self._partial = b""
        *complete, rest = (self._partial + self._file.read(_BLOCK_BYTES)).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            complete, rest = [*complete, rest], b""
        self._partial = rest
        return [_decode(line).rstrip("\r") for line in complete]

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False


def _tail(path: Path, lines: int, *, complete: bool = False) -> tuple[list[str], int]:
    """The last lines, and the offset after them. *complete*: leave out a last line that has no end yet."""
    try:
        with path.open("rb") as file:
            return _tail_of(file, lines, complete)
    except FileNotFoundError:
        return [], 0


def _tail_of(file: BinaryIO, lines: int, complete: bool) -> tuple[list[str], int]:
    end = start = os.fstat(file.fileno()).st_size
    data = b""
    # One more line break than lines: the one before the first of them.
    while start > 0 and data.count(b"\n") <= lines + 1 and len(data) < _MAX_TAIL_BYTES:
        size = min(_BLOCK_BYTES, start)
        start -= size
        file.seek(start)
        data = file.read(size) + data
    if complete:
        data = data[: data.rfind(b"\n") + 1]
        end = start + len(data)
    texts = [line.rstrip("\r") for line in _decode(data).removesuffix("\n").split("\n")] if data else []
    return texts[len(texts) - min(lines, len(texts)) :], end


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
