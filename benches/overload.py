"""What is left of a server that is asked for three times what it can do: goodput, and what becomes of heartbeats.

Two servers with the same handlers: `gateway` sheds load (`tekton.gateway.load`), `bare` is a Granian RSGI application
that takes whatever comes. Of the requests seven tenths are lists of 1,000 components, a tenth changes something, two
tenths are heartbeats. The peak is what a server does for 32 clients that wait for their answers. Then, in an open loop
from this process, three times as many requests a second are due, answered or not: each goes to an idle connection or a
new one, of at most 900, and is given up a second after it was due. Goodput counts what was answered with 2xx in time.

    python benches/overload.py [--seconds 8] [--settle 4] [--times 3]
"""

import argparse
import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import msgspec
import uvloop

from _http import request
from _measure import gate, parser, section, verdict

GATE = 0.8
"""Goodput at three times saturation, divided by the peak, must be at least this."""

PATIENCE = 1.0
CONNECTIONS = 900
_TICK = 0.002
_BODY = b'{"instance_uuid":"7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11"}'
_KINDS = ("list",) * 7 + ("change",) + ("heartbeat",) * 2
_PATHS = {
    "list": ("GET", "/api/components"),
    "change": ("POST", "/api/change"),
    "heartbeat": ("POST", "/api/heartbeat"),
}


class Item(msgspec.Struct, frozen=True):
    """One of a list."""

    component_id: str
    state: str
    capabilities: tuple[str, ...]
    metadata: dict[str, str]


class Beat(msgspec.Struct, frozen=True):
    """What is sent."""

    instance_uuid: str


ITEMS = [Item(f"component-{number}", "ready", ("a", "b", "c"), {"zone": "x", "rack": "y"}) for number in range(1000)]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Beat).decode


def listed() -> bytes:
    """The work of a list: ten times what encoding takes, as where each record is looked at. Two milliseconds or so."""
    return max(_encode(ITEMS) for _ in range(10))


def changed() -> bytes:
    """The work of a change."""
    return _encode(ITEMS[:100])


async def serve_gateway() -> None:
    from tekton.gateway.admission import Admission, Limits
    from tekton.gateway.app import Gateway, Request, Route
    from tekton.gateway.server import GatewayServer

    async def components(_: Request) -> bytes:
        return listed()

    async def change(_: Request) -> bytes:
        return changed()

    async def heartbeat(_: Request) -> bytes:
        return b"{}"

    routes = [
        Route("GET", "/api/components", components, "All of them", "components:read"),
        Route("POST", "/api/change", change, "A change", "components:register", body=Beat),
        Route(
            "POST",
            "/api/heartbeat",
            heartbeat,
            "A heartbeat",
            "components:heartbeat",
            body=Beat,
            unique_keys=False,
            vital=True,
        ),
    ]
    server = GatewayServer(Gateway(routes, admission=Admission(Limits(requests=1024))), "127.0.0.1", 0)
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


async def serve_bare() -> None:
    import socket

    from granian.constants import HTTPModes
    from granian.log import LogLevels
    from granian.server.embed import Server

    headers = [("content-type", "application/json")]

    async def application(scope: Any, proto: Any) -> None:
        path = scope.path
        if path != "/api/components":
            _decode(await proto())
        body = listed() if path == "/api/components" else changed() if path == "/api/change" else b"{}"
        proto.response_bytes(200, headers, body)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    print(port, flush=True)
    await Server(application, port=port, http=HTTPModes.http1, backlog=1024, log_level=LogLevels.critical).serve()


SERVERS = {"gateway": serve_gateway, "bare": serve_bare}


