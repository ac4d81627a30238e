"""An agent whose process stands still for longer than its lease, and wakes when another one has done its work."""

import json
import os
import signal
import sys
from typing import Any

import pytest

from tekton.testing import free_port

PROGRAM = """
import asyncio
import os
import sys
import time

import tekton
from tekton.a2a.task_steps import TaskContext

name, go_on = sys.argv[1], sys.argv[1] + ".go"
app = tekton.Component(name)


def note(what: str) -> None:
    with open("notes", "a") as notes:
        notes.write(f"{name} {what}\\n")


@app.agent(name, capabilities=["work"])
async def work(context: TaskContext) -> str:
    await context.step("one", note, "one")
    try:
        while not os.path.exists("second"):
            await asyncio.sleep(0.02)
        await context.step("two", note, "two")
    finally:
        note("ended")
    return name


while not os.path.exists(go_on):
    time.sleep(0.05)
app.run()
"""


def usable(tekton: Any) -> list[str]:
    return [agent["agent_id"] for agent in tekton.get("/api/agents?health=usable")["items"]]


@pytest.mark.timeout(90)
def test_who_wakes_when_another_has_done_a_step_does_not_do_it_again(tekton: Any, eventually: Any) -> None:
    # Of two that can do it the first by name is asked: that one comes when the other has begun, and stands still.
    directory = tekton.directory
    (directory / "worker.py").write_text(PROGRAM)
    component = {"ready": {"http": "/api/ready", "interval": 0.1}, "cwd": str(directory)}
    tekton.configure(
        {
            name: component | {"command": [sys.executable, "worker.py", name], "port": free_port()}
            for name in ("abel", "zeno")
        },
        heartbeat_timeout=120.0,
    )
    main = json.loads((directory / "tekton.json").read_text())
    main["tekton"]["tasks"] = {"agent_lease": 3}
    (directory / "tekton.json").write_text(json.dumps(main))

    def notes() -> list[str]:
        file = directory / "notes"
        return file.read_text().splitlines() if file.exists() else []

    (directory / "zeno.go").touch()
    tekton.up()
    stopped = tekton.until("zeno")["pid"]
    status, task = tekton.request("POST", "/api/tasks", {"task_type": "work"})
    assert status == 201, task
    path = f"/api/tasks/{task['task_id']}"
    eventually(lambda: tekton.get(path)["steps"] == ["one"], "the first step is done")

    (directory / "abel.go").touch()
    eventually(lambda: usable(tekton) == ["abel", "zeno"], "the other one has come")

    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually(lambda: tekton.get(path)["agent_id"] == "abel", "it is with the other one", 40)
        (directory / "second").touch()
        done = eventually(lambda: (now := tekton.get(path))["state"] == "completed" and now, "it is done")
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: "zeno ended" in notes(), "it has heard that its lease is over")

    assert (done["result"], [one["code"] for one in done["failures"]]) == ("abel", ["agent_lost"])
    assert notes() == ["zeno one", "abel two", "abel ended", "zeno ended"]
