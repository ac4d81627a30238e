"""Ends that HTTP servers under a control plane have got wrong.

Granian in its own worker mode did not finish after SIGTERM while one event stream was open, and left a worker that
still answered on the port when its main process was killed. Tekton embeds it; these are the two stories again.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tekton.testing import free_port

PATIENCE = 20.0


class Plane:
    """A control plane with a data directory of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tekton.service.main", "--data-dir", str(directory / "data"), "--port", str(port)],
            cwd=directory,
            env={**kept, "HOME": str(directory)},
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str) -> Any:
        """The answer; None when nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Plane]]:
    """`start()`: a control plane that answers; the next one takes the same port and directory."""
    port = free_port()
    started: list[Plane] = []

    def begin() -> Plane:
        started.append(plane := Plane(tmp_path, port))
        eventually(lambda: plane.get("/api/version"), "the control plane answers")
        return plane

    yield begin
    for plane in started:
        plane.process.kill()
        plane.process.wait(PATIENCE)


def test_an_open_event_stream_does_not_keep_a_control_plane_from_ending(start: Callable[[], Plane]) -> None:
    plane = start()
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as watcher:
        watcher.sendall(b"GET /events/components HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = b""
        while b"event: snapshot" not in received:
            received += watcher.recv(65536)

        plane.process.send_signal(signal.SIGTERM)

        # The watcher neither reads nor leaves meanwhile.
        assert plane.process.wait(PATIENCE) == 0
        while piece := watcher.recv(65536):
            received += piece
    assert received.rpartition(b"event: ")[2].startswith(b"bye")


def test_a_killed_control_plane_leaves_nobody_who_answers_or_writes(start: Callable[[], Plane], tmp_path: Path) -> None:
    plane = start()
    helpers = psutil.Process(plane.process.pid).children(recursive=True)

    plane.process.kill()
    plane.process.wait(PATIENCE)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE).close()
    eventually(lambda: not any(_runs(helper) for helper in helpers), "no helper is left")
    second = start()
    assert second.get("/api/version")["pid"] == second.process.pid
    assert (tmp_path / "data" / "LOCK").read_text().strip() == str(second.process.pid)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
