"""From a function to a tool: name, description, schema, and what happens to arguments."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tekton.mcp.tool import Tool
from tekton.utils.tekton_errors import InvalidIdError


class Address(msgspec.Struct):
    street: str
    number: int = 1


async def greet(name: str, excited: bool = False) -> str:
    """Greet someone
    by name.

    At length.

    Args:
        name: Who is greeted,
            by the first name.
        excited (bool): Whether loudly.

    Returns:
        A greeting.
    """
    return f"Hello, {name}{'!' if excited else '.'}"


def test_name_description_and_schema_come_from_the_function() -> None:
    tool = Tool.from_function(greet)

    assert (tool.name, tool.description) == ("greet", "Greet someone by name.")
    assert tool.input_schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Who is greeted, by the first name."},
            "excited": {"type": "boolean", "description": "Whether loudly.", "default": False},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def test_parameters_can_be_described_in_sphinx_style() -> None:
    def add(a: int, b: int) -> int:
        """Add.

        :param a: The first.
        :param int b: The second.
        """
        return a + b

    properties = Tool.from_function(add).input_schema["properties"]

    assert [properties[name]["description"] for name in "ab"] == ["The first.", "The second."]


def test_structs_choices_and_bounds_are_in_the_schema() -> None:
    def send(to: Address, how: Literal["post", "mail"], copies: Annotated[int, msgspec.Meta(ge=1)] = 1) -> None: ...

    schema = Tool.from_function(send).input_schema

    assert schema["properties"]["to"] == {"$ref": "#/$defs/Address"}
    assert schema["$defs"]["Address"]["required"] == ["street"]
    assert schema["properties"]["how"]["enum"] == ["mail", "post"]
    assert schema["properties"]["copies"]["minimum"] == 1


def test_what_is_not_annotated_takes_anything() -> None:
    def echo(value, times=1):  # type: ignore[no-untyped-def]
        return value

    assert Tool.from_function(echo).input_schema["properties"] == {"value": {}, "times": {"default": 1}}


async def test_a_tool_is_called_with_checked_arguments_of_the_types_it_asked_for() -> None:
    def street(to: Address) -> str:
        return to.street

    assert await Tool.from_function(street).call({"to": {"street": "High Street"}}) == "High Street"
    assert await Tool.from_function(greet).call({"name": "Ada", "excited": True}) == "Hello, Ada!"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "missing required field `name`"),
        ({"name": 1}, r"Expected `str`, got `int` - at `\$.name`"),
        ({"name": "Ada", "exited": True}, "unknown field `exited`"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_call(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        await Tool.from_function(greet).call(arguments)


async def test_a_plain_function_does_not_block_the_event_loop() -> None:
    def where() -> str:
        return threading.current_thread().name

    assert await Tool.from_function(where).call({}) != threading.current_thread().name


async def test_a_default_that_can_change_is_a_fresh_one_for_each_call() -> None:
    def collect(item: int, into: list[int] = []) -> list[int]:  # noqa: B006
        into.append(item)
        return into

    tool = Tool.from_function(collect)

    assert [await tool.call({"item": 1}), await tool.call({"item": 2})] == [[1], [2]]


def test_a_given_name_and_description_win() -> None:
    tool = Tool.from_function(greet, name="people.greet", description="Say hello.")

    assert (tool.name, tool.description) == ("people.greet", "Say hello.")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidIdError):
        Tool.from_function(lambda: None)


def test_parameters_without_a_name_are_refused() -> None:
    def positional(*values: int) -> None: ...

    def keywords(**values: int) -> None: ...

    for handler in (positional, keywords):
        with pytest.raises(TypeError, match="given by name"):
            Tool.from_function(handler)


def test_types_that_json_does_not_know_are_refused() -> None:
    class Opaque: ...

    def take(thing: Opaque) -> None: ...

    with pytest.raises(TypeError, match="the tool take has"):
        Tool.from_function(take)
    with pytest.raises(TypeError, match="cannot be resolved"):
        Tool.from_function(lost_annotation)


def test_what_yields_is_refused() -> None:
    def some() -> Iterator[int]:
        yield 1

    async def others() -> AsyncIterator[int]:
        yield 1

    for handler in (some, others):
        with pytest.raises(TypeError, match="a tool returns one value"):
            Tool.from_function(handler)


def test_a_name_in_the_place_of_the_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"given as name='orders\.place'"):
        Tool.from_function("orders.place")  # type: ignore[arg-type]


def lost_annotation(thing: "Lost") -> None: ...  # type: ignore[name-defined]  # noqa: F821
