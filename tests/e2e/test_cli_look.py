"""The verbs that look at a system, and the one that kills, against a real one."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SERVICE = ["sh", "-c", "echo up; sleep 1000 & exec sleep 1000"]


@contextmanager
def following(tekton: Any, *arguments: str) -> Iterator[Any]:
    """A command that goes on, as long as the `with` block lasts."""
    follower = subprocess.Popen(
        tekton.command(*arguments),
        cwd=tekton.directory,
        env=tekton.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield follower
    follower.kill()
    follower.communicate()


@pytest.fixture
def running(tekton: Any) -> Any:
    """engram needs hermes, and waits for the one-shot migrate, which takes longer."""
    longer = f"{shlex.join(tekton.command('wait', 'hermes'))} && echo done"
    # Time enough to see what is planned.
    quick = {"restart": {"backoff": [4.0, 4.0]}, "stop_timeout": 1}
    tekton.configure(
        {
            "hermes": {"command": SERVICE, "ready": {"log": "up"}, "capabilities": ["bus"], **quick},
            "migrate": {"command": ["sh", "-c", longer]},
            "engram": {
                "command": SERVICE,
                "ready": {"log": "up"},
                "dependencies": ["hermes", {"component": "migrate", "condition": "completed"}],
                **quick,
            },
        }
    )
    started = tekton.run("up", "-d")
    assert started.returncode == 0, started.stderr
    assert "   critical path migrate → engram" in started.stderr
    return tekton


def test_what_runs_is_seen_with_what_it_uses_and_what_its_start_took(running: Any, tmp_path: Any) -> None:
    assert running.run("wait", "hermes", "engram", "--for", "serving", "--timeout", "30s").returncode == 0
    assert running.run("wait", "migrate", "--for", "completed", "--timeout", "30s").returncode == 0
    rows = {line.split()[0]: line.split() for line in running.run("ps").stdout.splitlines()[1:] if line}
    assert rows["hermes"][1:3] == ["ready", "ok"]
    assert rows["migrate"][1] == "stopped"
    assert rows["hermes"][5].endswith("%")
    assert rows["hermes"][6].endswith(("K", "M"))
    hermes, engram = (running.component(name) for name in ("hermes", "engram"))
    assert hermes["memory"] > 0
    assert hermes["cpu"] >= 0.0
    assert (hermes["replicas"], hermes["ready_replicas"], hermes["health"]) == (1, 1, "ok")
    (instance,) = running.get("/api/components/hermes/instances")["items"]
    assert instance["pid"] == hermes["pid"]
    assert instance["memory"] > 0

    top = running.run("top", "--sort", "mem").stdout.splitlines()
    assert top[0].split() == ["COMPONENT", "STATE", "CPU", "MEM", "RESTARTS", "UPTIME", "PID"]
    assert {line.split()[-1] for line in top[1:]} >= {str(hermes["pid"]), str(engram["pid"])}

    assert running.run("graph", "engram").stdout.splitlines() == [
        "engram  ready",
        "├─ hermes  ready",
        "└─ migrate  stopped",
    ]
    path = json.loads(running.run("critical-path", "-o", "json").stdout)
    assert path["critical_path"] == ["migrate", "engram"]
    assert path["done"]
    records = {one["component_id"]: one for one in path["components"]}
    assert records["engram"]["blocked_by"] == "migrate"
    assert records["engram"]["started_at"] >= records["migrate"]["ready_at"]
    assert running.run("critical-path", "--trace", "trace.json").stdout.splitlines()[1].startswith("migrate ")
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_a_kill_is_a_crash_and_its_story_is_told(running: Any) -> None:
    with following(running, "events", "-w", "-n", "1", "-o", "jsonl", "hermes") as follower:
        follower.stdout.readline()  # the last past event: from here on it follows
        before = running.component("hermes")["pid"]
        killed = running.run("kill", "hermes")
        failure, plan = (json.loads(follower.stdout.readline()) for _ in range(2))
    assert killed.stderr == "hermes  KILL sent to 1 process group\n"
    assert (failure["state"], failure["reason"]) == ("failed", "killed by signal 9 (SIGKILL)")
    assert plan["kind"] == "restart_planned"
    assert plan["reason"].startswith("1 of 5 in ")

    assert running.run("wait", "hermes", "--timeout", "30s").returncode == 0
    assert running.component("hermes")["pid"] != before
    told = running.run("why", "hermes").stdout.splitlines()
    assert told[0].startswith("hermes is ready")
    assert "  if it stops engram" in told
    assert any("ready → failed" in line and line.endswith("killed by signal 9 (SIGKILL)") for line in told)


def test_a_chain_of_failures_is_explained_from_its_root(tekton: Any) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        once = {"restart": {"policy": "no"}}
        tekton.configure(
            {
                "hermes": {"command": SERVICE, "port": port, **once},
                "engram": {"command": SERVICE, "dependencies": ["hermes"], **once},
                "api": {"command": SERVICE, "dependencies": ["engram"], **once},
            }
        )
        tekton.up()
        tekton.until("hermes", "failed")
        chain = json.loads(tekton.run("why", "api", "-o", "json").stdout)
        told = tekton.run("why", "api")

    assert [cause["component_id"] for cause in chain["causes"]] == ["hermes", "engram"]
    assert f"in use by process {os.getpid()}" in chain["causes"][0]["reason"]
    lines = told.stdout.splitlines()
    assert lines[1].startswith("  because engram is unknown")
    assert lines[2].startswith("    because hermes is failed")
    assert f"in use by process {os.getpid()}" in lines[2]
    assert told.stderr == "help: tekton logs hermes, then tekton restart hermes\n"


def test_attach_follows_and_leaves_the_system_running(running: Any) -> None:
    with following(running, "attach") as follower:
        assert "2 ready" in follower.stderr.readline()
        follower.stderr.readline()
        running.run("stop", "engram")
        assert "engram        ready → stopping" in follower.stderr.readline()
        follower.send_signal(signal.SIGINT)

        assert follower.wait(timeout=20) == 0
        assert follower.stderr.read().splitlines()[-1] == "detached: the system runs on; tekton down stops it"
    assert running.state("hermes") == "ready"


def test_signals_reach_only_what_tekton_runs(running: Any) -> None:
    body = {"component_id": "guest", "instance_uuid": "5f0c2d7e-2a5e-4a63-9d0a-0c6f0f3a9b11"}
    assert running.request("POST", "/api/components", body)[0] == 201

    assert running.request("POST", "/api/components/guest/kill", {"signal": "TERM"})[0] == 409
    assert running.request("POST", "/api/components/migrate/kill", {})[0] == 409
    assert running.request("POST", "/api/components/hermes/kill", {"signal": "BANG"})[0] == 422
    assert running.request("POST", "/api/components/ghost/kill", {})[0] == 404


def test_what_has_completed_is_needed_by_nobody_any_more(tekton: Any) -> None:
    tekton.configure(
        {
            "seed": {"command": ["true"], "restart": {"policy": "no"}},
            "api": {"command": SERVICE, "dependencies": [{"component": "seed", "condition": "completed"}]},
            "web": {"command": SERVICE, "dependencies": ["api"]},
        }
    )
    tekton.up()
    tekton.until("web", "ready")

    assert tekton.get("/api/components/seed/why")["affected"] == []
    assert [one["component_id"] for one in tekton.get("/api/components/api/why")["affected"]] == ["web"]
