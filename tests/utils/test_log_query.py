"""What a query wants, and what is wrong with one that is wrong."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.supervisor.log_lines import LogLine, read_line
from tekton.utils.log_query import EVERYTHING, LEVELS, LogQueryError, Query, Seen, query_of

NOW = 1_769_860_800.0
SLOW = (
    '{"time":"2026-01-31T12:00:00Z","level":"warn","message":"Slow answer","ms":12.5,"user":{"name":"ann"},"ok":true}'
)


def wants(query: str, text: str, *, unit: str = "web", at: float | None = NOW) -> bool:
    return Query(query, NOW).wants(Seen(unit, at, read_line(text)))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", True),
        ("level>=warn", True), ("level>warning", False), ("level:warning", True), ("level=error", False),
        ("level<=info", False), ("level<error", True), ("level!=warn", False), ("LEVEL>=Warn", True),
        ("comp:web", True), ("comp:w*", True), ("component:api,web", True), ("comp:api", False), ("comp!=web", False),
        ("slow", True), ('"SLOW answer"', True), ("fast", False), ("-slow", False), ("-fast", True),
        ("/[Ss]low an/", True), ("/slow/", False), ("/slow/i", True), ("-/slow/i", False), (r"/a\/b/", False),
        ("ms=12.5", True), ("ms=12.50", True), ("ms>12", True), ("ms<=12", False), ("-ms>12", False), ("ms!=13", True),
        ("user.name=ann", True), ("user.name=a*", True), ("user.name=b*", False), ("user.name!=bob", True),
        ("ok=true", True), ("ok=1", False), ("ok>0", False), ("none=1", False), ("none!=1", True), ("none>1", False),
        ('message="Slow answer"', True), ("message=*answer", True), ("message=Slow", False),
        ("since:1s", True), ("until:1s", False), ("since:2026-01-31T12:00:00Z", True), ("since:2026-01-31", True),
        ("since:1769860801", False), ("until:1769860801", True), ("since:1h30m until:1000ms", False),
        ("level>=warn comp:web slow -fast ms>1 /Slow/", True), ("slow fast", False),
    ],
)  # fmt: skip
def test_a_line_is_wanted_or_not(query: str, wanted: bool) -> None:
    assert wants(query, SLOW) is wanted


def test_a_line_that_shows_no_level_may_belong_to_the_line_before() -> None:
    assert wants("level>=error", "Traceback")
    assert wants("level>error", "Traceback")
    assert wants("level!=error", "Traceback")
    assert not wants("level:error", "Traceback")
    assert not wants("level<error", "Traceback")
    assert not wants("-level>=error", "Traceback")


def test_a_line_without_a_time_passes_until_one_is_known() -> None:
    assert wants("since:1m", "Traceback", at=None)
    assert not wants("since:1m", "Traceback", at=NOW - 100)


def test_a_component_stands_for_its_replicas() -> None:
    assert wants("comp:worker", "", unit="worker.2")
    assert wants("comp:worker.2", "", unit="worker.2")
    assert not wants("comp:worker.1", "", unit="worker.2")


def test_units_that_cannot_be_wanted_need_not_be_read() -> None:
    query = Query("comp:web*,api -comp:web-2 error", NOW)

    assert [unit for unit in ("web", "web-1", "web-2", "api", "api.1", "db") if query.wants_unit(unit)] == [
        "web", "web-1", "api", "api.1",
    ]  # fmt: skip
    assert EVERYTHING.wants_unit("x")


def test_what_stands_beside_a_query_is_part_of_it() -> None:
    query = query_of("slow -fast", level="warning", since=NOW - 10, until=NOW + 10, now=NOW)

    assert query.wants(Seen("web", NOW, read_line(SLOW)))
    assert (query.since, query.until) == (NOW - 10, NOW + 10)
    assert not query.wants(Seen("web", NOW - 20, read_line(SLOW)))


@pytest.mark.parametrize(
    ("query", "problem", "position", "nearest"),
    [
        ("cmop:web", "cmop: is none of", 0, "comp"),
        ("ok levle>=warn", "levle>= needs a number, not 'warn'", 10, "level"),
        ("level>=wran", "'wran' is no level", 7, "warn"),
        ("http://x", "http: is none of", 0, None),
        ('say "hello', "the quote is not closed", 4, None),
        ("/tim", "the pattern has no / at its end", 0, None),
        ("x /a(/", "a ( without a )", 5, None),
        ("/a/b", "behind the pattern stands what is no term", 3, None),
        ("since:soon", "'soon' is no time", 6, None),
        ("since>10m", "since is followed by a colon", 0, None),
        ("comp>web", "a component is not more or less than another", 0, None),
        ("level>=", "a value is missing", 7, None),
        ("a - b", "a - with nothing behind it", 2, None),
        ('""', "there is nothing in the quotes", 0, None),
        ("x " * 51, "a query has at most 50 terms", 100, None),
        ("x" * 2000, "a query has at most 1000 characters", 1000, None),
    ],
)
def test_a_mistake_is_told_with_its_place(query: str, problem: str, position: int, nearest: str | None) -> None:
    with pytest.raises(LogQueryError) as raised:
        Query(query, NOW)

    assert raised.value.problem.startswith(problem)
    assert (raised.value.position, raised.value.nearest) == (position, nearest)


@given(st.text("ab:=<>!/\"'-\\ *.1()[]{}|^$levlcompsince\t\n", max_size=30))
def test_no_text_is_too_odd_to_be_read_or_refused(text: str) -> None:
    position = 0
    try:
        assert Query(text, NOW).wants(Seen("web", NOW, read_line(SLOW))) in (True, False)
    except LogQueryError as error:
        position = error.position

    assert 0 <= position <= len(text)


Naive = Callable[[Seen], bool]


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


LEVEL_TERMS: list[tuple[str, Naive]] = [
    (
        f"level{operator}{level}",
        lambda seen, operator=operator, level=level: (
            operator in (">=", ">", "!=")
            if seen.line.level is None
            else eval(f"{LEVELS.index(seen.line.level)} {operator.replace(':', '==')} {LEVELS.index(level)}")
        ),
    )
    for operator in (":", ">=", "<=", ">", "<", "!=")
    for level in LEVELS
]
TERMS: list[tuple[str, Naive]] = [
    *LEVEL_TERMS,
    ("comp:web", lambda seen: seen.unit.split(".")[0] == "web"),
    ("comp!=api,db", lambda seen: seen.unit.split(".")[0] not in ("api", "db")),
    ("since:10s", lambda seen: (seen.time or 0) >= NOW - 10),
    ("until:10s", lambda seen: (seen.time or 0) <= NOW - 10),
    ("alpha", lambda seen: "alpha" in seen.line.text.lower()),
    ('"two words"', lambda seen: "two words" in seen.line.text.lower()),
    ("/b+e/", lambda seen: "be" in seen.line.text),
    ("n=5", lambda seen: seen.line.fields.get("n") in (5, "5") and seen.line.fields.get("n") is not True),
    ("n!=5", lambda seen: seen.line.fields.get("n") not in (5, "5")),
    ("n>5", lambda seen: _number(seen.line.fields.get("n")) > 5),
    ("n<=5", lambda seen: _number(seen.line.fields.get("n")) <= 5),
]
LINES = st.builds(
    lambda level, text, fields: LogLine(text, None, level, text if fields else None, fields),
    st.sampled_from([None, *LEVELS]),
    st.lists(st.sampled_from(["Alpha", "beta", "be", "two", "words", " "])).map(" ".join),
    st.dictionaries(st.just("n"), st.none() | st.integers(3, 7) | st.floats(4, 6) | st.booleans() | st.just("5")),
)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(TERMS)), max_size=4),
    st.lists(st.tuples(st.sampled_from(["web", "web.1", "api", "db"]), st.floats(NOW - 20, NOW), LINES), max_size=4),
)
def test_all_terms_hold_as_a_dumb_reading_says(
    terms: list[tuple[bool, tuple[str, Naive]]], lines: list[tuple[str, float, LogLine]]
) -> None:
    query = Query(" ".join(f"{'-' * negated}{text}" for negated, (text, _) in terms), NOW)

    for unit, at, line in lines:
        seen = Seen(unit, at, line)
        expected = all(naive(seen) is not negated for negated, (_, naive) in terms)
        assert query.wants(seen) is expected
        assert query.wants_unit(unit) or not expected


def test_what_holds_other_values_is_no_text() -> None:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    seen = Seen("web", NOW, LogLine("", None, None, "said", {"a": nest, "b": {"c": 1.5}}))

    assert not Query("a=x", NOW).wants(seen)
    assert Query("a=* b.c=1.5 b!=x", NOW).wants(seen)
