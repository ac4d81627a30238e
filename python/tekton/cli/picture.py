"""A picture: lines at the bottom of a terminal that are redrawn in place, and what is printed above them meanwhile.

Nothing is cleared before it is written over, and a frame is one write: so it does not flicker. The cursor is hidden
while there is a picture, and shown again however that ends; a signal that ends us does it by an exception, too.
"""

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO, cast

import click

from tekton.cli.terminal import cells, crop, size_of

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"
_EVERY = 0.1


class Picture:
    """Lines that are redrawn on *stream* while entered. What is too wide or too high for the terminal is cut."""

    def __init__(self, stream: TextIO, *, color: bool = True) -> None:
        self._stream = stream
        self._color = color
        self._widths: list[int] = []
        self._heeds_sigterm = False

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()
        # Who has a handler knows what to do; what is ignored was ignored on purpose.
        self._heeds_sigterm = in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if self._heeds_sigterm:
            signal.signal(signal.SIGTERM, _end)
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write(_SHOW_CURSOR)
        finally:
            if self._heeds_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def draw(self, lines: Sequence[str], *, above: str = "", whole: bool = False) -> None:
        """Show *lines* in place of those shown before.

        Before them comes the text *above*, to stay. With *whole* nothing is cut: they are not going to be redrawn.
        """
        columns, height = size_of(self._stream)
        if not whole:
            lines = [crop(line, columns) for line in _fit(lines, height - 1)]
        start = self._start(columns)
        self._widths = [cells(line) for line in lines]
        body = "".join(self._line(line, width, columns) for line, width in zip(lines, self._widths, strict=True))
        self._write(f"{start}{_CLEAR_BELOW + above if above else ''}{body}{_CLEAR_BELOW}")

    def _start(self, columns: int) -> str:
        """What moves the cursor to where the picture begins."""
        # A terminal that has become narrower has wrapped what was too wide for it.
        rows = sum(max(-(-width // columns), 1) for width in self._widths)
        return f"\x1b[{rows}A\r" if rows else "\r"

    def _line(self, line: str, width: int, columns: int) -> str:
        # After a full line the cursor is still on its last column, which would be cleared.
        clear = "" if width and width % columns == 0 else _CLEAR_LINE
        return f"{line if self._color else click.unstyle(line)}{clear}\n"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _fit(lines: Sequence[str], height: int) -> Sequence[str]:
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"] if height > 1 else lines[:height]


def _end(signum: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signum)


class MovingPicture:
    """A picture on stderr of what *lines* gives, drawn ten times a second by a thread of its own until `stop`.

    What others print to stderr meanwhile comes above it, whole lines at a time. *lines* is called in that thread, and
    in those that print.
    """

    def __init__(self, lines: Callable[[], Sequence[str]], *, color: bool = True) -> None:
        self._lines = lines
        self._stream = sys.stderr
        self._picture = Picture(self._stream, color=color)
        self._lock = threading.RLock()  # what is torn down while it is held may complain
        self._enough = threading.Event()
        self._over = False
        self._begun = ""
        self._thread = threading.Thread(target=self._run, name="picture", daemon=True)
        self._picture.__enter__()
        sys.stderr = cast("TextIO", _Above(self._stream, self._print))
        self._thread.start()

    def stop(self) -> None:
        """Draw it once more, whole, and leave it there. May be called twice."""
        if self._over:
            return
        self._enough.set()
        try:
            self._thread.join()
            self._draw(whole=True)
        finally:
            self._over = True
            sys.stderr = self._stream
            self._picture.__exit__(None, None, None)
            self._stream.write(self._begun)

    def _run(self) -> None:
        try:
            while not self._enough.wait(_EVERY):
                self._draw()
        except OSError:
            return  # the terminal has gone

    def _draw(self, *, above: str = "", whole: bool = False) -> None:
        lines = self._lines()  # may print, too
        with self._lock:
            self._picture.draw(lines, above=above, whole=whole)

    def _print(self, text: str) -> None:
        with self._lock:
            if self._over:
                self._stream.write(text)
                return
            done, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                self._draw(above=done + newline)


class _Above:
    """Stands for *stream*, on which there is a picture: what is printed to it is given to *printed*."""

    def __init__(self, stream: TextIO, printed: Callable[[str], None]) -> None:
        self._stream = stream
        self._printed = printed

    def write(self, text: str) -> int:
        self._printed(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
