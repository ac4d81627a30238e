"""The bus through the port: one WebSocket in, one out; many out, of which one does not read.

    python benches/bus_socket.py [--rounds 21] [--messages 3000] [--clients 50]

The servers are processes of their own with uvloop, and alike but for what they do with a frame: the bus decodes, checks
and publishes it, and frames it anew for who listens; a bare RSGI application on the same Granian sends it on as it is.
The load comes from this process, in rounds that take turns. The client is as cheap as one can be: it sends bytes that
were made before (frames are masked with zeros), and counts the frames that it gets. At most 600 messages are under way.

The fan-out sends 200 events a second to clients that all listen to one subject; one of them reads nothing at all, and
has been sent as much before as the sockets take. What counts is the time from the send to each of the others, beside
rounds in which everybody reads, and what memory the server has gained meanwhile.
"""

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import psutil
import uvloop

from _measure import gate, parser, section, verdict
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

WINDOW = 600
RATE = 200
SUBJECT = "news.bench"
_TEXT, _BINARY = 1, 2


def message(size: int) -> Message:
    """One of *size* bytes as JSON."""
    context = MessageContext("owner", trace_id="t")
    one = Message("event", "", context)
    return Message("event", "x" * (size - len(one.to_json())), context)


class BareRelay:
    """Sends the frames of `/in` on to who is at `/ws`, as they are."""

    draining = False

    def __init__(self) -> None:
        self._out: Any = None

    async def drain(self) -> None:
        """There is nothing to wait for."""

    def __rsgi__(self, scope: Any, proto: Any) -> Any:
        return self._serve(scope, proto)

    async def _serve(self, scope: Any, proto: Any) -> None:
        transport = await proto.accept()
        with contextlib.suppress(RuntimeError):
            if scope.path == "/ws":
                self._out = transport
                await transport.receive()
                return
            out = self._out
            while (received := await transport.receive()).kind:
                await out.send_str(received.data)


def bus_gateway() -> Any:
    """The gateway of a control plane, with nothing but its bus, open to the owner."""
    from tekton.auth.principal import owner
    from tekton.bus.live import LiveBus
    from tekton.bus.local_bus import LocalBus
    from tekton.clock import SYSTEM_CLOCK
    from tekton.gateway.app import Gateway
    from tekton.gateway.auth import AccessPolicy
    from tekton.gateway.bus.port import BusPort
    from tekton.gateway.sockets import TopicSocket
    from tekton.gateway.topics import TopicTable

    live = LiveBus(SYSTEM_CLOCK)
    port = BusPort(LocalBus(SYSTEM_CLOCK, None, live), lambda _: None, lambda: live.sequence, live.answered)
    policy = AccessPolicy(lambda _: owner("credential"))
    return Gateway([], policy=policy, websocket=TopicSocket(TopicTable({}), None, port))


async def serve(which: str) -> None:
    from tekton.gateway.server import GatewayServer

    server = GatewayServer(cast(Any, BareRelay()) if which == "bare" else bus_gateway(), "127.0.0.1", 0)
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


