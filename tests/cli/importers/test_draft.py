"""The pieces that all imports share."""

from pathlib import Path
from typing import Any

import pytest

from tekton.cli.importers.draft import (
    Draft,
    ImportedError,
    assignments,
    literal,
    memory,
    replaced,
    seconds,
    shell_command,
    table,
    text,
)
from tekton.utils.config_files import Expander

ENVIRONMENT = {"SET": "value", "EMPTY": ""}


def expanded(value: str) -> str:
    return Expander(lambda _: ENVIRONMENT)(value, "")


@pytest.mark.parametrize("value", ["plain", "$HOME/x", "${SET}", "$$", "$${SET}", "echo $$ ${SET} $1 $", "a$$$b"])
def test_what_is_left_to_a_shell_comes_through_unchanged(value: str) -> None:
    assert expanded(literal(value)) == value


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("plain", "plain"),
        ("$SET", "value"),
        ("${SET}/x", "value/x"),
        ("${UNSET}", ""),
        ("${UNSET:-other}", "other"),
        ("${UNSET-other}", "other"),
        ("${SET:?must be}", "value"),
        ("costs $$5", "costs $5"),
    ],
)
def test_variables_of_compose_are_replaced_as_there(value: str, meant: str) -> None:
    assert expanded(replaced(value)) == meant


@pytest.mark.parametrize(
    ("value", "length"),
    [(5, 5.0), (1.5, 1.5), ("5s", 5.0), ("1m30s", 90.0), ("500ms", 0.5), ("2h", 7200.0), ("soon", None), (True, None)],
)
def test_lengths_of_time_are_read(value: object, length: float | None) -> None:
    assert seconds(value) == length


@pytest.mark.parametrize(
    ("value", "size"), [("512m", "512M"), ("1gb", "1G"), ("64KiB", "64K"), (1048576, "1048576"), ("lots", None)]
)
def test_amounts_of_memory_are_read(value: object, size: str | None) -> None:
    assert memory(value) == size


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("python -m app --port 1", ["python", "-m", "app", "--port", "1"]),
        ("echo 'two words'", ["echo", "two words"]),
        ("a | b", ["sh", "-c", "a | b"]),
        ("A=1 b", ["sh", "-c", "A=1 b"]),
        ("b ${X} $Y", ["sh", "-c", "b $${X} $Y"]),
        ("it's", ["sh", "-c", "it's"]),
    ],
)
def test_a_shell_is_used_where_it_is_needed(line: str, command: list[str]) -> None:
    assert shell_command(line) == command


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, {}),
        ({"A": 1, "B": None, "C": True}, {"A": "1", "B": None, "C": "true"}),
        (["A=1", "B", "C=x=y", "D="], {"A": "1", "B": None, "C": "x=y", "D": ""}),
    ],
)
def test_variables_may_be_a_table_or_a_list(value: Any, found: dict[str, str | None]) -> None:
    assert assignments(value, "environment") == found


def test_what_is_no_table_is_refused_with_its_place() -> None:
    with pytest.raises(ImportedError, match=r"services.web should be a table"):
        table("text", "services.web")


def test_names_become_ids_and_stay_different() -> None:
    draft = Draft(Path())

    draft.name_all(["Web App", "web-app", "db"], "services")

    assert [draft.id_of(name) for name in ("Web App", "web-app", "db")] == ["web-app", "web-app-2", "db"]
    assert [note.place for note in draft.notes] == ["services.Web App", "services.web-app"]


def test_scalars_are_texts_as_yaml_writes_them() -> None:
    assert [text(value) for value in (None, True, 1, 1.5, "x")] == ["", "true", "1", "1.5", "x"]
