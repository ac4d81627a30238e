"""config: check, show, schema."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tekton.cli.app import cli
from tekton.utils.tekton_config import json_schema

SECRET = "correct-horse-battery-staple-0123456789"


def config(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["config", *arguments], catch_exceptions=False, prog_name="tekton")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tekton.json").write_text('{"tekton": {\n  "port": 8123\n}}')
    (tmp_path / "components.json").write_text(
        json.dumps({"components": {"web": {"command": ["web", "--token", "abcdefgh"], "env": {"API_TOKEN": SECRET}}}})
    )
    return tmp_path


def test_a_right_configuration_is_one_line(project: Path) -> None:
    result = config("check")

    assert (result.exit_code, result.stdout) == (0, "ok: 1 component (tekton.json, components.json)\n")


def test_all_mistakes_are_told_with_exit_status_8(project: Path) -> None:
    (project / "tekton.json").write_text('{"tekton": {"prot": 1, "log_level": "loud"}}')

    result = config("check")

    assert (result.exit_code, result.stdout) == (8, "")
    assert "tekton.json:1:13: unknown key 'tekton.prot'" in result.stderr
    assert "tekton.json:1:37: tekton.log_level: " in result.stderr


def test_a_right_configuration_is_there_for_programs(project: Path) -> None:
    document = json.loads(config("check", "-o", "json").stdout)

    assert document["components"] == ["web"]
    assert document["files"] == [str(project / "tekton.json"), str(project / "components.json")]


def test_values_are_shown_with_their_origin_and_without_secrets(project: Path) -> None:
    result = config("show", "--origin")

    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert ["tekton.port", "tekton.json:2", "8123"] in rows
    assert ["tekton.host", "default", "127.0.0.1"] in rows
    assert ["components.web.command", "components.json:1", '["web", "--token", "[redacted]"]'] in rows
    assert SECRET not in result.stdout


def test_values_are_there_for_programs_without_secrets(project: Path) -> None:
    plain = json.loads(config("show", "--json").stdout)
    traced = json.loads(config("show", "--json", "--origin").stdout)

    assert plain["tekton.port"] == 8123
    assert traced["tekton.port"] == {"value": 8123, "origin": "tekton.json:2"}
    assert plain["components.web"]["env"] == {"API_TOKEN": "[redacted]"}


def test_one_key_is_shown_with_what_is_below_it(project: Path) -> None:
    keys = [line.split()[0] for line in config("show", "tekton.security").stdout.splitlines()[1:]]

    assert keys
    assert all(key.startswith("tekton.security.") for key in keys)


def test_a_mistyped_key_is_a_usage_error_with_a_suggestion(project: Path) -> None:
    result = config("show", "tekton.prot")

    assert result.exit_code == 2
    assert "no setting 'tekton.prot'; did you mean 'tekton.port'?" in result.stderr


@pytest.mark.parametrize(("word", "verb"), [("validate", "check"), ("print", "show")])
def test_what_others_call_a_verb_leads_to_ours(word: str, verb: str) -> None:
    result = config(word)

    assert result.exit_code == 2
    assert f"No such command '{word}'.\nhelp: tekton config {verb}" in result.stderr


def test_the_schema_of_a_file_is_printed() -> None:
    assert json.loads(config("schema", "components").stdout) == json.loads(json.dumps(json_schema("components")))


def test_all_schemas_are_written(tmp_path: Path) -> None:
    result = config("schema", "--write", "schemas")

    written = result.stdout.splitlines()
    assert [Path(path).name.partition(".")[0] for path in written] == [
        "tekton",
        "components",
        "dependencies",
        "ports",
        "security",
    ]
    assert all(json.loads((tmp_path / path).read_text())["$schema"] for path in written)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert config("schema", "--write", "file/below").exit_code == 1


@pytest.mark.parametrize("arguments", [("schema",), ("schema", "ports", "--write", "x"), ("chek",)])
def test_what_makes_no_sense_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert config(*arguments).exit_code == 2


def test_a_broken_components_file_keeps_nobody_from_the_control_plane(project: Path) -> None:
    (project / "tekton.json").write_text('{"tekton": {"data_dir": "data"}}')
    (project / "components.json").write_text('{"components": {"web": {"comand": []}}}')

    result = CliRunner().invoke(cli, ["down"], prog_name="tekton")

    assert (result.exit_code, result.stderr) == (0, f"nothing runs in {project / 'data'}\n")


def test_a_dependency_on_what_is_not_configured_is_a_warning(project: Path) -> None:
    web = {"command": ["web"], "dependencies": ["databse"]}
    (project / "components.json").write_text(json.dumps({"components": {"web": web, "database": {"command": ["d"]}}}))

    result = config("check")

    assert result.exit_code == 0
    assert result.stdout.startswith("ok: 2 components")
    assert result.stderr.splitlines() == [
        "warning: web depends on 'databse', which is not configured",
        "help: did you mean 'database'? Otherwise it has to register itself",
    ]


def test_a_key_that_is_like_nothing_gets_no_suggestion(project: Path) -> None:
    assert "did you mean" not in config("show", "nothere").stderr
    assert "did you mean 'tekton.port'?" in config("show", "tekton.prot").stderr
