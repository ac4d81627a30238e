"""What came of a call, as JSON that can be passed on; what cannot be is refused before it costs memory.

A result is garbage when it is no JSON (an object without a JSON form, NaN, an integer beyond 64 bits, half a surrogate
pair), nested too deep, or too large. How large it is gets estimated first, without making anything of it: of a gigabyte
no copy is made.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from tekton.mcp.modality.content import Content

__all__ = ["GarbageError", "ToolResult", "as_json", "check"]

MAX_DEPTH = 60
"""Levels of a result. A message may have 64, its own included."""

_LEAVES = frozenset({int, float, bool, type(None)})
_CONTAINERS = (dict, list, tuple, set, frozenset)

_BARE_DECIMAL = 128
"""Bytes of a Decimal that are no digits, or a few more."""

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
        check(value, limit)
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


def check(value: Any, limit: int) -> None:
    """Look at *value* level by level, as far as it may reach. Raises GarbageError. O(limit), whatever it is."""
    level, size, depth = [value], 0, 0
    while level:
        if depth > MAX_DEPTH:
            raise GarbageError(f"it is nested more than {MAX_DEPTH} levels deep, or contains itself")
        level, size = _below(level, size, limit)
        depth += 1


def _below(level: list[Any], size: int, limit: int) -> tuple[list[Any], int]:
    """The members of what is on *level*, and *size* with the bytes of what is not among them."""
    below: list[Any] = []
    for item in level:
        if type(item) is str:  # most of what there is
            size += len(item) + 2
            continue
        if type(item) in _LEAVES:
            _check_number(item)
            size += 1
            continue
        bare = _bare(item)
        size += _size(bare)
        if size > limit:
            raise _too_large(limit)
        members = _members(bare)
        if size + len(below) + len(members) > limit:  # each of them will be a byte or more
            raise _too_large(limit)
        below.extend(members)
    if size > limit:
        raise _too_large(limit)
    return below, size


def _bare(item: Any) -> Any:
    return _bare(item.value) if isinstance(item, Enum) else item


def _size(item: Any) -> int:
    """At most as many bytes as *item* itself takes as JSON, its members left out."""
    if (base := _base(item)) is not None:
        # What is there, as for the encoder, and not what a subclass says of it.
        length: int = base.__len__(item)
        return 1 + length * (2 if base is dict else 1)
    match item:
        case str():
            return str.__len__(item) + 2
        case bytes() | bytearray() | memoryview():
            return memoryview(item).nbytes // 3 * 4
        case int() | float():
            _check_number(item)
        case Decimal():
            return max(1, item.__sizeof__() - _BARE_DECIMAL)  # of which eight bytes are 19 digits
        case msgspec.Struct():
            # A member that is left out takes no bytes, and yet time to see that it is.
            return 1 + len(item.__struct_fields__) // 4
    return 1


def _base(item: Any) -> Any:
    """What *item* is of that which contains others, or None."""
    if type(item) in _CONTAINERS:
        return type(item)
    return next((kind for kind in _CONTAINERS if isinstance(item, kind)), None)


def _check_number(item: Any) -> None:
    if isinstance(item, float) and not math.isfinite(item):
        raise GarbageError(f"{item} is no number in JSON")
    if isinstance(item, int) and not -(2**63) <= item < 2**64:
        raise GarbageError("an integer is beyond 64 bits")


def _members(item: Any) -> Collection[Any]:
    base = _base(item)
    if base is dict:
        return (*dict.keys(item), *dict.values(item))
    if base is not None:
        return item if type(item) is base else list(base.__iter__(item))
    if isinstance(item, msgspec.Struct):
        return _of_struct(item)
    return [getattr(item, name, None) for name in _names(item)]


def _names(item: Any) -> Iterable[str]:
    """The names of the members of a dataclass, or of an object of attrs: what is declared, and what else it got."""
    kind = type(item)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if not hasattr(kind, "__attrs_attrs__"):
        return ()
    names = {*getattr(item, "__dict__", ()), *(each.name for each in kind.__attrs_attrs__)}
    return [name for name in names if not name.startswith("_")]


def _of_struct(item: msgspec.Struct) -> list[Any]:
    """The members of *item*, without those that are left out."""
    values = [getattr(item, name) for name in item.__struct_fields__]
    if item.__struct_config__.omit_defaults:
        first = len(values) - len(item.__struct_defaults__)
        pairs = zip(values[first:], item.__struct_defaults__, strict=True)
        values[first:] = [value for value, default in pairs if value is not default and not _is_empty(value)]
    return [value for value in values if value is not msgspec.UNSET]


def _is_empty(value: Any) -> bool:
    return type(value) in (list, dict, set) and not value


def _too_large(limit: int) -> GarbageError:
    return GarbageError(f"it is larger than {limit} bytes as JSON")


def _named(value: Any) -> str:
    return f"a value of the type {type(value).__name__}"
