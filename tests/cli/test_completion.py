"""completion: the scripts, run by the shells that they are for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tekton.cli.app import VERBS, cli
from tekton.cli.completion import SHELLS


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with the program `tekton`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "tekton"
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom tekton.cli import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return folder


COMPLETE = """
import sys
from tekton.cli import component_names, main
component_names._PATIENCE = 20.0  # the double answers when it gets to it
sys.exit(main())
"""


def words(line: str, *, cwd: Path | None = None) -> list[str]:
    """What is offered for the last word of *line*."""
    given = line.split(" ")
    environment = {"_TEKTON_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(given) - 1)}
    result = subprocess.run(
        [sys.executable, "-c", COMPLETE],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stderr == ""
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_verbs_are_completed() -> None:
    assert words("tekton ") == list(VERBS)
    assert words("tekton res") == ["restart", "restore"]


def test_verbs_below_verbs_options_and_their_values_are_completed() -> None:
    assert words("tekton config ") == ["check", "schema", "show"]
    assert words("tekton config show --or") == ["--origin"]
    assert words("tekton config schema p") == ["ports"]
    assert words("tekton explain -o ") == ["text", "json"]


def test_components_of_the_running_system_are_completed(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes"), double.view("engram"), double.view("ergon")]

    assert words(f"tekton --data-dir {data_dir} logs e") == ["engram", "ergon"]
    assert words(f"tekton logs --data-dir {data_dir} engram e") == ["ergon"]


def test_tools_are_completed_also_behind_a_verb_below_a_verb(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("greeter")]
    plane.answers["GET /api/tools"] = (200, {"items": [{"id": "greeter.greet"}, {"id": "$(ls)"}], "cursor": None})

    assert words(f"tekton --data-dir {data_dir} tool call gr") == ["greeter.greet"]
    assert words(f"tekton tool show --data-dir {data_dir} ") == ["greeter.greet"]
    assert words(f"tekton tool --data-dir {data_dir} ls --component ") == ["greeter"]


def test_agents_types_tasks_and_conversations_are_completed(plane: Any, data_dir: Path) -> None:
    agents = [{"agent_id": "reviewer", "capabilities": ["code_review"]}]
    plane.answers["GET /api/agents"] = (200, {"items": agents, "cursor": None})
    plane.answers["GET /api/tasks"] = (200, {"items": [{"task_id": f"{'0' * 28}08d591ba"}], "cursor": None})
    plane.answers["GET /api/conversations"] = (200, {"items": [{"conversation_id": "release-7"}], "cursor": None})

    assert words(f"tekton --data-dir {data_dir} agent show ") == ["reviewer"]
    assert words(f"tekton --data-dir {data_dir} task run ") == ["code_review"]
    assert words(f"tekton --data-dir {data_dir} agent ls --capability c") == ["code_review"]
    assert words(f"tekton --data-dir {data_dir} task watch 0") == ["08d591ba"]
    assert words(f"tekton --data-dir {data_dir} conversation show r") == ["release-7"]


def test_the_running_system_is_found_from_the_configuration(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes")]
    (data_dir.parent / "tekton.json").write_text('{"tekton": {"data_dir": "data"}}')
    below = data_dir.parent / "below"
    below.mkdir()

    assert words("tekton why ", cwd=below) == ["hermes"]
    assert words(f"tekton why -c {data_dir.parent} ", cwd=Path("/")) == ["hermes"]


def test_the_environment_counts_as_it_does_elsewhere(
    plane: Any, double: Any, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.components = [double.view("hermes")]
    (tmp_path / "tekton.json").write_text('{"tekton": {"data_dir": "nowhere"}}')

    assert words("tekton why ", cwd=tmp_path) == []
    monkeypatch.setenv("TEKTON_DATA_DIR", str(data_dir))
    assert words("tekton why ", cwd=tmp_path) == ["hermes"]


def test_components_of_a_system_elsewhere_are_completed(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = double.ControlPlane()
    double.serve(plane, ("127.0.0.1", 0))
    plane.components = [double.view("hermes")]
    url = f"http://127.0.0.1:{plane.server.server_address[1]}"

    assert words(f"tekton --url {url} why ") == ["hermes"]
    monkeypatch.setenv("TEKTON_URL", url)
    assert words("tekton why ") == ["hermes"]
    plane.leave()


def test_what_no_component_can_be_called_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "components.json").write_text('{"components": {"a$(touch b)": {}, "c\\nd": {}, "e;f": {}, "web": {}}}')

    assert words("tekton why ", cwd=tmp_path) == ["web"]


def test_configured_components_are_completed_when_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "components.json").write_text('{"components": {"web": {}, "worker": {}}}')

    assert words("tekton logs w", cwd=tmp_path) == ["web", "worker"]


@pytest.mark.parametrize("text", ["", "[]", '{"tekton": []}', '{"tekton": {"data_dir": "${NOWHERE}"}}'])
def test_a_broken_configuration_completes_to_nothing_and_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "tekton.json").write_text(text)
    (tmp_path / "components.json").write_text("[")

    assert words("tekton logs ", cwd=tmp_path) == []


def test_names_are_completed_without_heavy_imports(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes")]
    (data_dir.parent / "tekton.json").write_text('{"tekton": {"data_dir": "data"}}')
    heavy = "{'aiohttp', 'asyncio', 'granian', 'msgspec', 'psutil', 'tekton._native', 'uvloop'}"
    code = (
        "import sys; from tekton.cli import component_names; from tekton.cli.options import Target;"
        "component_names._PATIENCE = 20.0;"
        f"print(component_names.known_names(Target()), sorted({heavy} & sys.modules.keys()))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)

    assert result.stdout == "['hermes'] []\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_printed_without_running_that_shell(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    result = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False, prog_name="tekton")

    assert result.exit_code == 0
    assert "_TEKTON_COMPLETE" in result.stdout


def in_shell(shell: str, program: Path, script: str) -> str:
    environment = {**os.environ, "PATH": f"{program}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        [shell, "-c", script], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_bash_completes(program: Path) -> None:
    script = """
        eval "$(tekton completion bash)"
        COMP_WORDS=(tekton config s) COMP_CWORD=2
        _tekton_completion tekton
        echo "${COMPREPLY[@]}"
    """

    assert in_shell("bash", program, script) == "schema show\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(program: Path) -> None:
    script = 'tekton completion fish | source; complete -C "tekton config s"'

    offered = in_shell("fish", program, script).splitlines()
    assert [line.partition("\t")[0] for line in offered] == ["schema", "show"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script(program: Path) -> None:
    script = 'autoload -U compinit && compinit -u -D; eval "$(tekton completion zsh)"; whence _tekton_completion'

    assert in_shell("zsh", program, script) == "_tekton_completion\n"
