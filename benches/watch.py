"""From a commit to those who watch: how long a change takes to reach a thousand watchers.

    python benches/watch.py [--watchers 1000] [--streams 500] [--changes 100] [--directory DIR]

In process: a durable registry with a thousand subscriptions, in an event loop that does nothing else; a change is made
every 25 ms, and the time of a watcher begins when the commit is durable, before anybody is told. Over HTTP: a control
plane in a process of its own with as many event streams as it takes, each on a connection of its own to this process;
the time begins when the request is sent, so it has the commit in it. The clients share the machine with the server.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import uvloop

from _http import ControlPlane, control_plane, cpu_seconds, request, send
from _measure import gate, parser, section, verdict
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState

PAUSE = 0.025
STATES = (ComponentState.DEGRADED, ComponentState.READY)


class Watchers:
    """When each watcher has heard of each change; `heard` is called by them."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._times: dict[int, list[float]] = {}
        self._all: dict[int, asyncio.Event] = {}

    def heard(self, revision: int) -> None:
        times = self._times.setdefault(revision, [])
        times.append(time.perf_counter())
        if len(times) == self._number:
            self._all.setdefault(revision, asyncio.Event()).set()

    async def since(self, revision: int, began: float) -> list[float]:
        """How long after *began* each of them has heard of *revision*, in milliseconds."""
        async with asyncio.timeout(10):
            await self._all.setdefault(revision, asyncio.Event()).wait()
        return [max(0.0, heard - began) * 1e3 for heard in self._times.pop(revision)]


async def subscribed(directory: Path, options: argparse.Namespace) -> list[float]:
    """Milliseconds from the commit to each watcher of each change."""
    watchers = Watchers(options.watchers)
    waits: list[float] = []
    committed: dict[int, float] = {}

    async def watch(registry: ComponentRegistry) -> None:
        async with registry.feed.subscribe() as subscription:
            async for batch in subscription:
                for change in batch:
                    watchers.heard(change.revision)

    async with ComponentRegistry(directory) as registry, asyncio.TaskGroup() as group:
        one = ComponentRegistration(component_id="watched")
        await registry.register(one)
        await registry.make_ready("watched", one.instance_uuid)
        registry.feed.add_listener(lambda change: committed.update({change.revision: time.perf_counter()}))
        tasks = [group.create_task(watch(registry)) for _ in range(options.watchers)]
        for turn in range(options.changes):
            await asyncio.sleep(PAUSE)
            record = await registry.set_state("watched", one.instance_uuid, STATES[turn % 2])
            waits += await watchers.since(record.revision, committed[record.revision])
        for task in tasks:
            task.cancel()
    return waits


class Stream(asyncio.Protocol):
    """One event stream, which counts as little as it can of what it gets: the ids of changes."""

    def __init__(self, watchers: Watchers, opening: bytes) -> None:
        self._watchers = watchers
        self._opening = opening
        self._rest = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._opening)

    def data_received(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            if b"event: change\n" in event:
                self._watchers.heard(int(event[event.index(b"id: ") + 4 : event.index(b"\nevent")]))
            elif b"event: snapshot\n" in event:
                self.opened.set_result(None)
            elif b"event: bye\n" in event:
                raise RuntimeError("the stream has ended; measure fewer changes")


async def ask(plane: ControlPlane, method: str, path: str, body: str) -> bytes:
    (client,) = await send(plane.port, [iter([request(plane.port, method, path, body.encode())])])
    return client.last


def revision(answer: bytes) -> int:
    return int(answer.rpartition(b'"revision":')[2].partition(b",")[0])


async def streamed(plane: ControlPlane, options: argparse.Namespace) -> tuple[list[float], float]:
    """Milliseconds from the request of a change to each watcher, and the server's CPU for one event (microseconds)."""
    loop = asyncio.get_running_loop()
    watchers = Watchers(options.streams)
    instance = "7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11"
    path = "/api/components/watched"
    await ask(plane, "POST", "/api/components", f'{{"component_id":"watched","instance_uuid":"{instance}"}}')
    await ask(plane, "POST", f"{path}/ready", f'{{"instance_uuid":"{instance}"}}')
    opening = request(plane.port, "GET", "/events/components")
    waits: list[float] = []
    async with AsyncExitStack() as stack:
        for _ in range(options.streams):
            transport, stream = await loop.create_connection(lambda: Stream(watchers, opening), "127.0.0.1", plane.port)
            stack.callback(transport.close)
            await stream.opened
        cpu = cpu_seconds(plane.pid)
        for turn in range(options.changes):
            await asyncio.sleep(PAUSE)
            began = time.perf_counter()
            body = f'{{"instance_uuid":"{instance}","state":"{STATES[turn % 2].value}"}}'
            answer = await ask(plane, "PUT", f"{path}/state", body)
            waits += await watchers.since(revision(answer), began)
        cpu = cpu_seconds(plane.pid) - cpu
    return waits, cpu / len(waits) * 1e6


def show(what: str, waits: list[float], least: float | None) -> None:
    waits.sort()
    middle, slowest = statistics.median(waits), waits[len(waits) * 99 // 100]
    gate(f"{what}, middle", middle, unit="ms", better="lower")
    gate(f"{what}, p99", slowest, least, unit="ms", better="lower", detail=f"at most {waits[-1]:.3g} ms")


def main() -> None:
    options_ = parser(__doc__)
    options_.add_argument("--watchers", type=int, default=1000)
    options_.add_argument("--streams", type=int, default=500)
    options_.add_argument("--changes", type=int, default=100)
    options_.add_argument("--directory", type=Path, help="where the data lies while it is measured")
    options = options_.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        section(f"from commit to watcher, {options.watchers:,} subscriptions in process")
        show("committed to heard", uvloop.run(subscribed(Path(directory) / "in-process", options)), 20)
        section(f"from request to watcher, {options.streams:,} event streams over HTTP")
        with control_plane(Path(directory) / "data") as plane:
            waits, cpu = uvloop.run(streamed(plane, options))
        show("requested to heard", waits, 20)
        gate("CPU of the control plane for an event", cpu, unit="us", better="lower")
    sys.exit(verdict())


if __name__ == "__main__":
    main()
