"""The system that `tekton init` writes, as somebody meets it: typed word for word, with real processes."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """`run("up", "-d", cwd=...)`: one command; whatever runs in the folder demo at the end is stopped."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}

    def tekton(*arguments: str, cwd: str = "demo") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tekton", *arguments],
            cwd=tmp_path / cwd,
            env={**kept, "HOME": str(tmp_path), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield tekton
    for folder in ("demo", "other"):
        if (tmp_path / folder).exists():
            tekton("down", cwd=folder)


def test_it_starts_is_found_from_everywhere_inside_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    assert run("init", "demo", cwd=".").returncode == 0
    (tmp_path / "demo" / "below").mkdir()

    started = run("up", "-d")
    listed = run("ps", "-o", "json", cwd="demo/below")
    greeted = run("logs", "caller")
    healthy = run("doctor")
    identity = run("auth", "whoami", "-o", "json")
    exported = run("export", "report.tar.gz")
    stopped = run("down")

    assert started.returncode == 0, started.stderr
    assert {view["component_id"]: view["state"] for view in json.loads(listed.stdout)["components"]} == {
        "greeter": "ready",
        "caller": "ready",
    }
    assert greeted.stdout.startswith("Hello, Ada.\n")
    assert healthy.returncode == 0, healthy.stdout
    assert json.loads(identity.stdout)["subject"] == "owner"
    assert exported.returncode == 0, exported.stderr
    with tarfile.open(tmp_path / "demo" / "report.tar.gz") as bundle:
        assert {"report/system.json", "report/events.jsonl", "report/logs/caller.log"} <= set(bundle.getnames())
    assert stopped.returncode == 0, stopped.stderr
    assert run("ps").returncode == 3


def test_two_of_them_run_side_by_side(run: Run) -> None:
    for folder in ("demo", "other"):
        run("init", folder, cwd=".")

    assert [run("up", "-d", "-q", cwd=folder).returncode for folder in ("demo", "other")] == [0, 0]


def test_a_configuration_that_breaks_meanwhile_keeps_nobody_from_stopping_it(run: Run, tmp_path: Path) -> None:
    run("init", "demo", cwd=".")
    run("up", "-d", "-q")
    (tmp_path / "demo" / "components.json").write_text("{")

    assert run("config", "check").returncode == 8
    assert run("ps").returncode == 0
    assert run("down").returncode == 0
    assert run("up", "-d").returncode == 8


def test_where_nothing_is_configured_the_way_to_begin_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()

    started = run("up", "-d", "--port", "0")

    assert started.returncode == 0, started.stderr
    assert "no components are configured" in started.stderr
    assert "  Try   tekton init demo, which writes a small system" in started.stderr
