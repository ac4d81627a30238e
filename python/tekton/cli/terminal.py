"""The terminal: what it can do, how wide a text is on it, and keys as they are pressed.

Something is redrawn in place (`picture.py`) only where somebody looks: on a terminal that can move its cursor, and not
under CI. TERM=dumb has neither pictures nor colours, NO_COLOR no colours, FORCE_COLOR colours in a pipe too.
"""

import os
import re
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
_USUAL_SIZE = os.terminal_size((80, 24))


def wants_color(no_color: bool, environment: "Mapping[str, str]" = os.environ) -> bool | None:
    """Whether to use colours: None means on a terminal only."""
    if no_color or environment.get("TERM") == "dumb":
        return False
    return True if environment.get("FORCE_COLOR", "0") not in ("", "0") else None


def is_live(stream: TextIO, environment: "Mapping[str, str]" = os.environ) -> bool:
    """True when a picture may be drawn on *stream* again and again."""
    return stream.isatty() and environment.get("TERM") != "dumb" and not environment.get("CI")


def width_of(stream: TextIO) -> int | None:
    """The columns of a terminal; None where there is no end to a line."""
    return size_of(stream).columns if stream.isatty() else None


def size_of(stream: TextIO, environment: "Mapping[str, str]" = os.environ) -> os.terminal_size:
    """Columns and lines of the terminal that *stream* is, at this moment; what COLUMNS and LINES say comes first."""
    try:
        actual = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        actual = os.terminal_size((0, 0))
    said = (environment.get("COLUMNS", ""), environment.get("LINES", ""))
    return os.terminal_size(
        (int(word) if word.isdecimal() else 0) or real or usual
        for word, real, usual in zip(said, actual, _USUAL_SIZE, strict=True)
    )


def cells(text: str) -> int:
    """How many columns *text* takes on a terminal; its colours take none."""
    text = click.unstyle(text)
    return len(text) if text.isascii() else sum(map(_cells, text))


def crop(line: str, width: int) -> str:
    """*line* in at most *width* columns, its colours closed."""
    room, kept = width, []
    for piece in _STYLE.split(line):
        kept.append(piece if _STYLE.fullmatch(piece) else _cut(piece, room))
        room = max(room - cells(piece), 0)
    return "".join(kept)


def _cut(text: str, room: int) -> str:
    if cells(text) <= room:
        return text
    used, kept = 0, []
    for character in text:
        used += _cells(character)
        if used > room - 1:
            break
        kept.append(character)
    return "".join(kept) + "…" * (room > 0)


def _cells(character: str) -> int:
    import unicodedata  # hardly anything is written in anything else than ASCII

    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0  # it joins the one before
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


class Keys:
    """Single key presses on stdin, while entered; where stdin is no terminal, none ever comes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdin
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty() and sys.platform != "win32":
            import termios
            import tty

            self._before = termios.tcgetattr(self._stream)
            tty.setcbreak(self._stream, termios.TCSADRAIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self._stream, termios.TCSADRAIN, self._before)

    def pressed(self, within: float) -> str:
        """The key that was pressed within that many seconds, or the empty string."""
        from tekton.cli.watch import pause

        if self._before is None:
            pause(within)
            return ""
        import select

        ready, _, _ = select.select([self._stream], [], [], within)
        return os.read(self._stream.fileno(), 1).decode("ascii", "replace") if ready else ""
