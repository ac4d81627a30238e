"""The terminal: what it can do, a picture that is redrawn in place, and keys as they are pressed.

A picture is drawn only where nothing else writes and somebody looks: on a terminal that can move its cursor, and not
under CI. TERM=dumb has neither pictures nor colours, NO_COLOR no colours, FORCE_COLOR colours in a pipe too.
"""

import os
import re
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


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
    return _size().columns if stream.isatty() else None


def crop(line: str, width: int) -> str:
    """*line* with at most *width* visible characters, its colours closed."""
    room, kept = width, []
    for piece in _STYLE.split(line):
        if _STYLE.fullmatch(piece):
            kept.append(piece)
        else:
            kept.append(piece if len(piece) <= room else piece[: max(room - 1, 0)] + "…" * bool(room))
            room = max(room - len(piece), 0)
    return "".join(kept)


def _size() -> os.terminal_size:
    import shutil  # it brings compressors along, which a pipe does not need

    return shutil.get_terminal_size()


class Picture:
    """Lines at the bottom of a terminal, redrawn in place: nothing is cleared before it is written over.

    While entered, the cursor is hidden. What is too high for the terminal is cut at the end.
    """

    def __init__(self, stream: TextIO, *, color: bool = True) -> None:
        self._stream = stream
        self._color = color
        self._height = 0

    def __enter__(self) -> Self:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_SHOW_CURSOR)

    def draw(self, lines: Sequence[str]) -> None:
        """Show *lines* in place of those shown before."""
        size = _size()
        shown = [self._dye(crop(line, size.columns)) for line in _fit(lines, size.lines - 1)]
        up = f"\x1b[{self._height}A" if self._height else ""
        body = "".join(f"{line}{_CLEAR_LINE}\n" for line in shown)
        self._write(f"{up}\r{body}{_CLEAR_BELOW}")
        self._height = len(shown)

    def _dye(self, line: str) -> str:
        return line if self._color else _STYLE.sub("", line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _fit(lines: Sequence[str], height: int) -> Sequence[str]:
    if len(lines) <= height or height < 2:
        return lines
    return [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]


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
