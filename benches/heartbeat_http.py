"""What the gateway costs per request: one heartbeat over HTTP, three servers side by side.

- `gateway`: the route table, host check, policy, decoding, answer of `tekton.gateway`, on embedded Granian;
- `bare`: a Granian RSGI application that decodes the same body, encodes the same answer and checks nothing;
- `fastapi`: the same operation in FastAPI on uvicorn.

Each server is a process of its own with uvloop. The load comes from this process over keep-alive connections on
the loopback interface, one request at a time on each, in rounds that take turns between the servers. What counts
is the CPU time of the server process per request; the throughput is shown beside it.

    python benches/heartbeat_http.py [--rounds 15] [--requests 4000] [--connections 16]
"""

import argparse
import asyncio
import importlib.util
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import msgspec
import uvloop

from _http import cpu_seconds, request, send
from _measure import gate, parser, section, verdict

PATH = "/api/components/rhetor/heartbeat"
BODY = (
    b'{"instance_uuid":"7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11","timestamp":1786000000.5,'
    b'"metrics":{"requests_per_second":12.5,"memory_gib":1.25}}'
)
GATES = {"bare": 0.8, "fastapi": 3.5}
"""CPU per request of the peer divided by that of the gateway must be at least this, in the middle of the rounds."""


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
    from tekton.gateway.admission import Admission, Limits
    from tekton.gateway.app import Gateway, Request, Route
    from tekton.gateway.server import GatewayServer

    async def heartbeat(call: Request) -> Reply:
        return Reply(bool(call.params["component_id"] and call.body.instance_uuid), "ready", 10.0)

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
            unique_keys=False,
            repeats="harmless",
            attributed=False,
            response=Reply,
            vital=True,
        ),
    ]
    server = GatewayServer(Gateway(routes, admission=Admission(Limits())), "127.0.0.1", 0)
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
    pid: int
    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


@contextmanager
def running(name: str) -> Iterator[Server]:
    """The server *name* in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(name, int(process.stdout.readline()), process.pid)
    finally:
        process.terminate()
        process.wait()


async def load(server: Server, requests: int, connections: int) -> None:
    """Send *requests* to *server* and note what they cost."""
    each = requests // connections
    beat = request(server.port, "POST", PATH, BODY)
    cpu, started = cpu_seconds(server.pid), time.perf_counter()
    await send(server.port, [repeat(beat, each) for _ in range(connections)])
    server.rate.append(each * connections / (time.perf_counter() - started))
    server.cpu_us.append((cpu_seconds(server.pid) - cpu) / (each * connections) * 1e6)


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
    shuffle = random.Random(0).shuffle
    order = list(servers)
    for server in servers:
        await until_ready(server)
    for _ in range(arguments.rounds):
        shuffle(order)
        for server in order:
            await load(server, arguments.requests, arguments.connections)


def report(servers: Sequence[Server]) -> None:
    section(f"one heartbeat over HTTP (FastAPI on {_parser()})")
    ours = next(server for server in servers if server.name == "gateway")
    for server in servers:
        gate(
            f"CPU, {server.name}",
            statistics.median(server.cpu_us),
            unit="us",
            better="lower",
            spread=(min(server.cpu_us), max(server.cpu_us)),
            detail=f"{statistics.median(server.rate):,.0f} requests/s",
        )
    for server in servers:
        if server is not ours:
            ratios = sorted(peer / mine for peer, mine in zip(server.cpu_us, ours.cpu_us))
            gate(
                "CPU, gateway",
                statistics.median(ratios),
                GATES[server.name],
                against=server.name,
                spread=(ratios[0], ratios[-1]),
            )


def _parser() -> str:
    return "uvicorn with httptools" if importlib.util.find_spec("httptools") else "uvicorn with h11"


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--requests", type=int, default=4000)
    arguments.add_argument("--connections", type=int, default=16)
    arguments.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        uvloop.run(SERVERS[options.serve]())
        return 0
    with ExitStack() as stack:
        servers = [stack.enter_context(running(name)) for name in SERVERS]
        uvloop.run(measure(servers, options))
    report(servers)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
