"""From a function to a tool: name, description, schema, and what happens to arguments."""

import functools
import math
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tekton.mcp.modality import TextContent
from tekton.mcp.tool import Tool, ToolLimits
from tekton.mcp.tool_context import Progress, ToolContext
from tekton.utils.tekton_errors import ComponentNotFoundError, InvalidArgumentsError, InvalidIdError, ToolFailedError


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
    ("arguments", "pointer", "problem", "nearest"),
    [
        ({}, "/name", "required and missing", None),
        ({"name": 1}, "/name", "Expected str, got int", None),
        ({"name": "Ada", "exited": True}, "/exited", "unknown field", "excited"),
        (["Ada"], "", "expected an object", None),
        ({1: 2}, "", "Expected str", None),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_call(
    arguments: Any, pointer: str, problem: str, nearest: str | None
) -> None:
    with pytest.raises(InvalidArgumentsError, match=problem) as refused:
        await Tool.from_function(greet).call(arguments)

    assert (refused.value.tool_id, refused.value.pointer) == ("greet", pointer)
    assert getattr(refused.value, "nearest", None) == nearest


async def test_arguments_that_are_nested_without_end_are_refused() -> None:
    def walk(chain: Link) -> None: ...

    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"next": deep}

    with pytest.raises(InvalidArgumentsError, match="nested too deep"):
        await Tool.from_function(walk).call({"chain": deep})


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("not so"), InvalidArgumentsError),
        (KeyError("street"), ToolFailedError),
        (ComponentNotFoundError("engrm"), ComponentNotFoundError),
    ],
    ids=["refused", "broken", "of Tekton"],
)
async def test_a_type_may_refuse_what_it_is_made_of(error: Exception, raised: type[Exception]) -> None:
    class Picky(msgspec.Struct):
        street: str

        def __post_init__(self) -> None:
            raise error

    def send(to: Picky) -> None: ...

    send.__annotations__["to"] = Picky

    with pytest.raises(raised):
        await Tool.from_function(send).call({"to": {"street": "High Street"}})


async def test_arguments_that_were_decoded_already_are_taken_as_they_are() -> None:
    tool = Tool.from_function(greet)
    assert tool.arguments is not None

    assert await tool.call(tool.arguments(name="Ada")) == "Hello, Ada."  # type: ignore[arg-type]


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


def test_a_plain_generator_is_refused() -> None:
    def some() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="a tool returns one value"):
        Tool.from_function(some)


async def test_the_last_value_of_what_streams_is_the_result() -> None:
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    tool = Tool.from_function(count)

    assert (await tool.call({"to": 3}), await tool.call({"to": 0})) == (2, None)
    assert tool.output_schema == {"type": "integer"}


def test_a_function_that_does_not_say_its_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match="does not say which parameters"):
        Tool.from_function(threading.get_ident)


def test_a_name_in_the_place_of_the_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"given as name='orders\.place'"):
        Tool.from_function("orders.place")  # type: ignore[arg-type]


async def test_a_parameter_for_the_context_is_no_argument() -> None:
    async def whoami(context: ToolContext, polite: bool = False) -> str | None:
        return context.caller

    tool = Tool.from_function(whoami)

    assert list(tool.input_schema["properties"]) == ["polite"]
    assert await tool.call({}, ToolContext("ada")) == "ada"
    assert await tool.call({}) is None


async def test_what_is_called_without_a_registry_is_heard_too() -> None:
    async def work(context: ToolContext) -> None:
        context.progress(1)

    told: list[object] = []
    await Tool.from_function(work).call({}, ToolContext(tell=told.append))

    assert told == [Progress(1)]


