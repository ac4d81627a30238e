"""The group of verbs: lazy loading, suggestions, exit statuses."""

import json
import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tekton.cli.app import VERBS, cli, run


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=30, check=False, **options
    )


def command(name: str) -> click.Command:
    module, _, attribute = VERBS[name].home.partition(":")
    found: click.Command = getattr(import_module(f"tekton.cli.{module}"), attribute)
    return found


@pytest.mark.parametrize("name", VERBS)
def test_the_line_of_a_verb_is_the_first_sentence_of_its_help(name: str) -> None:
    if name == "status":
        assert command("status") is command("ps")
    else:
        assert VERBS[name].summary == (command(name).help or "").partition("\n")[0].partition(". ")[0].rstrip(".") + "."


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_and_takes_the_options_that_choose_a_control_plane(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], prog_name="tekton")

    assert result.exit_code == 0
    assert {"--data-dir", "--url", "--config"} <= {word.rstrip(",") for word in result.stdout.split()}


def test_help_lists_all_verbs_and_loads_none() -> None:
    loaded = "print(json.dumps(sorted(n for n in sys.modules if n.startswith('tekton.'))), file=sys.stderr)"
    result = python("-c", f"import json, sys; from tekton.cli import main; main(['--help']); {loaded}")

    assert all(f"\n  {name} " in result.stdout for name in VERBS)
    loaded_now = json.loads(result.stderr)
    assert [name for name in loaded_now if not name.startswith("tekton.utils.tekton_errors.")] == [
        "tekton.cli",
        "tekton.cli.app",
        "tekton.cli.examples",
        "tekton.cli.options",
        "tekton.cli.problems",
        "tekton.cli.render",
        "tekton.cli.terminal",
        "tekton.utils",
        "tekton.utils.tekton_errors",
    ]


def test_ps_loads_nothing_heavy(tekton: Any, plane: Any, data_dir: Path) -> None:
    heavy = "{'aiohttp', 'asyncio', 'granian', 'msgspec', 'psutil', 'tekton._native', 'uvloop'}"
    loaded = f"print(sorted({heavy} & sys.modules.keys()), file=sys.stderr)"
    code = f"import sys; from tekton.cli import main; main(['--data-dir', {str(data_dir)!r}, 'ps']); {loaded}"

    assert python("-c", code).stderr == "[]\n"


def test_a_mistyped_verb_is_a_usage_error_with_a_suggestion(tekton: Any) -> None:
    result = tekton("restrat")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error[usage]: No such command 'restrat'. ")
    assert "'restart'" in result.stderr
    assert result.stderr.endswith("help: tekton --help\n")


def test_a_mistyped_option_is_a_usage_error_with_a_suggestion(tekton: Any) -> None:
    result = tekton("ps", "--outptu", "json")

    assert result.exit_code == 2
    assert "No such option '--outptu'. Did you mean '--output'?" in result.stderr
    assert "help: tekton ps --help" in result.stderr


def test_without_a_verb_the_help_is_shown() -> None:
    result = CliRunner().invoke(cli, [], prog_name="tekton")

    assert result.exit_code == 2
    assert "Verbs:" in result.stderr


def test_nothing_that_runs_is_exit_status_3_and_says_how_to_start_it(tekton: Any) -> None:
    result = tekton("ps")

    assert result.exit_code == 3
    assert result.stderr.startswith("error[unreachable]: ")
    assert result.stderr.endswith("data: no control plane runs in this data directory\nhelp: tekton up\n")


def test_mistakes_in_the_configuration_are_all_told_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "tekton.json").write_text('{\n  "tekton": {\n    "prot": 8010,\n    "log_level": "loud"\n  }\n}\n')

    result = CliRunner().invoke(cli, ["ps"])

    assert result.exit_code == 8
    assert "error[config_invalid]: tekton.json:3:5: " in result.stderr
    assert "help: did you mean 'port'?" in result.stderr
    assert "error[config_invalid]: tekton.json:4:18: " in result.stderr
    assert "2 mistakes in the configuration" in result.stderr


def test_colour_is_for_terminals(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    assert "\x1b[" not in tekton("ps").stdout
    assert "\x1b[32mready\x1b[0m" in tekton("ps", color=True).stdout


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("yes", False), ("", True)])
def test_no_color_takes_the_colour_away(tekton: Any, plane: Any, double: Any, value: str, coloured: bool) -> None:
    plane.components = [double.view("hermes")]

    assert ("\x1b[" in tekton("ps", color=True, env={"NO_COLOR": value}).stdout) is coloured


def test_options_behind_the_verb_win_over_those_before_it(tekton: Any, plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes")]
    before = ["--data-dir", str(data_dir.parent), "ps", "-o", "name"]

    assert CliRunner().invoke(cli, before).exit_code == 3
    assert CliRunner().invoke(cli, [*before, "--data-dir", str(data_dir)]).stdout == "hermes\n"


def test_a_reader_that_leaves_early_is_no_error_message(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view(f"component-{number}") for number in range(5000)]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tekton", "--data-dir", str(data_dir), "ps"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.read(reading, 10)
    os.close(reading)
    _, errors = process.communicate(timeout=30)

    assert errors == ""
    assert process.returncode == 141


def test_the_package_can_be_run_as_a_program() -> None:
    assert python("-m", "tekton", "version").stdout.startswith("tekton ")


def test_main_returns_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_terminal_of_another_encoding_gets_question_marks(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes", note="this → that")]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}

    result = python("-m", "tekton", "--data-dir", str(data_dir), "ps", env=environment)

    assert result.returncode == 0
    assert "this ? that" in result.stdout


def test_an_interrupted_command_ends_without_a_traceback(plane: Any, data_dir: Path) -> None:
    watched = threading.Event()
    plane.on_stream = [watched.set]
    process = subprocess.Popen(
        [sys.executable, "-m", "tekton", "--data-dir", str(data_dir), "events", "-f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watched.wait(20)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert (output, errors.strip()) == ("", "")
