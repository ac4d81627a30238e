"""Moments as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tekton.core.history.instants import parse_instant

NOW = datetime(2026, 11, 26, 10, 31, 30, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour before UTC, without summer time."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(*fields: int) -> float:
    return datetime(2026, 11, *fields, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1795668145", 1_795_668_145.0),
        ("1795668145.25", 1_795_668_145.25),
        ("-90s", NOW - 90),
        ("-2h", NOW - 7200),
        ("-1d2h3m4s", NOW - 86_400 - 7200 - 180 - 4),
        ("-0s", NOW),
        ("10:31", utc(26, 9, 31)),
        ("9:05", utc(26, 8, 5)),
        ("9:05:07", utc(26, 8, 5, 7)),
        ("11:31:30", utc(26, 10, 31, 30)),
        ("11:31:31", utc(25, 10, 31, 31)),
        ("23:59", utc(25, 22, 59)),
        ("2026-11-26T10:31:00Z", utc(26, 10, 31)),
        ("2026-11-26T10:31:00+02:00", utc(26, 8, 31)),
        ("2026-11-26 10:31", utc(26, 9, 31)),
        ("2026-11-26", utc(25, 23)),
        (" 10:31 ", utc(26, 9, 31)),
    ],
)
def test_a_moment_is_understood(text: str, meant: float) -> None:
    assert parse_instant(text, NOW) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "soon",
        "2h",
        "-2",
        "-2y",
        "25:00",
        "10:61",
        "1:2",
        "2026-13-01",
        "99999-01-01",
        "\u0661\u0660:\u0663\u0661",
        "12345",
        "-9999999d",
    ],
)
def test_what_is_no_moment_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write '10:31'"):
        parse_instant(text, NOW)
