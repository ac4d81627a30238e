"""Replicas of a real component: crashes, rolling restarts and scaling while callers go on calling."""

import http.client
import os
import random
import signal
import sys
import threading
import time
from typing import Any, Self

import pytest

from tekton.testing import free_port

SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["TEKTON_REPLICA"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


DRAIN = 0.3
"""Seconds for which a replica goes on that discovery does not name any more."""


class Caller:
    """Calls one replica after another, each time as discovery names them at that moment.

    Who calls so late that a drain may have ended meanwhile has no right to an answer: those failures do not count.
    """

    def __init__(self, tekton: Any) -> None:
        self._tekton = tekton
        self._stop = threading.Event()
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        rng = random.Random(1)
        while not self._stop.is_set():
            asked = time.monotonic()
            found = self._tekton.get("/api/components/web/instances")["items"]
            serving = [one for one in found if one["serving"] and one["state"] in ("ready", "degraded")]
            if not serving:
                self.failures.append("nobody serves")
                continue
            one = rng.choice(serving)
            try:
                self.answers.append(self._call(one["port"]))
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() - asked < DRAIN:
                    self.failures.append(f"{one['replica']}: {error!r}")
            time.sleep(0.002)

    def _call(self, port: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@pytest.fixture
def system(tekton: Any, eventually: Any) -> Any:
    """Three replicas that serve, and room for a fourth."""
    first = free_port(4)
    tekton.configure(
        {
            "web": {
                "command": [sys.executable, "-S", "-c", SERVER.replace("$", "$$")],
                "port": first,
                "replicas": 3,
                "drain": DRAIN,
                "ready": {"http": "/", "interval": 0.05},
                "restart": {"backoff": [0.05, 0.1]},
            }
        }
    )
    tekton.up()
    eventually(lambda: tekton.component("web")["ready_replicas"] == 3, "three replicas are ready")
    return tekton


def pids(system: Any) -> dict[int, int | None]:
    instances = system.get("/api/components/web/instances")["items"]
    return {one["replica"]: one["pid"] for one in sorted(instances, key=lambda one: one["replica"])}


@pytest.mark.timeout(90)
def test_the_others_serve_while_one_replica_is_down(system: Any, eventually: Any) -> None:
    before = pids(system)
    assert before[1] is not None
    with Caller(system) as caller:
        os.kill(before[1], signal.SIGKILL)
        eventually(lambda: pids(system).get(1) not in (None, before[1]), "it is started again")
        eventually(lambda: system.component("web")["ready_replicas"] == 3, "all three are ready again")
        eventually(lambda: {"0", "2"} <= set(caller.answers), "the others have answered")

    after = pids(system)
    assert (after[0], after[2]) == (before[0], before[2])
    # At the moment of the crash its callers cannot know better.
    assert all(failure.startswith("1: ") for failure in caller.failures)
    restarts = {one["replica"]: one["restarts"] for one in system.get("/api/components/web/instances")["items"]}
    assert restarts == {0: 0, 1: 1, 2: 0}


@pytest.mark.timeout(90)
def test_no_call_fails_during_a_rolling_restart(system: Any) -> None:
    before = pids(system)
    with Caller(system) as caller:
        done = system.run("restart", "--rolling", "web")

    assert done.returncode == 0, done.stderr
    after = pids(system)
    assert list(after) == [0, 1, 2]
    assert not set(before.values()) & set(after.values())
    assert caller.failures == []
    assert {"0", "1", "2"} == set(caller.answers)


@pytest.mark.timeout(90)
def test_replicas_are_drained_and_scaled_while_the_others_go_on(system: Any, eventually: Any) -> None:
    before = pids(system)

    assert system.run("drain", "web").returncode == 0
    assert {one["serving"] for one in system.get("/api/components/web/instances")["items"]} == {False}
    assert system.run("drain", "--undo", "web").returncode == 0
    with Caller(system) as caller:
        assert system.run("scale", "web=2").returncode == 0
        two = pids(system)
        assert system.run("scale", "web=4").returncode == 0

    assert two == {0: before[0], 1: before[1]}
    assert caller.failures == []
    four = pids(system)
    assert (len(four), four[0], four[1]) == (4, before[0], before[1])
    assert system.component("web")["replicas"] == 4
    assert system.run("reload").returncode == 0
    assert pids(system) == four
    assert system.stop() == 0
    eventually(lambda: not system.processes(), "nothing is left")
