"""Starts that are forced past their dependencies, and the names of replicas, in a real system."""

import sys
from typing import Any

import pytest

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="needs the guard"),
]

IDLE = {"command": ["sleep", "1000000"]}


def forced_past(tekton: Any, name: str) -> list[str]:
    return list(tekton.get(f"/api/components/{name}/why")["forced_past"])


def test_what_cannot_start_is_started_by_force_and_every_command_tells_of_it(tekton: Any) -> None:
    tekton.configure(
        {
            "base": {
                "command": ["sh", "-c", "test -e here && exec sleep 1000000"],
                "ready": {"exec": ["test", "-e", "here"]},
                "restart": {"policy": "no"},
            },
            "worker": {**IDLE, "replicas": 2, "dependencies": ["base"]},
            "silent": {**IDLE, "ready": {"log": "never"}, "start_timeout": 600},
            "waiting": {**IDLE, "dependencies": ["silent"]},
            "a": {**IDLE, "dependencies": ["b"]},
            "b": {**IDLE, "dependencies": ["a"]},
        }
    )
    tekton.up()
    tekton.until("silent", "starting")
    tekton.until("base", "failed")
    assert tekton.run("start", "worker").returncode == 1

    # What it depends on has failed; is being started; and in a circle it is the other one.
    for name, passed_over in (("worker", "base"), ("waiting", "silent"), ("a", "b")):
        forced = tekton.run("start", "--force", name)
        assert (forced.returncode, forced.stdout) == (0, ""), forced.stderr
        assert forced.stderr.splitlines()[0] == f"{name}  passed over: {passed_over}"
        assert forced_past(tekton, name) == [passed_over]
        assert tekton.component(name)["note"] == f"started by force past {passed_over}"
    assert tekton.component("worker")["ready_replicas"] == 2
    assert tekton.state("silent") == "starting"
    assert ": started by force past silent\n" in tekton.run("why", "waiting").stdout

    # It has nothing to pass over any more.
    (tekton.directory / "here").touch()
    assert tekton.run("start", "base").returncode == 0
    assert tekton.run("restart", "--force", "worker").stderr.startswith("worker  restarted")
    assert forced_past(tekton, "worker") == []

    # Whoever tells of a replica names it.
    why = tekton.run("why", "worker").stdout
    assert {line.split()[1] for line in why.split("Last transitions\n")[1].splitlines()} >= {"worker", "worker.1"}
    assert tekton.run("ps", "worker", "-o", "template={name} {state} {ready_replicas}").stdout == "worker ready 2\n"
    down = tekton.run("down")
    assert (down.returncode, tekton.process.wait(60)) == (0, 0)
    assert "  worker  " in down.stderr
    assert "  worker.1  " in down.stderr
