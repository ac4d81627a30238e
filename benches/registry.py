"""Acknowledged durable registrations per second, in process, beside the raw store writer in the same run.

    python benches/registry.py [--clients 64] [--registrations 4000]

The base is `SqliteStore.commit` fed with the same mutations in batches of the same average size.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import Mutation
from tekton.core.lifecycle import ComponentRegistration

ROUNDS = 5


def registration(name: str) -> ComponentRegistration:
    return ComponentRegistration(component_id=name, capabilities=["text_generation"], dependencies=["hermes", "engram"])


async def through_registry(directory: Path, clients: int, count: int, prefix: str) -> float:
    async def client(number: int) -> None:
        for one in range(count // clients):
            await registry.register(registration(f"{prefix}{number}-{one}"))

    async with ComponentRegistry(directory) as registry:
        began = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        return count / (time.perf_counter() - began)


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
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--registrations", type=int, default=4096)
    options = parser.parse_args()
    ours, raw = [], []
    with tempfile.TemporaryDirectory(dir=".") as directory:
        for number in range(ROUNDS):
            there = Path(directory)
            ours.append(
                asyncio.run(through_registry(there / "r", options.clients, options.registrations, f"r{number}-"))
            )
            raw.append(through_store(there / "s", options.clients, options.registrations))
    ratio = statistics.median(mine / base for mine, base in zip(ours, raw, strict=True))
    print(f"acknowledged registrations, {options.clients} clients, fsync on every batch")
    print(f"  registry   {statistics.median(ours):10,.0f} /s      gate >= 10,000 /s")
    print(f"  raw store  {statistics.median(raw):10,.0f} /s      registry / raw store {ratio:.2f}")


if __name__ == "__main__":
    main()
