"""The control plane fails at every failpoint in turn, under writers. Nothing acknowledged may be lost."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from tekton.failpoints import POINTS
from tekton.testing import free_port

WORKER = {"command": ["sleep", "1000"]}
STORE = [name for name in POINTS if name.startswith("store.")]
ELSEWHERE = {name for name in POINTS if name.startswith("work.")}
"""Those of the file with tasks and conversations: see the last test here, and `test_work_kill.py`."""
CHECKPOINT = [name for name in POINTS if name.startswith("checkpoint.")]

KILLS = [
    # A new database is made, the worker is started: these come once.
    "migrate.each_step=kill",
    "start.before_spawn=kill",
    "start.after_spawn=kill",
    *(f"{name}=kill@{7 + 3 * number}" for number, name in enumerate(STORE)),
    *(f"{name}=kill" for name in CHECKPOINT),
    "lease.before_expire=kill",
    "drain.each_step=kill@2",
]
TASK_KILLS = [f"{name}=kill@{10 + 7 * number}" for number, name in enumerate(sorted(ELSEWHERE))]
ERRORS = [
    *(f"{name}=error:EIO@{7 + 3 * number}" for number, name in enumerate(STORE) if name != "store.before_ack"),
    *(f"{name}=error:EIO" for name in CHECKPOINT),
]

AGENT = """
import os
import tekton
from tekton.a2a.task_steps import TaskContext

app = tekton.Component("worker")


def note(line: str) -> None:
    with open(os.environ["STEPS"], "a") as steps:
        steps.write(line)


@app.agent("worker", capabilities=["work"])
async def work(context: TaskContext) -> str:
    for name in ("one", "two", "three"):
        await context.step(name, note, f"{context.task_id} {name}\\n")
    return await context.step("last", lambda: "done")


