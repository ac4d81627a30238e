"""Messages of Agent2Agent: SendMessage over JSON-RPC, against the server of the official SDK; and many streams.

    python benches/agent2agent.py [--clients 16] [--messages 800] [--full]

Each server is a process of its own, with one agent that gives back what was said, so that a message is a task with four
events: it comes, somebody works on it, it has a result, it is done. The SDK's server is the one of its documentation
(Starlette routes, its default handler, its store in memory), under uvicorn with uvloop and httptools. Ours is the
gateway, with a token that is checked, ownership, a conversation for each message, and its store in memory; and again
with `work.db` on the disk, so that an answer is durable. The same client in turns, each on keep-alive connections.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop

from _http import Client, cpu_seconds, request, send
from _measure import SKIPPED, gate, parser, section, verdict

ROUNDS = 5
STREAMS = 1000
SERVERS = ("the SDK", "Tekton", "Tekton, durable")


class Server(NamedTuple):
    """A server that runs."""

    port: int
    pid: int
    token: str


class Round(NamedTuple):
    """Messages a second, and microseconds of CPU of the server for each."""

    rate: float
    cpu_us: float


def body(method: str, message_id: str, **more: Any) -> bytes:
    message = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": "Is anybody there?"}]}
    params = {"message": message | {"metadata": {"skill": more.pop("skill", "echo")}}, **more}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def posts(server: Server, prefix: str, count: int) -> Iterator[bytes]:
    headers = ("A2A-Version: 1.0", f"Authorization: Bearer {server.token}")
    for number in range(count):
        yield request(server.port, "POST", "/a2a", body("SendMessage", f"{prefix}-{number}"), *headers)


async def measure(server: Server, prefix: str, options: argparse.Namespace) -> Round:
    each = options.messages // options.clients
    streams = [iter(list(posts(server, f"{prefix}-{number}", each))) for number in range(options.clients)]
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    clients = await send(server.port, streams)
    seconds, cpu = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
    check(clients)
    return Round(each * options.clients / seconds, cpu / (each * options.clients) * 1e6)


def check(clients: Sequence[Client]) -> None:
    """Raise unless the last answers are tasks that are done."""
    for client in clients:
        answer = json.loads(client.last.partition(b"\r\n\r\n")[2])
        task = answer["result"]["task"]
        if task["status"]["state"] != "TASK_STATE_COMPLETED" or not task["artifacts"]:
            raise RuntimeError(f"not what was wanted: {answer}")


async def compared(servers: dict[str, Server], options: argparse.Namespace) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for name, server in servers.items():
        await measure(server, "warm", options)
        rounds[name].clear()
    for number in range(ROUNDS):
        for name, server in servers.items():
            rounds[name].append(await measure(server, f"round-{number}", options))
    return rounds


async def streams_cost(server: Server) -> tuple[float, float]:
    """MiB that many open streams take, and milliseconds until an event has reached all of them."""
    memory = psutil.Process(server.pid).memory_info
    headers = ("A2A-Version: 1.0", f"Authorization: Bearer {server.token}")
    now = body("SendMessage", "held", skill="hold", configuration={"returnImmediately": True})
    (client,) = await send(server.port, [iter([request(server.port, "POST", "/a2a", now, *headers)])])
    task_id = json.loads(client.last.partition(b"\r\n\r\n")[2])["result"]["task"]["id"]
    params = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
    subscribe = request(server.port, "POST", "/a2a", json.dumps(params).encode(), *headers)
    before = memory().rss
    opened = []
    for _ in range(STREAMS):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        writer.write(subscribe)
        await reader.readuntil(b'"task"')
        opened.append((reader, writer))
    mib = (memory().rss - before) / 2**20
    cancel = {"jsonrpc": "2.0", "id": 1, "method": "CancelTask", "params": {"id": task_id}}
    began = time.perf_counter()
    await send(server.port, [iter([request(server.port, "POST", "/a2a", json.dumps(cancel).encode(), *headers)])])
    await asyncio.gather(*(reader.readuntil(b"TASK_STATE_CANCELED") for reader, _ in opened))
    seconds = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
    return mib, seconds * 1e3


# The servers


@contextmanager
def running(kind: str, directory: str) -> Iterator[Server]:
    command = [sys.executable, __file__, "--serve", kind, "--directory", directory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        port, token = json.loads(process.stdout.readline())
        yield Server(port, process.pid, token)
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def serve_tekton(directory: Path | None) -> None:
    from tekton.a2a.task_steps import TaskContext
    from tekton.service.main import _COLLECTIONS, _SWITCH_INTERVAL
    from tekton.service.work import Work
    from tekton.testing.control_plane import InMemoryControlPlane

    async def echo(text: str) -> str:
        return text

    async def hold(context: TaskContext) -> None:
        await asyncio.sleep(context.time_left)

    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(*_COLLECTIONS)
    work = None if directory is None else await Work.open(directory)
    plane = InMemoryControlPlane(work=work)
    plane._server._app.streams._limit = 2 * STREAMS
    plane.agents.registry.register_agent("echo", ["echo"], handler=echo)
    plane.agents.registry.register_agent("hold", ["hold"], handler=hold)
    async with plane:
        token = await plane.token("ada", "operator")
        print(json.dumps([plane._server.port, token]), flush=True)
        await asyncio.Event().wait()


async def serve_sdk() -> None:
    import uvicorn
    from a2a.server.agent_execution import AgentExecutor, RequestContext
    from a2a.server.events import EventQueue
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.routes import create_jsonrpc_routes
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
    from a2a.types import AgentCapabilities, AgentCard, Part, Task, TaskState, TaskStatus
    from starlette.applications import Starlette

    class Echo(AgentExecutor):
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            task_id, context_id = context.task_id or "", context.context_id or ""
            submitted = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            assert context.message is not None
            task = Task(id=task_id, context_id=context_id, status=submitted, history=[context.message])
            await event_queue.enqueue_event(task)
            updater = TaskUpdater(event_queue, task_id, context_id)
            await updater.start_work()
            await updater.add_artifact([Part(text=context.get_user_input())], name="result")
            await updater.complete()

        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            raise NotImplementedError

    card = AgentCard(name="Echo", description="Echoes", version="1", capabilities=AgentCapabilities(streaming=True))
    handler = DefaultRequestHandler(agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/a2a"))
    config = uvicorn.Config(app, port=0, log_level="critical", access_log=False, loop="uvloop", http="httptools")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.01)
    print(json.dumps([server.servers[0].sockets[0].getsockname()[1], ""]), flush=True)
    await serving


def serve(kind: str, directory: str) -> int:
    durable = Path(directory) if kind == SERVERS[2] else None
    uvloop.run(serve_sdk() if kind == SERVERS[0] else serve_tekton(durable))
    return 0


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--clients", type=int, default=16)
    arguments.add_argument("--messages", type=int, default=800, help="per round and server")
    arguments.add_argument("--directory", default=".", help="where to keep the data; its file system counts")
    arguments.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        return serve(options.serve, options.directory)
    try:
        import a2a.server.routes
        import uvicorn  # noqa: F401 - only whether it is there
    except ImportError as missing:
        print(f"skipped: {missing}; install the groups test and bench")
        return SKIPPED
    del a2a
    with tempfile.TemporaryDirectory(dir=options.directory) as directory, contextlib.ExitStack() as stack:
        servers = {kind: stack.enter_context(running(kind, directory)) for kind in SERVERS}
        rounds = uvloop.run(compared(servers, options))
        mib, told_ms = uvloop.run(streams_cost(servers[SERVERS[1]]))
    section(f"SendMessage over JSON-RPC, {options.clients} clients")
    sdk = rounds[SERVERS[0]]
    for kind, least in ((SERVERS[1], 5.0), (SERVERS[2], None)):
        ours = rounds[kind]
        ratios = [one.rate / other.rate for one, other in zip(ours, sdk, strict=True)]
        middle, cpu = statistics.median(one.rate for one in ours), statistics.median(one.cpu_us for one in ours)
        other, other_cpu = statistics.median(one.rate for one in sdk), statistics.median(one.cpu_us for one in sdk)
        gate(
            f"messages a second: {kind}",
            statistics.median(ratios),
            least,
            against="a2a-sdk on uvicorn",
            spread=(min(ratios), max(ratios)),
            detail=f"{middle:,.0f}/s and {cpu:,.0f} us of CPU / {other:,.0f}/s and {other_cpu:,.0f} us",
        )
    section(f"{STREAMS:,} streams of one task")
    gate("memory", mib, 64, unit="MiB", better="lower")
    gate("the end of the task has reached all", told_ms, unit="ms", better="lower")
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
