"""export: a support bundle that tells much, and no secret."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

PLANTED = {
    "in env": "plum-violet-8841-environment",
    "in env_file": "plum-violet-8842-env-file",
    "in command": "plum-violet-8843-command",
    "in argument": "plum-violet-8844-argument",
    "in url": "plum-violet-8845-url",
    "credential": "plum-violet-8846-credential",
    "in log": "plum-violet-8847-log",
    "bearer": "plum-violet-8848-bearer",
    "in environment": "plum-violet-8849-environment",
    "in metadata": "plum-violet-8850-metadata",
    "in reason": "plum-violet-8851-reason",
    "jwt_secret": "plum-violet-8852-jwt-secret-plum-violet",
}


@pytest.fixture
def project(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured directory with logs, and secrets in every place."""
    monkeypatch.setenv("DB_PASSWORD", PLANTED["in environment"])
    security = {"jwt_secret": PLANTED["jwt_secret"]}
    main = tmp_path / "tekton.json"
    main.write_text(json.dumps({"tekton": {"data_dir": "data", "port": 0, "security": security}}))
    main.chmod(0o600)
    (tmp_path / ".env").write_text(f"OTHER_TOKEN={PLANTED['in env_file']}\n")
    component = {
        "command": ["python3", "--token", PLANTED["in command"], f"--api-key={PLANTED['in argument']}"],
        "env": {"API_KEY": PLANTED["in env"], "DATABASE": f"postgres://me:{PLANTED['in url']}@db/x"},
        "env_file": ".env",
        "metadata": {"password": PLANTED["in metadata"]},
    }
    (tmp_path / "components.json").write_text(json.dumps({"components": {"web": component}}))
    (data_dir / "run" / "credential").write_text(PLANTED["credential"])
    known = [PLANTED[name] for name in ("in env", "in env_file", "credential", "in environment", "jwt_secret")]
    log = [
        "started",
        *(f"seen: {secret}" for secret in known),
        f'password = "{PLANTED["in log"]}"',
        f"Authorization: Bearer {PLANTED['bearer']}",
        f"connecting to redis://u:{PLANTED['in url']}@cache:1/",
    ]
    (data_dir / "logs" / "web.log").write_text("\n".join(log) + "\n")
    return tmp_path


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: file.read().decode() for name, file in members.items() if file is not None}


def test_a_running_system_is_packed_whole(tekton: Any, plane: Any, double: Any, project: Path, data_dir: Path) -> None:
    plane.components = [double.view("web", "failed", reason=f"bad token={PLANTED['in reason']}"), double.view("ok")]
    plane.histories["web"] = [{"revision": 1, "reason": f"api_key: {PLANTED['in reason']}"}]
    plane.answers["GET /api/graph"] = (200, {"nodes": [], "edges": []})
    (data_dir / "telemetry.db").write_bytes(bytes(4096))

    result = tekton("export", "report.tar.gz")
    files = unpacked(project / "report.tar.gz")

    assert (result.exit_code, result.stdout) == (0, "report.tar.gz\n")
    assert set(files) == {
        *("about.json", "configuration.json", "doctor.json", "system.json", "graph.json", "events.jsonl"),
        *("logs/web.log", "why/web.json"),
    }
    assert files["logs/web.log"].startswith("started\n")
    assert json.loads(files["configuration.json"])["tekton.port"] == {"value": 0, "origin": "tekton.json:1"}
    about = json.loads(files["about.json"])
    assert (about["missing"], about["files"]["telemetry.db"]) == ({}, 4096)


def test_no_planted_secret_gets_into_it(tekton: Any, plane: Any, double: Any, project: Path) -> None:
    plane.components = [double.view("web", "failed", reason=f"bad token={PLANTED['in reason']}")]
    plane.histories["web"] = [{"revision": 1, "reason": f"api_key: {PLANTED['in reason']}"}]
    plane.answers["GET /api/graph"] = (200, {})

    result = tekton("export", "report.tar.gz")

    for name, text in unpacked(project / "report.tar.gz").items():
        leaked = [place for place, secret in PLANTED.items() if secret in text]
        assert not leaked, name
    assert not any(secret in result.output for secret in PLANTED.values())


def test_what_does_not_run_is_packed_from_the_files(tekton: Any, project: Path) -> None:
    result = tekton("export", "report.tar.gz")
    files = unpacked(project / "report.tar.gz")

    assert set(files) == {"about.json", "configuration.json", "doctor.json", "logs/web.log"}
    assert "without system.json, graph.json, events.jsonl, why: " in result.stderr
    assert json.loads(files["about.json"])["missing"]


def test_without_a_readable_configuration_no_logs_are_packed(tekton: Any, project: Path) -> None:
    (project / "components.json").write_text("{")

    tekton("export", "report.tar.gz")
    files = unpacked(project / "report.tar.gz")

    assert set(files) == {"about.json", "doctor.json"}
    assert set(json.loads(files["about.json"])["missing"]) >= {"configuration.json", "logs"}


def test_a_bundle_is_for_its_owner_and_overwrites_nothing(tekton: Any, project: Path) -> None:
    assert tekton("export", "report.tar.gz").exit_code == 0
    assert os.stat("report.tar.gz").st_mode & 0o777 == 0o600
    assert tekton("export", "report.tar.gz").exit_code == 6


def test_a_bundle_is_named_after_the_time(tekton: Any, project: Path) -> None:
    name = tekton("export").stdout.strip()

    assert name.startswith("tekton-2")
    assert (project / name).exists()


def test_a_place_that_cannot_be_written_is_told(tekton: Any, project: Path) -> None:
    assert tekton("export", "gone/report.tar.gz").exit_code == 1
