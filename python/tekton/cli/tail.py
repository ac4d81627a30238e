"""Reading log files from their end, and on."""

import os
from collections.abc import Iterator
from pathlib import Path

from tekton.cli.watch import pause

_BLOCK = 64 * 1024
_LOOK_EVERY = 0.2


def last_lines(path: Path, count: int, end: int | None = None) -> list[str]:
    """The last *count* lines of a file (of its first *end* bytes), reading no more of it than they need.

    Raises OSError.
    """
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        data = b""
        while position > 0 and data.count(b"\n") <= count:
            step = min(_BLOCK, position)
            position = file.seek(position - step)
            data = file.read(step) + data
    return _lines(data)[-count:] if count else []


def follow_file(path: Path, count: int) -> Iterator[str]:
    """The last *count* lines and those to come, for ever; a file that is replaced or cut is read from its beginning."""
    rest = b""
    inode, position = _stat(path)
    if position:
        yield from last_lines(path, count, position)
    while True:
        current, size = _stat(path)
        if current != inode or size < position:
            inode, position, rest = current, 0, b""
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                data = file.read(_BLOCK)
            position += len(data)
            complete, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                yield from _lines(complete)
        else:
            pause(_LOOK_EVERY)


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").removesuffix("\n").split("\n") if data else []
