"""A picture is redrawn in place, and leaves the terminal as it was."""

import errno
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click
import pytest
from screen import Screen

from tekton.cli.picture import MovingPicture, Picture

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Tty(io.StringIO):
    """A terminal of which it is known what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "it has gone")
        self.writes.append(text)
        return super().write(text)

    def lines(self) -> list[str]:
        """What is seen on it; nothing is hidden there that was not overwritten."""
        screen = Screen()
        screen.write(self.getvalue())
        assert screen.text().pop() == ""
        return screen.text()[:-1]


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """`size(columns, lines)`: the terminal has that size from now on."""

    def resize(columns: int, lines: int) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))

    resize(10, 4)
    return resize


@pytest.fixture
def stderr(size: Any) -> Tty:
    """The terminal on which pictures move."""
    size(40, 10)
    return Tty()


class Rows:
    """What is drawn: the same rows each time, and how often that was. `drawn(n)` waits until it was n times."""

    def __init__(self, *rows: str) -> None:
        self.rows = list(rows)
        self.threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def __call__(self) -> list[str]:
        with self._changed:
            self.threads.append(threading.current_thread())
            self._changed.notify_all()
        return self.rows

    def drawn(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.threads) >= times, 20)


@pytest.fixture
def moving(stderr: Tty, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., MovingPicture]]:
    """`moving(lines)`: a MovingPicture on `stderr`, which is that of the process from then on."""
    started: list[MovingPicture] = []

    def start(lines: Any) -> MovingPicture:
        monkeypatch.setattr("sys.stderr", stderr)
        started.append(MovingPicture(lines))
        return started[-1]

    yield start
    for picture in started:
        with suppress(OSError):
            picture.stop()


def test_a_picture_is_drawn_over_the_one_before(size: Any) -> None:
    stream = Tty()
    with Picture(stream) as picture:
        picture.draw(["one", "two"])
        picture.draw(["1", "2", "3", "4", "5"])

    assert stream.getvalue() == (
        f"{HIDE}\rone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[2A\r1\x1b[K\n2\x1b[K\n… 3 more …\n\x1b[J{SHOW}"
    )


def test_a_frame_is_written_at_once(size: Any) -> None:
    stream = Tty()
    with Picture(stream) as picture:
        for number in range(3):
            picture.draw([str(number)] * 3, above="said\n" * number)

    assert len(stream.writes) == 5


def test_a_picture_that_becomes_smaller_leaves_nothing_over(size: Any) -> None:
    stream = Tty()
    with Picture(stream) as picture:
        picture.draw(["a long one", "another", "third"])
        picture.draw(["short", ""])

    assert stream.lines() == ["short", ""]


def test_a_full_line_keeps_its_last_character_and_an_empty_one_is_cleared(size: Any) -> None:
    stream = Tty()
    Picture(stream).draw(["0123456789", ""])

    # The cursor stays on the last column: what clears to the end of the line would clear that, too.
    assert stream.getvalue() == "\r0123456789\n\x1b[K\n\x1b[J"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (6, ["1", "2", "3", "4", "5"]),
        (5, ["1", "2", "3", "… 2 more lines"]),
        (3, ["1", "… 4 more lines"]),
        (2, ["1"]),
        (1, []),
    ],
)
def test_a_picture_is_lower_than_the_terminal(size: Any, lines: int, shown: list[str]) -> None:
    size(20, lines)
    stream = Tty()
    Picture(stream).draw(["1", "2", "3", "4", "5"])

    assert stream.lines() == shown


def test_what_a_narrower_terminal_has_wrapped_is_drawn_over(size: Any) -> None:
    size(20, 20)
    stream = Tty()
    picture = Picture(stream)
    picture.draw(["0123456789ABCDEF", "短", "", "\x1b[32m01234567\x1b[0m"])
    size(8, 20)
    picture.draw(["now"])

    assert stream.writes[-1] == "\x1b[5A\rnow\x1b[K\n\x1b[J"


def test_the_last_picture_is_whole(size: Any) -> None:
    stream = Tty()
    picture = Picture(stream)
    picture.draw(["0123456789ABC"])
    picture.draw(["0123456789ABC", "2", "3", "4", "5"], whole=True)

    assert stream.lines() == ["0123456789ABC", "2", "3", "4", "5"]


def test_a_picture_without_colour_has_none(size: Any) -> None:
    stream = Tty()
    Picture(stream, color=False).draw(["\x1b[32mready\x1b[0m"])

    assert stream.getvalue() == "\rready\x1b[K\n\x1b[J"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_cursor_is_back_whatever_happens(size: Any, error: type[BaseException]) -> None:
    stream = Tty()

    with pytest.raises(error), Picture(stream):
        raise error

    assert stream.getvalue() == HIDE + SHOW


def test_the_handler_of_sigterm_is_there_for_as_long_as_the_picture(size: Any) -> None:
    with Picture(Tty()):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_somebody_else_is_left_alone(size: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Picture(Tty()):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_thread_can_have_a_picture_too(size: Any) -> None:
    stream = Tty()

    def draw() -> None:
        with Picture(stream) as picture:
            picture.draw(["one"])

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()

    assert stream.getvalue() == f"{HIDE}\rone\x1b[K\n\x1b[J{SHOW}"


def test_sigterm_leaves_the_terminal_as_it_was(terminal: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]
    run = terminal("top")
    run.until("q quit")
    run.process.terminate()

    assert run.exit_status() == 128 + signal.SIGTERM
    assert run.text.count(HIDE) == run.text.count(SHOW) == 1
    assert run.text.endswith(SHOW)


# What moves


def test_a_moving_picture_is_drawn_by_a_thread_that_ends_with_it(stderr: Tty, moving: Any) -> None:
    rows = Rows("one", "two")
    picture = moving(rows)
    rows.drawn(3)
    picture.stop()

    assert not any(thread.name == "picture" for thread in threading.enumerate())
    assert rows.threads[0] is not threading.current_thread()
    assert stderr.lines() == ["one", "two"]
    assert stderr.getvalue().startswith(HIDE)
    assert stderr.getvalue().endswith(SHOW)


def test_it_may_be_stopped_twice(stderr: Tty, moving: Any) -> None:
    picture = moving(Rows("one"))
    picture.stop()
    picture.stop()

    assert stderr.lines() == ["one"]


def test_what_is_printed_meanwhile_comes_above_it(stderr: Tty, moving: Any) -> None:
    rows = Rows("one", "two")
    picture = moving(rows)
    rows.drawn(1)
    click.echo("first", err=True)
    click.echo(click.style("second", fg="red"), err=True, color=True)
    picture.stop()
    click.echo("after", err=True)

    assert stderr.lines() == ["first", "second", "one", "two", "after"]
    assert "\x1b[31msecond" in stderr.getvalue()


def test_a_line_that_is_printed_bit_by_bit_comes_whole(stderr: Tty, moving: Any) -> None:
    picture = moving(Rows("one"))
    click.echo("a ", err=True, nl=False)
    click.echo("line\nand ", err=True, nl=False)
    picture.stop()
    click.echo("another", err=True)

    assert stderr.lines() == ["a line", "one", "and another"]


def test_many_that_print_at_once_garble_nothing(stderr: Tty, moving: Any) -> None:
    picture = moving(Rows("one", "two"))

    def talk(name: str) -> None:
        for number in range(50):
            click.echo(f"{name} {number}", err=True)

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    picture.stop()

    assert sorted(stderr.lines()[:-2]) == sorted(f"{name} {number}" for name in "abc" for number in range(50))
    assert stderr.lines()[-2:] == ["one", "two"]


def test_whoever_has_kept_stderr_prints_on(stderr: Tty, moving: Any) -> None:
    picture = moving(Rows("one"))
    kept = sys.stderr
    picture.stop()
    print("late", file=kept)

    assert stderr.lines() == ["one", "late"]
    assert kept.isatty()


def test_stderr_and_the_cursor_are_back_when_the_last_frame_fails(stderr: Tty, moving: Any) -> None:
    def lines() -> list[str]:
        assert threading.current_thread() is not threading.main_thread()
        return ["one"]

    picture = moving(lines)
    with pytest.raises(AssertionError):
        picture.stop()

    assert sys.stderr is stderr
    assert stderr.getvalue().endswith(SHOW)


def test_a_terminal_that_goes_away_ends_the_thread(stderr: Tty, moving: Any) -> None:
    picture = moving(Rows("one"))
    stderr.gone = True
    picture._thread.join(20)

    assert not picture._thread.is_alive()
    with pytest.raises(OSError, match="gone"):
        picture.stop()
    assert sys.stderr is stderr


def test_what_is_drawn_may_print_something_itself(stderr: Tty, moving: Any) -> None:
    said: list[str] = []

    def lines() -> list[str]:
        if not said:
            said.append("said")
            click.echo("warned", err=True)
        return ["one"]

    moving(lines).stop()

    assert stderr.lines() == ["warned", "one"]
