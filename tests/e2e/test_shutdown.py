"""Orderly ends, and ends of other kinds: real processes, real signals.

`TEKTON_SHUTDOWN_ROUNDS` sets how often the system is stopped under load (2; more at night).
"""

import asyncio
import http.client
import json
import operator
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest
from client_threads import ClientThreads

from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import ComponentState

ROUNDS = int(os.environ.get("TEKTON_SHUTDOWN_ROUNDS", "2"))
CLIENTS = 8
SLEEP = {"command": ["sleep", "1000"]}
TRIES = 5
WAITS_FOR_GO = "trap 'until [ -e go ]; do sleep 0.05; done; exit 0' TERM; echo up; while :; do sleep 0.05; done"
STOPS_WHEN_TOLD = {"command": ["sh", "-c", WAITS_FOR_GO], "ready": {"log": "up"}, "stop_timeout": 60}
"""It is to end when there is a file `go`, and by no clock."""


class Plane:
    """One control plane process on the directory of a `tekton` fixture."""

    def __init__(self, tekton: Any, **environment: str) -> None:
        self.tekton = tekton
        self.log = tekton.directory / "stderr"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tekton.service.main"],
                cwd=tekton.directory,
                env={**tekton.environment(), **environment},
                stderr=log,
            )

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return bool(self.tekton.answers())

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def end(self, signum: int = signal.SIGTERM) -> int:
        self.send(signum)
        return self.process.wait(30)

    def status(self, path: str) -> int | None:
        """The status of an answer over the network; None when nobody listens any more."""
        connection = http.client.HTTPConnection("127.0.0.1", self.tekton.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


Start = Callable[..., Plane]


@pytest.fixture
def start(tekton: Any, eventually: Any) -> Iterator[Start]:
    """`start(**environment)`: a control plane that answers, on the directory of `tekton`."""
    started: list[Plane] = []

    def begin(*, wait: bool = True, **environment: str) -> Plane:
        plane = Plane(tekton, **environment)
        started.append(plane)
        if wait:
            eventually(plane.ready, "the control plane answers")
        return plane

    yield begin
    for plane in started:
        plane.process.kill()
        plane.process.wait(30)


class Clients(ClientThreads):
    """Registers component after component until nobody listens any more, and notes every answer."""

    def __init__(self, port: int, *, retry: Callable[[], object] | None = None) -> None:
        super().__init__(partial(self._run, number) for number in range(CLIENTS))
        self._port = port
        self._retry = retry
        self.acknowledged: set[str] = set()
        self.counts = [0] * CLIENTS
        """How many each of them has got registered."""
        self.refusals: list[int] = []
        self.unanswered: list[str] = []

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        for count in range(1_000_000):
            if self._stop.is_set():
                break
            name = f"c{number}-{count}"
            body = json.dumps({"component_id": name, "instance_uuid": str(uuid.uuid4())})
            try:
                self._register(connection, number, name, body)
            except (OSError, http.client.HTTPException):
                if self._retry is None:
                    break
                self._retry()
                try:
                    self._register(connection, number, name, body)
                except (OSError, http.client.HTTPException) as error:
                    self.unanswered.append(f"{name}: {error!r}")
            if number % 2:
                connection.close()
        connection.close()

    def _register(self, connection: http.client.HTTPConnection, number: int, name: str, body: str) -> None:
        try:
            connection.request("POST", "/api/components", body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
        except BaseException:
            connection.close()
            raise
        if response.status in (200, 201):
            self.acknowledged.add(name)
            self.counts[number] += 1
        else:
            self.refusals.append(response.status)


def stored(tekton: Any) -> set[str]:
    """The components in the data directory of a system that does not run."""
    store = SqliteStore(tekton.data_dir)
    try:
        return {json.loads(record)["component_id"] for record in store.open().records}
    finally:
        store.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("_", range(ROUNDS))
def test_sigterm_under_load_answers_all_that_was_accepted_and_loses_nothing(
    tekton: Any, start: Start, eventually: Any, _: int
) -> None:
    tekton.configure({"slow": STOPS_WHEN_TOLD})
    plane = start()
    tekton.until("slow")
    with Clients(tekton.port) as clients:
        eventually(lambda: len(clients.acknowledged) > 100, "clients make progress")
        plane.send(signal.SIGTERM)
        eventually(lambda: plane.status("/api/ready") == 503, "not ready")
        before = len(clients.acknowledged)
        eventually(lambda: len(clients.acknowledged) > before, "it goes on serving while the components stop")
        (tekton.directory / "go").touch()
        assert plane.process.wait(30) == 0

    assert clients.refusals == []
    assert clients.acknowledged <= stored(tekton)
    eventually(lambda: not tekton.processes(), "no process is left")


async def test_streams_and_sockets_are_told_goodbye_on_sigterm(tekton: Any, start: Start) -> None:
    tekton.configure({})
    plane = start()
    url = f"http://127.0.0.1:{tekton.port}"
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/events/components") as stream,
        session.ws_connect(f"{url}/ws?v=1") as connection,
    ):
        await stream.content.readuntil(b"event: snapshot")
        plane.send(signal.SIGTERM)
        farewell = await stream.content.read()
        frames = [json.loads(frame.data) async for frame in connection if frame.type is aiohttp.WSMsgType.TEXT]

    assert b"retry: " in farewell
    assert b'event: bye\ndata: {"reason":"stopping"' in farewell
    assert (frames[-1]["op"], frames[-1]["reason"]) == ("bye", "stopping")
    assert frames[-1]["retry"] > 0
    assert plane.process.wait(30) == 0


def at_once(_: Plane) -> bool:
    return True


def unready(plane: Plane) -> bool:
    return plane.status("/api/ready") == 503


def stopping(plane: Plane) -> bool:
    return bool(plane.tekton.state("slow") == "stopping")


@pytest.mark.parametrize(
    ("signum", "moment"), [(signal.SIGINT, at_once), (signal.SIGTERM, unready), (signal.SIGTERM, stopping)]
)
def test_a_second_signal_ends_it_at_once(
    tekton: Any, start: Start, eventually: Any, signum: int, moment: Callable[[Plane], bool]
) -> None:
    tekton.configure({"slow": STOPS_WHEN_TOLD})
    plane = start()
    tekton.until("slow")

    plane.send(signal.SIGTERM)
    # Two of the same number that are pending together are one: the first of those has been heard by then.
    eventually(lambda: moment(plane), "the moment has come")
    plane.send(signum)

    # Two signals that are pending together are delivered in the order of their numbers.
    assert plane.process.wait(30) in {128 + signum, 128 + signal.SIGTERM}
    (tekton.directory / "go").touch()
    eventually(lambda: not tekton.processes(), "no process is left")


def test_an_operation_that_is_waited_for_is_answered_when_the_system_stops(
    tekton: Any, start: Start, eventually: Any
) -> None:
    tekton.configure({"slow": {"command": ["sleep", "1000"], "ready": {"log": "never"}, "start_timeout": 600}})
    plane = start()
    tekton.until("slow", "starting")
    assert tekton.request("POST", "/api/components/slow/stop?wait=1")[0] == 200
    answers: list[Any] = []
    path = "/api/components/slow/start?wait=1"
    waiting = threading.Thread(target=lambda: answers.append(tekton.request("POST", path)))
    waiting.start()
    tekton.until("slow", "starting")

    assert plane.end() == 0

    waiting.join(30)
    ((status, answer),) = answers
    assert (status, answer["code"]) == (503, "unavailable")


def test_a_request_that_is_not_done_at_the_deadline_of_the_drain_is_told_so(tekton: Any, start: Start) -> None:
    tekton.configure({})
    plane = start()
    with socket.create_connection(("127.0.0.1", tekton.port), timeout=30) as client:
        head = "POST /api/components HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        client.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
        assert plane.status("/api/health") == 200

        assert plane.end() == 0

        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"unavailable"' in answer


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4])
def test_a_start_that_is_interrupted_leaves_a_directory_that_starts(
    tekton: Any, start: Start, delay: float, eventually: Any
) -> None:
    tekton.configure({"fine": SLEEP})
    plane = start(wait=False)
    time.sleep(delay)

    code = plane.end()

    # Before Python has got to our first line, the signal ends it in its own way.
    assert code in (0, -signal.SIGTERM)
    eventually(lambda: not tekton.processes(), "no process is left")
    assert start().end() == 0


