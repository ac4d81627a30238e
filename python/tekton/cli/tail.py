"""Reading log files on, without a control plane."""

from collections.abc import Iterator
from pathlib import Path

from tekton.cli.watch import pause
from tekton.supervisor.log_lines import LineFilter
from tekton.supervisor.logs import tail_and_cursor

_LOOK_EVERY = 0.2


_ALL = LineFilter()


def follow_file(path: Path, count: int, only: LineFilter = _ALL) -> Iterator[str]:
    """The last *count* lines and those to come that pass *only*, for ever.

    A file that is rotated is read on, one that is replaced or cut from its beginning.
    """
    last, cursor = tail_and_cursor(path, count, only=only)
    yield from last
    with cursor:
        while True:
            lines = cursor.read()
            yield from filter(only.passes, lines)
            if not lines:
                pause(_LOOK_EVERY)
