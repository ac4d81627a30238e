"""JSON in its one canonical form (RFC 8785), so that it can be signed: the same bytes from everybody.

Members are in the order of their names in UTF-16, numbers as ECMAScript writes them, texts with no more escapes than
they need.
"""

import json
import math
from typing import Any, Final

__all__ = ["canonical_json"]

MOST_LEVELS: Final = 64
_SAFE: Final = 2**53
_LONGEST_PLAIN: Final = 21
_SMALLEST_PLAIN: Final = -6


def canonical_json(value: Any) -> bytes:
    """*value*, of dicts, lists, texts, numbers, booleans and None, in its canonical form.

    Raises ValueError for what has none: NaN, integers that a double cannot hold, lone surrogates, more than 64 levels.
    """
    return _written(value, MOST_LEVELS).encode()


def _written(value: Any, levels: int) -> str:
    if levels < 0:
        raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
    match value:
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{_text(name)}:{_written(value[name], levels - 1)}" for name in names) + "}"
        case list() | tuple():
            return "[" + ",".join(_written(item, levels - 1) for item in value) + "]"
        case str():
            return _text(value)
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return _number(value)
        case _:
            raise ValueError(f"a {type(value).__name__} is no JSON")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) >= _SAFE:
        raise ValueError("an integer is larger than a double can hold")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number in JSON")
    if number == 0:
        return "0"
    return ("-" if number < 0 else "") + _positive(repr(abs(number)))


def _positive(text: str) -> str:
    """ECMA-262, Number::toString: *text* has the shortest digits that are read as the number again."""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= _LONGEST_PLAIN:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _LONGEST_PLAIN:
        return f"{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return "0." + "0" * -point + digits
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{point - 1:+d}"
