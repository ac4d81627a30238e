"""What a registration over HTTP takes beside a flood of messages to a stream, on the same port.

    python benches/flood.py [--seconds 2] [--rounds 5] [--publishers 8] [--directory DIR]

A control plane in a process of its own. The flood comes from another process: sockets that publish messages of 4 KB to
one stream, one by one (frames of one message, at most 32 on their way) or in batches of 64 KiB (at most four), each
waiting for its receipts. Registrations come from this one, on one connection: one after the other, and, to look at,
one now and then (20 ms after the answer to the one before). Rounds without and with the flood take turns; what counts
is the ratio of the two of one round.

So three processes want a processor, and the control plane has three threads that do: on two cores the flood takes
from the control plane what it needs itself. What that does to a registration, and the disk that both write to, is seen
in each round too: the same flood goes to a second control plane, with its data in the same directory. What a
registration takes beside its own flood, over what it takes beside that one, is what it costs to be in one process.

While somebody registers, the registry goes first, and the flood is slower (`tekton.core.precedence`): how much is
stored beside registrations, beside those that come now and then, and without any, is in the table.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

from _http import Client, ControlPlane, connect, control_plane, request
from _measure import gate, parser, section, verdict
from bus_socket import frame
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

BODY = b'{"component_id":"component-%d","component_name":"A component","capabilities":["text_generation"]}'
STREAM = b'{"subjects":["orders.>"],"max_bytes":268435456}'
SUBJECT = "orders.new"
CONTEXT = MessageContext("owner", trace_id="t")
TEXT = "x" * (4096 - 200)
BATCH = 15
"""Messages of 4 KB in 64 KiB."""
WINDOWS = {"single": 32, "batches": 4}
"""Frames that a socket has on their way."""
PAUSE = 0.02
"""Seconds between the answer to a registration and the next one, of those that come now and then."""
_BINARY = 2


class Latency(NamedTuple):
    """Milliseconds that registrations took."""

    middle: float
    slow: float
    """99 of 100 took no longer."""


class Publisher(asyncio.Protocol):
    """A WebSocket that publishes without end, *window* frames at a time."""

    def __init__(self, head: bytes, frames: Iterator[bytes], window: int) -> None:
        self._head = head
        self._frames = frames
        self._window = window
        self._rest = b""
        self.answered = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if self.answered < 0:
            start = data.index(b"\r\n\r\n") + 4
            assert b" 101 " in data[:20], data
            data, self.answered = data[start:], 0
            self._publish(self._window)
        # Receipts have an id each, and nothing else that is sent has one.
        cut = data.rfind(b"{") if not data.endswith(b"}") else len(data)
        self._rest = data[cut:]
        assert b'"t":"error"' not in data, data
        if receipts := data.count(b'"t":"published"', 0, cut):
            self.answered += receipts
            self._publish(receipts)

    def _publish(self, number: int) -> None:
        self._transport.write(b"".join(next(self._frames) for _ in range(number)))


def single() -> Iterator[bytes]:
    """Frames of one message each."""
    while True:
        one = Message("event", TEXT, CONTEXT).to_json()
        yield frame(b'{"op":"pub","id":1,"subject":"%b","message":%b}' % (SUBJECT.encode(), one))


def batches() -> Iterator[bytes]:
    """Frames of 15 messages each."""
    while True:
        envelopes = [Envelope(SUBJECT, Message("event", TEXT, CONTEXT)) for _ in range(BATCH)]
        yield frame(Envelope.pack(1, envelopes), _BINARY)


async def flood(which: str, port: int, publishers: int) -> None:
    """Publish; between the second line of the input and the third, count the messages that are stored a second.

    The first line is the credential.
    """
    loop = asyncio.get_running_loop()
    credential = sys.stdin.readline().strip()
    head = request(
        port, "GET", "/ws", None,
        f"Authorization: Bearer {credential}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    made = {"single": single, "batches": batches}[which]
    sockets: list[Publisher] = []
    for _ in range(publishers):
        new = Publisher(head, made(), WINDOWS[which])
        await loop.create_connection(lambda new=new: new, "127.0.0.1", port)  # type: ignore[misc]
        sockets.append(new)
    await loop.run_in_executor(None, sys.stdin.readline)
    began, before = time.perf_counter(), sum(each.answered for each in sockets)
    print("flooding", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    frames = sum(each.answered for each in sockets) - before
    each = BATCH if which == "batches" else 1
    print(frames * each / (time.perf_counter() - began), flush=True)


@contextmanager
def flooded(plane: ControlPlane, which: str, options: argparse.Namespace, rates: list[float]) -> Iterator[None]:
    """A flood beside the body; its rate goes to *rates*."""
    command = [sys.executable, __file__, "--flood", which, str(plane.port), str(options.publishers)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def say(line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()

    try:
        say((plane.data_dir / "run" / "credential").read_text().strip())
        time.sleep(1.0)  # it has begun by then
        say("count")
        process.stdout.readline()
        yield
        say("tell")
        rates.append(float(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


class Registrant(Client):
    """Registers without end, *pause* seconds after each answer."""

    def __init__(self, requests: Iterator[bytes], pause: float) -> None:
        super().__init__(requests)
        self._pause = pause

    def _next(self) -> None:
        if self._pause and self.times:
            asyncio.get_running_loop().call_later(self._pause, self._register)
        else:
            super()._next()

    def _register(self) -> None:
        if not self.done.done():
            super()._next()


def registering(plane: ControlPlane, numbers: "count[int]", seconds: float, pause: float = 0.0) -> Latency:
    """Register for so long; how long that took."""

    async def register() -> list[float]:
        loop = asyncio.get_running_loop()
        new = (request(plane.port, "POST", "/api/components", BODY % number) for number in numbers)
        _, client = await loop.create_connection(lambda: Registrant(new, pause), "127.0.0.1", plane.port)
        await asyncio.sleep(seconds)
        client.stop()
        return client.times

    times = sorted(uvloop.run(register()))
    return Latency(times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3)


async def create(plane: ControlPlane) -> None:
    credential = (plane.data_dir / "run" / "credential").read_text().strip()
    put = request(plane.port, "PUT", "/api/streams/orders", STREAM, f"Authorization: Bearer {credential}")
    for client in await connect(plane.port, [iter([put])]):
        await client.done


def measure(plane: ControlPlane, other: ControlPlane, options: argparse.Namespace) -> None:
    for each in (plane, other):
        uvloop.run(create(each))
    numbers = count()
    registering(plane, numbers, options.seconds)
    for which, title in (("single", "one by one"), ("batches", "in batches of 64 KiB")):
        section(f"a registration beside {options.publishers} sockets that publish 4 KB, {title}")
        Rounds(plane, other, which, options).run(numbers)


class Rounds:
    """Rounds without a flood, beside it, and beside the same one that goes to the *other* control plane."""

    def __init__(self, plane: ControlPlane, other: ControlPlane, which: str, options: argparse.Namespace) -> None:
        self._plane = plane
        self._other = other
        self._which = which
        self._options = options
        self._quiet: list[Latency] = []
        self._loud: list[Latency] = []
        self._apart: list[Latency] = []
        self._rare: list[Latency] = []
        self._rare_loud: list[Latency] = []
        self._stored: dict[str, list[float]] = {"": [], " beside one every 20 ms": [], " without registrations": []}

    def run(self, numbers: "count[int]") -> None:
        for _ in range(self._options.rounds):
            self._round(numbers)
        self._report()

    def _round(self, numbers: "count[int]") -> None:
        plane, which, options, seconds = self._plane, self._which, self._options, self._options.seconds
        steady, now_and_then, none = self._stored.values()
        self._quiet.append(registering(plane, numbers, seconds))
        with flooded(plane, which, options, steady):
            self._loud.append(registering(plane, numbers, seconds))
        with flooded(self._other, which, options, []):
            self._apart.append(registering(plane, numbers, seconds))
        self._rare.append(registering(plane, numbers, seconds, PAUSE))
        with flooded(plane, which, options, now_and_then):
            self._rare_loud.append(registering(plane, numbers, seconds, PAUSE))
        with flooded(plane, which, options, none):
            time.sleep(seconds / 2)

    def _report(self) -> None:
        for place, what in enumerate(("half of them", "99 of 100")):
            bound = (1.5, 2.0)[place]
            ratio(f"{what}, beside it / without it", place, self._quiet, self._loud, bound)
            ratio(f"{what}, beside it / beside it in another process", place, self._apart, self._loud)
            ratio(f"{what}, beside it in another process / without it", place, self._quiet, self._apart)
        ratio("half of those every 20 ms, beside it / without it", 0, self._rare, self._rare_loud)
        for when, rates in self._stored.items():
            gate(f"messages stored{when}", statistics.median(rates), unit="/s", spread=(min(rates), max(rates)))


def ratio(what: str, place: int, base: list[Latency], seen: list[Latency], bound: float | None = None) -> None:
    """The row of *seen* / *base*, of each round."""
    before, after = [one[place] for one in base], [one[place] for one in seen]
    ratios = [mine / alone for mine, alone in zip(after, before, strict=True)]
    gate(
        what,
        statistics.median(ratios),
        bound,
        better="lower",
        spread=(min(ratios), max(ratios)),
        detail=f"{statistics.median(before):.2f} ms / {statistics.median(after):.2f} ms",
    )


def own(directory: Path, name: str) -> AbstractContextManager[ControlPlane]:
    """A control plane with its data below *directory*."""
    home = directory.resolve() / name
    home.mkdir()
    return control_plane(home / "data")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--publishers", type=int, default=8)
    arguments.add_argument("--directory", default=".", help="where to keep the data; its file system counts")
    arguments.add_argument("--flood", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.flood:
        which, port, publishers = options.flood
        uvloop.run(flood(which, int(port), int(publishers)))
        return 0
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as directory,
        own(Path(directory), "registry") as plane,
        own(Path(directory), "flooded") as other,
    ):
        measure(plane, other, options)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
