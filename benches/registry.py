"""Acknowledged durable registrations per second, in process, beside the raw store writer in the same run.

    python benches/registry.py [--clients 64] [--registrations 4096] [--directory DIR]

The base is `SqliteStore.commit` fed with the same mutations in batches of the same average size. One client alone shows
what a command costs when nobody shares its commit: one sync of the disk, and one turn through the writer's thread.
The same clients on behalf of somebody show what the audit log costs.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from _measure import gate, parser, section, verdict
from tekton.core.attribution import Attribution, attributed
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import Mutation
from tekton.core.lifecycle import ComponentRegistration

ROUNDS = 5
SOMEBODY = Attribution("somebody", "token", "192.0.2.7:51234", "5f0c2d7e")
ALONE = 500
"""Registrations of the client that is alone."""


class Round(NamedTuple):
    """Acknowledged registrations per second, and the 99th percentile of the waiting in milliseconds."""

    rate: float
    slowest_ms: float


def registration(name: str) -> ComponentRegistration:
    return ComponentRegistration(
        component_id=name, capabilities=("text_generation",), dependencies=("hermes", "engram")
    )


async def through_registry(
    directory: Path, clients: int, count: int, prefix: str, by: Attribution | None = None
) -> Round:
    waits: list[float] = []

    async def client(number: int) -> None:
        with attributed(by):
            for one in range(count // clients):
                began = time.perf_counter()
                await registry.register(registration(f"{prefix}{number}-{one}"))
                waits.append(time.perf_counter() - began)

    async with ComponentRegistry(directory) as registry:
        began = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        seconds = time.perf_counter() - began
    waits.sort()
    return Round(len(waits) / seconds, waits[len(waits) * 99 // 100] * 1e3)


def through_store(directory: Path, batch: int, count: int) -> float:
    store = SqliteStore(directory)
    first = store.open().revision + 1
    text = '{"component_id":"x","padding":"' + "x" * 400 + '"}'
    mutations = [Mutation(first + n, 0.0, "registered", f"s{first}-{n}", "i", text[:120], text) for n in range(count)]
    began = time.perf_counter()
    for start in range(0, count, batch):
        store.commit(mutations[start : start + batch])
    rate = count / (time.perf_counter() - began)
    store.close()
    return rate


def main() -> None:
    options_ = parser(__doc__)
    options_.add_argument("--clients", type=int, default=64)
    options_.add_argument("--registrations", type=int, default=4096)
    options_.add_argument("--directory", type=Path, default=Path(), help="where the data lies; it must be a real disk")
    options = options_.parse_args()
    # As the control plane does: the writer's thread must get its turn beside a busy loop.
    sys.setswitchinterval(0.0005)
    ours: list[Round] = []
    audited: list[Round] = []
    alone: list[Round] = []
    raw: list[float] = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        there = Path(directory)
        for number in range(ROUNDS):
            crowd = through_registry(there / "r", options.clients, options.registrations, f"r{number}-")
            ours.append(uvloop.run(crowd))
            entered = through_registry(there / "e", options.clients, options.registrations, f"r{number}-", SOMEBODY)
            audited.append(uvloop.run(entered))
            raw.append(through_store(there / "s", options.clients, options.registrations))
            alone.append(uvloop.run(through_registry(there / "r", 1, ALONE, f"a{number}-")))
    section(f"durable registrations in process, {options.clients} clients")
    show("acknowledged", ours, 10_000)
    ratio = statistics.median(with_log.rate / without.rate for with_log, without in zip(audited, ours, strict=True))
    show("acknowledged, with entries of the audit log", audited, 10_000)
    gate("rate, with / without the audit log", ratio, 0.9)
    gate("waiting, p99", statistics.median(one.slowest_ms for one in ours), 50, unit="ms", better="lower")
    ratio = statistics.median(mine.rate / base for mine, base in zip(ours, raw, strict=True))
    gate("rate, registry / raw store", ratio, detail=f"raw store {statistics.median(raw):,.0f}/s")
    show("acknowledged, one client alone", alone, None)
    sys.exit(verdict())


def show(what: str, rounds: list[Round], least: float | None) -> None:
    rates = [one.rate for one in rounds]
    gate(what, statistics.median(rates), least, unit="/s", spread=(min(rates), max(rates)))


if __name__ == "__main__":
    main()
