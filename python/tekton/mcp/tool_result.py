"""What came of a call, as JSON that can be passed on; what cannot be is refused before it costs memory.

A result is garbage when it is no JSON (an object without a JSON form, NaN, an integer beyond 64 bits, half a surrogate
pair), nested too deep, or too large. How large it is gets estimated first, without making anything of it: of a gigabyte
no copy is made.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from tekton.mcp.modality.content import Content

__all__ = ["GarbageError", "ToolResult", "as_json"]

MAX_DEPTH = 60
"""Levels of a result. A message may have 64, its own included."""

_LEAVES = frozenset({int, float, bool, type(None)})

_encode = msgspec.json.Encoder().encode


@dataclasses.dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool *tool_id* has returned after *duration* seconds.

    *value* is what it returned, *content* the same as JSON values (of a modality, what goes into a message), *json*
    that as bytes.
    """

    tool_id: str
    value: Any
    content: Any
    json: bytes
    duration: float


class GarbageError(Exception):
    """A value cannot be passed on. The text says why."""


class JsonValue(NamedTuple):
    """A JSON value, and the same as bytes."""

    content: Any
    json: bytes


def as_json(value: Any, limit: int) -> JsonValue:
    """*value* as JSON of at most *limit* bytes. Raises GarbageError."""
    try:
        _check(value, limit)
        plain = value.to_content() if isinstance(value, Content) else msgspec.to_builtins(value, str_keys=True)
        json = _encode(plain)  # keys that are the same as text are one by now
        content = msgspec.json.decode(json)
    except UnicodeEncodeError:
        raise GarbageError("a text has half of a surrogate pair") from None
    except GarbageError:
        raise
    except Exception as error:  # objects of all kinds are looked at
        raise GarbageError(f"{_named(value)} has no JSON form: {error}") from None
    if len(json) > limit:
        raise _too_large(limit)
    return JsonValue(content, json)


def _check(value: Any, limit: int) -> None:
    """Look at *value* level by level, as far as it may reach. O(limit), whatever it is."""
    level, size, depth = [value], 0, 0
    while level:
        if depth > MAX_DEPTH:
            raise GarbageError(f"it is nested more than {MAX_DEPTH} levels deep, or contains itself")
        below: list[Any] = []
        for item in level:
            if type(item) is str:  # most of what there is
                size += len(item) + 2
                continue
            size += _size(item)
            if size > limit:
                raise _too_large(limit)
            if type(item) not in _LEAVES:
                below.extend(_members(item))
        if size > limit:
            raise _too_large(limit)
        level = below
        depth += 1


def _size(item: Any) -> int:
    """At most as many bytes as *item* itself takes as JSON, its members left out."""
    match item:
        case str():
            return len(item) + 2
        case bytes() | bytearray():
            return len(item) // 3 * 4
        case list() | tuple() | set() | frozenset():
            return 1 + len(item)
        case dict():
            return 1 + 2 * len(item)
        case int() | float():
            _check_number(item)
    return 1


def _check_number(item: Any) -> None:
    if isinstance(item, float) and not math.isfinite(item):
        raise GarbageError(f"{item} is no number in JSON")
    if isinstance(item, int) and not -(2**63) <= item < 2**64:
        raise GarbageError("an integer is beyond 64 bits")


def _members(item: Any) -> Iterable[Any]:
    match item:
        case list() | tuple() | set() | frozenset():
            return item
        case dict():
            return (*item.keys(), *item.values())
        case msgspec.Struct():
            return [getattr(item, name) for name in item.__struct_fields__]
        case type():
            return ()
        case _ if dataclasses.is_dataclass(item):
            return [getattr(item, field.name) for field in dataclasses.fields(item)]
        case _:
            return ()


def _too_large(limit: int) -> GarbageError:
    return GarbageError(f"it is larger than {limit} bytes as JSON")


def _named(value: Any) -> str:
    return f"a value of the type {type(value).__name__}"
