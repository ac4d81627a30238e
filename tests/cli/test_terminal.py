"""What a terminal can do, and how wide a text is on it."""

import fcntl
import io
import os
import pty
import struct
import termios
from typing import Any

import pytest

from tekton.cli.terminal import Keys, cells, crop, is_live, size_of, wants_color


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "color"),
    [
        ({}, None),
        ({"TERM": "dumb"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, None),
        ({"FORCE_COLOR": ""}, None),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colour_depends_on_the_environment(environment: dict[str, str], color: bool | None) -> None:
    assert wants_color(False, environment) is color
    assert wants_color(True, environment) is False


def test_a_picture_needs_a_terminal_that_can_and_somebody_who_looks() -> None:
    assert is_live(Tty(), {})
    assert not is_live(io.StringIO(), {})
    assert not is_live(Tty(), {"TERM": "dumb"})
    assert not is_live(Tty(), {"CI": "true"})


@pytest.mark.parametrize(
    ("line", "cropped"),
    [
        ("short", "short"),
        ("much too long", "much …"),
        ("\x1b[32mready\x1b[0m and more", "\x1b[32mready\x1b[0m…"),
        ("\x1b[32mmuch too long\x1b[0m", "\x1b[32mmuch …\x1b[0m"),
    ],
)
def test_a_line_is_cropped_by_what_is_seen_of_it(line: str, cropped: str) -> None:
    assert crop(line, 6) == cropped


def test_a_wide_character_takes_two_columns_and_a_combining_one_none() -> None:
    assert cells("ab\x1b[32mc\x1b[0m") == 3
    assert cells("坏了e\u0301") == 5


@pytest.mark.parametrize(("width", "cropped"), [(6, "坏了坏"), (5, "坏了…"), (4, "坏…"), (1, "…"), (0, "")])
def test_a_wide_character_is_never_cut_in_two(width: int, cropped: str) -> None:
    assert crop("坏了坏", width) == cropped


def test_the_size_of_a_terminal_is_the_one_that_it_has_now() -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:
        sizes = []
        for lines, columns in ((40, 88), (12, 30), (0, 0)):
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
            sizes.append(tuple(size_of(stream, {})))
    os.close(ours)

    assert sizes == [(88, 40), (30, 12), (80, 24)]


def test_the_environment_may_say_another_size() -> None:
    assert size_of(Tty(), {"COLUMNS": "70", "LINES": "much"}) == (70, 24)


def test_without_a_terminal_no_key_ever_comes() -> None:
    with Keys(io.StringIO("q")) as keys:
        assert keys.pressed(0.001) == ""


def test_force_color_colours_a_pipe(tekton: Any, plane: Any, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.components = [double.view("hermes")]
    assert "\x1b[32m" not in tekton("ps").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b[32mready\x1b[0m" in tekton("ps").stdout
