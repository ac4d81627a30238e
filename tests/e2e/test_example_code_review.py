"""examples/code_review: the task is done, and no completed step again, whatever is killed with SIGKILL meanwhile."""

import http.client
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tekton.testing import free_port

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "code_review"
STEPS = [
    *(("analyzer", step) for step in ("parse", "measure", "documentation")),
    *(("reviewer", step) for step in ("length", "documentation", "verdict")),
]
RESULT = {
    "verdict": "change",
    "findings": ["greet has 4 lines", "add says nothing of itself"],
}


@pytest.fixture
def system(tekton: Any) -> Iterator[Any]:
    """The example, in less of a hurry than the test."""
    shutil.copytree(EXAMPLE, tekton.directory, dirs_exist_ok=True)
    components = json.loads((EXAMPLE / "components.json").read_text())["components"]
    for component in components.values():
        component["command"][0] = sys.executable
        component["port"] = free_port()
        component["env"] = {"STEPS": str(tekton.directory / "steps.txt"), "WORK": "0.2"}
    tekton.configure(components)
    tekton.up()
    for component_id in components:
        tekton.until(component_id)
    yield tekton
    tekton.kill()


def begin(system: Any) -> dict[str, Any]:
    status, task = system.request("POST", "/api/tasks", json.loads((EXAMPLE / "review.json").read_text()))
    assert status == 201, task
    return dict(task)


def look(system: Any, task_id: str) -> dict[str, Any]:
    """The task as it is; nothing while the control plane is away."""
    with suppress(OSError, http.client.HTTPException):
        status, task = system.request("GET", f"/api/tasks/{task_id}")
        return task if status == 200 else {}
    return {}


def steps_of(system: Any, task: dict[str, Any], part: str) -> list[str]:
    """The steps of a part that are completed, or nothing."""
    parts = {one["name"]: one["task_id"] for one in look(system, task["task_id"]).get("parts", [])}
    return look(system, parts[part]).get("steps", []) if part in parts else []


def begun(system: Any) -> Counter[tuple[str, str]]:
    """How often each step was begun, by agent and name."""
    return Counter(tuple(line.split()[1:]) for line in (system.directory / "steps.txt").read_text().splitlines())


def ended(system: Any, task_id: str) -> dict[str, Any]:
    task = look(system, task_id)
    return task if task.get("state") in ("completed", "failed", "canceled", "rejected") else {}


def test_the_review_goes_on_though_the_control_plane_and_a_component_are_killed(system: Any, eventually: Any) -> None:
    task = begin(system)
    eventually(lambda: steps_of(system, task, "analysis"), "the first step is done")
    before = system.control_pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: steps_of(system, task, "review"), "the review has begun", patience=40.0)

    assert system.control_pid != before
    assert all(begun(system)[step] == 1 for step in STEPS[:4]), begun(system)

    os.kill(system.component("reviewer")["pid"], signal.SIGKILL)
    completed = {("reviewer", step) for step in steps_of(system, task, "review")}
    over = eventually(lambda: ended(system, task["task_id"]), "the review is over", patience=40.0)

    assert (over["state"], over["result"]["review"]) == ("completed", RESULT), over
    often = begun(system)
    assert sorted(often) == sorted(STEPS)
    assert all(often[step] == 1 for step in [*STEPS[:3], *completed]), often
    # That at which it was killed was begun, and nobody knows how far it was.
    assert sum(often.values()) <= len(STEPS) + 1