@contextmanager
def server(which: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and its process."""
    command = [sys.executable, __file__, "--serve", which]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


def frame(payload: bytes, kind: int = _TEXT) -> bytes:
    """A frame as a client sends it, masked with zeros."""
    size = len(payload)
    head = bytes([0x80 | kind])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


class Client(asyncio.Protocol):
    """One WebSocket, which counts what it gets; *heard* is called with each frame."""

    def __init__(self, port: int, path: str, heard: Callable[[bytes], int] = lambda _: 1) -> None:
        loop = asyncio.get_running_loop()
        self.count = 0
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self._heard = heard
        self._rest = b""
        self._open: asyncio.Future[None] = loop.create_future()
        self._wanted = 0
        self._reached: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def connect(cls, port: int, path: str = "/ws", heard: Callable[[bytes], int] = lambda _: 1) -> "Client":
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(port, path, heard), "127.0.0.1", port)
        await client._open
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request.encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self._reached.done():
            self._reached.set_exception(error or ConnectionError("the server has closed the socket"))
            self._reached.exception()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        start = 0
        if not self._open.done():
            start = data.find(b"\r\n\r\n") + 4
            assert b" 101 " in data[:20], data
            self._open.set_result(None)
        while (found := _frame_at(data, start)) is not None:
            begin, start = found
            self.count += self._heard(data[begin:start])
        self._rest = data[start:]
        if self._wanted and self.count >= self._wanted:
            self._wanted = 0
            self._reached.set_result(None)

    async def reach(self, count: int) -> None:
        """Return when it has got *count* frames in all."""
        if self.count < count:
            self._reached = asyncio.get_running_loop().create_future()
            self._wanted = count
            await self._reached

    async def listen(self, *, batch: bool = False) -> None:
        """Subscribe, and wait until that stands."""
        wanted = self.count + 1
        batched = ',"batch":true' if batch else ""
        self.transport.write(frame(f'{{"op":"sub","id":1,"subject":"{SUBJECT}"{batched}}}'.encode()))
        await self.reach(wanted)


def _frame_at(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the payload of a whole frame begins and ends."""
    if len(data) < start + 2:
        return None
    size, begin = data[start + 1] & 127, start + 2
    if size > 125:
        length = 2 if size == 126 else 8
        size, begin = int.from_bytes(data[begin : begin + length], "big"), begin + length
    return (begin, begin + size) if begin + size <= len(data) else None


async def relayed(
    port: int, which: str, sent: bytes, count: int, *, each: int = 1, heard: Callable[[bytes], int] = lambda _: 1
) -> float:
    """Messages a second from one socket to another; *sent* is a frame with *each* messages."""
    out = await Client.connect(port, "/ws", heard)
    into = await Client.connect(port, "/in" if which == "bare" else "/ws")
    if which != "bare":
        await out.listen(batch=each > 1)
    first = out.count
    began = time.perf_counter()
    under_way, done = 0, 0
    while done < count:
        at_once = max(1, min(WINDOW - under_way, count - done) // each)
        into.transport.write(sent * at_once)
        done += at_once * each
        await out.reach(first + max(0, done - WINDOW // 2))
        under_way = done - (out.count - first)
    await out.reach(first + done)
    seconds = time.perf_counter() - began
    out.transport.close()
    into.transport.close()
    return done / seconds


async def compared(bare: int, bus: int, options: argparse.Namespace) -> None:
    one = message(256)
    operation = frame(b'{"op":"pub","subject":"%b","message":%b}' % (SUBJECT.encode(), one.to_json()))
    sent = {"bare": (bare, frame(one.to_json())), "bus": (bus, operation)}
    rates: dict[str, list[float]] = {which: [] for which in sent}
    for _ in range(options.rounds):
        for which, (port, payload) in sent.items():
            rates[which].append(await relayed(port, which, payload, options.messages))
    ratios = [mine / theirs for mine, theirs in zip(rates["bus"], rates["bare"], strict=True)]
    section("one WebSocket in and one out, 256 B")
    gate(
        "single messages",
        statistics.median(ratios),
        0.7,
        against="bare RSGI relay",
        spread=(min(ratios), max(ratios)),
        detail=f"{statistics.median(rates['bus']):,.0f} / {statistics.median(rates['bare']):,.0f} a second",
    )


async def batched(bus: int, options: argparse.Namespace) -> None:
    each = 65_000 // (256 + len(SUBJECT) + 40)
    sent = frame(Envelope.pack(0, [Envelope(SUBJECT, message(256)) for _ in range(each)]), _BINARY)

    def heard(payload: bytes) -> int:
        return int.from_bytes(payload[12:16], "little") if payload.startswith(b"TKB") else 1

    count = each * max(1, options.messages * 4 // each)
    rates = [await relayed(bus, "bus", sent, count, each=each, heard=heard) for _ in range(options.rounds)]
    gate("batches of 64 KiB", statistics.median(rates), 50_000, unit="/s", spread=(min(rates), max(rates)))


class FanOut:
    """One who publishes, and many who listen; *deaf* of them read nothing."""

    def __init__(self, bus: int) -> None:
        self._bus = bus
        self._clients: list[Client] = []
        self._deaf: list[Client] = []
        self._content = "x" * 2000
        self._context = MessageContext("owner", trace_id="t")
        self._sent = 0
        self._sent_at: dict[int, float] = {}
        self.waits: list[float] = []
        """Seconds from the sending of a message to each of the clients that read, without the first ones."""

    async def connect(self, clients: int, deaf: int) -> None:
        self._clients = [await Client.connect(self._bus, "/ws", self._heard) for _ in range(clients)]
        for client in self._clients:
            await client.listen()
        self._deaf = [self._clients.pop() for _ in range(deaf)]
        for client in self._deaf:
            client.transport.pause_reading()
        self._into = await Client.connect(self._bus)

    async def fill(self, count: int) -> None:
        """Send *count*, as fast as they are read."""
        for number in range(count):
            self._send()
            if number % 50 == 0:
                await self._all_read()
        await self._all_read()

    async def pace(self, count: int, look: Callable[[], None]) -> None:
        """Send *count*, RATE a second, and measure; *look* is called after each."""
        began = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(began + number / RATE - time.perf_counter())
            self._sent_at[self._sent] = time.perf_counter()
            self._send()
            look()
        await self._all_read()

    def close(self) -> None:
        for client in (*self._clients, *self._deaf, self._into):
            client.transport.abort()

    async def _all_read(self) -> None:
        for client in self._clients:
            await client.reach(1 + self._sent)

    def _send(self) -> None:
        one = Message("event", f"{self._sent:08}{self._content}", self._context)
        operation = b'{"op":"pub","subject":"%b","message":%b}' % (SUBJECT.encode(), one.to_json())
        self._into.transport.write(frame(operation))
        self._sent += 1

    def _heard(self, payload: bytes) -> int:
        place = payload.find(b'"content":"')
        if place >= 0:
            sent_at = self._sent_at.get(int(payload[place + 11 :][:8]))
            if sent_at is not None:
                self.waits.append(time.perf_counter() - sent_at)
        return 1


async def fanned_out(bus: int, pid: int, options: argparse.Namespace) -> None:
    process = psutil.Process(pid)
    before, most = process.memory_info().rss, 0

    def look() -> None:
        nonlocal most
        most = max(most, process.memory_info().rss)

    middle: list[float] = []
    p99: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(options.stalls):
        for deaf, slowest in p99.items():
            fan_out = FanOut(bus)
            await fan_out.connect(options.clients, deaf)
            # As much as the sockets take of what nobody reads, so that it stands still all the while.
            await fan_out.fill(3000)
            await fan_out.pace(options.seconds * RATE, look)
            fan_out.close()
            waits = sorted(fan_out.waits)
            slowest.append(waits[len(waits) * 99 // 100] * 1e3)
            if deaf:
                middle.append(statistics.median(waits) * 1e3)
    ratios = [beside / without for without, beside in zip(*p99.values(), strict=True)]
    without, beside = map(statistics.median, p99.values())
    section(f"{RATE} events of 2 KB a second to {options.clients} clients, one of which reads nothing")
    gate("the others, middle", statistics.median(middle), unit="ms", better="lower")
    gate("the others, p99", beside, 50, unit="ms", better="lower", spread=(min(p99[1]), max(p99[1])))
    gate(
        "the others, p99, beside it / when all read",
        statistics.median(ratios),
        1.1,
        better="lower",
        spread=(min(ratios), max(ratios)),
        detail=f"{beside:.3g} ms / {without:.3g} ms",
    )
    gate("memory gained", (most - before) / 2**20, 32, unit="MiB", better="lower")


async def run(options: argparse.Namespace) -> None:
    with server("bare") as (bare, _), server("bus") as (bus, pid):
        await compared(bare, bus, options)
        await batched(bus, options)
        await fanned_out(bus, pid, options)


def main() -> None:
    options_ = parser(__doc__)
    options_.add_argument("--serve", help=argparse.SUPPRESS)
    options_.add_argument("--rounds", type=int, default=21)
    options_.add_argument("--messages", type=int, default=3000)
    options_.add_argument("--clients", type=int, default=50)
    options_.add_argument("--seconds", type=int, default=4)
    options_.add_argument("--stalls", type=int, default=11)
    options = options_.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return
    uvloop.run(run(options))
    sys.exit(verdict())


if __name__ == "__main__":
    main()
