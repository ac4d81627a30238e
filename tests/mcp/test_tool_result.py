"""What a tool has returned becomes JSON, or is refused before it costs anything."""

import dataclasses
import datetime
import tracemalloc
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar

import attrs
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


@attrs.define
class Couple:
    left: Any
    right: Any = None


@attrs.define(slots=False)
class Open:
    """One that can get members which it has not declared."""

    left: Any


class Text(str):
    """A text of which more is known."""


class Sparse(msgspec.Struct, omit_defaults=True):
    id: int = 1
    text: str = ""
    tags: list[str] = []
    more: int | msgspec.UnsetType = msgspec.UNSET


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
        (memoryview(b"\x00\xff"), "AP8="),
        (Enum("Choice", {"only": {"a": [1]}})["only"], {"a": [1]}),
        (Couple(1, [2]), {"left": 1, "right": [2]}),
        (Decimal("1.50"), "1.50"),
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
        (Couple(float("nan")), "nan is no number"),
        (Enum("Choice", {"only": float("nan")})["only"], "nan is no number"),
        (Enum("Choice", {"only": 2**70})["only"], "beyond 64 bits"),
    ],
)
def test_garbage_is_refused_and_said_to_be(value: Any, why: str) -> None:
    with pytest.raises(GarbageError, match=why):
        as_json(value, LIMIT)


def test_as_many_levels_as_are_allowed_are_allowed() -> None:
    assert as_json(nested(MAX_DEPTH), LIMIT).content == nested(MAX_DEPTH)


@pytest.mark.parametrize(
    "escaped",
    [
        "x" * 101,
        '"' * 51,
        "ä" * 51,
        ["x"] * 26,
        {str(number): 1 for number in range(30)},
        {Text("x" * 30): 1, Text("y" * 30): 2},
        b"x" * 99,
        [Enum("Choice", {"only": "x"})["only"]] * 26,
        [Couple(1)] * 9,
        [Sparse(2), Sparse()] * 9,
        [Decimal("9" * 1000)],
    ],
    ids=["text", "quotes", "letters", "list", "dict", "keys", "bytes", "enum", "attrs", "left out", "decimal"],
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


def wide(fields: int) -> Any:
    """Many references to one object of many members, all of which are one object of as many."""
    kind = msgspec.defstruct("Wide", [(f"field{number}", Any) for number in range(fields)])
    inner = kind(*range(fields))
    return [kind(*[inner] * fields)] * 20_000


def undeclared() -> Open:
    one = Open(1)
    vars(one)["more"] = "x" * 20_000_000
    return one


class Modest(list[Any]):
    """A list that says it is empty."""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    "value",
    [
        "x" * 20_000_000,
        b"x" * 20_000_000,
        ["x" * 1000] * 1_000_000,
        dict.fromkeys(range(300_000)),
        doubled(50),
        [Point(1, "x" * 100_000)] * 1000,
        memoryview(b"x" * 20_000_000),
        Enum("Choice", {"only": "x" * 20_000_000})["only"],
        Couple(["x" * 1000] * 1_000_000),
        undeclared(),
        Decimal("9" * 20_000_000),
        Modest(["x" * 1000] * 1_000_000),
        wide(300),
    ],
    ids=[
        *("text", "bytes", "list", "dict", "doubled", "structs", "memoryview", "enum", "attrs", "undeclared"),
        *("decimal", "a list that denies it", "wide"),
    ],
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


class Counted(msgspec.Struct, omit_defaults=True):
    """Counts how often one of its members was looked at."""

    first: int = 0

    looks: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> Any:
        Counted.looks += name == "first"
        return super().__getattribute__(name)


def test_looking_at_members_that_are_left_out_has_an_end_as_well() -> None:
    fields = [(f"field{number}", int, 0) for number in range(300)]
    kind = msgspec.defstruct("Sparse", fields, bases=(Counted,), omit_defaults=True)

    with pytest.raises(GarbageError, match="larger than 65536 bytes"):
        as_json([kind()] * 20_000, 65_536)

    assert 0 < Counted.looks < 1000


class Hostile:
    """A dataclass that raises what it is asked to."""

    __dataclass_fields__ = Pair.__dataclass_fields__

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error


def test_objects_that_raise_when_they_are_looked_at_are_garbage() -> None:
    for error in (RuntimeError("boo"), MemoryError()):
        with pytest.raises(GarbageError, match="no JSON form"):
            as_json(Hostile(error), LIMIT)