@pytest.mark.parametrize(
    ("returns", "schema"),
    [
        (int, {"type": "integer"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (AsyncIterator[int], {"type": "integer"}),
        (Any, None),
        (None, None),
        (TextContent | None, None),
        (threading.Thread, None),
    ],
    ids=str,
)
def test_the_output_schema_is_that_of_the_return_annotation(returns: Any, schema: Any) -> None:
    def give() -> Any: ...

    give.__annotations__["return"] = returns

    assert Tool.from_function(give).output_schema == schema


def test_a_struct_that_is_returned_describes_itself() -> None:
    def find() -> Address: ...  # type: ignore[empty-body]

    def chain() -> Link: ...  # type: ignore[empty-body]

    assert Tool.from_function(find).output_schema == {
        "title": "Address",
        "type": "object",
        "properties": {"street": {"type": "string"}, "number": {"type": "integer", "default": 1}},
        "required": ["street"],
    }
    schema = Tool.from_function(chain).output_schema
    assert schema is not None
    assert schema["$ref"] == "#/$defs/Link"
    assert list(schema["$defs"]) == ["Link"]


async def test_an_object_can_be_a_tool() -> None:
    class Greeter:
        """Greets."""

        async def __call__(self, name: str) -> str:
            return f"Hello, {name}."

    tool = Tool.from_function(Greeter(), name="greet")

    assert tool.description == "Greets."
    assert await tool.call({"name": "Ada"}) == "Hello, Ada."


SEARCH = {
    "type": "object",
    "properties": {"query": {"type": "string", "minLength": 2}, "max-results": {"type": "integer"}},
    "required": ["query"],
}


async def test_a_schema_can_be_given_and_arguments_are_held_against_it() -> None:
    async def search(query: str, **more: int) -> list[object]:
        return [query, more]

    tool = Tool.from_function(search, input_schema=SEARCH)

    assert (tool.arguments, tool.input_schema) == (None, SEARCH)
    assert await tool.call({"query": "main", "max-results": 3}) == ["main", {"max-results": 3}]
    with pytest.raises(InvalidArgumentsError) as refused:
        await tool.call({"query": "m"})
    assert refused.value.pointer == "/query"


@pytest.mark.parametrize(
    ("arguments", "pointer"), [({"query": "main", "lmit": 1}, "/lmit"), ({"query": "x"}, "/limit")]
)
async def test_a_function_is_not_called_with_names_that_it_does_not_know_whatever_its_schema_allows(
    arguments: dict[str, Any], pointer: str
) -> None:
    async def search(query: str, limit: int) -> str:
        return query

    tool = Tool.from_function(search, input_schema={"type": "object"})

    assert await tool.call({"query": "main", "limit": 1}) == "main"
    with pytest.raises(InvalidArgumentsError) as refused:
        await tool.call(arguments)
    assert refused.value.pointer == pointer


async def test_what_a_partial_has_bound_cannot_be_given_where_anything_else_may() -> None:
    async def search(query: str, limit: int, **rest: Any) -> list[Any]:
        return [query, limit, rest]

    tool = Tool.from_function(functools.partial(search, limit=3), name="search", input_schema={"type": "object"})

    assert await tool.call({"query": "main", "more": 1}) == ["main", 3, {"more": 1}]
    with pytest.raises(InvalidArgumentsError) as refused:
        await tool.call({"query": "main", "limit": 4})
    assert refused.value.pointer == "/limit"


def test_a_schema_that_is_changed_afterwards_changes_nothing() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}

    def nothing() -> None: ...

    tool = Tool.from_function(nothing, input_schema=schema)
    schema["properties"]["name"] = {"type": "string"}

    assert tool.input_schema["properties"] == {}


async def test_a_remote_tool_is_called_with_what_is_given() -> None:
    calls: list[Any] = []

    async def call(arguments: dict[str, Any], context: ToolContext) -> str:
        calls.append((arguments, context.caller))
        return "found"

    tool = Tool.remote("engram.search", "Search.", call, source="engram", input_schema=SEARCH)

    assert await tool.call({"quer": 1}, ToolContext("ada")) == "found"
    assert calls == [({"quer": 1}, "ada")]
    assert (tool.source, tool.input_schema, tool.is_async) == ("engram", SEARCH, True)


@pytest.mark.parametrize(
    "limits",
    [{"timeout": 0.0}, {"timeout": math.inf}, {"timeout": math.nan}, {"max_concurrent": 0}, {"max_result": 0}],
    ids=str,
)
def test_limits_that_allow_nothing_or_all_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allows nothing, or has no end"):
        ToolLimits(**limits)


def test_limits_that_no_component_can_register_are_refused() -> None:
    assert ToolLimits(timeout=3600).timeout == 3600
    with pytest.raises(ValueError, match="at most 3600 seconds, not 7200"):
        ToolLimits(timeout=7200)


class Link(msgspec.Struct):
    next: "Link | None" = None


def lost_annotation(thing: "Lost") -> None: ...  # type: ignore[name-defined]  # noqa: F821
