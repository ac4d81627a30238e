"""What the signature and the docstring of a function say of the tool that it is."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Annotated, Any, NamedTuple, Union

import msgspec

from tekton.mcp.modality.content import Content
from tekton.mcp.tool_context import ToolContext

__all__ = ["Signature", "described", "first_paragraph", "schema_of", "schema_of_result", "struct_of"]

_OPEN_ENDED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
_PLAIN_DEFAULTS = (type(None), bool, int, float, str, bytes, tuple, frozenset)
_STREAMS = ("AsyncGenerator", "AsyncIterator", "AsyncIterable")


class Signature(NamedTuple):
    """The parameters of the function of a tool, with their annotations; *returns* is Any where nothing is said.

    *context* is the parameter that gets the ToolContext and *keywords* the one that takes all that has no parameter of
    its own, if there are such.
    """

    parameters: Mapping[str, inspect.Parameter]
    context: str | None
    keywords: str | None
    returns: Any

    @classmethod
    def of(cls, handler: Callable[..., Any], tool: str) -> "Signature":
        """The signature of *handler*. Raises TypeError for parameters that cannot be given by name."""
        hints = _hints(handler, tool)
        try:
            found = inspect.signature(handler).parameters.values()
        except ValueError:  # of some that are written in C
            raise TypeError(f"the tool {tool} does not say which parameters it has") from None
        for parameter in found:
            if parameter.kind in _OPEN_ENDED:
                raise TypeError(f"the tool {tool} cannot have the parameter {parameter}: arguments are given by name")
        typed = [parameter.replace(annotation=hints.get(parameter.name, Any)) for parameter in found]
        context = next((each.name for each in typed if _is_context(each.annotation)), None)
        keywords = next((each.name for each in typed if each.kind is inspect.Parameter.VAR_KEYWORD), None)
        named = {each.name: each for each in typed if each.name not in (context, keywords)}
        return cls(named, context, keywords, _yielded(hints.get("return", Any)))


def struct_of(signature: Signature, tool: str, descriptions: Mapping[str, str]) -> type[msgspec.Struct]:
    """The struct that the arguments of *tool* are decoded into. Raises TypeError for open-ended parameters."""
    if signature.keywords is not None:
        open_ended = f"**{signature.keywords}"
        raise TypeError(f"the tool {tool} cannot have the parameter {open_ended}: arguments are given by name")
    fields: list[Any] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if parameter.name in descriptions:
            kind = Annotated[kind, msgspec.Meta(description=descriptions[parameter.name])]
        given = () if parameter.default is inspect.Parameter.empty else (_default(parameter.default),)
        fields.append((parameter.name, kind, *given))
    words = "".join(word.capitalize() for word in re.split(r"[._-]", tool))
    return msgspec.defstruct(f"{words}Arguments", fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


def schema_of(arguments: type[msgspec.Struct], tool: str) -> dict[str, Any]:
    """The JSON schema of *arguments*. Raises TypeError for what cannot come from JSON."""
    try:
        schema = _schema(arguments)
    except TypeError as error:
        raise TypeError(f"the tool {tool} has a parameter that cannot come from JSON: {error}") from None
    schema.pop("title", None)
    return schema


def schema_of_result(returns: Any) -> dict[str, Any] | None:
    """The JSON schema of what is annotated to be returned; None when that says nothing, or is a modality."""
    if returns in (Any, object, None, type(None)) or _has_content(returns):
        return None
    try:
        return _schema(returns)
    except TypeError:
        return None


def first_paragraph(documentation: str) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join(documentation.partition("\n\n")[0].split())


_SECTION = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^[ \t]+(\w+)(?: *\([^)]*\))?:[ \t]*(.+(?:\n[ \t]{6,}.+)*)", re.MULTILINE)
_FIELD = re.compile(r"^:param(?: [^:]+)? (\w+):[ \t]*(.+(?:\n[ \t]+.+)*)", re.MULTILINE)


def described(documentation: str) -> dict[str, str]:
    """What a docstring says of each parameter, in Google's or Sphinx' style."""
    section = _SECTION.search(documentation)
    found = [*(_ENTRY.findall(section[1]) if section else ()), *_FIELD.findall(documentation)]
    return {name: " ".join(text.split()) for name, text in found}


def _hints(handler: Callable[..., Any], tool: str) -> dict[str, Any]:
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"the tool {tool} has an annotation that cannot be resolved: {error}") from None


def _is_context(kind: Any) -> bool:
    members = typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)
    return any(isinstance(member, type) and issubclass(member, ToolContext) for member in members)


def _yielded(kind: Any) -> Any:
    """Of what streams, what it yields."""
    origin = typing.get_origin(kind)
    if origin is not None and getattr(origin, "__name__", "") in _STREAMS:
        return (typing.get_args(kind) or (Any,))[0]
    return kind


def _has_content(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, Content):
        return True
    return any(_has_content(argument) for argument in typing.get_args(kind))


def _default(value: Any) -> Any:
    if isinstance(value, _PLAIN_DEFAULTS):
        return value
    return msgspec.field(default_factory=lambda: deepcopy(value))


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    if set(schema) == {"$ref"}:
        name = schema["$ref"].rpartition("/")[2]
        # One that refers to itself has to stay where it is referred to.
        if schema["$ref"] not in str(components):
            schema = components.pop(name)
    return {**schema, "$defs": components} if components else schema
