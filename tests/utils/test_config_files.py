import os
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.config_files import Expander, find_files, read_document, read_env_file, readable_by_all
from tekton.utils.config_values import InvalidValueError
from tekton.utils.tekton_errors import ConfigurationError


def _found(folder: Any, named: str | None = None, cwd: Path | None = None) -> list[str]:
    files = find_files(None if named is None else Path(named), "command line", cwd or folder.path, folder.home)
    return [os.path.relpath(path, folder.path) for path in files.paths()]


def test_without_any_file_there_is_nothing_to_read(folder: Any) -> None:
    assert _found(folder) == []


def test_the_other_files_lie_beside_the_main_file(folder: Any) -> None:
    for name in ("tekton", "components", "dependencies", "ports", "security", "other"):
        folder.write(f"config/{name}.json", "{}")

    assert _found(folder) == [
        f"config/{name}.json" for name in ("tekton", "components", "dependencies", "ports", "security")
    ]


def test_the_nearest_main_file_upward_is_taken(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("a/config/tekton.json", "{}")
    deep = folder.path / "a" / "b" / "c"
    deep.mkdir(parents=True)

    assert _found(folder, cwd=deep) == ["a/config/tekton.json"]
    assert _found(folder) == ["tekton.json"]


def test_a_components_file_alone_is_enough_in_the_working_directory(folder: Any) -> None:
    folder.write("components.json", '{"components": {}}')
    below = folder.path / "below"
    below.mkdir()

    assert _found(folder) == ["components.json"]
    assert _found(folder, cwd=below) == []


def test_a_components_file_in_the_working_directory_comes_before_a_main_file_above(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("below/components.json", '{"components": {}}')

    assert _found(folder, cwd=folder.path / "below") == ["below/components.json"]


def test_a_components_file_of_another_tool_is_left_alone(folder: Any) -> None:
    folder.write("components.json", '{"style": "new-york", "aliases": {"components": "@/components"}}')

    assert _found(folder) == []
    assert _found(folder, "components.json") == ["components.json"]


@pytest.mark.parametrize("text", ['{"componets": {}}', '{"components": {,}}', "{}"])
def test_a_components_file_with_a_mistake_in_it_is_still_ours(folder: Any, text: str) -> None:
    folder.write("components.json", text)

    assert _found(folder) == ["components.json"]


def test_the_personal_file_is_the_last_resort(folder: Any) -> None:
    personal = folder.home / ".tekton"
    personal.mkdir()
    (personal / "config.json").write_text("{}")
    (personal / "components.json").write_text("{}")

    assert _found(folder) == ["../home/.tekton/config.json", "../home/.tekton/components.json"]


def test_a_home_that_cannot_be_entered_is_an_empty_one(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> os.stat_result:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)  # a mode would not stop a test that runs as root
        files = find_files(None, "", folder.path, folder.home)

    assert files.paths() == ()


def test_a_named_file_may_have_any_name(folder: Any) -> None:
    folder.write("my.json", '{"tekton": {}}')
    folder.write("stack.json", '{"components": {}}')
    folder.write("components.json", "{}")

    assert _found(folder, "my.json") == ["my.json", "components.json"]
    assert _found(folder, "stack.json") == ["stack.json"]


def test_a_named_components_file_takes_the_main_file_beside_it(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("components.json", "{}")

    assert _found(folder, "components.json") == ["tekton.json", "components.json"]


def test_a_directory_may_be_named(folder: Any) -> None:
    folder.write("a/tekton.json", "{}")
    folder.write("b/components.json", "{}")
    (folder.path / "c").mkdir()

    assert _found(folder, "a") == ["a/tekton.json"]
    assert _found(folder, "b") == ["b/components.json"]
    with pytest.raises(ConfigurationError, match=r"command line: no tekton.json or components.json in "):
        _found(folder, "c")


def test_a_named_file_must_exist_and_a_similar_one_is_suggested(folder: Any) -> None:
    folder.write("tekton.json", "{}")

    with pytest.raises(ConfigurationError, match=r"no such file: .*tekon.json \(did you mean .*/tekton.json\?\)"):
        _found(folder, "tekon.json")
    with pytest.raises(ConfigurationError, match=r"no such file"):
        _found(folder, "nowhere/tekton.json")


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
