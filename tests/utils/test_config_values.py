from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, inspect

from tekton.utils.config_values import InvalidValueError, convert_scalar, describe, parse_text

_EVEN = Meta(extra={"check": lambda value: None if value % 2 == 0 else ("is odd", "add one")})
_LEVEL = Literal["debug", "info"]
_PORT = Annotated[int, Meta(ge=1, le=65535)]
_SECONDS = Annotated[float, Meta(gt=0, le=10)]


def _type(expected: Any) -> inspect.Type:
    return inspect.type_info(expected)


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        ("8001", _PORT, 8001),
        ("+5", int, 5),
        ("0.5", _SECONDS, 0.5),
        ("1e1", _SECONDS, 10.0),
        ("3", _SECONDS, 3.0),
        ("true", bool, True),
        ("No", bool, False),
        ("on", bool, True),
        ("0", bool, False),
        ("INFO", _LEVEL, "info"),
        ("auto", bool | Literal["auto"], "auto"),
        ("off", bool | Literal["auto"], False),
        ("", _PORT | None, None),
        ("9090", _PORT | None, 9090),
        ("a, b,,c ", list[str], ["a", "b", "c"]),
        ("", list[str], []),
        ("true", str, "true"),
        ("7", str | int, 7),
        ("x", str | int, "x"),
        ("4", Annotated[int, _EVEN], 4),
    ],
)
def test_text_is_read_as_the_type_wants_it(text: str, expected: Any, value: Any) -> None:
    result = parse_text(text, _type(expected))

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "expected", "problem", "suggestion"),
    [
        ("abc", _PORT, "expected a whole number from 1 to 65535", None),
        ("0", _PORT, "expected a whole number from 1 to 65535", None),
        ("1.0", _PORT, "expected a whole number from 1 to 65535", None),
        ("9" * 5000, int, "expected a whole number", None),
        ("nan", _SECONDS, "expected a number above 0 and up to 10", None),
        ("1e999", float, "expected a number", None),
        ("maybe", bool, "expected true or false", None),
        ("inof", _LEVEL, "expected one of debug, info", "did you mean 'info'?"),
        ("atuo", bool | Literal["auto"], "expected true or false or auto", "did you mean 'auto'?"),
        ("1,x", list[int], "expected a whole number", None),
        ("3", Annotated[int, _EVEN], "is odd", "add one"),
        ("3", Annotated[int, _EVEN] | None, "is odd", "add one"),
        ("x", dict[str, str], "expected an object", None),
    ],
)
def test_text_that_does_not_fit_is_refused_with_the_reason(
    text: str, expected: Any, problem: str, suggestion: str | None
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_text(text, _type(expected))

    assert (caught.value.problem, caught.value.suggestion) == (problem, suggestion)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, int), (1, bool), ("1", int), (1, str), (1.0, int), (None, str), ([], str), ("info", bool), (11, _SECONDS)],
)
def test_json_scalars_are_not_converted_between_kinds(value: Any, expected: Any) -> None:
    with pytest.raises(InvalidValueError):
        convert_scalar(value, _type(expected))


def test_a_whole_number_is_accepted_for_a_number() -> None:
    assert type(convert_scalar(3, _type(_SECONDS))) is float


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (str, "a string"),
        (Annotated[int, Meta(ge=0)], "a whole number of at least 0"),
        (list[str], "a list"),
        (tuple[int, int], "a list of 2 values"),
        (dict[str, int], "an object"),
        (None, "null"),
        (str | list[str] | None, "a string or a list"),
    ],
)
def test_types_are_described_in_words(expected: Any, words: str) -> None:
    assert describe(_type(expected)) == words
