"""A tool: a function that can be called with a JSON object, described by a JSON schema.

    async def greet(name: str, excited: bool = False) -> str:
        '''Greet someone by name.'''

    tool = Tool.from_function(greet)
    await tool.call({"name": "Ada"})

Name, description and schemas come from the function: its name, the first paragraph of its docstring, its annotations.
What the docstring says of a parameter (under `Args:`, or as `:param name:`) is the description of that parameter.
Arguments are checked before the function is called; it sees the types that it asked for. A parameter annotated with
ToolContext is not an argument: through it the function tells how far it is (`tekton.mcp.tool_context`).

The function may be async, plain (then it runs in a thread), or an async generator, or return one: each value that is
yielded is told to whoever listens, and the last one is the result.

A tool that was described by somebody else has schemas of its own (`input_schema`): its function is called with the
members of the object by name. One that is not here at all (`Tool.remote`) is called with the object as it is, and
checked where it is.
"""

import asyncio
import inspect
import math
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from tekton.core.calls import Outcome, UserFunction, bound, call, describe, is_async
from tekton.core.offered_tools import MAX_TOOL_TIMEOUT
from tekton.mcp.annotations import given_by_name, unbound
from tekton.mcp.schema_check import SchemaCheck, copied_schema
from tekton.mcp.signature import (
    Signature,
    described,
    documentation_of,
    first_paragraph,
    schema_of,
    schema_of_result,
    struct_of,
)
from tekton.mcp.tool_context import Chunk, ToolContext
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.misfits import json_pointer, misfit
from tekton.utils.tekton_errors import InvalidArgumentsError, TektonError, ToolFailedError
from tekton.utils.tekton_ids import check_id, nearest_name

__all__ = ["RemoteCall", "Tool", "ToolLimits"]

RemoteCall = Callable[[dict[str, Any], ToolContext], Awaitable[Any]]
"""Calls a tool that is elsewhere, with checked or unchecked arguments; returns what it has returned."""


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """What a tool may take. *timeout* is in seconds, at most 3600, *max_result* in bytes of the result as JSON.

    At most *max_concurrent* calls run at once; those that were given up and run on count. *max_waiting* more wait for
    their turn, in the order of their arrival and within their own time.
    """

    timeout: float = 60.0
    max_concurrent: int = 32
    max_waiting: int = 128
    max_result: int = 1024 * 1024

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf or self.max_concurrent < 1 or self.max_waiting < 0 or self.max_result < 1:
            raise ValueError(f"{self} allows nothing, or has no end")
        if self.timeout > MAX_TOOL_TIMEOUT:
            raise ValueError(f"a call may take at most {MAX_TOOL_TIMEOUT:g} seconds, not {self.timeout:g}")


