"""doctor: what keeps Tekton from working is found, and what does not is left alone."""

import json
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tekton.cli import checks
from tekton.cli.app import cli


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tekton.json").write_text('{"tekton": {"data_dir": "data", "port": 0}}')
    configure(tmp_path, {"web": {"command": ["python3", "-c", ""]}})
    return tmp_path


def configure(project: Path, components: dict[str, Any]) -> None:
    (project / "components.json").write_text(json.dumps({"components": components}))


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments], catch_exceptions=False, prog_name="tekton")


def found(verdict: str = "fail") -> dict[str, str]:
    """Text by name of what doctor gives this verdict."""
    entries = json.loads(doctor("-o", "json").stdout)["checks"]
    return {entry["name"]: entry["text"] for entry in entries if entry["verdict"] == verdict}


def test_where_all_is_well_the_exit_status_is_0(project: Path) -> None:
    result = doctor()

    assert result.exit_code == 0
    assert [line[6:20].strip() for line in result.stdout.splitlines()] == [
        *("python", "extension", "clock", "open files", "processes", "configuration", "data directory"),
        *("free space", "control plane", "port", "command"),
    ]
    assert "11 checks: 0 failed" in result.stderr
    assert not (project / "data").exists()


def test_what_is_wrong_is_exit_status_1_with_advice(project: Path) -> None:
    configure(project, {"web": {"command": ["no-such-program"]}})

    result = doctor()

    assert result.exit_code == 1
    assert "fail  command         web: there is no program 'no-such-program' on the PATH\n" in result.stdout
    assert "install it, or correct the component's command" in result.stdout
    assert json.loads(doctor("-o", "json").stdout)["ok"] is False


@pytest.mark.parametrize(
    ("component", "fault"),
    [
        ({"command": ["./gone"]}, "web: there is no "),
        ({"command": ["./plain"]}, "is not executable"),
        ({"command": ["x"], "cwd": "gone"}, "is no folder"),
        ({"command": ["python3"], "env": {"PATH": "/nowhere"}}, None),
        ({"command": ["tool"], "env": {"PATH": "/nowhere"}}, "there is no program 'tool'"),
        ({"command": ["./tool"]}, None),
    ],
)
def test_a_program_that_cannot_be_started_is_found(project: Path, component: Any, fault: str | None) -> None:
    (project / "plain").touch(mode=0o644)
    (project / "tool").touch(mode=0o755)
    configure(project, {"web": component})

    if fault is None:
        assert "command" not in found()
    else:
        assert fault in found()["command"]


def test_a_taken_port_is_found_with_its_owner(project: Path, port: int) -> None:
    configure(project, {"web": {"command": ["python3"], "port": port}})

    assert f"port {port} of web is in use by process {os.getpid()} " in found()["port"]


def test_a_broken_configuration_is_found_and_the_rest_still_looked_at(project: Path) -> None:
    (project / "components.json").write_text('{"components": {"web": {}, "x": {}}}')

    assert found() == {
        "configuration": "components.json:1:17: components.web has no 'command', and 1 more mistake",
    }
    assert "control plane" in found("ok")


def test_a_data_directory_that_cannot_be_written_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)  # a mode would not stop a test that runs as root

    assert found()["data directory"] == f"{project} cannot be written: Permission denied"


def test_a_full_disk_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_NO_SPACE", 1 << 62)

    assert "free space" in found()


def test_a_slow_clock_is_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hpet\n")
    monkeypatch.setattr(checks, "_CLOCK_SOURCE", tmp_path / "source")

    assert found("warn") == {"clock": "hpet is slow to read"}
    assert doctor().exit_code == 0


def test_a_low_limit_is_a_warning(project: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        assert found("warn") == {"open files": "512 at most; a system needs 1024"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_control_plane_that_runs_is_well(tekton: Any, plane: Any, data_dir: Path, held: Any) -> None:
    plane.answers["GET /api/ready"] = (200, {"ready": True, "reason": None})

    with held(data_dir / "LOCK", "4712\n"):
        assert "ok    control plane   runs (process 4712), ready" in tekton("doctor").stdout


def test_a_control_plane_whose_streams_cannot_be_used_is_a_warning(
    tekton: Any, plane: Any, data_dir: Path, held: Any
) -> None:
    plane.answers["GET /api/ready"] = (200, {"ready": True, "reason": None, "impaired": ["streams: unreadable"]})

    with held(data_dir / "LOCK", "4712\n"):
        assert "warn  control plane   runs, but streams: unreadable" in tekton("doctor").stdout


def test_an_owner_that_does_not_answer_is_found(tekton: Any, data_dir: Path, held: Any) -> None:
    with held(data_dir / "LOCK", "4712\n"):
        result = tekton("doctor")

    assert result.exit_code == 1
    assert "fail  control plane   process 4712 owns the directory, but " in result.stdout


def test_another_version_that_runs_is_a_warning(tekton: Any, plane: Any, data_dir: Path, held: Any) -> None:
    plane.answers["GET /api/version"] = (200, {"version": "9.9.9", "python": "3.99", "pid": 1})
    plane.answers["GET /api/ready"] = (200, {"ready": True, "reason": None})

    with held(data_dir / "LOCK", "4712\n"):
        assert "warn  control plane   runs version 9.9.9, this is " in tekton("doctor").stdout


def test_a_dependency_on_what_is_not_configured_is_a_warning(project: Path) -> None:
    configure(project, {"web": {"command": ["python3", "-c", ""], "dependencies": ["ghost"]}})

    assert doctor().exit_code == 0
    assert found("warn")["dependency"] == "web depends on 'ghost', which is not configured"
