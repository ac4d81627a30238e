"""Cuts the power under the store of the streams, checksums included, and checks what is left. Prints JSON.

    python tests/scenarios/stream_power_cuts.py [--cuts 200] [--seed 1]

A program of its own, as `store_power_cuts.py` is. Each seed is a life of one disk: several cuts one after another, each
at a random operation of opening, committing, checkpointing or closing. After each, every acknowledged batch must be
there, and the batch that was under way must be there wholly or not at all.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import Batch, Progress, Put, StreamState, StreamStore
from tekton.core.component_lifecycle import database, log_keeper
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.powercut import PowerCutDisk
from tekton.utils.tekton_errors import StorageError

SETTINGS = StreamSettings(("work.>",), max_messages=60)
SENDER = MessageContext("ann")
NOW = 1_700_000_000.0
MESSAGES = """
    SELECT place & 0xffffffff, CAST(body AS BLOB) FROM messages WHERE place & 0xffffffff > ? ORDER BY place
"""


class ViolationError(Exception):
    """The store broke its promise."""


class Contents(NamedTuple):
    """All that is kept: how the stream is, its consumers, and its messages by sequence."""

    state: StreamState
    consumers: list[tuple[object, ...]]
    messages: list[tuple[int, bytes]]


class Life:
    """One disk, from empty until its last power cut."""

    def __init__(self, disk: PowerCutDisk, path: Path, seed: int) -> None:
        self.disk = disk
        self.path = path
        self.rng = Random(seed)
        self.acknowledged: list[Batch] = []
        self.underway = Batch()
        self.last = 0
        self.doing = "nothing"
        log_keeper.IDLE_PAGES = self.rng.choice((1, 30, 200))
        log_keeper.BUSY_PAGES = 2 * log_keeper.IDLE_PAGES
        disk.clear(seed)
        disk.powersafe = self.rng.random() < 0.5

    def run_until_cut(self) -> None:
        """Use the store until the power goes off, somewhere."""
        self.disk.cut_after(self.rng.randrange(1, self.rng.choice((12, 60, 400))))
        store = self.make_store()
        try:
            while not self.disk.off:
                self.doing = "opening"
                store.open()
                store.put_stream("work", SETTINGS, NOW)
                self.commit_some(store)
                self.doing = "closing"
                store.close()
        except StorageError:
            if not self.disk.off:
                raise
        finally:
            store.close()

    def commit_some(self, store: StreamStore) -> None:
        for _ in range(self.rng.randrange(1, 80)):
            self.doing = "committing"
            self.underway = self.make_batch()
            committed = store.commit(self.underway, NOW)
            self.last += len(committed.placed)
            self.acknowledged.append(self.underway)
            self.underway = Batch()
            if self.rng.random() < 0.2:
                self.doing = "tidying"
                store.tidy(NOW, aged=True)

    def make_batch(self) -> Batch:
        texts = ["x" * self.rng.choice((10, 400, 6000)) for _ in range(self.rng.choice((0, 1, 1, 3, 20)))]
        messages = [Message("event", text, SENDER) for text in texts]
        puts = [Put("work", Envelope("work.new", one), one.to_json(), NOW) for one in messages]
        pending = [(self.rng.randrange(1, 100), 1) for _ in range(self.rng.choice((0, 3, 300)))]
        progress = [Progress("work", "worker", ConsumerSettings(), self.last, pending)]
        removed = [
            ("work", self.rng.randrange(self.last) + 1) for _ in range(self.rng.choice((0, 0, 2)) if self.last else 0)
        ]
        return Batch(puts, progress if self.rng.random() < 0.5 else [], removed)

    def verify(self) -> None:
        """Open the store and compare."""
        found = self.found()
        without, complete = self.expected(self.acknowledged), self.expected([*self.acknowledged, self.underway])
        if found not in (without, complete):
            raise ViolationError(f"neither {len(self.acknowledged)} batches nor those and the one under way")
        if found == complete:
            self.acknowledged.append(self.underway)
        self.last = found.state.last
        self.underway = Batch()

    def found(self) -> Contents:
        store = self.make_store()
        loaded = store.open() or [None]
        store.close()
        if loaded[0] is None:
            return Contents(StreamState(), [], [])
        connection = database.connect(self.path, exclusive=True)
        try:
            rows = connection.execute(MESSAGES, (loaded[0].state.dropped,)).fetchall()
        finally:
            connection.close()
        return Contents(loaded[0].state, [plain(one) for one in loaded[0].consumers], rows)

    def expected(self, batches: list[Batch]) -> Contents:
        model = MemoryStreamStore()
        model.put_stream("work", SETTINGS, NOW)
        for batch in batches:
            model.commit(batch, NOW)
        [loaded] = model.open()
        page = model.read("work", 0, ">", 1000, 1 << 30)
        messages = [(one.sequence, one.message.to_json()) for one in page.envelopes]
        return Contents(loaded.state, [plain(one) for one in loaded.consumers], messages)

    def make_store(self) -> SqliteStreamStore:
        return SqliteStreamStore(self.path, reserve_bytes=0, exclusive=True)


def plain(progress: Progress) -> tuple[object, ...]:
    return (*progress[:4], [tuple(one) for one in progress.pending], *progress[5:])


def run(disk: PowerCutDisk, seed: int, cuts: int, outcomes: Counter[str], places: Counter[str]) -> None:
    """Live through *cuts* power cuts and count the outcomes, and what was being done."""
    with tempfile.TemporaryDirectory() as directory:
        life = Life(disk, Path(directory) / "bus.db", seed)
        for _ in range(cuts):
            life.run_until_cut()
            places[life.doing] += 1
            disk.lose_power(life.rng)
            life.verify()
            outcomes["whole"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    disk = PowerCutDisk("simulated", default=True)
    outcomes: Counter[str] = Counter()
    places: Counter[str] = Counter()
    violations: list[str] = []
    seed = options.seed
    while outcomes["whole"] < options.cuts and not violations:
        try:
            run(disk, seed, 20, outcomes, places)
        except (ViolationError, StorageError) as error:
            violations.append(f"seed {seed}: {error}")
        seed += 1
    with suppress(BrokenPipeError):
        json.dump({"violations": violations, **outcomes, "while": places}, sys.stdout)


if __name__ == "__main__":
    main()
