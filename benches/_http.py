"""What the HTTP benches share: a cheap client, the CPU time of another process, and a control plane to ask.

The client shares the machine with the server, so it does as little as a client can: it writes bytes that were made
before and looks for the end of the answer.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import psutil


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together; exact on Linux, in steps of 10 ms elsewhere."""
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def request(port: int, method: str, path: str, body: bytes | None = None, *headers: str) -> bytes:
    """One HTTP/1.1 request with the headers that an ordinary client sends."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: */*", "User-Agent: bench", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Client(asyncio.Protocol):
    """One keep-alive connection that sends *requests* one after another; `done` when all were answered with 2xx.

    `times` are those of the answers in seconds, in order.
    """

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._received = b""
        self._sent = 0.0
        self.times: list[float] = []
        self.last = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        if len(received) < _length(received):
            return
        self.times.append(time.perf_counter() - self._sent)
        if not received.startswith(b"HTTP/1.1 20"):
            self._end(ValueError(received.decode()))
            return
        self.last, self._received = received, b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("closed by the server"))

    def stop(self) -> None:
        """Close the connection, whatever is under way. Raises what has ended it before."""
        self._end(None)
        self.done.result()

    def _next(self) -> None:
        wanted = next(self._requests, None)
        if wanted is None:
            self._end(None)
        else:
            self._sent = time.perf_counter()
            self._transport.write(wanted)

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            self._transport.close()
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


_MORE = sys.maxsize


def _length(received: bytes) -> int:
    """The length of the answer that begins with *received*; more than any when its head is not complete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return _MORE
    start = received.find(b"content-length: ", 0, end) + 16
    return end + 4 + int(received[start : received.find(b"\r", start)])


async def connect(port: int, streams: Sequence[Iterator[bytes]]) -> list[Client]:
    """A client for each of *streams*, on a connection of its own; they begin at once."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(partial(Client, each), "127.0.0.1", port))[1] for each in streams]


async def send(port: int, streams: Sequence[Iterator[bytes]]) -> list[Client]:
    """Send *streams*; return when everything was answered."""
    clients = await connect(port, streams)
    await asyncio.gather(*(client.done for client in clients))
    return clients


@asynccontextmanager
async def beside(port: int, streams: Sequence[Iterator[bytes]]) -> AsyncIterator[list[Client]]:
    """Keep *streams*, which never end, going while the body runs."""
    clients = await connect(port, streams)
    try:
        yield clients
    finally:
        for client in clients:
            client.stop()


class ControlPlane(NamedTuple):
    """A control plane that runs."""

    port: int
    pid: int
    data_dir: Path


@contextmanager
def control_plane(data_dir: Path, **settings: Any) -> Iterator[ControlPlane]:
    """A control plane in a process of its own, on a free port, with its data in *data_dir*.

    *settings* go under `tekton.components` of its configuration. It is given a minute to start.
    """
    config = data_dir.parent / "tekton.json"
    config.write_text(json.dumps({"tekton": {"port": 0, "data_dir": str(data_dir), "components": settings}}))
    command = [sys.executable, "-m", "tekton.service.main", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=data_dir.parent)
    try:
        yield ControlPlane(_port(process, data_dir / "run" / "control.json"), process.pid, data_dir)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _port(process: "subprocess.Popen[bytes]", control_file: Path) -> int:
    """The port that the process announces. An earlier one may have left such a file."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the control plane ended: {process.communicate()[1].decode()}")
        if control_file.exists():
            control = json.loads(control_file.read_text())
            if control["pid"] == process.pid:
                return int(control["url"].rpartition(":")[2])
        time.sleep(0.005)
    raise TimeoutError(f"no {control_file} within a minute")
