"""A record that was kept does not change."""

import gc
import logging
import weakref
from typing import Any

import pytest

from tekton.utils.log_record import LONGEST, frozen, is_settled, message_of, settled, trace_of


def record(message: object = "text", *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "args": args})
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize(
    "kept", [record(), record("%s %d %s %f", "a", 1, None, 2.5), record(a="text", b=1, c=True, d=None)]
)
def test_texts_and_numbers_are_kept_as_they_are(kept: logging.LogRecord) -> None:
    assert is_settled(kept)


@pytest.mark.parametrize(
    "other",
    [
        record("%s", []),
        record(ValueError("x")),
        record(field={}),
        record("x" * 5000),
        record("%s", "x" * 5000),
        record(field="x" * 5000),
        record(exc_info=(ValueError, ValueError("x"), None)),
        record(stack_info="Stack"),
    ],
)
def test_all_else_is_copied(other: logging.LogRecord) -> None:
    assert not is_settled(other)
    copy, size = settled(other)
    assert message_of(copy)
    assert size > 0


def test_of_an_exception_only_what_it_says_is_kept() -> None:
    class Large:
        pass

    def fails() -> tuple["weakref.ref[Large]", logging.LogRecord]:
        large = Large()
        try:
            raise ValueError("boom")
        except ValueError as error:
            copy, _ = settled(record(exc_info=(ValueError, error, error.__traceback__)))
        return weakref.ref(large), copy

    large, copy = fails()
    gc.collect()

    assert large() is None
    assert copy.exc_info is None
    trace = trace_of(copy)
    assert trace is not None
    assert trace.startswith("Traceback (most recent call last)")
    assert 'raise ValueError("boom")' in trace
    assert trace_of(copy) == trace


def raised(depth: int, text: str) -> BaseException:
    try:
        if depth:
            raise raised(0, text)
        raise ValueError(text)
    except ValueError as error:
        return error


def test_an_exception_takes_as_much_room_as_it_has_to_say() -> None:
    short, long, endless = ("x" * size for size in (10, 50_000, 1_000_000))

    sizes = []
    for text in (short, long, endless):
        error = raised(1, text)
        copy, size = settled(record(exc_info=(ValueError, error, error.__traceback__)))
        sizes.append(size)
        assert len(trace_of(copy) or "") < LONGEST + 100

    assert sizes[0] < 1000
    assert 50_000 < sizes[1] < 60_000
    assert LONGEST < sizes[2] < LONGEST + 1000


def test_a_nest_without_end_and_a_crowd_take_little_room() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = [circle, circle]
    crowd = [["x" * 1000] * 1000] * 1000

    assert len(repr(frozen(circle))) < 20_000
    assert len(repr(frozen(crowd))) < 200_000
    assert len(str(frozen("x" * 10**7))) < LONGEST + 100


def test_values_become_what_a_line_can_hold() -> None:
    value = {"a": (1, 2), 3: {"b"}, "c": object, "d": [None, True, 1.5]}

    assert frozen(value) == {"a": [1, 2], "3": ["b"], "c": "<class 'object'>", "d": [None, True, 1.5]}
