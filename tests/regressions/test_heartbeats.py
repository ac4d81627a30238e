"""A monitor that was stopped must not take its own absence for that of others.

A naive monitor that is stopped for four seconds expires every component it watches (2,000 of 2,000); Kubernetes had
this class of fault for years. Here the control plane is really stopped, for half a timeout to ten of them.
TEKTON_HEARTBEATERS sets how many components there are.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HEARTBEATERS = int(os.environ.get("TEKTON_HEARTBEATERS", "400"))
CROWD = Path(__file__).parent.parent / "e2e" / "crowd.py"
TIMEOUT = 2.0


class Plane:
    """A control plane on its own, and the crowd that beats at it."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self._control = directory / "data" / "run" / "control.json"
        settings = {
            "port": 0,
            "data_dir": str(directory / "data"),
            "components": {"heartbeat_timeout": TIMEOUT, "heartbeat_interval": 0.5},
        }
        (directory / "tekton.json").write_text(json.dumps({"tekton": settings}))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tekton.service.main", "--config", directory],
                env={**kept, "HOME": str(directory)},
                stdout=log,
                stderr=log,
            )
        self.url = self._eventually(self._announced)
        self.crowd = subprocess.Popen(
            [sys.executable, CROWD, self.url.rpartition(":")[2], str(HEARTBEATERS), "0.1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.crowd.stdout is not None
        assert self.crowd.stdout.readline() == "up\n"

    def _announced(self) -> str | None:
        with suppress(OSError, ValueError):
            return str(json.loads(self._control.read_text())["url"])
        assert self.process.poll() is None, self.log.read_text()
        return None

    def ask(self, command: str) -> Any:
        assert self.crowd.stdin is not None
        assert self.crowd.stdout is not None
        self.crowd.stdin.write(f"{command}\n")
        self.crowd.stdin.flush()
        return json.loads(self.crowd.stdout.readline())

    def failed(self) -> set[str]:
        with urllib.request.urlopen(f"{self.url}/api/components?state=failed&limit=1000") as answer:
            return {item["component_id"] for item in json.load(answer)["items"]}

    def until_failed(self, expected: set[str]) -> None:
        """Wait until just these have failed."""
        self._eventually(lambda: self.failed() == expected)

    def _eventually(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (value := condition()):
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            time.sleep(0.02)
        return value

    def pause(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.crowd.kill()
        self.crowd.communicate()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    plane.end()


@pytest.mark.timeout(240)
def test_a_control_plane_that_was_stopped_fails_nobody_who_lives_and_finds_who_died(plane: Plane) -> None:
    dead: set[str] = set()
    for pause in (0.5, 1, 2, 10):
        dead.update(plane.ask("silence 5"))

        plane.pause(pause * TIMEOUT)

        plane.until_failed(dead)

    report = plane.ask("report")
    assert report["unknown"] == 0
    assert report["beats"] > HEARTBEATERS
    # It was the clock of the leases that knew better, not the storm guard behind it.
    assert "suspecting ourselves" not in plane.log.read_text()
    assert re.search(r"this process did not run for (19|2\d)", plane.log.read_text())
