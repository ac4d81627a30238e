from typing import Annotated, Any, Literal

import msgspec
import pytest

from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_files import Expander
from tekton.utils.json_document import parse


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]
    label: str = ""


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    mode: Literal["fast", "slow"] = "fast"
    inner: _Inner | None = None
    many: list[_Inner] = []
    table: dict[str, int] = {}
    either: str | list[str] = ""
    flag: bool | Literal["auto"] = "auto"
    pair: tuple[float, float] = (0, 1)
    anything: dict[str, Any] = {}
    password: str | None = None


def _checked(text: str, **variables: str) -> tuple[Any, list[str]]:
    checker = Checker(parse(text.encode(), "f.json"), Expander(lambda _: variables))
    plain = checker.check(_Outer)
    msgspec.convert(plain, _Outer)  # what is right always converts
    return plain, [str(mistake) for mistake in checker.mistakes]


def test_a_right_document_gives_its_plain_contents() -> None:
    text = """{"name": "x", "inner": {"size": 2}, "either": ["a"], "flag": true, "pair": [1, 2.5],
               "anything": {"a": [null]}}"""

    assert _checked(text) == (
        {
            "name": "x",
            "inner": {"size": 2},
            "either": ["a"],
            "flag": True,
            "pair": [1.0, 2.5],
            "anything": {"a": [None]},
        },
        [],
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "1:1: the file: expected an object, found a list"),
        ('{"nmae": 1}', "1:2: unknown key 'nmae' (did you mean 'name'?)"),
        (
            '{"zzz": 1}',
            (
                "1:2: unknown key 'zzz' (the keys are name, mode, inner, many, table, either, flag, pair, anything,"
                " password)"
            ),
        ),
        ('{"name": 1}', "1:10: name: expected a string, found 1 (put it in double quotes)"),
        ('{"name": null}', "1:10: name: expected a string, found null"),
        ('{"mode": "fats"}', "1:10: mode: expected one of fast, slow, found 'fats' (did you mean 'fast'?)"),
        ('{"inner": []}', "1:11: inner: expected an object, found a list"),
        ('{"inner": {}}', "1:2: inner has no 'size'"),
        ('{"inner": {"size": 0}}', "1:20: inner.size: expected a whole number of at least 1, found 0"),
        ('{"many": [{"size": 1}, {"sise": 1, "size": 1}]}', "1:25: unknown key 'many.1.sise' (did you mean 'size'?)"),
        ('{"table": {"a": 1, "b": "x"}}', "1:25: table.b: expected a whole number, found 'x'"),
        ('{"either": 1}', "1:12: either: expected a string or a list, found 1"),
        ('{"either": ["a", 1]}', "1:18: either.1: expected a string, found 1 (put it in double quotes)"),
        ('{"flag": "atuo"}', "1:10: flag: expected true or false or auto, found 'atuo' (did you mean 'auto'?)"),
        ('{"pair": [1]}', "1:10: pair: expected a list of 2 values, found a list"),
        ('{"pair": [1, "x"]}', "1:14: pair.1: expected a number, found 'x'"),
        (
            '{"name": "${NOPE}"}',
            "1:10: name: the environment variable NOPE is not set (set it, or write ${NOPE:-default})",
        ),
        (
            '{"name": ' + '"' + "x" * 50 + '", "mode": "' + "x" * 50 + '"}',
            "1:72: mode: expected one of fast, slow, found a long string",
        ),
        ('{"password": 12345}', "1:14: password: expected a string, found something else"),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_advice(text: str, problem: str) -> None:
    assert _checked(text)[1] == [f"f.json:{problem}"]


def test_a_key_that_belongs_in_a_section_is_sent_there() -> None:
    class Root(msgspec.Struct, forbid_unknown_fields=True):
        inner: _Inner

    checker = Checker(parse(b'{"size": 1, "inner": {"size": 1}}', "f.json"), Expander(lambda _: {}))
    checker.check(Root)

    assert [str(mistake) for mistake in checker.mistakes] == ["f.json:1:2: unknown key 'size' (it belongs in 'inner')"]


def test_what_is_right_remains_beside_what_is_wrong() -> None:
    plain, mistakes = _checked('{"name": 1, "mode": "slow", "many": [{"size": 1}, {}], "table": {"a": 1, "b": "x"}}')

    assert plain == {"mode": "slow", "table": {"a": 1}}
    assert len(mistakes) == 3


def test_a_replaced_variable_is_read_as_the_type_wants_it() -> None:
    plain, mistakes = _checked(
        '{"inner": {"size": "${N}"}, "flag": "${F}", "pair": ["${N}", 9], "name": "${N}", "anything": {"x": "${N}"}}',
        N="5",
        F="off",
    )

    assert mistakes == []
    assert plain == {
        "inner": {"size": 5},
        "flag": False,
        "pair": [5.0, 9.0],
        "name": "5",
        "anything": {"x": "5"},
    }


def test_a_replaced_variable_that_does_not_fit_is_shown_as_it_stands_in_the_file() -> None:
    _, mistakes = _checked('{"inner": {"size": "${N}"}}', N="canary")

    assert mistakes == ["f.json:1:20: inner.size: expected a whole number of at least 1, found '${N}'"]


def test_a_text_without_a_variable_is_never_read_as_a_number() -> None:
    assert _checked('{"inner": {"size": "5"}}')[1] == [
        "f.json:1:20: inner.size: expected a whole number of at least 1, found '5' (write 5, without quotation marks)"
    ]


def test_a_value_that_the_parser_has_reported_is_not_reported_again() -> None:
    assert _checked('{"inner": {"size": 1e400}}')[1] == ["f.json:1:20: the number is out of range"]


def test_clean_tells_whether_anything_below_a_pointer_is_wrong() -> None:
    checker = Checker(parse(b'{"inner": {"size": 0}, "table": {}}', "f.json"), Expander(lambda _: {}))
    checker.check(_Outer)

    assert not checker.clean("/inner")
    assert not checker.clean("/inner/size")
    assert checker.clean("/table")
    assert checker.clean("/inn")


def test_pointers_are_shown_as_people_say_them() -> None:
    assert dotted("/tekton/port") == "tekton.port"
    assert dotted("/a/b~1c~0") == "a.b/c~"
