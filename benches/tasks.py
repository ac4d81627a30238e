"""Durable tasks: steps that are on the disk when the agent goes on, and ten thousand tasks after a crash.

    python benches/tasks.py [--seconds 2] [--directory DIR]

* Steps: 64 tasks in flight, of 20 steps each, whose results of about 100 bytes are durable before the next step begins.
  Beside it the writer of the store alone, which is given batches of 64 such events: no tasks at all, a bound.
* A crash: 10,000 tasks, each with a lease and four steps, in the files that a killed process leaves. Opening reads and
  folds the events of all of them; resuming takes all of them up, and begins the first ones. Then how long it takes
  until all are over, with an agent that needs one step more.
* Memory: what 10,000 open tasks take in a process of their own, and a conversation of 100,000 messages that is said,
  and read a page at a time.

Rates and times are of the wall: waiting for the disk is the point. Contenders take turns; figures are medians.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import psutil
import uvloop

from _measure import gate, parser, section, verdict
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.conversation import Conversation
from tekton.a2a.message import AgentMessage
from tekton.a2a.task_event import Budget, Created, Leased, StepCompleted, TaskEvent
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.work_file import WorkFile, body_of
from tekton.a2a.work.work_store import FILE_NAME, WorkStore

IN_FLIGHT = 64
STEPS = 20
OPEN = 10_000
MESSAGES = 100_000
ROUNDS = 5
SWITCH_INTERVAL = 0.0005
"""That of a control plane."""
RESULT = {"understood": "what was understood of it, and what was not " * 2}


async def step() -> dict[str, str]:
    return RESULT


async def steps_per_second(directory: Path, seconds: float) -> float:
    store = await WorkStore.open(directory / FILE_NAME)
    agents = AgentRegistry()
    done = 0
    end = time.perf_counter() + seconds

    async def work(context: TaskContext) -> None:
        nonlocal done
        for _ in range(STEPS):
            await context.step("understand", step)
            done += time.perf_counter() < end

    async def execute(tasks: TaskManager) -> None:
        while time.perf_counter() < end:
            await tasks.execute_task(tasks.create_task("review"))

    agents.register_agent("worker", ["review"], handler=work)
    async with TaskManager(agents, log=store.tasks) as tasks, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(execute(tasks))
    await store.close()
    return done / seconds


def events_per_second(directory: Path, seconds: float) -> float:
    file = WorkFile(directory / FILE_NAME)
    file.open()
    numbers = count(1)
    done = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        batch, number = WorkBatch(), next(numbers)
        for task in range(IN_FLIGHT):
            event = TaskEvent("", number, time.time(), 1, StepCompleted(f"understand#{number}", RESULT))
            body = body_of(event)
            batch.admit(len(body))
            batch.put_event(task, event, body)
        file.write(batch)
        done += IN_FLIGHT
    file.close()
    return done / seconds


async def steps(directory: Path, seconds: float) -> None:
    section(f"durable steps, {IN_FLIGHT} tasks in flight, each step acknowledged")
    ours: list[float] = []
    raw: list[float] = []
    for number in range(ROUNDS):
        for name, rates in (("tasks", ours), ("raw", raw)):
            own = directory / f"{name}-{number}"
            own.mkdir()
            rates.append(await steps_per_second(own, seconds) if name == "tasks" else events_per_second(own, seconds))
    ratio = statistics.median(one / other for one, other in zip(ours, raw))
    gate("steps", statistics.median(ours), 3000, unit="/s", spread=(min(ours), max(ours)))
    gate("the writer of the store alone, 64 at a time", statistics.median(raw), unit="/s", spread=(min(raw), max(raw)))
    gate("steps", ratio, 0.3, against="the writer of the store alone", detail="ours / its")


async def make_crash(directory: Path) -> None:
    """Leave in *directory* what a process leaves that is killed while it works on many tasks."""
    with tempfile.TemporaryDirectory(dir=directory) as used:
        store = await WorkStore.open(Path(used) / FILE_NAME)
        now = time.time()
        for number in range(OPEN):
            task_id = f"01900000-0000-7000-8000-{number:012}"
            created = Created("review", {"text": "x" * 200}, now + 3600, Budget(), task_id, owner="bench")
            store.tasks.append(task_id, [created, Leased("former", "worker")], now)
            for place in range(4):
                store.tasks.append(task_id, [StepCompleted(f"step-{place}", RESULT)], now, epoch=1)
            if number % 1000 == 999:
                await store.flush()
        for suffix in ("", "-wal"):
            shutil.copy(Path(used) / (FILE_NAME + suffix), directory / (FILE_NAME + suffix))
        await store.close()


async def resuming(directory: Path) -> None:
    section(f"{OPEN:,} open tasks after a crash")
    await make_crash(directory)
    opening: list[float] = []
    resumed: list[float] = []
    ended: list[float] = []
    for number in range(ROUNDS):
        own = directory / f"round-{number}"
        own.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(directory / (FILE_NAME + suffix), own / (FILE_NAME + suffix))
        began = time.perf_counter()
        store = await WorkStore.open(own / FILE_NAME)
        opening.append(time.perf_counter() - began)
        agents = AgentRegistry()
        agents.register_agent("worker", ["review"], handler=last_step)
        async with TaskManager(agents, log=store.tasks) as tasks:
            assert len(tasks.resume()) == OPEN
            resumed.append(time.perf_counter() - began)
            while tasks.tasks(limit=1, open_only=True):
                await tasks.changed(tasks.version)
        ended.append(time.perf_counter() - began)
        await store.close()
    for name, some, most in (
        ("opened", opening, None),
        ("opened and resumed", resumed, 2.0),
        ("all of them over", ended, None),
    ):
        gate(name, statistics.median(some), most, unit="s", better="lower", spread=(min(some), max(some)))


async def last_step(text: str, context: TaskContext) -> int:
    await context.step("last", step)
    return len(text)


async def memory(directory: Path) -> None:
    section("memory")
    for what, name, most in (
        (f"{OPEN:,} open tasks", "tasks", None),
        (f"a conversation of {MESSAGES:,} messages, said and read", "talk", 64.0),
    ):
        command = [sys.executable, __file__, "--directory", str(directory), "--measure", name]
        grown = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        gate(what, float(grown.stdout), most, unit="MiB", better="lower")


async def grown_by(directory: Path, name: str) -> float:
    """MiB by which this process grows."""
    process = psutil.Process()
    before = process.memory_info().rss
    if name == "tasks":
        store = await WorkStore.open(directory / FILE_NAME)
        assert len(store.tasks.tasks(limit=OPEN, open_only=True)) == OPEN
    else:
        store = await WorkStore.open(directory / "talk.db")
        await talk(store)
    grown = process.memory_info().rss - before
    await store.close()
    return grown / (1 << 20)


async def talk(store: WorkStore) -> None:
    conversation = Conversation("talk", "ann", ["bob"], store=store.conversations)
    for number in range(MESSAGES):
        conversation.add_message(AgentMessage("ann" if number % 2 else "bob", f"{number} {RESULT['understood']}"))
        if number % 500 == 499:
            await conversation.flush()
    assert sum(1 for _ in conversation.messages()) == MESSAGES


async def measure(directory: Path, seconds: float) -> None:
    await steps(directory, seconds)
    await resuming(directory)
    await memory(directory)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    arguments.add_argument("--directory", help="where to write; its file system is what is measured")
    arguments.add_argument("--measure", choices=("tasks", "talk"), help="print by how many MiB a process grows")
    options = arguments.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL)
    if options.measure:
        print(uvloop.run(grown_by(Path(options.directory), options.measure)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        uvloop.run(measure(Path(directory), options.seconds))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
