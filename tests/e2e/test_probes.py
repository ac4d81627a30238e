"""Probes, one-shots and waits of a whole system: what is asked of processes, and what comes of the answers."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from tekton.testing import free_port

SLEEP = {"command": ["sleep", "1000"]}
SOON = {"interval": 0.1, "timeout": 20, "failures": 2}
HASTY = {**SOON, "timeout": 2}
PROMPT = {"backoff": [0.01, 0.02]}


def exists(sign: Path) -> dict[str, Any]:
    """A probe that succeeds as long as there is such a file."""
    return {"exec": ["test", "-e", str(sign)]}


def provided(tekton: Any, capability: str) -> list[str]:
    return [item["component_id"] for item in tekton.get(f"/api/capabilities/{capability}/components")["items"]]


def test_a_failing_readiness_probe_moves_traffic_and_a_failing_liveness_probe_restarts(
    tekton: Any, eventually: Any, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    port = free_port()
    hanging = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    tekton.configure(
        {
            "busy": {**SLEEP, "capabilities": ["work"], "ready": {**exists(ready), **SOON}},
            "spare": {**SLEEP, "capabilities": ["work"]},
            "hangs": {
                "command": hanging,
                "ready": {"tcp": port},
                "liveness": {"http": f"http://127.0.0.1:{port}/", **HASTY},
                "restart": PROMPT,
                "stop_timeout": 0.5,
            },
            "user": {**SLEEP, "dependencies": ["busy"]},
        }
    )
    tekton.up()
    pids = {name: tekton.until(name)["pid"] for name in ("busy", "spare", "hangs", "user")}
    assert provided(tekton, "work") == ["busy", "spare"]

    ready.unlink()
    os.kill(pids["hangs"], signal.SIGSTOP)
    eventually(lambda: provided(tekton, "work") == ["spare"], "busy gets no traffic")
    eventually(lambda: tekton.component("hangs")["pid"] not in (None, pids["hangs"]), "what hangs is a new process")

    busy, why = tekton.component("busy"), tekton.get("/api/components/busy/why")
    assert (busy["state"], busy["serving"], busy["pid"], busy["restarts"]) == ("ready", False, pids["busy"], 0)
    assert tekton.state("user") == "ready"
    (probe,) = why["health"]
    assert (probe["role"], probe["healthy"], probe["finding"]) == ("ready", False, "test ended with 1")
    assert probe["latency"] > 0
    assert probe["failing"] >= 2
    assert (why["history"][0]["kind"], why["history"][0]["state"]) == ("serving", "ready")

    assert tekton.until("hangs")["restarts"] == 1
    assert not psutil.pid_exists(pids["hangs"])
    story = [entry["reason"] for entry in tekton.get("/api/components/hangs/history")["items"]]
    assert f"liveness: GET http://127.0.0.1:{port}/: no answer within 2 s" in story

    # A new control plane knows it, and finds out when it is over.
    killed = tekton.control_pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != killed, "it is back")
    assert provided(tekton, "work") == ["spare"]
    ready.touch()
    eventually(lambda: provided(tekton, "work") == ["busy", "spare"], "busy gets traffic again")
    assert tekton.get("/api/components/busy/history")["items"][0]["reason"] == "healthy again"
    assert tekton.stop() == 0


def test_a_probe_that_hangs_holds_up_nobody_and_leaves_nothing(tekton: Any, eventually: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hanging = {"exec": ["/bin/sh", "-c", f"echo $$$$ >> {pids}; sleep 1000; :"], **SOON, "timeout": 0.5}
    tekton.configure(
        {
            "stuck": {**SLEEP, "startup": hanging, "start_timeout": 6, "restart": {"policy": "no"}},
            "other": {**SLEEP, "ready": {"exec": ["true"]}},
        }
    )
    tekton.up()

    tekton.until("other")
    (probe,) = eventually(lambda: tekton.get("/api/components/stuck/why")["health"], "a first attempt")
    assert (probe["role"], probe["healthy"]) == ("startup", False)
    stuck = tekton.until("stuck", "failed")

    assert "not ready after 6 s (waiting for success of /bin/sh" in stuck["reason"]
    eventually(lambda: not any(map(psutil.pid_exists, map(int, pids.read_text().split()))), "no probe is left")
    assert len(pids.read_text().split()) >= 2
    assert tekton.stop() == 0


def test_a_stop_while_waiting_for_a_dependency_or_for_room_leaves_nothing_running(tekton: Any, eventually: Any) -> None:
    never = {"exec": ["false"]}
    tekton.configure(
        {
            "slow": {**SLEEP, "ready": never},
            "waiting": {**SLEEP, "dependencies": ["slow"]},
            "large": {**SLEEP, "constraints": {"memory_free_min": 1e9}},
            "behind": {**SLEEP, "dependencies": ["large"]},
        }
    )
    tekton.up()
    eventually(lambda: (tekton.component("large")["note"] or "").startswith("waiting for memory_free_min: "), "a note")
    eventually(lambda: tekton.component("waiting")["note"] == "waiting for slow", "it waits")
    eventually(lambda: tekton.component("slow")["pid"], "what it waits for runs")

    for name in ("waiting", "large"):
        status, _ = tekton.request("POST", f"/api/components/{name}/stop?wait=1", {})
        assert status == 200
        assert tekton.component(name)["pid"] is None
    sleeping = [process.pid for process in tekton.processes() if process.name() == "sleep"]
    assert sleeping == [tekton.component("slow")["pid"]]

    # And when everything stops in the middle of the start-up.
    assert tekton.stop() == 0
    assert tekton.processes() == []


def test_those_that_wait_for_a_one_shot_wait_through_its_restarts(tekton: Any, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    migrate = f"echo try >> {tries}; test $$(wc -l < {tries}) -ge 3"
    tekton.configure(
        {
            "migrate": {"command": ["/bin/sh", "-c", migrate], "restart": PROMPT},
            "api": {**SLEEP, "dependencies": [{"component": "migrate", "condition": "completed"}]},
        }
    )
    tekton.up()

    tekton.until("api")

    done = tekton.component("migrate")
    assert (done["state"], done["reason"], done["pid"], done["restarts"]) == ("stopped", "completed", None, 2)
    assert tries.read_text() == "try\n" * 3
    assert tekton.stop() == 0
