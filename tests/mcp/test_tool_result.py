"""What a tool has returned becomes JSON, or is refused before it costs anything."""

import dataclasses
import datetime
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.mcp.modality import CodeContent, TextContent
from tekton.mcp.tool_result import MAX_DEPTH, GarbageError, as_json

LIMIT = 1024 * 1024

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


class Point(msgspec.Struct):
    x: int
    label: str = ""


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


@given(value=json_values)
def test_what_is_json_stays_as_it_is(value: Any) -> None:
    result = as_json(value, LIMIT)

    assert result.content == value
    assert msgspec.json.decode(result.json) == value


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (Point(1, "a"), {"x": 1, "label": "a"}),
        ([Pair(1, Point(2))], [{"left": 1, "right": {"x": 2, "label": ""}}]),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (b"\x00\xff", "AP8="),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (TextContent("hello"), "hello"),
        (CodeContent("x = 1", "python"), {"modality": "code", "code": "x = 1", "language": "python"}),
        ([CodeContent("x", "c")], [{"modality": "code", "code": "x", "language": "c"}]),
    ],
)
def test_what_has_a_json_form_gets_it(value: Any, content: Any) -> None:
    assert as_json(value, LIMIT).content == content


def cycle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "of the type object has no JSON form"),
        ({"a": [1, lambda: 1]}, "no JSON form"),
        ((number for number in range(3)), "no JSON form"),
        (float("nan"), "nan is no number"),
        ({"a": [float("-inf")]}, "-inf is no number"),
        (2**64, "beyond 64 bits"),
        ([10**5_000], "beyond 64 bits"),
        ("\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        (cycle(), "contains itself"),
        (nested(MAX_DEPTH + 1), "more than 60 levels"),
        (Pair(1, Pair(float("inf"), 2)), "inf is no number"),
        (Point(2**70), "beyond 64 bits"),
    ],
)
def test_garbage_is_refused_and_said_to_be(value: Any, why: str) -> None:
    with pytest.raises(GarbageError, match=why):
        as_json(value, LIMIT)


def test_as_many_levels_as_are_allowed_are_allowed() -> None:
    assert as_json(nested(MAX_DEPTH), LIMIT).content == nested(MAX_DEPTH)


@pytest.mark.parametrize(
    "escaped", ["x" * 101, '"' * 51, "ä" * 51, ["x"] * 26, {str(number): 1 for number in range(30)}]
)
def test_the_limit_is_that_of_the_bytes_as_json(escaped: Any) -> None:
    size = len(msgspec.json.encode(escaped))

    assert as_json(escaped, size).json == msgspec.json.encode(escaped)
    with pytest.raises(GarbageError, match=f"larger than {size - 1} bytes"):
        as_json(escaped, size - 1)


def doubled(times: int) -> Any:
    """2 ** *times* leaves out of a few objects."""
    value: Any = ["x"]
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 20_000_000,
        b"x" * 20_000_000,
        ["x" * 1000] * 1_000_000,
        dict.fromkeys(range(300_000)),
        doubled(50),
        [Point(1, "x" * 100_000)] * 1000,
    ],
    ids=["text", "bytes", "list", "dict", "doubled", "structs"],
)
def test_what_is_far_too_large_is_not_copied(value: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(GarbageError, match="larger than 65536 bytes"):
            as_json(value, 65_536)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * 1024 * 1024


class Hostile(dict[str, Any]):
    def keys(self) -> Any:
        raise RuntimeError("boo")


class Endless(list[int]):
    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[int]:
        raise MemoryError


def test_objects_that_raise_when_they_are_looked_at_are_garbage() -> None:
    for value in (Hostile(a=1), Endless()):
        with pytest.raises(GarbageError, match="no JSON form"):
            as_json(value, LIMIT)
