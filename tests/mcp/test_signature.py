"""What is taken for the parameters of a tool, whatever kind of function it is, and what of them cannot be offered."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from inspect import Parameter, signature
from typing import Annotated, Any

import msgspec
import pytest

from tekton.mcp.tool import Tool
from tekton.mcp.tool_context import ToolContext
from tekton.utils.tekton_errors import InvalidArgumentsError


async def add(a: int, b: int, context: ToolContext) -> int:
    """Add.

    Args:
        a: The first.
    """
    return a + b if context.tool_id == "add" else 0


class Repeated:
    """A decorator."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def signed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper that says what it takes in a signature of its own."""

    def wrapper(**kwargs: Any) -> Any:
        return function(**kwargs)

    number = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=int) for name in "ab"]
    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=ToolContext)
    wrapper.__signature__ = signature(wrapper).replace(parameters=[*number, context])  # type: ignore[attr-defined]
    return wrapper


PARTIAL = functools.partial(add, b=3)


@pytest.mark.parametrize(
    "handler",
    [
        PARTIAL,
        functools.partial(functools.partial(logged(add), b=1), b=3),
        functools.update_wrapper(functools.partial(add, b=3), add),
        functools.partial(Repeated(add), b=3),
        Repeated(PARTIAL),
        functools.partial(signed(add), b=3),
    ],
    ids=["one", "two", "that looks like it", "of an object", "in an object", "with a signature"],
)
async def test_what_a_partial_has_bound_is_no_argument_and_the_rest_is_what_it_was(handler: Callable[..., Any]) -> None:
    tool = Tool.from_function(handler, name="add")

    assert list(tool.input_schema["properties"]) == tool.input_schema["required"] == ["a"]
    assert tool.input_schema["properties"]["a"]["type"] == "integer"
    assert await tool.call({"a": 1}) == 4
    for arguments in ({"a": "1"}, {"a": 1, "b": 2}):
        with pytest.raises(InvalidArgumentsError):
            await tool.call(arguments)


async def test_what_a_partial_has_bound_by_its_place_is_no_argument() -> None:
    handler = functools.update_wrapper(functools.partial(add, 1), add)

    assert await Tool.from_function(handler, name="add").call({"b": 2}) == 3


async def test_a_bound_context_is_the_context() -> None:
    tool = Tool.from_function(functools.partial(add, context=ToolContext()), name="add")

    assert await tool.call({"a": 1, "b": 2}) == 0


def test_a_partial_is_described_as_what_it_is_a_partial_of() -> None:
    described = functools.partial(add, b=3)
    described.__doc__ = "Add three."

    tool = Tool.from_function(PARTIAL, name="add")

    assert tool.description == "Add."
    assert tool.input_schema["properties"]["a"]["description"] == "The first."
    assert Tool.from_function(described, name="add").description == "Add three."


async def test_an_object_that_wraps_a_function_has_the_annotations_of_that() -> None:
    tool = Tool.from_function(Repeated(add))

    assert tool.output_schema == {"type": "integer"}
    with pytest.raises(InvalidArgumentsError):
        await tool.call({"a": "1", "b": 2})


@dataclass
class Scaled:
    factor: int

    def __call__(self, number: int) -> int:
        """Scale.

        :param number: What is scaled.
        """
        return self.factor * number


class Described(msgspec.Struct):
    """Described."""

    def __call__(self) -> int:
        """Do something."""
        return 1


class Point(msgspec.Struct):
    x: int


def test_an_object_is_described_by_its_class_and_what_it_is_called_with_by_its_call() -> None:
    tool = Tool.from_function(Scaled(2), name="scale")

    assert tool.description == "Scale."
    assert tool.input_schema["properties"]["number"]["description"] == "What is scaled."
    assert Tool.from_function(Described(), name="describe").description == "Described."


@pytest.mark.parametrize("kind", [Point, Scaled])
def test_a_class_is_a_tool_that_makes_one_of_its_kind(kind: type) -> None:
    tool = Tool.from_function(kind, name="make")

    assert tool.description == ""
    assert [each["type"] for each in tool.input_schema["properties"].values()] == ["integer"]
    assert tool.output_schema is not None
    assert tool.output_schema["title"] == kind.__name__


@pytest.mark.parametrize(
    "annotation",
    [Annotated[ToolContext, "of the call"], Annotated[ToolContext, 1] | None, Annotated[ToolContext | None, 1]],
    ids=str,
)
async def test_a_context_is_one_whatever_else_is_said_of_it(annotation: Any) -> None:
    def who(context: Any = None) -> str:
        return str(context.caller)

    who.__annotations__["context"] = annotation

    tool = Tool.from_function(who)

    assert tool.input_schema["properties"] == {}
    assert await tool.call({}, ToolContext("ada")) == "ada"


async def test_what_streams_is_one_whatever_else_is_said_of_it() -> None:
    async def count() -> Annotated[AsyncIterator[int], "from one"]:
        yield 1

    assert Tool.from_function(count).output_schema == {"type": "integer"}


class Bounded(msgspec.Struct):
    highest: float = math.inf


