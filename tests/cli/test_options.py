"""Options that several verbs share."""

from pathlib import Path
from typing import Any

import click
import pytest

from tekton.cli.options import Target, duration, some_time


def seconds(text: str) -> float | None:
    context: Any = None
    return duration(context, context, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        (" 5S ", 5.0),
        ("0", 0.0),
    ],
)
def test_a_length_of_time_is_read_into_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "5x", "-5", "5 s", "1m 30s", "nan", "inf", "1e3"])
def test_what_is_not_a_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a length of time"):
        seconds(text)


def test_some_time_is_more_than_nothing_and_has_an_end() -> None:
    context: Any = None
    read = some_time(86_400.0)

    assert [read(context, context, text) for text in (None, "1ms", "1d")] == [None, 0.001, 86_400.0]
    for text in ("0", "0s", "25h"):
        with pytest.raises(click.BadParameter, match="is not in the range: more than nothing, and at most 1d"):
            read(context, context, text)


def test_a_target_that_was_named_can_be_named_again() -> None:
    assert Target().words == ""
    assert Target(data_dir=Path("/my data")).words == " --data-dir '/my data'"
    assert Target(config=Path("/etc/tekton.json")).words == " --config /etc/tekton.json"


def test_a_target_is_completed_by_what_it_does_not_say() -> None:
    mine = Target(url="http://here")
    theirs = Target(data_dir=Path("/data"), url="http://there", config=Path("/tekton.json"))

    assert mine.beside(theirs) == Target(Path("/data"), "http://here", Path("/tekton.json"))