@pytest.mark.parametrize("moment", ["migrate.each_step", "checkpoint.before"])
def test_a_signal_in_the_middle_of_work_on_the_disk_waits_for_it(
    tekton: Any, start: Start, eventually: Any, moment: str
) -> None:
    tekton.configure({})
    plane = start(wait=False, TEKTON_FAILPOINTS=f"{moment}=delay:0.5@1")
    eventually((tekton.data_dir / "tekton.db").exists, "the database is being made")

    code = plane.end()

    assert code in (0, -signal.SIGTERM)
    assert start().end() == 0


def large_database(directory: Path, megabytes: int = 64) -> None:
    store = SqliteStore(directory)
    store.open()
    for number in range(1, megabytes + 1):
        store.commit([_large(64 * number + part, f"c{number}-{part}") for part in range(64)])
    store.close()


def _large(revision: int, name: str) -> Mutation:
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="deregistered", component_id=name, instance_uuid="one",
        previous=None, state=ComponentState.STOPPED, reason="x" * 16_000,
    )  # fmt: skip
    return Mutation(revision, 1.0, "deregistered", name, "one", msgspec.json.encode(entry).decode(), None)


def stopped_during_a_backup(tekton: Any, plane: Plane, folder: Path, eventually: Any) -> tuple[int, Any]:
    """What is answered to who wants a backup, when the control plane is stopped as soon as that is being written."""
    answers: list[tuple[int, Any]] = []
    ordering = threading.Thread(target=lambda: answers.append(tekton.request("POST", "/api/system/backup", {})))
    ordering.start()
    eventually(lambda: folder.exists() and list(folder.iterdir()), "the backup is being written")
    assert plane.end() == 0
    ordering.join(30)
    (answer,) = answers
    return answer


