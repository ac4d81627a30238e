"""Single values: what the types of the schema accept, read from JSON scalars or from text.

Text is what environment variables, the command line, and strings of a file with a replaced `${VARIABLE}` give:
booleans may be true/false, yes/no, on/off and 1/0 there, lists are separated by commas, and an empty text is None
where that is allowed. Words of a fixed set are read without regard to case.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import inspect

from tekton.utils.tekton_ids import did_you_mean

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

Rule = Callable[[Any], tuple[str, str | None] | None]
"""Says what is wrong with a value of the right type (problem, suggestion), or None."""


class InvalidValueError(ValueError):
    """What is wrong with one value, and the next thing to try. The value of a secret is never in it."""

    def __init__(self, problem: str, suggestion: str | None = None) -> None:
        self.problem = problem
        self.suggestion = suggestion
        super().__init__(problem)


def unwrap(expected: inspect.Type) -> tuple[inspect.Type, Rule | None]:
    """The type without its metadata, and the rule in that."""
    if not isinstance(expected, inspect.Metadata):
        return expected, None
    return expected.type, (expected.extra or {}).get("check")


def parse_text(text: str, expected: inspect.Type) -> Any:
    """The value of *expected* that *text* stands for. Raises `InvalidValueError` when there is none."""
    inner, rule = unwrap(expected)
    value = _from_text(text, inner)
    if value is not None and rule is not None and (problem := rule(value)) is not None:
        raise InvalidValueError(*problem)
    return value


def convert_scalar(value: object, expected: inspect.Type) -> Any:
    """A JSON scalar as the type wants it, rules left out. Raises `InvalidValueError` when it does not fit."""
    inner, _ = unwrap(expected)
    match inner, value:
        case inspect.UnionType(), _:
            return _first_that_fits(convert_scalar, value, inner.types, inner)
        case inspect.LiteralType(), str() if value.lower() in inner.values:
            return value.lower()
        case (inspect.StrType(), str()) | (inspect.BoolType(), bool()) | (inspect.NoneType(), None):
            return value
        case (inspect.IntType(), int()) if not isinstance(value, bool) and _in_range(value, inner):
            return value
        case (inspect.FloatType(), int() | float()) if not isinstance(value, bool) and _in_range(value, inner):
            return float(value)
    raise _mismatch(value, inner)


def describe(expected: inspect.Type) -> str:
    """What a value of the type looks like, in words."""
    inner, _ = unwrap(expected)
    words = _WORDS.get(type(inner), "an object")
    return words if isinstance(words, str) else words(inner)


def _from_text(text: str, expected: inspect.Type) -> Any:
    match expected:
        case inspect.UnionType():
            members = sorted(expected.types, key=lambda member: isinstance(unwrap(member)[0], inspect.StrType))
            return _first_that_fits(parse_text, text, members, expected)
        case inspect.ListType():
            return [parse_text(part.strip(), expected.item_type) for part in text.split(",") if part.strip()]
    return convert_scalar(_scalar_in(text, expected), expected)


def _scalar_in(text: str, expected: inspect.Type) -> object:
    """The JSON scalar that *text* spells, as far as the type leads us to look for one; else the text."""
    match expected:
        case inspect.NoneType() if not text:
            return None
        case inspect.BoolType():
            return _BOOLEANS.get(text.lower(), text)
        case inspect.IntType() if _INTEGER.fullmatch(text):
            return int(text)
        case inspect.FloatType() if _NUMBER.fullmatch(text):
            return float(text)
    return text


def _first_that_fits(
    read: Callable[[Any, inspect.Type], Any], value: object, members: Iterable[inspect.Type], whole: inspect.Type
) -> Any:
    for member in members:
        try:
            return read(value, member)
        except InvalidValueError as error:
            if not error.problem.startswith("expected"):
                raise  # the kind was right and a rule refused it: nothing else explains it better
    raise _mismatch(value, whole)


def _mismatch(value: object, expected: inspect.Type) -> InvalidValueError:
    advice = did_you_mean(value, _choices(expected)) if isinstance(value, str) else None
    if isinstance(expected, inspect.StrType) and isinstance(value, bool | int | float):
        advice = "put it in double quotes"
    return InvalidValueError(f"expected {describe(expected)}", advice)


def _choices(expected: inspect.Type) -> list[str]:
    inner, _ = unwrap(expected)
    members = inner.types if isinstance(inner, inspect.UnionType) else (inner,)
    return [str(value) for member in members if isinstance(member, inspect.LiteralType) for value in member.values]


def _in_range(value: float, limits: inspect.IntType | inspect.FloatType) -> bool:
    return (
        math.isfinite(value)
        and (limits.gt is None or value > limits.gt)
        and (limits.ge is None or value >= limits.ge)
        and (limits.le is None or value <= limits.le)
    )


def _describe_range(limits: Any) -> str:
    if limits.ge is not None and limits.le is not None:
        return f" from {limits.ge} to {limits.le}"
    if limits.gt is not None and limits.le is not None:
        return f" above {limits.gt} and up to {limits.le}"
    return "" if limits.ge is None else f" of at least {limits.ge}"


def _describe_choices(choices: Any) -> str:
    values = [str(value) for value in choices.values]
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"


def _describe_union(union: Any) -> str:
    return " or ".join(describe(member) for member in union.types if not isinstance(member, inspect.NoneType))


_WORDS: dict[type, str | Callable[[Any], str]] = {
    inspect.StrType: "a string",
    inspect.IntType: lambda limits: "a whole number" + _describe_range(limits),
    inspect.FloatType: lambda limits: "a number" + _describe_range(limits),
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.ListType: "a list",
    inspect.TupleType: lambda items: f"a list of {len(items.item_types)} values",
    inspect.LiteralType: _describe_choices,
    inspect.UnionType: _describe_union,
}
