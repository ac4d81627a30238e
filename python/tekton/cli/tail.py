"""Reading log files on, without a control plane."""

from collections.abc import Iterator
from pathlib import Path

from tekton.cli.watch import pause
from tekton.supervisor.logs import tail_and_cursor

_LOOK_EVERY = 0.2


def follow_file(path: Path, count: int) -> Iterator[str]:
    """The last *count* lines and those to come, for ever; a file that is replaced or cut is read from its beginning."""
    last, cursor = tail_and_cursor(path, count)
    yield from last
    with cursor:
        while True:
            lines = cursor.read()
            yield from lines
            if not lines:
                pause(_LOOK_EVERY)
