"""How lines of logs look."""

import json

import click
import pytest

from tekton.cli.log_view import MOST_SHOWN, machine_readable, merged, readable


def shown(text: str) -> list[str]:
    return [click.unstyle(line) for line in readable(text)]


def test_a_json_line_is_shown_as_people_write_them() -> None:
    text = '{"time":"2026-01-31T12:00:00Z","level":"warn","logger":"a.b","message":"slow","ms":12,"who":"two words"}'

    assert shown(text) == ['2026-01-31T12:00:00.000Z WARNING  a.b: slow ms=12 who="two words"']


def test_a_traceback_in_a_field_has_lines_of_its_own() -> None:
    text = json.dumps({"msg": "failed", "exception": "Traceback:\n  in x\nValueError: y\n"})

    assert shown(text) == ["failed", "  exception:", "  Traceback:", "    in x", "  ValueError: y"]


@pytest.mark.parametrize("text", ["plain text", '{"a": 1}', "{broken", "tabs\tand émojis 👩‍👧"])
def test_other_lines_are_shown_as_they_are(text: str) -> None:
    assert shown(text) == [text]


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    text = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202eabc \x00\x7f back\rover"

    assert shown(text) == ["red \\x1b]0;title\\x07 \\x9b2J \\u202eabc \\x00\\x7f back\\rover"]
    assert shown(json.dumps({"msg": "a\nb\x1b[2J", "f\x1b": "\x07"})) == ["a\\nb\\x1b[2J f\\x1b=\\x07"]


def test_a_line_without_end_is_cut() -> None:
    (line,) = shown("x" * 10_000_000)

    assert line == "x" * MOST_SHOWN + "… (+9.5 MiB)"


def test_programs_get_the_line_and_what_was_read_in_it() -> None:
    text = '{"time":"2026-01-31T12:00:00Z","level":"warn","message":"slow","ms":12}'

    assert json.loads(machine_readable("web", text)) == {
        "component": "web",
        "line": text,
        "time": 1769860800.0,
        "level": "warning",
        "message": "slow",
        "fields": {"ms": 12},
    }
    assert json.loads(machine_readable("web", "hello")) == {"component": "web", "line": "hello"}


def test_several_logs_are_merged_by_the_times_in_them() -> None:
    at = "2026-01-31T12:00:0{}Z {}".format
    logs = {"a": ["no time", at(1, "a1"), "  more of a1", at(4, "a4")], "b": [at(1, "b1"), at(3, "b3")], "c": ["c"]}

    assert [text[-2:].strip() for _, text in merged(logs)] == ["me", "c", "a1", "a1", "b1", "b3", "a4"]
