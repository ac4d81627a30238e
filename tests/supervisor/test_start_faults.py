"""Starts of real processes that go wrong in every way a command can, and what is left of them: nothing."""

import asyncio
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.core.lifecycle import ComponentState
from tekton.supervisor import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

NO_RESTART = {"policy": "no"}
ROUNDS = int(os.environ.get("TEKTON_START_ROUNDS", "6"))

MakePlane = Callable[..., Awaitable[Any]]


def program(folder: Path, name: str, text: str, mode: int = 0o755) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Commands that cannot be run, or do not run long."""
    return {
        "missing": "no-such-program",
        "missing file": str(tmp_path / "nowhere"),
        "not executable": program(tmp_path, "plain", "#!/bin/sh\nsleep 600\n", mode=0o644),
        "no interpreter": program(tmp_path, "lost", "#!/no/such/interpreter\n"),
        "no program": program(tmp_path, "prose", "sleep 600\n"),
        "a directory": str(tmp_path),
        "ends at once": program(tmp_path, "done", "#!/bin/sh\nexit 0\n"),
        "fails at once": program(tmp_path, "broken", "#!/bin/sh\necho no luck\nexit 3\n"),
        "kills itself": program(tmp_path, "suicidal", "#!/bin/sh\nkill -SEGV $$\n"),
    }


async def test_every_way_in_which_a_command_does_not_run_is_told_apart(
    plane: MakePlane, programs: dict[str, str], tmp_path: Path
) -> None:
    components = {
        f"c{number}": {"command": [path], "ready": {"log": "never"}, "restart": NO_RESTART}
        for number, path in enumerate(programs.values())
    }
    made = await plane(**components)

    results = await made.start_all()

    errors = {kind: results[f"c{number}"][1].removeprefix(f"c{number}: ") for number, kind in enumerate(programs)}
    assert errors == {
        "missing": "command not found: no-such-program",
        "missing file": f"command not found: {tmp_path}/nowhere",
        "not executable": f"not executable: {tmp_path}/plain",
        "no interpreter": f"{tmp_path}/lost: the interpreter that its first line names does not exist",
        "no program": f"{tmp_path}/prose is not a program (a script needs a '#!' line)",
        "a directory": f"not executable: {tmp_path}",
        "ends at once": errors["ends at once"],
        "fails at once": errors["fails at once"],
        "kills itself": errors["kills itself"],
    }
    # How these are reported depends on which is noticed first: the end of the process, or that it was started.
    assert "exit 0 before it was ready" in errors["ends at once"]
    assert "exit 3 before it was ready: no luck" in errors["fails at once"]
    assert "killed by signal 11 (SIGSEGV) before it was ready" in errors["kills itself"]
    assert all(made.state(name) is ComponentState.FAILED for name in components)
    assert made.guard.children == []


async def test_a_port_that_is_taken_between_the_check_and_the_bind_is_named_with_its_owner(
    plane: MakePlane, free_port: int, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    bind = "import socket, os; open('fifo').read(); socket.create_server(('127.0.0.1', int(os.environ['PORT'])))"
    made = await plane(
        web={
            "command": [sys.executable, "-S", "-c", bind],
            "port": free_port,
            "ready": {"log": "never"},
            "restart": NO_RESTART,
        }
    )
    starting = asyncio.ensure_future(made.start_all())
    await made.reaches("web", ComponentState.STARTING)
    # It was free when it was checked: the process runs, and waits for us.
    fifo = await asyncio.to_thread(open, tmp_path / "fifo", "w")
    with socket.create_server(("127.0.0.1", free_port)):
        fifo.close()
        async with asyncio.timeout(20):
            success, error = (await starting)["web"]

    assert not success
    assert "Address already in use" in error
    assert f"(port {free_port} was taken meanwhile by process {os.getpid()} (" in error
    assert made.state("web") is ComponentState.FAILED


HYDRA = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
        break
print('up', flush=True)
time.sleep(600)
"""


async def test_what_ignores_sigterm_and_forks_grandchildren_into_other_sessions_leaves_nothing(
    plane: MakePlane, until: Any
) -> None:
    command = [sys.executable, "-S", "-c", HYDRA]
    made = await plane(hydra={"command": command, "ready": {"log": "up"}, "stop_timeout": 0.3})
    assert await made.start_all() == {"hydra": (True, None)}
    await until(lambda: made.log("hydra").count("up") == 5)
    assert len(procfs.marked(f"{made.guard.run_id}.")) == 5

    async with asyncio.timeout(20):
        await made.coordinator.stop_component("hydra")

    assert procfs.marked(f"{made.guard.run_id}.") == []
    assert made.state("hydra") is ComponentState.STOPPED


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"command": ["/bin/sleep", "600"]},
    "slow": {"command": ["/bin/sh", "-c", "sleep 0.2; echo up; exec sleep 600"], "ready": {"log": "up"}},
    "never": {"command": ["/bin/sh", "-c", "sleep 600"], "ready": {"log": "up"}, "start_timeout": 0.6},
    "fails": {"command": ["/bin/sh", "-c", "sleep 0.1; exit 3"], "ready": {"log": "up"}},
    "stubborn": {
        "command": ["/bin/sh", "-c", "trap '' TERM; (trap '' TERM; sleep 600) & echo up; while :; do sleep 0.1; done"],
        "ready": {"log": "up"},
        "stop_timeout": 0.1,
    },
}


async def test_a_start_that_is_cancelled_at_any_moment_leaves_no_process(plane: MakePlane, until: Any) -> None:
    """Ten random processes that depend on one another, started and given up again and again."""
    rng = random.Random(1)
    components: dict[str, dict[str, Any]] = {}
    for number in range(10):
        kind = dict(KINDS[rng.choice(["plain", "plain", *KINDS])])
        needs = rng.sample(list(components), rng.randint(0, min(2, number)))
        components[f"c{number}"] = {**kind, "dependencies": needs, "restart": NO_RESTART}
    made = await plane(**components)

    for _ in range(ROUNDS):
        starting = asyncio.ensure_future(made.start_all())
        await asyncio.wait([starting], timeout=rng.choice((0.0, rng.uniform(0, 0.2), rng.uniform(0, 0.8))))
        starting.cancel()
        async with asyncio.timeout(20):
            await asyncio.wait([starting])

        usable = {name for name in components if (record := made.registry.find(name)) and record.usable}
        wanted = {made.pid(name) for name in usable}

        # What the guard was just starting when we gave up is killed as soon as it has told us of it.
        def sessions(made: Any = made) -> set[int]:
            return {process.session for process in procfs.marked(f"{made.guard.run_id}.")}

        await until(lambda wanted=wanted: sessions() == wanted)
        assert not [name for name in components if made.coordinator.in_flight(name)]
    async with asyncio.timeout(20):
        await made.coordinator.stop_components()
    assert procfs.marked(f"{made.guard.run_id}.") == []


async def test_a_process_that_stops_itself_during_its_start_is_ended_by_the_timeout(
    plane: MakePlane, until: Any
) -> None:
    entry = {"command": ["/bin/sh", "-c", "kill -STOP $$$$"], "ready": {"log": "up"}, "start_timeout": 0.3}
    made = await plane(web={**entry, "stop_timeout": 0.1, "restart": NO_RESTART})

    async with asyncio.timeout(20):
        success, error = (await made.start_all())["web"]

    assert not success
    assert "not ready after 0.3 s" in error
    # What the guard was just starting is killed as soon as it has told us of it.
    await until(lambda: not procfs.marked(f"{made.guard.run_id}."))
