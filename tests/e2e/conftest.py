"""A real Tekton on loopback: the guard, the control plane, and whatever components a test names."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from client_threads import ClientThreads

from tekton.testing import free_port

PATIENCE = 20.0
ROOT = Path(__file__).resolve().parent.parent.parent

Json = dict[str, Any]
_T = TypeVar("_T")


def eventually(condition: Callable[[], _T], what: str, patience: float = PATIENCE) -> _T:
    """The first true value of *condition*; fails the test when there is none in time."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
    return value


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


class Tekton:
    """A running system in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self._file = directory / "components.json"

    def configure(self, components: Json, **settings: Any) -> None:
        """Write the configuration; *settings* go under `tekton.components`."""
        self._file.write_text(json.dumps({"components": components}))
        main = {"tekton": {"port": self.port, "data_dir": str(self.data_dir), "components": settings}}
        (self.directory / "tekton.json").write_text(json.dumps(main))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tekton", *arguments]

    def up(self) -> None:
        """`tekton up` in the foreground of a process of its own; returns when the control plane answers."""
        self.process = subprocess.Popen(
            self.command("up"),
            cwd=self.directory,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        eventually(self.answers, f"control plane up; output so far in {self.data_dir}/logs")

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One command of the command line, in the directory of the system, with the variables *env* besides."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment() | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}
        return {**kept, "HOME": str(self.directory), "NO_COLOR": "1"}

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request through the Unix socket: (status, decoded body)."""
        connection = UnixConnection(self.data_dir / "run" / "control.sock")
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json"} if data else {})
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else None
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.process.stdout.read()  # type: ignore[union-attr]
        with suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/api/ready")[0] == 200
        return False

    def everything(self) -> dict[str, Json]:
        """Every registered component by id, through the list with its cursor."""
        found: dict[str, Json] = {}
        cursor = ""
        while True:
            page = self.get(f"/api/components?limit=1000{cursor}")
            found |= {item["component_id"]: item for item in page["items"]}
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"

    def lost(self, acknowledged: dict[str, str]) -> list[str]:
        """Which of these components, with their instances, are not there."""
        found = self.everything()
        return [name for name, one in acknowledged.items() if found.get(name, {}).get("instance_uuid") != one]

    def component(self, component_id: str) -> Json:
        return next(one for one in self.get("/api/system")["components"] if one["component_id"] == component_id)

    def state(self, component_id: str) -> str:
        with suppress(OSError, http.client.HTTPException, StopIteration):
            return str(self.component(component_id)["state"])
        return "unreachable"

    def until(self, component_id: str, state: str = "ready", patience: float = PATIENCE) -> Json:
        """Wait for a state of a component."""
        eventually(lambda: self.state(component_id) == state, f"{component_id} {state}: {self._tell()}", patience)
        return self.component(component_id)

    @property
    def guard_pid(self) -> int:
        return int(json.loads((self.data_dir / "run" / "guard.json").read_text())["pid"])

    @property
    def control_pid(self) -> int:
        return int(json.loads((self.data_dir / "run" / "control.json").read_text())["pid"])

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this system, by the data directory in its environment or arguments."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                texts = [*process.environ().values(), *process.cmdline()]
                if any(str(self.directory) in text for text in texts):
                    found.append(process)
        return found

    def stop(self) -> int:
        """Ctrl-C; the exit code of `tekton up`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.returncode

    def kill(self) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=PATIENCE)

    def _tell(self) -> str:
        log = self.data_dir / "logs" / "tekton.log"
        return log.read_text()[-2000:] if log.exists() else "no log"


class Writers(ClientThreads):
    """Clients that register one component after another, and remember every answer."""

    def __init__(self, tekton: Tekton, writers: int = 8) -> None:
        super().__init__(partial(self._write, number) for number in range(writers))
        self._tekton = tekton
        self.acknowledged: dict[str, str] = {}
        self.refused: list[Json] = []

    def _write(self, writer: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            component_id, instance = f"w{writer}-{count}", str(uuid.uuid4())
            body = {
                "component_id": component_id,
                "instance_uuid": instance,
                "capabilities": [f"c{writer}", "all"],
                "metadata": {"writer": writer, "count": count},
            }
            with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
                status, answer = self._tekton.request("POST", "/api/components", body)
                if status == 201:
                    self.acknowledged[component_id] = instance
                else:
                    self.refused.append({"component_id": component_id, **answer})


@pytest.fixture
def writers(tekton: Tekton) -> Writers:
    """Eight clients that write as long as the `with` block lasts."""
    return Writers(tekton)


@pytest.fixture
def tekton(tmp_path: Path) -> Iterator[Tekton]:
    """A system that the test configures and brings up; nothing of it is left afterwards."""
    system = Tekton(tmp_path)
    yield system
    system.kill()


@pytest.fixture(scope="session")
def start_tekton() -> type[Tekton]:
    """`start_tekton(directory)`: a system that lives as long as the test wants; it must `kill()` it."""
    return Tekton


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    """`eventually(condition, what)`: wait for a condition, fail when it never holds."""
    return eventually


class Crowd:
    """Many components in a process of their own (`crowd.py`), which beat at a system. Its clocks are the true ones."""

    def __init__(self, port: int, count: int, interval: float, connections: int) -> None:
        numbers = [str(number) for number in (port, count, interval, connections)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "crowd.py"), *numbers],
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "up"

    def ask(self, command: str) -> Any:
        """The answer to a command of `crowd.py`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def gather(tekton: Tekton) -> Iterator[Callable[..., Crowd]]:
    """`gather(count)`: a crowd that beats at the system, every 0.1 s by default; it is up when this returns."""
    crowds: list[Crowd] = []

    def make(count: int, *, interval: float = 0.1, connections: int = 20) -> Crowd:
        crowds.append(Crowd(tekton.port, count, interval, connections))
        return crowds[-1]

    yield make
    for crowd in crowds:
        crowd.end()


def _failed(tekton: Tekton) -> set[str]:
    return {item["component_id"] for item in tekton.get("/api/components?state=failed&limit=1000")["items"]}


@pytest.fixture(scope="session")
def failed() -> Callable[[Tekton], set[str]]:
    """`failed(tekton)`: the ids of the components that are FAILED."""
    return _failed
