"""The audit log of a real control plane that is killed: as many entries as changes, and the chain goes on."""

import json
import os
import signal
from typing import Any

import pytest

from tekton.core.component_lifecycle import database

SLEEPER = {"sleeper": {"command": ["sleep", "1000"]}}


@pytest.fixture
def up(tekton: Any, eventually: Any) -> Any:
    tekton.configure(SLEEPER)
    tekton.up()
    tekton.until("sleeper")
    return tekton


def entries(tekton: Any, **wanted: str) -> list[dict[str, Any]]:
    """The entries that are wanted, oldest first."""
    found: list[dict[str, Any]] = []
    cursor: int | None = None
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    while True:
        page = "" if cursor is None else f"&cursor={cursor}"
        answer = tekton.get(f"/api/audit?limit=1000&{query}{page}")
        found += answer["items"]
        cursor = answer["cursor"]
        if cursor is None:
            return found[::-1]


def verified(tekton: Any) -> dict[str, Any]:
    done = tekton.run("audit", "verify", "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_when_it_is_killed_there_is_an_entry_for_each_change_and_a_change_for_each_entry(
    up: Any, writers: Any, eventually: Any
) -> None:
    tekton = up
    with writers:
        for goal in (60, 120):
            eventually(lambda goal=goal: len(writers.acknowledged) >= goal, "writers make progress")
            pid = tekton.control_pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: tekton.answers() and tekton.control_pid != pid, "it is back")

    registered = [entry["target"] for entry in entries(tekton, action="component.register")]

    there = set(tekton.everything()) - {"sleeper"}
    assert len(registered) == len(set(registered))
    assert set(registered) == there
    assert set(writers.acknowledged) <= there
    assert verified(tekton)["sound"]


def test_what_was_under_way_when_it_was_killed_has_an_unknown_outcome(up: Any, eventually: Any) -> None:
    tekton = up
    stubborn = {
        "command": ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
        "ready": {"log": "up"},
        "stop_timeout": 60,
    }
    tekton.configure({**SLEEPER, "stubborn": stubborn})
    assert tekton.run("reload").returncode == 0
    tekton.until("stubborn")
    assert tekton.request("POST", "/api/components/stubborn/stop")[0] == 202
    eventually(lambda: tekton.state("stubborn") == "stopping", "it is stopping")
    pid = tekton.control_pid

    os.kill(pid, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != pid, "it is back")

    said = entries(tekton, target="stubborn")
    assert [(entry["actor"], entry["action"], entry["outcome"]) for entry in said] == [
        ("owner", "component.stop", "intent"),
        ("tekton", "component.stop", "unknown"),
    ]
    assert said[1]["intent"] == said[0]["seq"]
    assert verified(tekton)["sound"]


def test_all_that_the_owner_does_is_entered_and_a_signed_head_vouches_for_it(up: Any) -> None:
    tekton = up
    one, added = "/api/components/sleeper", "/api/components/added"
    for method, path, body in (
        ("POST", f"{one}/restart?wait=1", None),
        ("POST", f"{one}/kill", {"signal": "WINCH"}),
        ("POST", f"{one}/drain", {}),
        ("DELETE", f"{one}/drain", None),
        ("POST", f"{one}/scale?wait=1", {"replicas": 2}),
        ("POST", f"{one}/stop?wait=1", None),
        ("POST", f"{one}/start?wait=1", None),
        ("PUT", f"{added}/spec?wait=1", {"command": ["sleep", "1000"]}),
        ("DELETE", f"{added}/spec", None),
        ("POST", "/api/system/reload", None),
        ("POST", "/api/system/backup", {}),
    ):
        status, answer = tekton.request(method, path, body)
        assert status in (200, 201), (path, answer)
    said = entries(tekton)
    assert tekton.stop() == 0

    intents = {entry["seq"]: entry["action"] for entry in said if entry["outcome"] == "intent"}
    assert list(dict.fromkeys(intents.values())) == [
        "component.restart",
        "component.kill",
        "component.drain",
        "component.undrain",
        "component.scale",
        "component.stop",
        "component.start",
        "component.define",
        "component.undefine",
        "system.reload",
        "system.backup",
    ]
    outcomes = {entry["intent"]: entry["outcome"] for entry in said if entry["intent"] is not None}
    assert outcomes == dict.fromkeys(intents, "done")
    assert {entry["actor"] for entry in said} == {"owner"}
    verdict = verified(tekton)
    assert verdict["sound"]
    assert verdict["vouched"] == verdict["last"] > len(said)

    # Whoever can write the file can change what it says, and is found out.
    tampered = database.connect(tekton.data_dir / "tekton.db")
    tampered.execute("UPDATE audit SET body = replace(body, 'owner', 'nobody') WHERE seq = 1")
    tampered.close()
    done = tekton.run("audit", "verify")
    assert done.returncode == 1
    assert "entry 1 was changed, or does not follow entry 0" in done.stderr
