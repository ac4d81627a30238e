"""import: the verb around the importers."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tekton.cli.app import cli

COMPOSE = "services: {db: {image: postgres, networks: [x]}}\n"
PROCESSES = "processes: {api: {command: ./api}}\n"


def import_(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["import", *arguments], catch_exceptions=False, prog_name="tekton")


@pytest.mark.parametrize(
    ("name", "content", "component"),
    [
        ("docker-compose.yml", COMPOSE, "db"),
        ("process-compose.yaml", PROCESSES, "api"),
        ("Procfile", "web: ./web\n", "web"),
        ("Procfile.dev", "web: ./web\n", "web"),
    ],
)
def test_the_kind_is_known_by_name_and_contents(tmp_path: Path, name: str, content: str, component: str) -> None:
    (tmp_path / name).write_text(content)

    result = import_(name)

    assert result.exit_code == 0
    assert list(json.loads(result.stdout)["components"]) == [component]


def test_what_was_dropped_is_told_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)

    result = import_("compose.yaml")

    assert "services.db.networks: dropped: there is no network of containers" in result.stderr
    assert result.stderr.endswith("1 component, 2 notes. Now: tekton config check\n")


def test_the_result_is_written_to_a_new_file_only(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("web: ./web\n")

    first = import_("p", "--from", "procfile", "-o", "components.json")
    written = (tmp_path / "components.json").read_text()
    second = import_("p", "--from", "procfile", "-o", "components.json")

    assert (first.exit_code, first.stdout, second.exit_code) == (0, "", 6)
    assert json.loads(written) == {"components": {"web": {"command": ["./web"]}}}
    assert (tmp_path / "components.json").read_text() == written


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"services: [}", "line 1, column 12: "),
        (b"\xff\xfe\xff", "is not UTF-8 text"),
        (b"just text", "should be a table"),
        (b"services: {}", "it has no `services`"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "x.yml").write_bytes(content)

    result = import_("x.yml")

    assert result.exit_code == 1
    assert result.stderr.startswith("error[file_problem]: x.yml")
    assert problem in result.stderr


def test_a_file_that_is_not_there_is_told() -> None:
    assert import_("nothing.yml").stderr.startswith("error[file_problem]: nothing.yml: cannot be read: No such file")


def test_without_pyyaml_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    monkeypatch.setitem(sys.modules, "yaml", None)

    result = import_("compose.yaml")

    assert result.exit_code == 1
    assert "help: pip install 'tekton-core[import]'" in result.stderr


def test_a_procfile_needs_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Procfile").write_text("web: ./web\n")
    monkeypatch.setitem(sys.modules, "yaml", None)

    assert import_("Procfile").exit_code == 0


def laughs(levels: int) -> str:
    rows = ["l0: &l0 [x]", *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels))]
    return "\n".join(rows) + f"\nservices: {{web: {{image: nginx, command: *l{levels - 1}}}}}\n"


def merges(levels: int) -> str:
    rows = ["l0: &l0 {a: 1}", *(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, levels))]
    return "\n".join(rows) + f"\nservices: {{web: {{image: nginx, labels: *l{levels - 1}}}}}\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (laughs(9), "its aliases stand for more than anybody could have meant"),
        (merges(9), "its aliases stand for more than anybody could have meant"),
        ("services: &s {web: {image: nginx, deploy: *s}}\n", "is nested too deeply, or in itself"),
        ("[" * 50_000, "is nested too deeply, or in itself"),
        ("#" * (1024 * 1024 + 1), "is larger than 1.0 MiB"),
        ("services: {web: {image: --privileged}}", "'--privileged' is not the name of an image"),
    ],
    ids=["laughs", "merges", "circle", "depth", "size", "option"],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "compose.yaml").write_text(content)

    result = import_("compose.yaml")

    assert result.exit_code != 0
    assert problem in result.stderr


def test_a_terminal_obeys_nothing_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text('services: {"a\\e]0;b\\a": {image: x, "odd\\e]0;c": 1}}')

    result = import_("compose.yaml")

    assert result.exit_code == 0
    assert "\x1b]" not in result.output
