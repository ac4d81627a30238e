"""The control plane is killed; its components are not, and the next control plane goes on with them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.guard import data_dir_mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

PLANE = Path(__file__).with_name("supervising_plane.py")
NO_RESTART = {"policy": "no"}
FOREVER = ["/bin/sleep", "600"]


class System:
    """A guard with a supervising control plane, and the lines that it writes."""

    def __init__(self, folder: Path, until: Any) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.until = until
        self.guard: subprocess.Popen[bytes] | None = None

    def configure(self, **components: dict[str, Any]) -> None:
        (self.folder / "components.json").write_text(json.dumps({"components": components}))

    def start(self) -> None:
        plane = [sys.executable, str(PLANE), str(self.folder / "components.json"), str(self.data_dir)]
        # The half of an earlier guard that was not killed needs a moment to end.
        options = ["--data-dir", str(self.data_dir), "--lock-timeout", "10"]
        guard = [sys.executable, "-m", "tekton.supervisor.guard", *options]
        self.guard = subprocess.Popen([*guard, "--", *plane])

    @property
    def lines(self) -> list[dict[str, Any]]:
        file = self.data_dir / "changes"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def up(self, times: int) -> dict[str, Any]:
        """What the control plane says when it is up for the n-th time."""
        await self.until(lambda: len([line for line in self.lines if "up" in line]) >= times)
        return [line for line in self.lines if "up" in line][times - 1]

    async def changes(self, **fields: Any) -> dict[str, Any]:
        """A change with these fields, as soon as there is one."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines if fields.items() <= line.items()]

        await self.until(found)
        return found()[0]

    async def stop(self) -> int:
        guard = self.guard
        assert guard is not None
        guard.terminate()
        await self.until(lambda: guard.poll() is not None)
        return guard.returncode or 0


@pytest.fixture
def system(tmp_path: Path, until: Any) -> Iterator[System]:
    system = System(tmp_path, until)
    yield system
    if system.guard is not None:
        system.guard.kill()
        system.guard.wait()
    procfs.kill_all(procfs.marked(data_dir_mark(os.path.realpath(system.data_dir))))


async def test_running_components_go_on_as_the_same_instances(system: System) -> None:
    system.configure(db={"command": FOREVER}, api={"command": FOREVER, "dependencies": ["db"]})
    system.start()
    first = await system.up(1)

    os.kill(first["up"], signal.SIGKILL)
    second = await system.up(2)

    assert second["pids"] == first["pids"]
    assert second["instances"] == first["instances"]
    assert [line for line in system.lines if line.get("plane") == 2] == []
    assert await system.stop() == 0
    stopped = [line["id"] for line in system.lines if line.get("state") == "stopped"]
    assert stopped == ["api", "db"]


async def test_an_adopted_component_is_still_supervised(system: System) -> None:
    system.configure(web={"command": FOREVER, "restart": {"backoff": [0.01, 0.01]}})
    system.start()
    os.kill((await system.up(1))["up"], signal.SIGKILL)
    second = await system.up(2)

    os.kill(second["pids"]["web"], signal.SIGKILL)

    await system.changes(id="web", state="failed", reason="killed by signal 9 (SIGKILL)", plane=2)
    await system.changes(id="web", state="ready", plane=2)


async def test_an_adopted_process_that_hangs_is_stopped_though_its_dependency_is_down(system: System) -> None:
    system.configure(
        db={"command": FOREVER, "restart": NO_RESTART},
        api={"command": FOREVER, "dependencies": ["db"], "restart": {"backoff": [0.01, 0.01]}},
    )
    system.start()
    os.kill((await system.up(1))["up"], signal.SIGKILL)
    second = await system.up(2)

    os.kill(second["up"], signal.SIGUSR1)

    await system.changes(id="api", state="failed", plane=2)
    await system.until(lambda: procfs.read(second["pids"]["api"]) is None)
    assert procfs.read(second["pids"]["db"]) is not None


async def test_what_ended_in_the_meantime_has_failed_with_its_reason_and_is_started(system: System) -> None:
    system.configure(web={"command": FOREVER})
    system.start()
    first = await system.up(1)

    os.kill(first["up"], signal.SIGSTOP)
    os.kill(first["pids"]["web"], signal.SIGKILL)
    await system.until(lambda: procfs.read(first["pids"]["web"]) is None)
    os.kill(first["up"], signal.SIGKILL)
    second = await system.up(2)

    await system.changes(id="web", state="failed", reason="killed by signal 9 (SIGKILL)", plane=2)
    assert second["pids"]["web"] != first["pids"]["web"]


