"""What the signature and the docstring of a function say of the tool that it is.

Annotations are taken from where they were written (`annotations.py`). What a partial has bound is no parameter any
more.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Annotated, Any, NamedTuple, Union

import msgspec

from tekton.mcp.annotations import annotations_of, given_by_name, unbound
from tekton.mcp.modality.content import Content
from tekton.mcp.schema_types import unfit
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_result import GarbageError, as_json

__all__ = [
    "Signature",
    "described",
    "documentation_of",
    "first_paragraph",
    "schema_of",
    "schema_of_result",
    "struct_of",
]

_OPEN_ENDED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
_PLAIN_DEFAULTS = (type(None), bool, int, float, str, bytes, tuple, frozenset)
_CHANGEABLE = (list, dict, set, bytearray, msgspec.Struct)
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
        try:
            declared = inspect.signature(unbound(handler)).parameters.values()
        except ValueError:  # of some that are written in C
            raise TypeError(f"the tool {tool} does not say which parameters it has") from None
        try:
            hints = annotations_of(handler)
        except Exception as error:  # an annotation may be any text, and may raise anything
            raise TypeError(f"the tool {tool} has an annotation that cannot be resolved: {error}") from None
        given = given_by_name(handler)
        found = [parameter for parameter in declared if parameter.name not in given]
        for parameter in found:
            if parameter.kind in _OPEN_ENDED:
                raise TypeError(f"the tool {tool} cannot have the parameter {parameter}: arguments are given by name")
        typed = [parameter.replace(annotation=_annotation(parameter, hints)) for parameter in found]
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
    """The JSON schema of *arguments*. Raises TypeError for what cannot come from JSON, or cannot be said in it."""
    try:
        schema = _schema(arguments)
    except Exception as error:  # a type may be anything, and may name what is nowhere
        raise TypeError(f"the tool {tool} has a parameter that cannot come from JSON: {error}") from None
    schema.pop("title", None)
    for part in ("properties", "$defs"):
        for name, value in schema.get(part, {}).items():
            try:
                schema[part][name] = as_json(value, sys.maxsize).content
            except GarbageError as error:
                raise TypeError(f"the tool {tool} has a default of {name} that is no JSON: {error}") from None
    return schema


def schema_of_result(returns: Any) -> dict[str, Any] | None:
    """The JSON schema of what is annotated to be returned; None when that says nothing, or is a modality."""
    if returns in (Any, object, None, type(None)) or _has_content(returns):
        return None
    try:
        schema: dict[str, Any] = as_json(_schema(returns), sys.maxsize).content
    except Exception:  # as above; then nothing is said
        return None
    return schema


def documentation_of(handler: Callable[..., Any]) -> str:
    """The docstring of *handler*. Of an object that is its class's, and then that of its `__call__`."""
    while isinstance(handler, partial) and "__doc__" not in vars(handler):  # without one it has that of `partial`
        handler = handler.func
    text = inspect.getdoc(handler) or ""
    if inspect.isroutine(handler):
        return text
    kind = handler if isinstance(handler, type) else type(handler)
    own = "" if _is_generated(text, kind) else text
    called = "" if kind is handler else inspect.cleandoc(type(handler).__call__.__doc__ or "")
    return "\n\n".join(each for each in (own, called) if each)


def _is_generated(text: str, kind: type) -> bool:
    is_signature = dataclasses.is_dataclass(kind) and text.startswith(f"{kind.__name__}(")
    return is_signature or (issubclass(kind, msgspec.Struct) and text == inspect.getdoc(msgspec.Struct))


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


def _annotation(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    said = parameter.annotation  # of a signature that was put together by hand
    kind = hints.get(parameter.name, Any if said is parameter.empty or isinstance(said, str) else said)
    return kind if parameter.default is not None or _takes_none(kind) else kind | None


def _takes_none(kind: Any) -> bool:
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        return False
    except Exception:  # it is no type of JSON; the schema finds out
        return True
    return True


def _is_context(kind: Any) -> bool:
    if typing.get_origin(kind) in (Annotated, Union, types.UnionType):
        members = typing.get_args(kind)
        return any(map(_is_context, members[:1] if typing.get_origin(kind) is Annotated else members))
    return isinstance(kind, type) and issubclass(kind, ToolContext)


def _yielded(kind: Any) -> Any:
    """Of what streams, what it yields."""
    origin = typing.get_origin(kind)
    if origin is Annotated and (yielded := _yielded(kind.__origin__)) is not kind.__origin__:
        return yielded
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
    if isinstance(value, _CHANGEABLE) or dataclasses.is_dataclass(value):
        return msgspec.field(default_factory=lambda: deepcopy(value))
    # A copy would be another one: functions ask whether it is the very object that stands for "not given".
    return msgspec.field(default_factory=lambda: value)


def _schema(kind: Any) -> dict[str, Any]:
    if (problem := unfit(kind)) is not None:
        raise TypeError(problem)
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    if set(schema) == {"$ref"}:
        name = schema["$ref"].rpartition("/")[2]
        # One that refers to itself has to stay where it is referred to.
        if repr(schema["$ref"]) not in str(components):
            schema = components.pop(name)
    return {**schema, "$defs": components} if components else schema
