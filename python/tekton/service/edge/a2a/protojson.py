"""Reading the JSON form of protocol buffers (ProtoJSON), which Agent2Agent speaks, into the types of `wire`.

Rules, as protobuf has them:

* A member is known by its name in camelCase, and by that of the .proto file in snake_case; others are passed over.
* null is as good as absent, except where any JSON may stand.
* Enums are names or numbers, whole numbers may be written as texts, bytes are base64 of either alphabet.

Stricter than protobuf in two things, so that nothing is misunderstood: an enum must have such a name, and a member may
not be there under both of its names.
"""

import base64
import binascii
import re
import typing
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import cache, partial
from types import UnionType
from typing import Any, Final, NewType, TypeVar

import msgspec

__all__ = ["Time", "UnreadableError", "read"]

Time = NewType("Time", float)
"""Seconds since 1970; in JSON a time of RFC 3339."""

MOST_ITEMS: Final = 1000
"""Members of a list."""

_S = TypeVar("_S", bound=msgspec.Struct)

Reader = Callable[[Any, str], Any]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


class UnreadableError(Exception):
    """The value of *field* (`message.parts[0].text`) is not what belongs there; *problem* says why."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field or 'params'}: {problem}")


def read(kind: type[_S], value: Any, at: str = "") -> _S:
    """*value*, decoded JSON that stands *at* a field, as *kind*. Raises UnreadableError. O(size of what is known)."""
    if not isinstance(value, dict):
        raise UnreadableError(at, f"expected an object, got {_named(value)}")
    members = _members(kind)
    found: dict[str, Any] = {}
    for name, item in value.items():
        known = members.get(name)
        if known is None or (item is None and not known[2]):
            continue
        field, reader, _ = known
        if field in found:
            raise UnreadableError(f"{at}.{name}" if at else name, "it is there twice, under both of its names")
        found[field] = reader(item, f"{at}.{name}" if at else name)
    try:
        return kind(**found)
    except ValueError as error:  # of __post_init__
        raise UnreadableError(at, str(error)) from None


@cache
def _members(kind: type[msgspec.Struct]) -> dict[str, tuple[str, Reader, bool]]:
    """What is known of *kind*: by both names, the field, how it is read, and whether null is a value of it."""
    hints = typing.get_type_hints(kind)
    known: dict[str, tuple[str, Reader, bool]] = {}
    for field in msgspec.structs.fields(kind):
        entry = (field.name, _reader(hints[field.name]), hints[field.name] is Any)
        known[field.name] = known[field.encode_name] = entry
    return known


def _reader(hint: Any) -> Reader:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) in (UnionType, typing.Union):
        return _reader(next(one for one in typing.get_args(hint) if one not in (type(None), msgspec.UnsetType)))
    if typing.get_origin(hint) is list:
        return partial(_list, _reader(typing.get_args(hint)[0]))
    if typing.get_origin(hint) is dict:
        return _object
    if issubclass(hint, Enum):
        return partial(_enum, hint)
    return partial(read, hint)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise UnreadableError(at, f"expected a text, got {_named(value)}")
    return value


def _flag(value: Any, at: str) -> bool:
    if value in ("true", "false"):  # in a query everything is a text
        return bool(value == "true")
    if not isinstance(value, bool):
        raise UnreadableError(at, f"expected true or false, got {_named(value)}")
    return value


def _int(value: Any, at: str) -> int:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not (-(2**31) <= number < 2**31 and number.is_integer()):
        raise UnreadableError(at, f"expected a whole number of 32 bits, got {_named(value)}")
    return int(number)


def _bytes(value: Any, at: str) -> bytes:
    text = _text(value, at)
    if _BASE64.fullmatch(text) is None:
        raise UnreadableError(at, "expected base64")
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        raise UnreadableError(at, "expected base64") from None


def _time(value: Any, at: str) -> Time:
    text = _text(value, at)
    try:
        if _RFC3339.fullmatch(text) is None:
            raise ValueError(text)
        return Time(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError):
        raise UnreadableError(at, "expected a time like 2025-10-28T10:30:00.000Z") from None


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableError(at, f"expected an object, got {_named(value)}")
    return value


def _anything(value: Any, _: str) -> Any:
    return value


def _list(reader: Reader, value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableError(at, f"expected a list, got {_named(value)}")
    if len(value) > MOST_ITEMS:
        raise UnreadableError(at, f"more than {MOST_ITEMS}")
    return [reader(item, f"{at}[{number}]") for number, item in enumerate(value)]


def _enum(kind: type[Enum], value: Any, at: str) -> Enum:
    names = list(kind)
    if isinstance(value, str) and value.isdecimal() and len(value) < 4:
        value = int(value)
    for number, one in enumerate(names):
        if one.value == value or (number == value and not isinstance(value, bool)):
            return one
    raise UnreadableError(at, f"expected one of {', '.join(str(one.value) for one in names[1:])}")


_SCALARS: Final[dict[Any, Reader]] = {
    str: _text,
    bool: _flag,
    int: _int,
    bytes: _bytes,
    Time: _time,
    Any: _anything,
}


def _named(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return repr(value)[:40]