def test_a_backup_is_interrupted_by_the_stop_and_leaves_nothing(tekton: Any, start: Start, eventually: Any) -> None:
    tekton.configure({})
    large_database(tekton.data_dir)
    folder = tekton.data_dir / "backups"
    for _ in range(TRIES):
        status, answer = stopped_during_a_backup(tekton, start(), folder, eventually)
        if status != 201:
            break
        # It was done before the stop came, which says nothing.
        shutil.rmtree(folder)

    assert (status, answer["code"]) == (409, "backup")
    assert "interrupted" in answer["detail"]
    assert list(folder.iterdir()) == []


def test_a_process_that_runs_out_of_memory_loses_nothing_that_it_acknowledged(
    tekton: Any, start: Start, eventually: Any
) -> None:
    tekton.configure({})
    plane = start()
    process = psutil.Process(plane.process.pid)
    limit = process.memory_info().vms + 64 * 1024 * 1024
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    acknowledged: set[str] = set()
    trouble = None
    for number in range(3000):
        body = {"component_id": f"big-{number}", "metadata": {"text": "x" * 60_000}}
        try:
            status, answer = tekton.request("POST", "/api/components", body)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            trouble = repr(error)
            break
        if status != 201:
            trouble = f"{status} {answer}"
            break
        acknowledged.add(f"big-{number}")
    plane.process.kill()
    plane.process.wait(30)

    assert trouble is not None, "the limit was felt"
    assert acknowledged, trouble
    eventually(lambda: not tekton.processes(), "no process is left")
    assert acknowledged <= stored(tekton)


def test_a_client_with_one_retry_sees_no_failure_when_one_control_plane_follows_another(
    tekton: Any, start: Start, eventually: Any
) -> None:
    tekton.configure({})
    plane = start()

    def until_ready() -> None:
        eventually(lambda: plane.status("/api/ready") == 200, "ready again")

    def progress() -> None:
        # Of each: who has only come to his retry by now would meet the next stop with it.
        goals = [count + 10 for count in clients.counts]
        eventually(lambda: all(map(operator.ge, clients.counts, goals)), "clients make progress")

    with Clients(tekton.port, retry=until_ready) as clients:
        for _ in range(2):
            progress()
            assert plane.end() == 0
            plane = start()
        progress()

    assert (clients.unanswered, clients.refusals) == ([], [])
    assert plane.end() == 0
    assert clients.acknowledged <= stored(tekton)
