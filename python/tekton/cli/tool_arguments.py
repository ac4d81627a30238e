"""The arguments of a tool as words of a command line: `count=3 tags=a tags=b to={"city":"Bath"}`, read by its schema.

A value is what the schema of its property says: a text is taken as it stands, a number, true or false, a list or an
object as JSON. Where several are possible, JSON that is one of the others comes first, and then the text. A list may be
given member by member. Of a property that the schema says nothing about, what looks like JSON is JSON.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import click

from tekton.utils.tekton_ids import nearest_name

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
    "string": (str,),
}
_ARTICLES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
_DEEPEST = 20
"""A schema may refer to itself."""


def parsed(words: Iterable[str], schema: Schema) -> dict[str, Any]:
    """The arguments that *words* (`name=value`) are, for a tool with this input *schema*. Raises UsageError."""
    given: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{word!r} is no argument: write name=value")
        _check(name, schema)
        own = _property(schema, name)
        if name not in given:
            given[name] = _first(name, text, own, schema)
        elif isinstance(given[name], list):
            given[name] = [*given[name], *_members(name, text, own, schema)]
        else:
            raise click.UsageError(f"{name} is given twice")
    return given


def value_of(name: str, text: str, schema: Schema) -> Any:
    """What *text* is, by a *schema* of its own; *name* is what a UsageError calls it."""
    return _first(name, text, schema, schema)


def _check(name: str, schema: Schema) -> None:
    known = schema.get("properties")
    if not isinstance(known, Mapping) or name in known or schema.get("additionalProperties") is not False:
        return
    nearest = nearest_name(name, known)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    raise click.UsageError(
        f"the tool has no argument {name!r}; " + (f"did you mean {nearest!r}?" if nearest else takes)
    )


def _property(schema: Schema, name: str) -> Schema:
    properties = schema.get("properties")
    own = properties.get(name) if isinstance(properties, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _first(name: str, text: str, own: Schema, root: Schema) -> Any:
    types = _types(own, root)
    if types == {"array"} and not text.lstrip().startswith("["):
        return _members(name, text, own, root)
    return _value(name, text, types)


def _members(name: str, text: str, own: Schema, root: Schema) -> list[Any]:
    """What *text* adds to a list: one member, or those of a JSON list."""
    items = _resolved(own, root).get("items")
    types = _types(items, root) if isinstance(items, Mapping) else set()
    if text.lstrip().startswith("[") and "array" not in types:
        return list(_value(name, text, {"array"}))
    return [_value(name, text, types)]


def _value(name: str, text: str, types: set[str]) -> Any:
    if types == {"string"}:
        return text
    read, value = _json(text)
    if read and (not types or any(_is(value, kind) for kind in types)):
        return value
    if not types or "string" in types:
        return text
    wanted = " or ".join(_ARTICLES.get(kind, f"JSON ({kind})") for kind in sorted(types))
    raise click.UsageError(f"{name}={text}: expected {wanted}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ()))


def _json(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return False, None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _types(schema: Schema, root: Schema) -> set[str]:
    """The types that a value may have; none: any."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [schema]
    while waiting:
        one = _resolved(waiting.pop(), root)
        if id(one) in seen:
            continue  # many may refer to it, or it to itself: what it allows is counted already
        seen.add(id(one))
        if (kinds := _alternatives(one)) is not None:
            waiting += kinds
        elif types := _own_types(one):
            found |= types
        else:
            return set()
    return found


def _alternatives(schema: Schema) -> list[Schema] | None:
    """The schemas of which one is enough; None where the schema itself says what it is, or nothing of use."""
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return None
    several = next((kinds for name in ("anyOf", "oneOf") if isinstance(kinds := schema.get(name), list)), [])
    return [kind for kind in several if isinstance(kind, Mapping)] or None


def _own_types(schema: Schema) -> set[str]:
    if isinstance(constants := schema.get("enum"), list) or "const" in schema:
        return {_type_of(one) for one in (constants if isinstance(constants, list) else [schema["const"]])}
    kind = schema.get("type")
    return {kind} if isinstance(kind, str) else set(kind) if isinstance(kind, list) else set()


def _resolved(schema: Schema, root: Schema) -> Schema:
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        found: Any = root
        for step in reference[2:].split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return {}
        schema = found
    return schema


def _type_of(value: Any) -> str:
    kinds = ("boolean", "null", "integer", "number", "string", "array", "object")
    return next(kind for kind in kinds if _is(value, kind))
