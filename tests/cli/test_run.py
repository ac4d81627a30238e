"""The verb run: how its options become the description of a component, and how it refuses. What runs is in e2e."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tekton.cli.app import cli
from tekton.cli.run import default_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("node", "server.js"), "server"),
        (("python3.11", "-u", "my_worker.py", "--fast"), "my_worker"),
        (("python", "-m", "shop.billing"), "billing"),
        (("/usr/bin/python", "-c", "pass"), "python"),
        (("./Serve API.sh",), "serve-api-sh"),
        (("sh", "-c", "exit 1"), "sh"),
        (("nginx",), "nginx"),
    ],
)
def test_without_a_name_it_is_that_of_the_program(command: tuple[str, ...], name: str) -> None:
    assert default_name(command) == name


@pytest.fixture
def sent(tekton: Any, plane: Any) -> Any:
    """`sent(*options)`: what `tekton run -d` sends for these."""

    def run(*options: str) -> Any:
        result = tekton("run", "-d", *options)
        assert result.exit_code == 0, result.stderr
        return plane.bodies[-1]

    return run


def test_the_options_say_what_components_json_would(sent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEKTON_INSTANCE_UUID", "GREETING"):
        monkeypatch.setenv(name, "x")
    (tmp_path / "more.env").write_text("GREETING='hello there'\nCOLOUR=blue\n")

    entry = sent(
        *("--name", "billing", "--port", "9100", "--ready", "http:/healthz", "--liveness", "exec:check 'a b'"),
        *("--needs", "hermes", "--needs", "migrate:completed", "--capability", "pay", "--group", "shop"),
        *("--env-file", "more.env", "-e", "COLOUR=red", "--restart", "always", "--max-restarts", "2"),
        *("--", "node", "server.js", "--verbose"),
    )

    environment = entry.pop("env")
    assert (environment["GREETING"], environment["COLOUR"]) == ("hello there", "red")
    assert "PATH" in environment
    assert not [name for name in environment if name.startswith("TEKTON_")]
    assert entry == {
        "command": ["node", "server.js", "--verbose"],
        "cwd": str(tmp_path),
        "port": 9100,
        "ready": {"http": "/healthz"},
        "liveness": {"exec": ["check", "a b"]},
        "dependencies": [{"component": "hermes"}, {"component": "migrate", "condition": "completed"}],
        "capabilities": ["pay"],
        "groups": ["shop"],
        "restart": {"policy": "always", "max": 2},
    }


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("tcp", {"tcp": True}),
        ("tcp:9100", {"tcp": 9100}),
        ("http:http://127.0.0.1:9/x", {"http": "http://127.0.0.1:9/x"}),
        ("log:listening on .*", {"log": "listening on .*"}),
        ("heartbeat", {"heartbeat": True}),
    ],
)
def test_probes_are_written_in_one_word(sent: Any, text: str, probe: dict[str, Any]) -> None:
    assert sent("--ready", text, "true")["ready"] == probe


@pytest.mark.parametrize("text", ["", "http", "tcp:x", "log:", "exec:'", "soon", "heartbeat:1"])
def test_other_words_are_no_probes(tekton: Any, plane: Any, text: str) -> None:
    assert tekton("run", "-d", "--ready", text, "true").exit_code == 2
    assert plane.requests == []


@pytest.mark.parametrize("options", [["-e", "NAME"], ["--env-file", "absent"], ["--cwd", "absent"], []])
def test_mistakes_in_the_command_are_told_before_anything_is_asked(tekton: Any, plane: Any, options: list[str]) -> None:
    command = ["true"] if options else []

    assert tekton("run", *options, *command).exit_code == 2
    assert plane.requests == []


def test_a_file_of_variables_that_is_wrong_is_told(tekton: Any, plane: Any, tmp_path: Path) -> None:
    (tmp_path / "wrong.env").write_text("COLOUR\n")

    result = tekton("run", "--env-file", "wrong.env", "true")

    assert result.exit_code == 8
    assert "wrong.env:1:1: expected NAME=value" in result.stderr


def test_it_starts_nothing_elsewhere(tekton: Any, plane: Any) -> None:
    assert tekton("run", "--url", "http://elsewhere:8010", "true").exit_code == 2


def test_without_a_control_plane_it_says_how_to_get_one(tekton: Any) -> None:
    result = tekton("run", "true")

    assert result.exit_code == 3
    assert "help: tekton up -d" in result.stderr


def test_detached_a_failure_comes_with_its_last_words(tekton: Any, plane: Any, double: Any) -> None:
    failure = double.problem(409, "component_failed", "job: exit 3", component_id="job", reason="exit 3")
    plane.answers["PUT /api/components/job/spec"] = failure
    plane.components = [double.view("job", "failed")]
    plane.whys["job"] = double.why("job", "failed", evidence=["no such table"])

    result = tekton("run", "-d", "--name", "job", "true")

    assert result.exit_code == 1
    assert result.stderr == "error[component_failed]: job: exit 3\n  no such table\nhelp: tekton why job\n"


def test_detached_it_waits_no_longer_than_it_was_told(tekton: Any, plane: Any) -> None:
    plane.delay = 0.5

    result = tekton("run", "-d", "--timeout", "50ms", "--name", "slow", "true")

    assert result.exit_code == 4
    assert "waiting for slow to be ready" in result.stderr


def test_in_the_foreground_a_refusal_is_told_and_nothing_is_taken_out(tekton: Any, plane: Any, double: Any) -> None:
    exists = double.problem(409, "component_exists", "job lives", component_id="job", instance_uuid="x")
    plane.answers["PUT /api/components/job/spec"] = exists

    result = tekton("run", "--name", "job", "true")

    assert result.exit_code == 6
    assert [method for method, _ in plane.requests if method == "DELETE"] == []


def test_reload_tells_what_it_has_done(tekton: Any, plane: Any) -> None:
    report = {"added": ["web"], "removed": [], "changed": ["db", "api"], "kept": ["x"], "settings": []}
    plane.answers["POST /api/system/reload"] = (200, {**report, "needs_restart": ["tekton.port"]})

    result = tekton("reload")

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "added  web",
        "changed  db, api",
        "holds after tekton down and tekton up  tekton.port",
        "reloaded",
    ]
    assert json.loads(tekton("reload", "--json").stdout)["changed"] == ["db", "api"]


def test_a_broken_configuration_is_told_as_up_would(tekton: Any, plane: Any, double: Any) -> None:
    mistake = {"source": "components.json", "line": 2, "column": 5, "pointer": "/components", "problem": "no"}
    plane.answers["POST /api/system/reload"] = double.problem(422, "config_invalid", "no", mistakes=[mistake])

    result = tekton("reload")

    assert result.exit_code == 8
    assert "error[config_invalid]: components.json:2:5: no" in result.stderr


def test_of_what_was_scaled_the_replica_is_named(tekton: Any, plane: Any, double: Any) -> None:
    views = [{"instance_uuid": f"{double.INSTANCE}1", "replica": 1}]
    plane.answers["GET /api/components/job/instances"] = (200, {"items": views})
    scaled = {"after": {"max_instances": 2}}
    plane.publish_after_snapshot(
        double.change(2, "job", "starting", "ready", **scaled), double.change(3, "job", "ready", "stopped", **scaled)
    )

    result = tekton("run", "--name", "job", "true")

    assert result.exit_code == 0
    assert [line.split()[1:3] for line in result.stderr.splitlines()] == [["job.1", "starting"], ["job.1", "ready"]]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["data", "data/run", "data/run/control.sock"])
def test_the_environment_is_not_sent_to_the_system_of_somebody_else(
    tekton: Any, plane: Any, tmp_path: Path, place: str
) -> None:
    os.chown(tmp_path / place, 54321, 54321)

    result = tekton("run", "-d", "true")

    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"error[file_problem]: {tmp_path / place}: belongs to somebody else, who is not sent your environment"
    )
    assert plane.bodies == []


def test_nor_to_one_that_was_found_on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tekton.json").write_text('{"tekton": {"data_dir": "elsewhere", "mdns": true}}')
    asked: list[object] = []
    monkeypatch.setattr("tekton.cli.client._announced", asked.append)

    result = CliRunner().invoke(cli, ["run", "-d", "true"])

    assert result.exit_code == 3
    assert asked == []
