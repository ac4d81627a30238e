"""What a thousand streams of the events of tasks take, each of a task of its own, and how soon they are told.

    python benches/task_streams.py [--streams 1000] [--rounds 5]

A server in a process of its own, with the routes of the control plane and what it has in memory. Its memory is looked
at before the streams are opened and when all are: the tasks, which wait for an answer, are there already. Then every
task is answered, and so completed: all streams are told of three events, and end.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import psutil
import uvloop

from _measure import gate, parser, section, verdict
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import OWNER
from tekton.testing.control_plane import InMemoryControlPlane

MIB = 1024 * 1024


async def serve(count: int) -> None:
    """Tell the port, the token and the ids of so many tasks; answer them at each line that comes."""
    async with InMemoryControlPlane(max_streams=count) as plane:

        async def ask(context: TaskContext) -> object:
            return await context.ask("Go on?")

        plane.agents.registry.register_agent("asker", ["asking"], handler=ask)
        token = await plane.token("owner-of-tasks", "operator")
        loop = asyncio.get_running_loop()
        while True:
            tasks = [await plane.tasks.create(OWNER, "asking", timeout=600) for _ in range(count)]
            for task in tasks:
                await plane.tasks.wait(task.task_id, 60)
            print(
                json.dumps({"port": plane._server.port, "token": token, "tasks": [one.task_id for one in tasks]}),
                flush=True,
            )
            if not await loop.run_in_executor(None, sys.stdin.readline):
                return
            for task in tasks:
                await plane.tasks.answer(OWNER, task.task_id, "yes")
            for task in tasks:
                await plane.tasks.wait(task.task_id, 60)


class Stream(asyncio.Protocol):
    """One stream: `begun` when its first events are there, `ended` at the farewell."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[float] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"event: input_required" in self._received and not self.begun.done():
            self.begun.set_result(None)
        if b"event: bye" in self._received and not self.ended.done():
            self.ended.set_result(time.perf_counter())
            self._transport.close()  # what it had is for the next round

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(self._received.decode()[-500:]))


@contextmanager
def server(count: int) -> Iterator["subprocess.Popen[str]"]:
    """The server as a process of its own."""
    command = [sys.executable, __file__, "--serve", "--streams", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def one_round(process: "subprocess.Popen[str]", loop: asyncio.AbstractEventLoop) -> tuple[float, float]:
    """MiB that the streams take, and seconds until the last one has heard of the end of its task."""
    assert process.stdout is not None
    assert process.stdin is not None
    told = json.loads(await loop.run_in_executor(None, process.stdout.readline))
    memory = psutil.Process(process.pid).memory_info
    before = memory().rss
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nAuthorization: Bearer {told['token']}\r\n\r\n"
    streams: list[Stream] = []
    for task_id in told["tasks"]:
        request = f"GET /api/tasks/{task_id}/events {head}".encode()
        _, stream = await loop.create_connection(lambda: Stream(request), "127.0.0.1", told["port"])  # noqa: B023
        streams.append(stream)
    await asyncio.gather(*(stream.begun for stream in streams))
    taken = memory().rss - before
    began = time.perf_counter()
    process.stdin.write("\n")
    process.stdin.flush()
    ended = await asyncio.gather(*(stream.ended for stream in streams))
    return taken / MIB, max(ended) - began


async def measure(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    with server(options.streams) as process:
        rounds = [await one_round(process, loop) for _ in range(options.rounds)]
    memory, seconds = [taken for taken, _ in rounds], [took for _, took in rounds]
    section(f"{options.streams} streams of the events of tasks")
    gate("memory", max(memory), 64, unit="MiB", better="lower", spread=(min(memory), max(memory)))
    gate("all told of the end", statistics.median(seconds), unit="s", spread=(min(seconds), max(seconds)))


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--streams", type=int, default=1000)
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        uvloop.run(serve(chosen.streams))
        return 0
    uvloop.run(measure(chosen))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
