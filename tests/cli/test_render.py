"""How things look."""

import io
import sys

import pytest

from tekton.cli.render import Column, ago, clean, counts, elapsed, harmless, share, short_duration, short_size, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (41.9, "41s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86400, "1d"), (200000, "2d"), (-3, "0s")],
)
def test_a_length_of_time_in_a_table_has_one_unit(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.314, "0.31 s"), (12.34, "12.3 s"), (90, "1m")])
def test_a_measured_length_of_time_is_as_exact_as_it_is_useful(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_what_was_less_than_a_second_ago_was_just_now() -> None:
    assert ago(0.4) == "just now"
    assert ago(61) == "1m ago"


def test_counts_begin_with_what_is_well() -> None:
    assert counts(["failed", "ready", "ready", "starting"]) == "4 components: 2 ready, 1 starting, 1 failed"
    assert counts(["ready"]) == "1 component: 1 ready"


def test_control_characters_are_taken_out() -> None:
    assert clean("a\tb\x1b[31mc\r\n") == "a b [31mc"


def test_the_last_column_is_whole_in_a_pipe() -> None:
    lines = table([Column("A"), Column("NOTE")], [["x", "n" * 200]])

    assert lines[1] == "x  " + "n" * 200


def test_the_last_column_is_cut_to_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())

    assert table([Column("A"), Column("NOTE")], [["x", "n" * 200]])[1] == "x  " + "n" * 36 + "…"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(None, "-"), (0.0, "0.0%"), (0.0042, "0.4%"), (0.0994, "9.9%"), (0.0996, "10%"), (2.5, "250%")],
)
def test_a_share_of_a_core_has_a_decimal_only_when_it_is_small(fraction: float | None, text: str) -> None:
    assert share(fraction) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (999, "999B"),
        (1_000, "1K"),
        (921_600, "900K"),
        (39_845_888, "38M"),
        (1_288_490_189, "1.2G"),
        (10_500_000, "10M"),
    ],
)
def test_memory_fits_four_characters(size_bytes: int | None, text: str) -> None:
    assert short_size(size_bytes) == text


def test_a_terminal_obeys_nothing_in_what_strangers_wrote() -> None:
    assert harmless("one\n  two\tthree") == "one\n  two\tthree"
    assert harmless("\x1b]0;title\x07 \x9b31m \u202eback\r") == " ]0;title   31m  back "
