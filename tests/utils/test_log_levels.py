"""Levels change while a program runs."""

import logging
from collections.abc import Iterator

import pytest

from tekton.utils.log_levels import effective_level, known_loggers, level_name, levels, own_level, set_level

BELOW = "levels-of.a-test"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.root.level
    yield
    logging.root.setLevel(root)
    logging.getLogger("levels-of").setLevel(logging.NOTSET)
    logging.getLogger(BELOW).setLevel(logging.NOTSET)


def test_a_level_holds_for_the_loggers_below_that_have_none_of_their_own() -> None:
    below = logging.getLogger(BELOW)
    set_level("levels-of", "error")

    assert not below.isEnabledFor(logging.WARNING)
    assert (own_level(BELOW), effective_level(BELOW)) == (None, "error")

    set_level(BELOW, "debug")

    assert below.isEnabledFor(logging.DEBUG)
    assert levels() == {**levels(), "levels-of": "error", BELOW: "debug"}


def test_a_level_can_be_taken_away_again() -> None:
    set_level("root", "warning")
    set_level(BELOW, "debug")

    set_level(BELOW, None)

    assert effective_level(BELOW) == "warning"
    assert BELOW not in levels()
    assert levels()["root"] == "warning"


def test_what_makes_no_sense_is_refused_and_changes_nothing() -> None:
    before = levels()

    with pytest.raises(ValueError, match="unknown log level 'loud'; one of debug, info, warning, error, critical"):
        set_level(BELOW, "loud")
    with pytest.raises(ValueError, match="the root logger always has a level"):
        set_level("root", None)

    assert levels() == before


def test_levels_between_the_named_ones_are_called_by_the_one_below() -> None:
    assert [level_name(number) for number in (1, 10, 25, 30, 99)] == ["debug", "debug", "info", "warning", "critical"]


def test_a_logger_that_only_has_others_below_it_is_known() -> None:
    logging.getLogger(BELOW)

    assert {"root", "levels-of", BELOW} <= known_loggers()
