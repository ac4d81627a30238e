"""docs/reference/errors.md has every error, as it is."""

import json
import typing
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tekton.cli import problems as command_line
from tekton.gateway import errors as gateway_errors
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.utils import tekton_errors
from tekton.utils.tekton_errors import ComponentNotFoundError, Mistake, ProblemError, TektonError

Names = Callable[[str], list[str]]

_OF_EVERY_PROBLEM = {"type", "title", "status", "detail", "code", "instance", "hint"}
_SAMPLES: dict[Any, object] = {
    str: "x",
    str | None: "x",
    int: 1,
    int | None: 1,
    float: 1.0,
    Sequence[str]: ["x"],
    Sequence[Mistake]: [Mistake("x", 1, 1, "", "x")],
}


def error_classes() -> list[type[TektonError]]:
    # ProblemError has the code of whatever it stands for.
    found = [kind for module in (tekton_errors, gateway_errors) for kind in vars(module).values()]
    classes = [kind for kind in found if isinstance(kind, type) and issubclass(kind, TektonError)]
    return [kind for kind in dict.fromkeys(classes) if kind is not ProblemError]


def sample(kind: type[TektonError]) -> TektonError:
    """An error of this class, with all that it can carry."""
    if not any("__init__" in vars(base) for base in kind.__mro__ if issubclass(base, TektonError)):
        return kind("x")
    hints = typing.get_type_hints(kind.__init__)
    return kind(**{name: _SAMPLES[hint] for name, hint in hints.items() if name != "return"})


def problem(error: TektonError) -> Any:
    return json.loads(to_problem(error, "/"))


@pytest.fixture
def errors(page: Callable[[str], Any]) -> Any:
    return page("errors")


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_an_error_is_documented_with_status_class_fields_and_advice(
    kind: type[TektonError], errors: Any, names: Names
) -> None:
    first, *rest = errors.sections(3)[kind.code].text.strip().split("\n\n")
    status, documented, fields, *retry = first.split(" · ")
    error = sample(kind)
    seconds = dict(headers_of(error)).get("retry-after")

    assert int(status) == status_of(error)
    assert documented == f"`{kind.__name__}`"
    assert set(names(fields.removeprefix("fields:"))) == set(problem(error)) - _OF_EVERY_PROBLEM
    assert retry == ([f"`Retry-After: {seconds}`"] if seconds else [])
    assert len(rest) == 2
    assert rest[1].startswith("**What to do:** ")


def test_no_code_is_documented_that_does_not_exist(errors: Any) -> None:
    assert sorted(errors.sections(3)) == sorted(kind.code for kind in error_classes())


def test_the_overview_has_every_code_under_its_status(errors: Any, names: Names) -> None:
    table = errors.sections(2)["By status"].rows()

    overview = [(int(status), code) for status, cell in table for code in names(cell)]
    assert sorted(overview) == sorted((status_of(sample(kind)), kind.code) for kind in error_classes())


def test_the_example_is_what_is_sent(errors: Any) -> None:
    error = ComponentNotFoundError("biling", "billing")

    assert errors.examples() == [json.loads(to_problem(error, "/api/components/biling"))]


@pytest.fixture
def exit_statuses(errors: Any, names: Names) -> Callable[[str], int]:
    """The documented exit status of a code."""
    table = errors.sections(2)["On the command line"].rows()
    found = {code: int(first) for first, cell in table if first.isdigit() for code in names(cell)}
    return lambda code: found.get(code, command_line.FAILED)


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_an_exit_status_is_that_of_the_command_line(
    kind: type[TektonError], exit_statuses: Callable[[str], int]
) -> None:
    error = sample(kind)
    if kind.__module__ == gateway_errors.__name__:
        # The command line does not load the gateway, so that these arrive as what they are for a client.
        error = ProblemError(status_of(error), error.code, str(error))

    assert exit_statuses(kind.code) == command_line.exit_status(error)


def test_the_codes_of_the_command_line_itself_are_documented(
    errors: Any, names: Names, exit_statuses: Callable[[str], int]
) -> None:
    table = errors.sections(2)["On the command line"].rows()
    own = {names(first)[0] for first, _ in table if first.startswith("`")}

    assert command_line.STATUS_BY_CODE.keys() - {kind.code for kind in error_classes()} <= own
    assert {command_line.NotInTimeError.code, command_line.ControlPlaneError.code} <= own
    assert exit_statuses("usage") == command_line.USAGE
    for code in own - {"usage"}:
        assert exit_statuses(code) == command_line.STATUS_BY_CODE.get(code, command_line.FAILED)
