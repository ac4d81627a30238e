"""What can be read in lines that programs of all kinds write."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.supervisor.log_lines import LEVELS, LineFilter, clock_time, read_line
from tekton.utils.log_query import query_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "time", "level", "message"),
    [
        ('{"time": "2026-01-31T12:00:00.000Z", "level": "info", "logger": "x", "message": "up"}', NOON, "info", "up"),
        ('{"level":30,"time":1769860800000,"pid":1,"msg":"up"}', NOON, "info", "up"),
        ('{"level":"WARN","ts":1769860800.5,"msg":"up"}', NOON + 0.5, "warning", "up"),
        ('{"@timestamp":"2026-01-31T12:00:00.123456789Z","lvl":"ERROR","msg":"x"}', NOON + 0.123456, "error", "x"),
        ('{"@t":"2026-01-31T13:00:00+01:00","@l":"Fatal","@m":"x"}', NOON, "critical", "x"),
        ('{"event":"up","timestamp":"2026-01-31 12:00:00Z","severity":"NOTICE"}', NOON, "info", "up"),
        ('{"severity":3,"message":"x"}', None, "error", "x"),
        ('{"level":true,"time":false,"msg":"x"}', None, None, "x"),
        ('{"level":"odd","msg":"x"}', None, None, "x"),
        ('{"a": 1}', None, None, None),
        ('{"broken', None, None, None),
        ("[1, 2]", None, None, None),
        ("2026-01-31T12:00:00.000Z WARNING tekton.guard: text", NOON, "warning", None),
        ("[2026-01-31 12:00:00,250+00:00] ERROR in app", NOON + 0.25, "error", None),
        ('ts=x level=warn msg="no information"', None, "warning", None),
        ("no information about errors", None, None, None),
        ("", None, None, None),
    ],
)  # fmt: skip
def test_time_level_and_message_are_read(text: str, time: float | None, level: str | None, message: str | None) -> None:
    line = read_line(text)

    assert (line.text, line.level, line.message) == (text, level, message)
    assert line.time == (None if time is None else pytest.approx(time, abs=1e-6))


def test_the_other_fields_are_kept_and_those_that_were_read_are_not() -> None:
    line = read_line('{"msg": "up", "level": "info", "time": "never", "port": 80}')

    assert line.fields == {"time": "never", "port": 80}


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_DOCUMENTS = st.dictionaries(st.sampled_from(["time", "ts", "level", "msg", "message", "x"]), _VALUES)


@given(st.text() | st.recursive(_VALUES, st.lists).map(json.dumps) | _DOCUMENTS.map(json.dumps))
def test_no_line_is_too_odd(text: str) -> None:
    line = read_line(text)

    assert line.level is None or line.level in LEVELS
    assert line.time is None or clock_time(line.time)


def test_a_nest_without_end_is_a_line_like_any_other() -> None:
    assert read_line('{"a":' * 40_000).message is None


def test_lines_of_a_level_and_above_pass_and_so_do_those_without_one() -> None:
    lines = ['{"level":"info","msg":"a"}', '{"level":"error","msg":"b"}', "Traceback", "2026-01-31T12:00:00Z DEBUG x"]

    assert LineFilter(query_of(level="warning", now=NOON)).choose(lines) == [lines[1], lines[2]]
    assert LineFilter().choose(lines) == lines


def test_a_line_without_a_time_belongs_to_the_line_before_it() -> None:
    lines = ["first", "2026-01-31T11:59:59Z old", "  of the old", "2026-01-31T12:00:00Z new", "  of the new"]

    assert LineFilter(query_of(since=NOON, now=NOON)).choose(lines) == ["first", *lines[3:]]
