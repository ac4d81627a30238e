"""Types that have a schema, of which nothing in JSON is."""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest

from tekton.mcp.schema_types import unfit
from tekton.mcp.tool import Tool


class Tree(msgspec.Struct):
    below: "dict[str, Tree]" = {}
    at: dict[int, str] = {}


class Frozen(msgspec.Struct, frozen=True):
    x: int


@dataclass
class Pair:
    left: dict[tuple[int, int], int]


class Row(NamedTuple):
    flags: dict[bool, int]


class Table(TypedDict):
    rows: list[Row]


Letter = Enum("Letter", {"A": "a"})


@pytest.mark.parametrize(
    "kind",
    [
        *(int, Any, Tree, dict[date, int], dict[int | None, int], dict[Literal[1, 2], int], dict[Letter, int]),
        *(dict[bytes, int], dict[Any, int], dict[Annotated[int, msgspec.Meta(ge=1)], int], set[Frozen]),
        *(set[tuple[int, ...]], set[Any], frozenset[int | str]),
    ],
    ids=str,
)
def test_types_that_json_can_be(kind: Any) -> None:
    assert unfit(kind) is None


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (dict[bool, int], "no key of an object is a bool"),
        (list[dict[tuple[int, int], int]], "no key of an object is a tuple"),
        (dict[frozenset[int], int] | None, "no key of an object is a frozenset"),
        (dict[str, Pair], "no key of an object is a tuple"),
        (Table, "no key of an object is a bool"),
        (dict[Annotated[bool, msgspec.Meta(description="x")], int], "no key of an object is a bool"),
        (set[list[int]], "no list can be in a set"),
        (frozenset[dict[str, int]], "no dict can be in a set"),
        (set[Tree], "no struct can be in a set"),
        (set[Pair], "no dataclass can be in a set"),
    ],
    ids=str,
)
def test_types_that_no_json_can_be(kind: Any, why: str) -> None:
    def take(value: Any) -> None: ...

    take.__annotations__["value"] = kind

    assert unfit(kind) == why
    with pytest.raises(TypeError, match=f"the tool take has a parameter that cannot come from JSON: {why}"):
        Tool.from_function(take)
