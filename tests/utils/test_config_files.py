from typing import Any

import pytest

from tekton.utils.config_files import Expander, read_document, read_env_file, readable_by_all
from tekton.utils.config_values import InvalidValueError


def test_a_file_that_cannot_be_read_is_a_mistake_and_not_an_exception(folder: Any) -> None:
    document = read_document(folder.path, "tekton.json")

    assert [str(mistake) for mistake in document.mistakes] == ["tekton.json: cannot be read: Is a directory"]


def test_who_may_read_a_file_is_seen_from_its_mode(folder: Any) -> None:
    assert readable_by_all(folder.write("open", "", 0o644))
    assert not readable_by_all(folder.write("closed", "", 0o640))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y two z"),
        ("${MISSING:-default}", "default"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("$${A}", "${A}"),
        ("$$$${A}", "$${A}"),
        ("costs $5 and $A", "costs $5 and $A"),
        ("^ready$", "^ready$"),
    ],
)
def test_variables_are_replaced(text: str, expanded: str) -> None:
    expander = Expander(lambda _: {"A": "1", "B": " two ", "EMPTY": ""})

    assert expander(text, "") == expanded


@pytest.mark.parametrize(
    ("text", "problem", "suggestion"),
    [
        ("${HOEM}", "the environment variable HOEM is not set", "did you mean HOME?"),
        ("${ZZZZ}", "the environment variable ZZZZ is not set", "set it, or write ${ZZZZ:-default}"),
        ("${PORT}", "the environment variable PORT is not set", "give the component a port"),
        ("${", "'${' is not a variable", "write ${NAME} or ${NAME:-default}; $$ is a dollar sign"),
        ("${A B}", "'${A B}' is not a variable", "write ${NAME} or ${NAME:-default}; $$ is a dollar sign"),
        ("${A-x}", "'${A-x}' is not a variable", "write ${NAME} or ${NAME:-default}; $$ is a dollar sign"),
    ],
)
def test_a_variable_that_cannot_be_replaced_is_explained(text: str, problem: str, suggestion: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Expander(lambda _: {"HOME": "/home/me"})(text, "")

    assert (caught.value.problem, caught.value.suggestion) == (problem, suggestion)


def test_values_of_secret_variables_are_remembered() -> None:
    expander = Expander(lambda _: {"API_TOKEN": "canary-1", "MODE": "fast"})

    expander("--token=${API_TOKEN} --mode=${MODE}", "")

    assert expander.secrets == {"canary-1"}


def test_an_env_file_is_read_like_a_shell_would(folder: Any) -> None:
    path = folder.write(
        "app.env",
        "\ufeff# comment\n\nA=1\nexport B = two words # comment\nC='single # quoted $A'\n"
        'D="double \\" quoted"  # comment\nE=\nF=a#b\nG=x=y\n',
    )

    variables, mistakes = read_env_file(path, "app.env")

    assert mistakes == []
    assert variables == {
        "A": "1",
        "B": "two words",
        "C": "single # quoted $A",
        "D": 'double " quoted',
        "E": "",
        "F": "a#b",
        "G": "x=y",
    }


def test_every_wrong_line_of_an_env_file_is_reported(folder: Any) -> None:
    path = folder.write("app.env", "A\nB=1\n=2\nC='open\n1D=x\n")

    variables, mistakes = read_env_file(path, "app.env")

    assert variables == {"B": "1"}
    assert [str(mistake) for mistake in mistakes] == [
        "app.env:1:1: expected NAME=value",
        "app.env:3:1: expected NAME=value",
        "app.env:4:1: the value of C is not quoted properly",
        "app.env:5:1: expected NAME=value",
    ]


def test_an_env_file_that_is_not_text_is_a_mistake(folder: Any) -> None:
    path = folder.path / "app.env"
    path.write_bytes(b"A=\xff")

    assert [str(mistake) for mistake in read_env_file(path, "app.env")[1]] == [
        "app.env: cannot be read: it is not UTF-8 text"
    ]