app.run()
"""


def up(tekton: Any, failpoints: Sequence[str], eventually: Callable[..., Any]) -> None:
    """A guard whose first control plane has the first of *failpoints*, the second one the second, and so on."""
    points = tekton.directory / "failpoints"
    points.write_text("".join(f"{point}\n" for point in failpoints))
    command = [sys.executable, "-m", "tekton.service.main", "--data-dir", str(tekton.data_dir)]
    script = tekton.directory / "control-plane"
    script.write_text(
        "#!/bin/sh\n"
        f"TEKTON_FAILPOINTS=$(head -n 1 {points}); export TEKTON_FAILPOINTS\n"
        f"sed -i 1d {points}\n"
        f"exec {shlex.join(command)}\n"
    )
    script.chmod(0o755)
    guard = [sys.executable, "-m", "tekton.supervisor.guard", "--data-dir", str(tekton.data_dir)]
    tekton.process = subprocess.Popen(
        [*guard, "--", str(script)],
        cwd=tekton.directory,
        env=tekton.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    eventually(lambda: not points.read_text() and tekton.answers(), f"all failed in turn: {points}", patience=60)


@contextmanager
def clients(tekton: Any) -> Iterator[dict[str, str]]:
    """Four that register one component after another, one of them with a lease that will run out."""
    acknowledged: dict[str, str] = {}
    stop = threading.Event()

    def register(writer: int) -> None:
        while not stop.is_set():
            component_id, instance = f"w{writer}-{uuid.uuid4().hex[:12]}", str(uuid.uuid4())
            body = {"component_id": component_id, "instance_uuid": instance}
            with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
                if tekton.request("POST", "/api/components", body)[0] == 201:
                    acknowledged[component_id] = instance
                if writer == 0:
                    tekton.request("POST", f"/api/components/{component_id}/ready", {"instance_uuid": instance})
            stop.wait(0.1 if writer == 0 else 0.002)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@contextmanager
def orders(tekton: Any) -> Iterator[list[str]]:
    """Two that have one task after another done; the tasks that were acknowledged."""
    acknowledged: list[str] = []
    stop = threading.Event()

    def order() -> None:
        while not stop.wait(0.02):
            with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
                status, task = tekton.request("POST", "/api/tasks?wait=1", {"task_type": "work"})
                if status == 201:
                    acknowledged.append(task["task_id"])

    threads = [threading.Thread(target=order) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def all_tasks(tekton: Any) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = tekton.get(f"/api/tasks?limit=500{cursor and f'&cursor={cursor}'}")
        tasks, cursor = tasks + page["items"], page["cursor"]
    return tasks


def log(tekton: Any) -> str:
    return str((tekton.data_dir / "logs" / "tekton.log").read_text())


@pytest.mark.timeout(150)
def test_killed_at_any_failpoint_it_comes_back_with_everything_that_was_acknowledged(
    tekton: Any, eventually: Any
) -> None:
    assert [kill.split("=")[0] for kill in KILLS] == [*dict.fromkeys(kill.split("=")[0] for kill in KILLS)]
    assert {kill.split("=")[0] for kill in KILLS} == set(POINTS) - ELSEWHERE
    tekton.configure({"worker": WORKER}, heartbeat_timeout=0.6, heartbeat_interval=0.2)

    with clients(tekton) as acknowledged:
        up(tekton, KILLS, eventually)
        tekton.process.send_signal(signal.SIGINT)
        tekton.process.communicate(timeout=30)
    assert log(tekton).count("killed by signal 9 (SIGKILL)") == len(KILLS) - 1
    assert tekton.process.returncode != 0

    up(tekton, [], eventually)
    assert len(acknowledged) > 20
    assert tekton.lost(acknowledged) == []
    worker = tekton.until("worker")
    assert [each.pid for each in tekton.processes() if each.name() == "sleep"] == [worker["pid"]]
    assert psutil.Process(worker["pid"]).cmdline() == WORKER["command"]


@pytest.mark.timeout(120)
def test_an_error_at_any_failpoint_of_the_store_is_the_end_of_the_process_not_of_the_data(
    tekton: Any, eventually: Any
) -> None:
    tekton.configure({})

    with clients(tekton) as acknowledged:
        up(tekton, ERRORS, eventually)
        goal = len(acknowledged) + 5
        eventually(lambda: len(acknowledged) >= goal, "writers make progress")

    # The log is moved when the writers pause.
    eventually(lambda: log(tekton).count("ended: exit 74;") == len(ERRORS), "every error is met", patience=60)
    eventually(tekton.answers, "it has come back")
    assert tekton.lost(acknowledged) == []


def test_no_room_at_a_failpoint_refuses_one_batch(tekton: Any, eventually: Any) -> None:
    tekton.configure({})
    up(tekton, ["store.before_begin=error:ENOSPC@2"], eventually)
    body = {"component_id": "one", "instance_uuid": str(uuid.uuid4())}
    pid = tekton.control_pid

    answers = [tekton.request("POST", "/api/components", {**body, "component_id": name})[0] for name in ("a", "b", "c")]

    assert answers == [201, 503, 201]
    assert tekton.control_pid == pid


def test_delays_at_all_failpoints_at_once_do_no_harm(tekton: Any, eventually: Any) -> None:
    tekton.configure({"worker": WORKER}, heartbeat_timeout=0.6, heartbeat_interval=0.2)
    with clients(tekton) as acknowledged:
        up(tekton, ["; ".join(f"{name}=delay:0.02" for name in POINTS)], eventually)
        tekton.until("worker")
        eventually(lambda: len(acknowledged) >= 30, "writers make progress")
        pid = tekton.control_pid

    assert tekton.lost(acknowledged) == []
    assert os.path.exists(f"/proc/{pid}")
    assert tekton.stop() == 0


@pytest.mark.timeout(120)
def test_killed_at_any_failpoint_of_a_task_no_step_is_repeated_and_no_task_lost(tekton: Any, eventually: Any) -> None:
    steps, program = tekton.directory / "steps", tekton.directory / "worker.py"
    program.write_text(AGENT)
    worker = {"command": [sys.executable, str(program)], "port": free_port(), "env": {"STEPS": str(steps)}}
    tekton.configure({"worker": worker | {"ready": {"http": "/api/ready", "interval": 0.1}}})

    with orders(tekton) as acknowledged:
        up(tekton, TASK_KILLS, eventually)
        eventually(lambda: log(tekton).count("killed by signal 9 (SIGKILL)") == len(TASK_KILLS), "all are met")
        goal = len(acknowledged) + 5
        eventually(lambda: len(acknowledged) >= goal, "tasks are done")
    eventually(lambda: not tekton.get("/api/tasks?state=open")["items"], "all tasks are over")

    tasks = all_tasks(tekton)
    done = steps.read_text().splitlines()
    assert {task["state"] for task in tasks} == {"completed"}
    assert {*acknowledged} <= {task["task_id"] for task in tasks}
    assert sorted(done) == sorted(f"{task['task_id']} {name}" for task in tasks for name in ("one", "two", "three"))
