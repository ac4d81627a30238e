"""What a terminal can do, and a picture that is redrawn."""

import io
from typing import Any

import pytest

from tekton.cli.terminal import Keys, Picture, crop, is_live, wants_color


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


def test_a_picture_is_drawn_over_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "4")
    stream = Tty()
    with Picture(stream) as picture:
        picture.draw(["one", "two"])
        picture.draw(["1", "2", "3", "4", "5"])

    assert stream.getvalue() == (
        "\x1b[?25l\rone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[2A\r1\x1b[K\n2\x1b[K\n… 3 more …\x1b[K\n\x1b[J\x1b[?25h"
    )


def test_a_picture_without_colour_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Tty()
    Picture(stream, color=False).draw(["\x1b[32mready\x1b[0m"])

    assert "ready\x1b[K" in stream.getvalue()
    assert "\x1b[32m" not in stream.getvalue()


def test_without_a_terminal_no_key_ever_comes() -> None:
    with Keys(io.StringIO("q")) as keys:
        assert keys.pressed(0.001) == ""


def test_force_color_colours_a_pipe(tekton: Any, plane: Any, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.components = [double.view("hermes")]
    assert "\x1b[32m" not in tekton("ps").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b[32mready\x1b[0m" in tekton("ps").stdout
