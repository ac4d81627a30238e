"""Arguments of tools as words of a command line, read by their schemas."""

from typing import Any, Literal

import click
import msgspec
import pytest

from tekton.cli.tool_arguments import parsed
from tekton.mcp.tool import Tool


class Address(msgspec.Struct):
    city: str
    zip: int | None = None


async def order(
    item: str,
    count: int = 1,
    price: float = 0.0,
    fast: bool = False,
    tags: list[str] = [],  # noqa: B006 - as its schema has it
    sizes: list[int] = [],  # noqa: B006
    to: Address | None = None,
    how: Literal["air", "sea"] = "air",
    note: str | None = None,
    either: int | str = 0,
    level: Literal[1, 2] = 1,
    nothing: None = None,
    rest: Any = None,
) -> None: ...


SCHEMA = Tool.from_function(order).input_schema


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("item=apple", "apple"),
        ("item=", ""),
        ("item=3", "3"),
        ("item=true", "true"),
        ('item="quoted"', '"quoted"'),
        ("item=a=b", "a=b"),
        ("count=3", 3),
        ("count=-3", -3),
        ("price=2.5", 2.5),
        ("price=2", 2),
        ("fast=true", True),
        ("tags=red", ["red"]),
        ("tags=3", ["3"]),
        ('tags=["red","[blue]"]', ["red", "[blue]"]),
        ("tags=[]", []),
        ("sizes=3", [3]),
        ('to={"city":"Bath"}', {"city": "Bath"}),
        ("to=null", None),
        ("how=sea", "sea"),
        ("note=null", None),
        ("note=null and void", "null and void"),
        ('note="null"', "null"),
        ("either=5", 5),
        ("either=five", "five"),
        ("level=2", 2),
        ("nothing=null", None),
        ("rest=[1]", [1]),
        ("rest=a b", "a b"),
    ],
)
def test_a_value_is_read_as_the_schema_says(word: str, value: object) -> None:
    name = word.partition("=")[0]

    read = parsed([word], SCHEMA)[name]

    assert (read, type(read)) == (value, type(value))


def test_a_list_is_given_member_by_member() -> None:
    words = ["tags=red", "item=apple", "tags=blue", 'tags=["a","b"]', "sizes=1", "sizes=2"]

    assert parsed(words, SCHEMA) == {"tags": ["red", "blue", "a", "b"], "item": "apple", "sizes": [1, 2]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["count"], "write name=value"),
        (["=3"], "write name=value"),
        (["count=three"], "count=three: expected a whole number"),
        (["count=3.5"], "expected a whole number"),
        (["count=true"], "expected a whole number"),
        (["count=NaN"], "expected a whole number"),
        (["price=x"], "expected a number"),
        (["price=1e400"], "expected a number"),
        (["fast=yes"], "expected true or false"),
        (["sizes=x"], "expected a whole number"),
        (["tags=["], "array"),
        (["to=Bath"], r"expected null or JSON \(object\)"),
        (["item=a", "item=b"], "item is given twice"),
        (["cuont=3"], r"no argument 'cuont'; did you mean 'count'\?"),
        (["zzzzzz=3"], "it takes item, count"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_called(words: list[str], problem: str) -> None:
    with pytest.raises(click.UsageError, match=problem):
        parsed(words, SCHEMA)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": None},
        {"properties": {"x": True}},
        {"properties": {"x": {"$ref": "#/$defs/missing"}}},
        {"properties": {"x": {"$ref": "#/properties/x"}}},
        {"properties": {"x": {"anyOf": [{"$ref": "#/properties/x"}]}}},
        {"properties": {"x": {"anyOf": "x", "type": 3}}},
        {"properties": {"y": 1}, "additionalProperties": True},
    ],
    ids=["empty", "null", "anything", "dangling", "itself", "circle", "nonsense", "others"],
)
def test_a_schema_that_says_nothing_of_use_lets_everything_through(schema: dict[str, Any]) -> None:
    assert parsed(["x=3"], schema) == {"x": 3}


def test_a_type_that_is_unheard_of_is_named() -> None:
    with pytest.raises(click.UsageError, match=r"expected JSON \(unheard-of\)"):
        parsed(["x=3"], {"properties": {"x": {"type": ["unheard-of"]}}})


def test_a_tool_without_arguments_says_so() -> None:
    with pytest.raises(click.UsageError, match="it takes none"):
        parsed(["x=3"], {"properties": {}, "additionalProperties": False})


class Counted(dict[str, Any]):
    """A schema that counts how often it is looked at."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.looks += key == "anyOf"
        return super().get(key, default)


@pytest.mark.parametrize("last", [{"$ref": "#/$defs/0"}, {"type": "integer"}], ids=["circle", "tree"])
def test_a_schema_that_refers_often_is_looked_at_once_for_each_that_it_refers_to(
    last: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "looks", 0)
    definitions = {
        str(number): Counted(anyOf=[*[{"$ref": f"#/$defs/{number + 1}"}] * 2, {"type": "integer"}])
        for number in range(10)
    }
    schema = {"properties": {"x": {"$ref": "#/$defs/0"}}, "$defs": {**definitions, "10": last}}

    assert parsed(["x=3"], schema) == {"x": 3}
    assert Counted.looks == 10
    with pytest.raises(click.UsageError, match="expected a whole number"):
        parsed(["x=three"], schema)
