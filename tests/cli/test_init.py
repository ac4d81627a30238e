"""init: a small system to begin with."""

import json
import os
import socket
from pathlib import Path

from click.testing import CliRunner, Result

from tekton.cli.app import cli
from tekton.cli.starter import ports_for
from tekton.utils.tekton_config import TektonConfig

FILES = ["tekton.json", "components.json", "greeter.py", "caller.py", "README.md", ".gitignore"]


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments], catch_exceptions=False, prog_name="tekton")


def test_the_files_are_written_and_named_and_the_next_commands_told(tmp_path: Path) -> None:
    result = init("demo")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"demo/{name}" for name in FILES]
    assert [line.split("  ")[1] for line in result.stderr.split("Next:\n")[1].splitlines()] == [
        "cd demo",
        "tekton up -d",
        "tekton ps",
        "tekton logs -f",
    ]
    assert all((tmp_path / "demo" / name).is_file() for name in FILES)


def test_what_is_written_is_a_right_configuration_with_data_of_its_own(tmp_path: Path) -> None:
    init("demo")

    config = TektonConfig.load(environ={"HOME": str(tmp_path)}, cwd=tmp_path / "demo")

    assert list(config.components) == ["greeter", "caller"]
    assert config.data_dir == tmp_path / "demo" / ".tekton"
    assert config.data_dir.stat().st_mode & 0o777 == 0o700


def test_the_schemas_that_the_files_name_are_there(tmp_path: Path) -> None:
    init("demo")

    for name in ("tekton.json", "components.json"):
        schema = json.loads((tmp_path / "demo" / name).read_text())["$schema"]
        assert json.loads((tmp_path / "demo" / schema).read_text())["$defs"]


def test_nothing_is_overwritten_and_then_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text("mine")

    result = init()

    assert result.exit_code == 6
    assert result.stderr.startswith("error[path_taken]: .: has greeter.py already; nothing was written\n")
    assert os.listdir(tmp_path) == ["greeter.py"]
    assert (tmp_path / "greeter.py").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = init("file/demo")

    assert result.exit_code == 1
    assert "error[file_problem]: " in result.stderr


def test_two_systems_have_ports_of_their_own_and_keep_them(tmp_path: Path) -> None:
    first, second = ports_for(tmp_path / "a"), ports_for(tmp_path / "b")

    assert not {*first} & {*second}
    assert ports_for(tmp_path / "a") == first
    assert all(8100 <= port < 10_000 for port in (*first, *second))


def test_a_port_that_somebody_has_is_not_taken(tmp_path: Path) -> None:
    usual = ports_for(tmp_path / "demo")
    with socket.create_server(("127.0.0.1", usual[0])):
        init("demo")

    written = json.loads((tmp_path / "demo" / "tekton.json").read_text())["tekton"]["port"]
    assert written not in usual