@pytest.mark.parametrize(
    ("kind", "default", "why"),
    [
        (float, math.inf, "default of value that is no JSON: inf is no number"),
        (float, math.nan, "nan is no number"),
        (int, 2**70, "beyond 64 bits"),
        (str, "\ud800", "half of a surrogate pair"),
        (tuple[float, ...], (1.0, -math.inf), "-inf is no number"),
        (Bounded, Parameter.empty, "default of Bounded that is no JSON: inf"),
        (Annotated[float, msgspec.Meta(extra_json_schema={"maximum": math.inf})], Parameter.empty, "inf is no number"),
    ],
    ids=["infinity", "nan", "integer", "text", "tuple", "member", "bound"],
)
def test_defaults_that_no_schema_can_tell_are_refused_where_the_tool_is_made(kind: Any, default: Any, why: str) -> None:
    def take(value: Any) -> None: ...

    take.__annotations__["value"] = kind
    take.__defaults__ = () if default is Parameter.empty else (default,)

    with pytest.raises(TypeError, match=f"the tool take has a .*{why}"):
        Tool.from_function(take)


def test_a_result_with_such_a_default_is_not_described() -> None:
    def give() -> Bounded:
        return Bounded(1.0)

    assert Tool.from_function(give).output_schema is None


class Size(IntEnum):
    LARGE = 3


def test_defaults_are_in_the_schema_as_json_has_them() -> None:
    def take(size: Size = Size.LARGE, pair: tuple[int, int] = (1, 2)) -> None: ...

    properties = Tool.from_function(take).input_schema["properties"]

    assert [type(each["default"]) for each in properties.values()] == [int, list]


async def test_a_default_of_none_can_be_given_whatever_the_annotation_says() -> None:
    def take(value: int, bounded: Annotated[int, msgspec.Meta(ge=1)]) -> list[Any]:
        return [value, bounded]

    take.__defaults__ = (None, None)

    tool = Tool.from_function(take)

    assert tool.input_schema["properties"]["value"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert await tool.call({"value": None, "bounded": None}) == [None, None]
    with pytest.raises(InvalidArgumentsError):
        await tool.call({"bounded": 0})


NOT_GIVEN = object()


async def test_a_default_that_stands_for_nothing_given_is_that_very_object() -> None:
    def take(value: Any = NOT_GIVEN, lock: Any = threading.Lock()) -> bool:  # noqa: B008
        return value is NOT_GIVEN

    assert await Tool.from_function(take).call({}) is True


@pytest.mark.parametrize("annotation", ["no such thing", "functools.nothing", "1 | 'x'", "Nothing", "list[Nothing]"])
def test_an_annotation_that_cannot_be_resolved_is_refused_whatever_is_wrong_with_it(annotation: str) -> None:
    def take(value: Any) -> None: ...

    take.__annotations__["value"] = annotation

    with pytest.raises(TypeError, match="the tool take has an annotation that cannot be resolved"):
        Tool.from_function(take)


class Lost(msgspec.Struct):
    thing: Nothing  # type: ignore[name-defined]  # noqa: F821


def test_a_type_with_a_member_that_cannot_be_resolved_is_refused() -> None:
    def take(lost: Lost) -> None: ...

    with pytest.raises(TypeError, match="cannot come from JSON: name 'Nothing'"):
        Tool.from_function(take)


def test_a_type_whose_name_begins_like_that_of_the_arguments_is_not_taken_for_them() -> None:
    kind = msgspec.defstruct("TakeArgumentsOfMine", [("x", int)])

    def take(value: Any) -> None: ...

    take.__annotations__["value"] = kind

    assert Tool.from_function(take).input_schema["type"] == "object"


class Counter:
    def __call__(self) -> Iterator[int]:
        yield 1


def test_what_yields_is_refused_behind_a_partial_and_in_an_object_too() -> None:
    def some() -> Iterator[int]:
        yield 1

    for handler in (functools.partial(some), Counter(), functools.partial(Counter())):
        with pytest.raises(TypeError, match="yields: a tool returns one value"):
            Tool.from_function(handler, name="some")


async def test_a_parameter_can_have_any_name() -> None:
    def run(function: str, func: str, self: int, args: int, kwargs: int) -> str:
        return function

    arguments = {"function": "main", "func": "", "self": 1, "args": 2, "kwargs": 3}

    assert await Tool.from_function(run).call(arguments) == "main"


def test_what_is_said_of_a_tool_is_json_or_refused() -> None:
    def nothing() -> None: ...

    for given in ({"input_schema": {"maximum": math.inf}}, {"output_schema": {"maximum": math.nan}}):
        with pytest.raises(ValueError, match="the schema is not JSON"):
            Tool.from_function(nothing, **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="what is annotated is not JSON: nan is no number"):
        Tool.from_function(nothing, annotations={"cost": math.nan})
    with pytest.raises(ValueError, match="the description is not JSON: a text has half"):
        Tool.from_function(nothing, description="\ud800")


async def test_keys_are_texts_as_json_has_them() -> None:
    def count(names: dict[int, str]) -> dict[int, str]:
        return names

    tool = Tool.from_function(count)

    assert await tool.call({"names": {"1": "one"}}) == {1: "one"}
    assert await tool.call({"names": {1: "one"}}) == {1: "one"}
    with pytest.raises(InvalidArgumentsError, match="Expected int, got str") as refused:
        await tool.call({"names": {"one": "1"}})
    assert refused.value.pointer == "/names"
