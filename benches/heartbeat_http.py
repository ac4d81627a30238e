"""What the gateway costs per request: one heartbeat over HTTP, three servers side by side.

- `gateway`: the route table, host check, policy, decoding, answer of `tekton.gateway`, on embedded Granian;
- `bare`: a Granian RSGI application that decodes the same body, encodes the same answer and checks nothing;
- `fastapi`: the same operation in FastAPI on uvicorn.

Each server is a process of its own with uvloop. The load comes from this process over keep-alive connections on
the loopback interface, one request at a time on each, in rounds that take turns between the servers. What counts
is the CPU time of the server process per request, in the round that was disturbed least; the medians and the
throughput are shown beside it.

    python benches/heartbeat_http.py [--rounds 15] [--requests 4000] [--connections 16]

Exits with 1 when a gate is missed.
"""

import argparse
import asyncio
import importlib.util
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil
import uvloop

from tekton.clock import SYSTEM_CLOCK

PATH = "/api/components/rhetor/heartbeat"
BODY = (
    b'{"instance_uuid":"7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11","timestamp":1786000000.5,'
    b'"metrics":{"requests_per_second":12.5,"memory_gib":1.25}}'
)
GATES = (("bare", 0.8), ("fastapi", 3.5))
"""CPU per request of the peer divided by that of the gateway must be at least this."""


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/components/{id}/heartbeat`."""

    instance_uuid: str
    state: str | None = None
    metrics: dict[str, float] = {}
    timestamp: float | None = None


class Reply(msgspec.Struct):
    """Its answer."""

    known: bool
    state: str | None
    next_interval: float


async def serve_gateway() -> None:
    from tekton.gateway.app import Gateway, Request, Route
    from tekton.gateway.server import GatewayServer

    async def heartbeat(request: Request) -> Reply:
        return Reply(bool(request.params["component_id"] and request.body.instance_uuid), "ready", 10.0)

    async def health(_: Request) -> dict[str, str]:
        return {"status": "ok"}

    routes = [
        Route("GET", "/api/health", health, "Liveness"),
        Route("GET", "/api/components/{component_id}", health, "One component", "components:read"),
        Route(
            "POST",
            "/api/components/{component_id}/heartbeat",
            heartbeat,
            "A heartbeat",
            "components:heartbeat",
            body=Beat,
            response=Reply,
        ),
    ]
    server = GatewayServer(Gateway(routes), "127.0.0.1", 0)
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


async def serve_bare() -> None:
    from granian.constants import HTTPModes
    from granian.log import LogLevels
    from granian.server.embed import Server

    decode = msgspec.json.Decoder(Beat).decode
    encode = msgspec.json.Encoder().encode
    headers = [("content-type", "application/json")]

    async def application(_: Any, proto: Any) -> None:
        beat = decode(await proto())
        proto.response_bytes(200, headers, encode(Reply(bool(beat.instance_uuid), "ready", 10.0)))

    port = _free_port()
    print(port, flush=True)
    await Server(application, port=port, http=HTTPModes.http1, backlog=1024, log_level=LogLevels.critical).serve()


async def serve_fastapi() -> None:
    import fastapi
    import pydantic
    import uvicorn

    class BeatModel(pydantic.BaseModel, extra="forbid"):
        instance_uuid: str
        state: str | None = None
        metrics: dict[str, float] = {}
        timestamp: float | None = None

    class ReplyModel(pydantic.BaseModel):
        known: bool
        state: str | None
        next_interval: float

    application = fastapi.FastAPI()

    @application.post("/api/components/{component_id}/heartbeat")
    async def heartbeat(component_id: str, beat: BeatModel) -> ReplyModel:
        return ReplyModel(known=bool(component_id and beat.instance_uuid), state="ready", next_interval=10.0)

    port = _free_port()
    print(port, flush=True)
    await uvicorn.Server(uvicorn.Config(application, port=port, log_level="critical", access_log=False)).serve()


SERVERS = {"bare": serve_bare, "gateway": serve_gateway, "fastapi": serve_fastapi}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server and what was measured of it, per round."""

    name: str
    port: int
    process: psutil.Process
    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """CPU seconds that the process has used; exact on Linux, in steps of 10 ms elsewhere."""
        threads = Path(f"/proc/{self.process.pid}/task")
        if threads.exists():
            return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def running(name: str) -> Iterator[Server]:
    """The server *name* in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(name, int(process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


class Client(asyncio.Protocol):
    """One keep-alive connection with one request under way. Answers of a server all have the same length."""

    def __init__(self, request: bytes, count: int) -> None:
        self._request = request
        self._left = count
        self._length = 0
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._length:
            self._length = _length(self._received)
        if self._length and len(self._received) >= self._length:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed by the server"))

    def _next(self) -> None:
        if not self._received.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(ValueError(self._received.decode()))
            return
        self._received = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self.done.set_result(None)
            self._transport.close()


def _length(received: bytes) -> int:
    """The length of the answer that begins with *received*; 0 while its head is not complete."""
    head, end, _ = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return len(head) + 4 + int(found[1]) if end and found else 0


async def load(server: Server, requests: int, connections: int) -> None:
    """Send *requests* to *server* and note what they cost."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Accept: */*\r\nUser-Agent: bench\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    each = requests // connections
    cpu, started = server.cpu(), SYSTEM_CLOCK.monotonic()
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(request, each), "127.0.0.1", server.port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    server.rate.append(each * connections / (SYSTEM_CLOCK.monotonic() - started))
    server.cpu_us.append((server.cpu() - cpu) / (each * connections) * 1e6)


async def until_ready(server: Server) -> None:
    """Wait until *server* accepts connections, and warm it up."""
    async with asyncio.timeout(20):
        while True:
            try:
                await load(server, 1000, 4)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
    server.cpu_us.clear()
    server.rate.clear()


async def measure(servers: Sequence[Server], arguments: argparse.Namespace) -> None:
    for server in servers:
        await until_ready(server)
    for _ in range(arguments.rounds):
        for server in servers:
            await load(server, arguments.requests, arguments.connections)


def report(servers: Sequence[Server]) -> bool:
    """Print what was measured; True when every gate holds."""
    print(f"{'server':10} {'CPU us/request':>15} {'median':>8} {'requests/s':>12}   (fastapi on {_parser()})")
    cost = {server.name: min(server.cpu_us) for server in servers}
    for server in servers:
        median, rate = statistics.median(server.cpu_us), statistics.median(server.rate)
        print(f"{server.name:10} {cost[server.name]:15.1f} {median:8.1f} {rate:12.0f}")
    held = True
    for peer, gate in GATES:
        ratio = cost[peer] / cost["gateway"]
        held = held and ratio >= gate
        print(f"CPU {peer} / gateway: {ratio:.2f} (gate {gate}) {'ok' if ratio >= gate else 'MISSED'}")
    return held


def _parser() -> str:
    return "uvicorn with httptools" if importlib.util.find_spec("httptools") else "uvicorn with h11"


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU per heartbeat request: gateway, bare Granian, FastAPI")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(SERVERS[arguments.serve]())
        return 0
    with ExitStack() as stack:
        servers = [stack.enter_context(running(name)) for name in SERVERS]
        uvloop.run(measure(servers, arguments))
    return 0 if report(servers) else 1


if __name__ == "__main__":
    sys.exit(main())
