"""From bytes to the types of the route table, and from a decoder's complaint to what the caller must change.

Malformed JSON gives MalformedRequestError with the byte offset. JSON that does not fit gives InvalidInputError
with a JSON pointer and, for an unknown name, the nearest one that exists.
"""

import math
import re
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from tekton.gateway.duplicates import repeated_key
from tekton.gateway.errors import InvalidInputError, InvalidParameterError, MalformedRequestError
from tekton.utils.misfits import misfit

_S = TypeVar("_S", bound=msgspec.Struct)

MAX_DEPTH = 64
MAX_PARAMETERS = 64


def decode_body(decoder: "msgspec.json.Decoder[Any]", body: bytes, *, unique_keys: bool = False) -> Any:
    """*body* as the decoder's type. Raises MalformedRequestError or InvalidInputError.

    With *unique_keys* no object in it may have a key twice.
    """
    if len(body) > MAX_DEPTH and _takes_any_depth(decoder) and _too_deep(body):
        raise _nested()
    try:
        value = decoder.decode(body)
        repeated = repeated_key(body) if unique_keys else None
    except msgspec.ValidationError as error:
        _check_syntax(body)
        raise _invalid(decoder.type, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, error) from None
    except RecursionError:  # in what the type passes over
        raise _nested() from None
    except ValueError as error:  # an integer of thousands of digits, a value refused by __post_init__
        raise InvalidInputError("", str(error)) from None
    if repeated is not None:
        raise InvalidInputError(repeated, f"{repeated}: the key is there twice")
    return value


def decode_query(kind: type[_S] | None, query: str) -> _S | None:
    """*query* as *kind*, each value converted from its text. Raises as `decode_body`; no parameter may repeat."""
    values: dict[str, str] = {}
    for name, value in _pairs(query) if query else ():
        if name in values:
            raise InvalidParameterError(name, "given more than once")
        values[name] = value
    if kind is None:
        for name in values:
            raise InvalidParameterError(name, "no parameters are expected here")
        return None
    try:
        found = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid_parameter(kind, str(error)) from None
    for name, text in values.items():
        # The converter takes the words null, nan and inf for values, which would widen a filter and not narrow it.
        value = getattr(found, name, text)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidParameterError(name, f"expected a value, got {text}")
    return found


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise MalformedRequestError("the query is not UTF-8") from None
    except ValueError:
        raise MalformedRequestError(f"more than {MAX_PARAMETERS} parameters") from None


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _too_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


@lru_cache(maxsize=1024)
def _takes_any_depth(decoder: "msgspec.json.Decoder[Any]") -> bool:
    """True when the decoder's type does not limit by itself how deep a document can be nested."""
    return _nests_freely(inspect.type_info(decoder.type), ())


def _nests_freely(kind: inspect.Type, inside: tuple[type, ...]) -> bool:
    match kind:
        case inspect.StructType():
            members = [field.type for field in kind.fields]
            return kind.cls in inside or any(_nests_freely(member, (*inside, kind.cls)) for member in members)
        case inspect.Metadata():
            return _nests_freely(kind.type, inside)
        case inspect.UnionType():
            return any(_nests_freely(member, inside) for member in kind.types)
        case inspect.CollectionType():
            return _nests_freely(kind.item_type, inside)
        case inspect.DictType():
            return _nests_freely(kind.value_type, inside)
        case _:
            return not isinstance(kind, _SCALARS)


_SCALARS = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.EnumType,
    inspect.LiteralType,
)


def _nested() -> MalformedRequestError:
    return MalformedRequestError(f"the JSON is nested more than {MAX_DEPTH} levels deep")


def _check_syntax(body: bytes) -> None:
    # The decoder reports what it meets first; that a document is broken matters more than its contents.
    try:
        msgspec.json.decode(body)
    except msgspec.ValidationError:  # a number out of range
        return
    except RecursionError:
        raise _nested() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, error) from None


_ESCAPES = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_ABOUT_ESCAPES = re.compile("surrogate|hex escape")
_HIGH = re.compile(b"d[89ab]")
_LOW = re.compile(b"d[c-f]")
_BYTE = re.compile(r"^JSON is malformed: (.*) \(byte (\d+)\)$", re.DOTALL)


def _malformed(body: bytes, error: Exception) -> MalformedRequestError:
    if isinstance(error, UnicodeDecodeError):
        return MalformedRequestError("the JSON is not UTF-8", _first_bad_byte(body))
    found = _BYTE.match(str(error))
    if (found is None or _ABOUT_ESCAPES.search(found[1])) and (half := _half_pair(body)) is not None:
        return MalformedRequestError("the JSON is malformed: half of a surrogate pair is no character", half)
    if found is not None:
        # What trails behind the document is reported one byte late.
        offset = int(found[2]) - (found[1] == "trailing characters")
        return MalformedRequestError(f"the JSON is malformed: {found[1]}", offset)
    return MalformedRequestError("the JSON is malformed: it ends too early", len(body))


def _half_pair(body: bytes) -> int | None:
    """Where a surrogate stands alone, as an escape; the decoder waits for the other one, to the end."""
    waiting: re.Match[bytes] | None = None
    for escape in _ESCAPES.finditer(body):
        kind = (escape[1] or b"").lower()
        if waiting is not None and (escape.start() != waiting.end() or not _LOW.match(kind)):
            break
        if waiting is None and _LOW.match(kind):
            return escape.start()
        waiting = escape if waiting is None and _HIGH.match(kind) else None
    return None if waiting is None else waiting.start()


def _first_bad_byte(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(body)


def _invalid(kind: Any, message: str) -> InvalidInputError:
    found = misfit(kind, message)
    return InvalidInputError(found.pointer, f"{found.pointer or 'the document'}: {found.problem}", found.nearest)


def _invalid_parameter(kind: type[msgspec.Struct], message: str) -> InvalidParameterError:
    found = misfit(kind, message)
    problem = found.problem.replace(", got str", "").replace("unknown field", "unknown parameter")
    return InvalidParameterError(found.steps[0] if found.steps else "", problem, found.nearest)