@contextmanager
def running(name: str) -> Iterator[int]:
    """The port of the server *name*, in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


class Outcome(NamedTuple):
    """What came of a request: `good`, `shed` (503), `late` or `lost`, and *seconds* after it was due."""

    kind: str
    due: float
    what: str
    seconds: float


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = bytearray()
        self._length = 0
        self._asked: tuple[str, float] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, kind: str, due: float) -> None:
        """Send a request that was due at *due*."""
        self._asked = kind, due
        self._received.clear()
        self._length = 0
        self._transport.write(self._load.requests[kind])
        self._alarm = self._load.loop.call_at(due + PATIENCE, self._give_up)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._length and (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            self._length = end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        if self._length and len(self._received) >= self._length:
            self._end("good" if self._received.startswith(b"HTTP/1.1 20") else "shed")
            self._load.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._end("lost")
        self._load.closed(self)

    def _give_up(self) -> None:
        self._end("late")
        self._transport.abort()

    def _end(self, what: str) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            if self._alarm is not None:
                self._alarm.cancel()
            self._load.note(*asked, what)


class Load:
    """What is asked of the server at *port*, and what comes of it."""

    def __init__(self, port: int, connections: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.requests = {
            kind: request(port, method, path, None if method == "GET" else _BODY)
            for kind, (method, path) in _PATHS.items()
        }
        self.outcomes: list[Outcome] = []
        self._port = port
        self._connections = connections
        self._open = 0
        self._idle: dict[Connection, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fire(self, kind: str, due: float) -> None:
        """A request is due: send it on an idle connection or a new one. Without either it is lost."""
        if self._idle:
            self._idle.popitem()[0].ask(kind, due)
        elif self._open < self._connections:
            self._open += 1
            task = self.loop.create_task(self._connect(kind, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.note(kind, due, "lost")

    def free(self, connection: Connection) -> None:
        self._idle[connection] = None

    def closed(self, connection: Connection) -> None:
        self._open -= 1
        self._idle.pop(connection, None)

    def note(self, kind: str, due: float, what: str) -> None:
        self.outcomes.append(Outcome(kind, due, what, self.loop.time() - due))

    async def _connect(self, kind: str, due: float) -> None:
        try:
            _, connection = await self.loop.create_connection(partial(Connection, self), "127.0.0.1", self._port)
        except OSError:
            self._open -= 1
            self.note(kind, due, "lost")
        else:
            connection.ask(kind, due)


async def open_loop(port: int, rate: float, seconds: float) -> tuple[float, list[Outcome]]:
    """When it began, and what came of *rate* requests a second. Who has a request left then has given it up."""
    load = Load(port, CONNECTIONS)
    started = load.loop.time()
    for number, kind in enumerate(random.Random(1).choices(_KINDS, k=int(rate * seconds))):
        due = started + number / rate
        while due > load.loop.time():  # noqa: ASYNC110 - it is the time that comes
            await asyncio.sleep(_TICK)
        load.fire(kind, due)
    await asyncio.sleep(PATIENCE)
    return started, load.outcomes


async def peak(port: int, seconds: float) -> float:
    """Answers a second to 32 clients that wait for each before they ask again."""
    load = Load(port, 32)
    kinds = random.Random(2).choices(_KINDS, k=100_000)
    ended = load.loop.time() + seconds
    asked = 0
    while load.loop.time() < ended:
        while asked - len(load.outcomes) < 32:
            load.fire(kinds[asked], load.loop.time())
            asked += 1
        await asyncio.sleep(_TICK)
    return sum(one.what == "good" for one in load.outcomes) / seconds


async def measure(port: int, options: argparse.Namespace) -> tuple[float, list[Outcome]]:
    """The peak, and what came of the requests that were due when the server had settled."""
    await peak(port, 1.0)
    most = await peak(port, 3.0)
    started, outcomes = await open_loop(port, most * options.times, options.settle + options.seconds)
    return most, [one for one in outcomes if one.due >= started + options.settle]


def report(name: str, most: float, outcomes: list[Outcome], options: argparse.Namespace) -> None:
    good = [one for one in outcomes if one.what == "good"]
    beats = [one for one in outcomes if one.kind == "heartbeat"]
    times = sorted(one.seconds for one in beats if one.what == "good")
    ours = name == "gateway"
    counts = Counter(one.what for one in outcomes)
    gate(f"peak, {name}", most, unit="/s")
    gate(
        f"goodput, {name}, of its peak",
        len(good) / options.seconds / most,
        GATE if ours else None,
        detail=", ".join(f"{what} {count:,}" for what, count in sorted(counts.items())),
    )
    lists = sum(one.kind == "list" for one in good) / options.seconds
    gate(f"lists, {name}, of those at its peak", lists / most / (_KINDS.count("list") / len(_KINDS)))
    gate(f"heartbeats answered in time, {name}", 100 * len(times) / max(len(beats), 1), unit="%")
    gate(
        f"heartbeats refused, {name}",
        sum(one.what == "shed" for one in beats),
        0 if ours else None,
        unit="requests",
        better="lower",
    )
    if times:
        gate(f"a heartbeat that is answered, 99th percentile, {name}", 1000 * times[int(len(times) * 0.99)], unit="ms")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=8.0)
    arguments.add_argument("--settle", type=float, default=4.0)
    arguments.add_argument("--times", type=float, default=3.0)
    arguments.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        uvloop.run(SERVERS[options.serve]())
        return 0
    section(f"{options.times:g} times what the server can do")
    for name in SERVERS:
        with running(name) as port:
            report(name, *uvloop.run(measure(port, options)), options)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
