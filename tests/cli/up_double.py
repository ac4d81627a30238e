"""`tekton up` with a guard and a control plane that play a scenario.

python up_double.py SCENARIO ARGUMENTS...          `tekton ARGUMENTS...`; whatever guard it starts is the one below
python up_double.py --guard SCENARIO DATA_DIR      hold the data directory, serve, play, stop on SIGTERM
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from double import ControlPlane, change, record, serve, why

HERE = "here"
"""The file below `run` that tells that the guard has come as far as its scenario wants time to pass."""

PASSES = {"silent": 60.0, "hung": 10.0, "stubborn": 60.0}
"""How many seconds pass at once in `tekton up` then: how long a process takes to start must not matter."""


class Guard:
    """A guard and a control plane in one process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.run_dir = data_dir / "run"
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / "logs").mkdir(exist_ok=True)
        self._lock = os.open(self.run_dir / "guard.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.run_dir / "guard.json").write_text(json.dumps({"pid": os.getpid()}))
        self.plane = ControlPlane()
        self.plane.on_stop = lambda: os.kill(os.getpid(), signal.SIGTERM)
        self._revision = 0
        self._watched = threading.Event()

    def serve(self) -> None:
        path = self.run_dir / "control.sock"
        path.unlink(missing_ok=True)
        self._watched.clear()
        self.plane.on_stream = [self._watched.set]
        serve(self.plane, str(path))
        (self.run_dir / "control.json").write_text(json.dumps({"url": "http://127.0.0.1:8010"}))

    def await_watcher(self) -> None:
        """Return when somebody has got a snapshot and follows the changes."""
        assert self._watched.wait(20)
        (self.run_dir / HERE).touch()

    def move(self, name: str, *states: str, **fields: Any) -> None:
        """Let a component go through *states*, the first of which it has already."""
        for previous, state in pairwise(states):
            self._revision += 1
            now = time.time()
            after = {"registered_at": now, "changed_at": now + 0.25}
            self.plane.publish(change(self._revision, name, previous, state, at=now, after=after, **fields))

    def log(self, text: str) -> None:
        with (self.data_dir / "logs" / "tekton.log").open("a") as file:
            file.write(text + "\n")
        (self.run_dir / HERE).touch()

    def await_stop(self) -> None:
        assert signal.sigwait({signal.SIGTERM, signal.SIGUSR1}) == signal.SIGTERM

    def await_word(self) -> None:
        """Return when the test says so."""
        assert signal.sigwait({signal.SIGTERM, signal.SIGUSR1}) == signal.SIGUSR1

    def leave(self) -> None:
        self.plane.leave(drain=True)
        (self.run_dir / "control.sock").unlink()


def ready(guard: Guard) -> int:
    """hermes and engram come up; they stop in order."""
    guard.serve()
    guard.await_watcher()
    guard.move("hermes", "initializing", "starting", "ready")
    guard.move("engram", "starting", "ready")
    guard.await_stop()
    guard.move("engram", "ready", "stopping", "stopped")
    guard.move("hermes", "ready", "stopping", "stopped")
    guard.leave()
    return 0


def failing(guard: Guard) -> int:
    """hermes fails, so that engram is not started."""
    guard.plane.components = [record("hermes", "failed")]
    guard.plane.components[0]["generation"] = 0  # not in the snapshot
    affected = [{"component_id": "engram", "through": None}]
    guard.plane.whys["hermes"] = why("hermes", "failed", evidence=["OSError: no disk"], affected=affected)
    guard.serve()
    guard.await_watcher()
    guard.move("hermes", "starting", "failed")
    guard.await_stop()
    guard.leave()
    return 0


def restarting(guard: Guard) -> int:
    """The control plane goes away, and comes back when it is told to."""
    guard.serve()
    guard.await_watcher()
    guard.move("hermes", "starting", "ready")
    guard.leave()
    guard.log("the control plane was killed")
    guard.await_word()
    plane, guard.plane = guard.plane, ControlPlane()
    guard.plane.components = [record("hermes", registered_at=time.time())]
    guard.plane.revision = plane.revision
    guard.serve()
    guard.await_watcher()
    guard.move("engram", "starting", "ready")
    guard.await_stop()
    guard.leave()
    return 0


def stubborn(guard: Guard) -> int:
    """It takes two signals."""
    guard.serve()
    guard.await_watcher()
    guard.move("hermes", "initializing", "starting")
    guard.await_stop()
    guard.move("hermes", "starting", "failed", reason="stopped")
    guard.await_stop()
    return 143


def in_use(guard: Guard) -> int:
    """The control plane cannot have its port."""
    guard.log("CRITICAL tekton.service: port 8010 is in use by python (4711)")
    return 75


def lost(guard: Guard) -> int:
    """It ends without being asked."""
    guard.serve()
    guard.await_watcher()
    guard.move("hermes", "starting", "ready")
    guard.move("engram", "starting", "ready")
    guard.await_word()
    guard.log("CRITICAL the guard is gone")
    return 70


def silent(guard: Guard) -> int:
    """It never answers."""
    guard.log("still loading")
    guard.await_stop()
    return 0


def hung(guard: Guard) -> int:
    """It never answers, and is not given up for long."""
    return silent(guard)


SCENARIOS: dict[str, Callable[[Guard], int]] = {
    scenario.__name__: scenario for scenario in (ready, failing, restarting, stubborn, in_use, lost, silent, hung)
}


class GuardTime:
    """A clock that stands still until the file *here* is there, *early* seconds before its time; then *passes* more
    have passed than on that of the machine.
    """

    def __init__(self, here: Path, passes: float, early: float = 0.0) -> None:
        self._here = here
        self._passes = passes
        self._until_then = time.monotonic() - early

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self._passes if self._here.exists() else self._until_then


def main(arguments: list[str]) -> int:
    if arguments[0] == "--guard":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        return SCENARIOS[arguments[1]](Guard(Path(arguments[2])))
    from tekton.cli import client, launch, session
    from tekton.cli import main as tekton

    def command(instance: Any, _: Any) -> list[str]:
        return [sys.executable, __file__, "--guard", arguments[0], str(instance.data_dir)]

    launch._command = command
    run_dir, passes = Path("data") / "run", PASSES.get(arguments[0], 0.0)
    session.SYSTEM_CLOCK = GuardTime(run_dir / HERE, passes)  # type: ignore[assignment]
    # Its deadline must not pass while it waits for the first answer either.
    client.Client.__init__.__kwdefaults__["clock"] = GuardTime(run_dir / HERE, passes, early=60.0)
    return tekton(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
