"""Streams: what is published is on the disk when the publisher is answered, and is consumed with acknowledgements.

    python benches/streams.py [--seconds 2] [--directory DIR]

64 publishers publish messages of about 250 bytes to one stream, each waiting for its own receipt. Contenders:

* `Streams` with a `SqliteStreamStore`, in process.
* `fdatasync`: batches of 64 such messages appended to a file: no stream at all, a bound.
* NATS JetStream, a file store that syncs each message (`sync_interval: always`), as Tekton does, and one that syncs
  every two minutes, which is its default and loses the rest in a power cut. Server and client are two processes and
  speak TCP: what JetStream's figures show is what a program in Python sees of it, and most of that is the client.

Rates are of wall time: waiting for the disk is the point. Contenders take turns; figures are medians of the rounds.
Then what a registration takes beside a flood of messages on the same event loop and the same disk, in its own file.
"""

import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import uvloop

from _measure import gate, parser, section, verdict
from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.streams import Streams
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration
from tekton.core.precedence import Precedence
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

PUBLISHERS = 64
SWITCH_INTERVAL = 0.0005
"""That of a control plane."""
ROUNDS = 5
CONTEXT = MessageContext("bench")
TEXT = "what was understood of it, and what was not " * 2

Publish = Callable[[], Awaitable[object]]


def message() -> Message:
    return Message("event", {"text": TEXT}, CONTEXT)


async def rate(publish: Publish, seconds: float) -> float:
    """Messages per second, by all publishers."""
    done = 0
    end = time.perf_counter() + seconds

    async def publisher() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await publish()
            done += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(PUBLISHERS):
            group.create_task(publisher())
    return done / (time.perf_counter() - began)


@asynccontextmanager
async def opened(directory: Path, precedence: Precedence | None = None) -> AsyncIterator[Streams]:
    streams = Streams(SqliteStreamStore(directory / "bus.db"), precedence=precedence)
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    try:
        yield streams
    finally:
        await streams.stop()


def publish_to(streams: Streams) -> Publish:
    return lambda: streams.append([Envelope("orders.new", message())])


def synced_batches(directory: Path, seconds: float) -> float:
    body = message().to_json() * PUBLISHERS
    done = 0
    began = time.perf_counter()
    with (directory / "log").open("wb", buffering=0) as file:
        while time.perf_counter() < began + seconds:
            file.write(body)
            os.fdatasync(file.fileno())
            done += PUBLISHERS
    return done / (time.perf_counter() - began)


# JetStream


@contextmanager
def served(directory: Path, sync: str) -> Iterator[str]:
    """The address of a server of its own. Raises FileNotFoundError where there is none."""
    server = shutil.which("nats-server")
    if server is None:
        raise FileNotFoundError("nats-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = directory / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{directory}", sync_interval: {sync} }}\n')
    process = subprocess.Popen([server, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def jetstream(directory: Path, sync: str) -> AsyncIterator[Publish]:
    """Raises ImportError, too, where there is no client."""
    import nats

    with served(directory, sync) as address:
        client = await nats.connect(address)
        stream = client.jetstream()
        await stream.add_stream(name="orders", subjects=["orders.>"])
        yield lambda: stream.publish("orders.new", message().to_json())
        await client.close()


async def peers(directory: Path, seconds: float) -> dict[str, float]:
    """The rates of JetStream; nothing where it is not there."""
    found: dict[str, float] = {}
    with suppress(ImportError, FileNotFoundError):
        for name, sync in (("JetStream, each synced", "always"), ("JetStream, synced every two minutes", '"2m"')):
            with tempfile.TemporaryDirectory(dir=directory) as own:
                async with jetstream(Path(own), sync) as publish:
                    found[name] = await rate(publish, seconds)
    return found


async def publishing(directory: Path, seconds: float) -> None:
    section(f"durable publishing, {PUBLISHERS} publishers, each waiting for its own")
    rates: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        own = directory / str(number)
        own.mkdir()
        async with opened(own) as streams:
            found = {"Streams": await rate(publish_to(streams), seconds)}
        found["fdatasync of 64 at a time"] = synced_batches(own, seconds / 4)
        found |= await peers(own, seconds)
        for name, one in found.items():
            rates.setdefault(name, []).append(one)
    for name, some in rates.items():
        least = 15_000 if name == "Streams" else None
        gate(name, statistics.median(some), least, unit="/s", spread=(min(some), max(some)))
    for name, some in rates.items():
        if name != "Streams":
            ratio = statistics.median(ours / its for ours, its in zip(rates["Streams"], some))
            gate("Streams", ratio, against=name, detail="ours / its")


async def reading(directory: Path) -> None:
    section("reading a stream of 50,000 messages from the disk")
    total = 50_000
    async with opened(directory) as streams:
        for _ in range(total // 500):
            await streams.append([Envelope("orders.new", message()) for _ in range(500)])
    rates: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        async with opened(directory) as streams:
            for name, read in (
                ("replayed", replay(streams, total)),
                ("consumed and acknowledged, in batches", consume(streams, f"batches-{number}", total)),
                ("consumed and acknowledged, one by one", consume_each(streams, f"each-{number}", total)),
            ):
                began = time.perf_counter()
                await read
                rates.setdefault(name, []).append(total / (time.perf_counter() - began))
    for name, some in rates.items():
        gate(name, statistics.median(some), unit="/s", spread=(min(some), max(some)))


async def replay(streams: Streams, total: int) -> None:
    async with streams.replay("orders") as subscription:
        async for batch in subscription.batches():
            total -= len(batch)
            if not total:
                return


async def consume(streams: Streams, name: str, total: int) -> None:
    async with streams.consume("orders", name) as consumption:
        async for batch in consumption.batches():
            for delivery in batch:
                await delivery.ack()
            total -= len(batch)
            if not total:
                return


async def consume_each(streams: Streams, name: str, total: int) -> None:
    async with streams.consume("orders", name) as consumption:
        async for delivery in consumption:
            await delivery.ack()
            total -= 1
            if not total:
                return


async def beside_a_flood(directory: Path, seconds: float) -> None:
    section("a registration, one after the other")
    numbers = count()
    async with (
        ComponentRegistry(data_dir=directory / "registry") as registry,
        opened(directory, registry.precedence) as streams,
    ):
        alone: list[float] = []
        beside: list[float] = []
        for _ in range(ROUNDS):
            alone += await registrations(registry, numbers, seconds / ROUNDS)
            async with asyncio.TaskGroup() as group:
                flood = group.create_task(rate(publish_to(streams), seconds / ROUNDS + 0.1))
                beside += await registrations(registry, numbers, seconds / ROUNDS)
            assert flood.result() > 0
    for name, some in (("alone", alone), ("beside a flood of messages", beside)):
        some.sort()
        gate(f"{name}, half of them", some[len(some) // 2] * 1e3, unit="ms", better="lower")
        gate(f"{name}, 99 of 100", some[len(some) * 99 // 100] * 1e3, unit="ms", better="lower")


async def registrations(registry: ComponentRegistry, numbers: "count[int]", seconds: float) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await registry.register(ComponentRegistration(component_id=f"component-{next(numbers)}"))
        taken.append(time.perf_counter() - began)
    return taken


async def measure(directory: Path, seconds: float) -> None:
    for number, part in enumerate((publishing, beside_a_flood)):
        own = directory / f"part-{number}"
        own.mkdir()
        await part(own, seconds)
    await reading(directory / "part-1" / "reading")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    arguments.add_argument("--directory", help="where to write; its file system is what is measured")
    options = arguments.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        uvloop.run(measure(Path(directory), options.seconds))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