_DEFAULT_LIMITS = ToolLimits()
_NO_HINTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A callable with a description.

    *arguments* is the struct that its arguments are decoded into; None when *input_schema* was given. *annotations* are
    hints for those who choose tools, as the Model Context Protocol names them (`readOnlyHint`, `destructiveHint`,
    `title`, …). *source* is the component that a remote tool belongs to.
    """

    name: str
    description: str
    handler: Callable[..., Any]
    arguments: type[msgspec.Struct] | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    limits: ToolLimits = _DEFAULT_LIMITS
    annotations: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    _signature: Signature | None = field(default=None, repr=False)
    _input_check: SchemaCheck | None = field(default=None, repr=False)
    _output_check: SchemaCheck | None = field(default=None, repr=False)

    @classmethod
    def from_function(
        cls,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        limits: ToolLimits = _DEFAULT_LIMITS,
        annotations: Mapping[str, Any] = _NO_HINTS,
    ) -> "Tool":
        """The tool that *handler* is.

        Raises InvalidIdError for a name that is none, TypeError for parameters that cannot come from JSON, for defaults
        that cannot be said in it, for a plain generator and for what is no function, ValueError for what is no schema
        and for a description or annotations that are no JSON, ImportError when schemas are given and the extra
        `schemas` is not installed.
        """
        _check_callable(handler)
        name = name or str(getattr(handler, "__name__", ""))
        check_id(name, "/name", dots=True)
        documentation = documentation_of(handler)
        signature = Signature.of(handler, name)
        given = None if input_schema is None else copied_schema(_plain("the schema", input_schema))
        arguments = struct_of(signature, name, described(documentation)) if given is None else None
        promised = schema_of_result(signature.returns)
        if output_schema is not None:
            promised = copied_schema(_plain("the schema", output_schema))
        return cls(
            name,
            _plain("the description", description or first_paragraph(documentation)),
            handler,
            arguments,
            schema_of(arguments, name) if arguments is not None else given or {},
            promised,
            limits,
            MappingProxyType(_plain("what is annotated", dict(annotations))),
            _signature=signature,
            _input_check=None if given is None else SchemaCheck(given),
            _output_check=None if output_schema is None else SchemaCheck(output_schema),
        )

    @classmethod
    def remote(
        cls,
        name: str,
        description: str,
        call: RemoteCall,
        *,
        source: str,
        input_schema: Mapping[str, Any],
        output_schema: Mapping[str, Any] | None = None,
        limits: ToolLimits = _DEFAULT_LIMITS,
        annotations: Mapping[str, Any] = _NO_HINTS,
    ) -> "Tool":
        """A tool of the component *source*, which *call* calls. Its schemas are passed on, not used.

        Raises InvalidIdError for a name that is none, and ValueError for what is no schema.
        """
        check_id(name, "/name", dots=True)
        promised = None if output_schema is None else copied_schema(output_schema)
        hints = MappingProxyType(dict(annotations))
        return cls(name, description, call, None, copied_schema(input_schema), promised, limits, hints, source)

    def call(self, arguments: Mapping[str, Any], context: ToolContext | None = None) -> Awaitable[Any]:
        """Call the function with *arguments*, a JSON object, without any limits (`ToolRegistry.execute` has them).

        Raises InvalidArgumentsError for arguments that do not fit, and what the function raises.
        """
        return self.invoke(self.decode(arguments), context)

    async def invoke(self, arguments: msgspec.Struct | dict[str, Any], context: ToolContext | None = None) -> Any:
        """Call the function with arguments that are decoded already."""
        context = (context or ToolContext()).bound(self.name, None)
        value, error = await self.settled(await call(self.prepared(arguments, context)), context)
        if error is not None:
            raise error
        return value

    def decode(self, arguments: Mapping[str, Any] | msgspec.Struct) -> msgspec.Struct | dict[str, Any]:
        """*arguments* as the function gets them. Raises InvalidArgumentsError.

        Of a remote tool they are what they are; so is what was decoded as `arguments` already.
        """
        if self.arguments is not None and type(arguments) is self.arguments:
            return arguments
        if not isinstance(arguments, Mapping):
            raise InvalidArgumentsError(self.name, "", "expected an object")
        given = dict(arguments)
        if self.arguments is None:
            self._check(given)
            return given
        try:
            return msgspec.convert(given, self.arguments, str_keys=True)  # as of JSON
        except msgspec.ValidationError as error:
            found = misfit(self.arguments, str(error))
            raise InvalidArgumentsError(self.name, found.pointer, found.problem, found.nearest) from None
        except RecursionError:
            raise InvalidArgumentsError(self.name, "", "nested too deep") from None
        except TektonError:
            raise
        except Exception as error:  # of a __post_init__, which is part of the tool
            raise ToolFailedError(self.name, describe(error)) from error

    def prepared(self, arguments: msgspec.Struct | dict[str, Any], context: ToolContext) -> UserFunction:
        """What `tekton.core.calls.call` is to call: with decoded *arguments*, in *context*."""
        if self._signature is None:
            return bound(self.handler, arguments, context)
        if isinstance(arguments, msgspec.Struct):
            arguments = {name: getattr(arguments, name) for name in arguments.__struct_fields__}
        if self._signature.context is not None:
            arguments = {**arguments, self._signature.context: context}
        if _streams(self.handler):
            return partial(_last, self, partial(self.handler, **arguments), context)
        return bound(self.handler, **arguments)

    async def settled(self, outcome: Outcome, context: ToolContext) -> Outcome:
        """*outcome* of the function; where it has returned what streams, the last of that."""
        if not isinstance(outcome.value, AsyncIterator):
            return outcome
        return await call(partial(_last, self, partial(_generated, outcome.value), context))

    @property
    def is_async(self) -> bool:
        """True when it runs on the event loop, false when it takes a thread."""
        return self._signature is None or _streams(self.handler) or is_async(self.handler)

    def check_result(self, content: Any) -> None:
        """Raises ToolFailedError when *content*, a result as JSON values, is not what the tool says it returns."""
        problem = None
        if self._output_check is not None:
            found = self._output_check.misfit(content)
            problem = found and f"{found.pointer or 'the result'}: {found.problem}"
        elif self._signature is not None and self.output_schema is not None:
            try:
                msgspec.convert(content, self._signature.returns, str_keys=True)
            except Exception as error:  # a __post_init__ may raise anything
                problem = str(error).replace("`", "")
        if problem:
            raise ToolFailedError(self.name, f"it has returned something else than it says: {problem}")

    def _check(self, arguments: dict[str, Any]) -> None:
        if self._input_check is not None and (found := self._input_check.misfit(arguments)):
            raise InvalidArgumentsError(self.name, *found)
        if self._signature is None:
            return
        if self._signature.keywords is None:
            self._check_names(arguments, self._signature)
            return
        for name in given_by_name(self.handler) & arguments.keys():
            raise InvalidArgumentsError(self.name, json_pointer([name]), "unknown field")

    def _check_names(self, arguments: dict[str, Any], signature: Signature) -> None:
        # A schema of somebody else's may allow more, or ask for less, than the function does.
        for name in arguments:
            if name not in signature.parameters:
                nearest = nearest_name(name[:64], signature.parameters)
                raise InvalidArgumentsError(self.name, json_pointer([name]), "unknown field", nearest)
        for parameter in signature.parameters.values():
            if parameter.default is inspect.Parameter.empty and parameter.name not in arguments:
                raise InvalidArgumentsError(self.name, json_pointer([parameter.name]), "required and missing")


async def _last(tool: Tool, stream: Callable[[], AsyncGenerator[Any, None]], context: ToolContext) -> Any:
    """Tell what *stream* yields; returns the last of it."""
    value = None
    async with aclosing(stream()) as values:
        async for value in values:
            try:
                context.say(Chunk(as_json(value, tool.limits.max_result).content))
            except GarbageError as error:
                raise ToolFailedError(tool.name, f"what it has yielded cannot be passed on: {error}") from None
            await asyncio.sleep(0)  # one that never waits itself must not hold up the loop, nor escape its deadline
    return value


def _generated(stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """*stream*, as something that can be closed."""
    return stream if isinstance(stream, AsyncGenerator) else (value async for value in stream)


def _plain(what: str, value: Any) -> Any:
    """*value* as JSON has it. Raises ValueError."""
    try:
        return as_json(value, sys.maxsize).content
    except GarbageError as error:
        raise ValueError(f"{what} is not JSON: {error}") from None


def _streams(handler: Callable[..., Any]) -> bool:
    function = unbound(handler).func
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(type(function).__call__)


def _check_callable(handler: Any) -> None:
    if not callable(handler):
        raise TypeError(f"{handler!r} is no function; a name is given as name={handler!r}")
    function = unbound(handler).func
    if inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(type(function).__call__):
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"{name} yields: a tool returns one value, or is an async generator")