async def test_a_start_that_was_cut_off_is_finished_with_the_same_process(system: System) -> None:
    system.configure(
        web={"command": ["/bin/sh", "-c", "read x < fifo; echo up; exec sleep 600"], "ready": {"log": "up"}}
    )
    os.mkfifo(system.folder / "fifo")
    system.start()
    await system.changes(id="web", state="starting")
    log = system.data_dir / "logs" / "web.log"
    # Before it is the program that was asked for it is nobody's yet, and ends with who has asked.
    await system.until(lambda: len(marked(system)) == 2)
    (first,) = planes(system)

    os.kill(first, signal.SIGKILL)
    await system.until(lambda: planes(system) not in ([], [first]))
    (system.folder / "fifo").write_text("go\n")

    await system.up(1)
    assert log.read_text() == "up\n"


async def test_components_that_were_stopped_stay_stopped_and_what_was_done_stays_done(system: System) -> None:
    need = {"component": "once", "condition": "completed"}
    system.configure(
        once={"command": ["/bin/sh", "-c", "echo ran"]},
        web={"command": FOREVER, "dependencies": [need]},
    )
    system.start()
    os.kill((await system.up(1))["up"], signal.SIGKILL)
    await system.up(2)
    assert (system.data_dir / "logs" / "once.log").read_text() == "ran\n"


async def test_what_the_configuration_no_longer_has_is_stopped(system: System) -> None:
    system.configure(old={"command": FOREVER}, web={"command": FOREVER})
    system.start()
    first = await system.up(1)

    system.configure(web={"command": FOREVER, "env": {"NEW": "1"}})
    os.kill(first["up"], signal.SIGKILL)
    second = await system.up(2)

    await system.until(lambda: procfs.read(first["pids"]["old"]) is None)
    assert second["pids"] == {"web": first["pids"]["web"]}
    assert second["notes"] == {"web": "runs with an earlier configuration; a restart applies the new one"}


async def test_what_vanished_with_an_earlier_guard_is_lost_and_started_anew(system: System) -> None:
    system.configure(web={"command": FOREVER})
    system.start()
    first = await system.up(1)
    assert system.guard is not None

    system.guard.kill()
    system.guard.wait()
    system.start()
    second = await system.up(2)

    assert procfs.read(first["pids"]["web"]) is None or procfs.read(first["pids"]["web"]).dead  # type: ignore[union-attr]
    await system.changes(id="web", state="failed", reason="its process is gone, with the guard that ran it")
    assert second["pids"]["web"] != first["pids"]["web"]
    assert second["instances"] != first["instances"]


def planes(system: System) -> list[int]:
    """The pids of the control planes that run."""
    return [process.pid for process in marked(system) if is_plane(process.pid)]


def marked(system: System) -> list[procfs.Process]:
    """What the guard runs: a control plane, and components."""
    return procfs.marked(data_dir_mark(os.path.realpath(system.data_dir)))


def is_plane(pid: int) -> bool:
    try:
        return PLANE.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


# Replicas.


def replicas(system: System) -> dict[str, int]:
    """The processes of `web` that run, by their number."""
    found = {}
    for process in marked(system):
        with suppress(OSError):
            entries = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
            environment = dict(entry.partition("=")[::2] for entry in entries)
            if environment.get("TEKTON_COMPONENT_ID") == "web":
                found[environment["TEKTON_REPLICA"]] = process.pid
    return found


async def test_replicas_are_adopted_one_by_one(system: System) -> None:
    system.configure(web={"command": FOREVER, "replicas": 3, "restart": {"backoff": [0.01, 0.01]}})
    system.start()
    first = await system.up(1)
    before = replicas(system)

    os.kill(first["up"], signal.SIGSTOP)
    os.kill(before["1"], signal.SIGKILL)
    await system.until(lambda: procfs.read(before["1"]) is None)
    os.kill(first["up"], signal.SIGKILL)
    await system.up(2)

    after = replicas(system)
    assert sorted(after) == ["0", "1", "2"]
    assert (after["0"], after["2"]) == (before["0"], before["2"])
    os.kill(after["2"], signal.SIGKILL)
    await system.until(lambda: replicas(system).get("2", after["2"]) != after["2"])
    assert (replicas(system)["0"], replicas(system)["1"]) == (after["0"], after["1"])
    assert await system.stop() == 0
    assert replicas(system) == {}


async def test_replicas_that_are_too_many_now_are_ended_and_forgotten(system: System) -> None:
    system.configure(web={"command": FOREVER, "replicas": 3})
    system.start()
    first = await system.up(1)
    before = replicas(system)

    system.configure(web={"command": FOREVER})
    os.kill(first["up"], signal.SIGKILL)
    await system.up(2)

    await system.until(lambda: replicas(system) == {"0": before["0"]})
    assert [line["id"] for line in system.lines if line.get("plane") == 2] == ["web", "web"]
