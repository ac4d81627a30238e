"""A tool: a function that can be called with a JSON object, described by a JSON schema.

    async def greet(name: str, excited: bool = False) -> str:
        '''Greet someone by name.'''

    tool = Tool.from_function(greet)
    await tool.call({"name": "Ada"})

Name, description and schema come from the function: its name, the first paragraph of its docstring, its annotations.
What the docstring says of a parameter (under `Args:`, or as `:param name:`) is the description of that parameter.
Arguments are checked before the function is called; it sees the types that it asked for.
"""

import asyncio
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from tekton.utils.tekton_ids import check_id

__all__ = ["Tool"]

_OPEN_ENDED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
_PLAIN_DEFAULTS = (type(None), bool, int, float, str, bytes, tuple, frozenset)


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A callable with a description. `arguments` is the struct that its arguments are decoded into."""

    name: str
    description: str
    handler: Callable[..., Any]
    arguments: type[msgspec.Struct]
    input_schema: dict[str, Any]

    @classmethod
    def from_function(
        cls, handler: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> "Tool":
        """The tool that *handler* is.

        Raises InvalidIdError for a name that is none, and TypeError for parameters that cannot come from JSON, for a
        generator, and for what is no function.
        """
        _check_callable(handler)
        name = name or str(getattr(handler, "__name__", ""))
        check_id(name, "/name", dots=True)
        documentation = inspect.getdoc(handler) or ""
        arguments = _arguments(handler, name, _descriptions(documentation))
        return cls(name, description or _first_paragraph(documentation), handler, arguments, _schema(arguments, name))

    def call(self, arguments: Mapping[str, Any]) -> Awaitable[Any]:
        """Call the function with *arguments*, a JSON object; a plain function runs in a thread.

        Raises msgspec.ValidationError for arguments that do not fit, and what the function raises.
        """
        return self.invoke(msgspec.convert(dict(arguments), self.arguments))

    async def invoke(self, arguments: msgspec.Struct) -> Any:
        """Call the function with arguments that are decoded already."""
        given = {name: getattr(arguments, name) for name in arguments.__struct_fields__}
        if inspect.iscoroutinefunction(self.handler):
            return await self.handler(**given)
        result = await asyncio.to_thread(self.handler, **given)
        return await result if inspect.isawaitable(result) else result


def _check_callable(handler: Any) -> None:
    if not callable(handler):
        raise TypeError(f"{handler!r} is no function; a name is given as name={handler!r}")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise TypeError(f"{handler.__name__} yields, and a tool returns one value; a route can return an EventStream")


def _arguments(handler: Callable[..., Any], name: str, descriptions: Mapping[str, str]) -> type[msgspec.Struct]:
    try:
        hints = typing.get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise TypeError(f"the tool {name} has an annotation that cannot be resolved: {error}") from None
    fields: list[Any] = []
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.kind in _OPEN_ENDED:
            raise TypeError(f"the tool {name} cannot have the parameter {parameter}: arguments are given by name")
        kind = hints.get(parameter.name, Any)
        if parameter.name in descriptions:
            kind = Annotated[kind, msgspec.Meta(description=descriptions[parameter.name])]
        given = () if parameter.default is inspect.Parameter.empty else (_default(parameter.default),)
        fields.append((parameter.name, kind, *given))
    words = "".join(word.capitalize() for word in re.split(r"[._-]", name))
    return msgspec.defstruct(f"{words}Arguments", fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


def _default(value: Any) -> Any:
    if isinstance(value, _PLAIN_DEFAULTS):
        return value
    return msgspec.field(default_factory=lambda: deepcopy(value))


def _schema(arguments: type[msgspec.Struct], name: str) -> dict[str, Any]:
    try:
        (reference,), components = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except TypeError as error:
        raise TypeError(f"the tool {name} has a parameter that cannot come from JSON: {error}") from None
    schema = components.pop(reference["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    return {**schema, "$defs": components} if components else schema


def _first_paragraph(documentation: str) -> str:
    return " ".join(documentation.partition("\n\n")[0].split())


_SECTION = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^[ \t]+(\w+)(?: *\([^)]*\))?:[ \t]*(.+(?:\n[ \t]{6,}.+)*)", re.MULTILINE)
_FIELD = re.compile(r"^:param(?: [^:]+)? (\w+):[ \t]*(.+(?:\n[ \t]+.+)*)", re.MULTILINE)


def _descriptions(documentation: str) -> dict[str, str]:
    """What a docstring says of each parameter, in Google's or Sphinx' style."""
    section = _SECTION.search(documentation)
    found = [*(_ENTRY.findall(section[1]) if section else ()), *_FIELD.findall(documentation)]
    return {name: " ".join(text.split()) for name, text in found}
