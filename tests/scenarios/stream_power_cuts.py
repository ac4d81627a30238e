"""Cuts the power under the store of the streams, checksums included, and checks what is left. Prints JSON.

    python tests/scenarios/stream_power_cuts.py [--cuts 200] [--seed 1]

What a cut is, and what must be there after it, is told in `power_cuts.py`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from power_cuts import Life, campaign

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import Batch, Progress, Put, StreamState
from tekton.core.component_lifecycle import database
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.powercut import PowerCutDisk

SETTINGS = StreamSettings(("work.>",), max_messages=60)
SENDER = MessageContext("ann")
NOW = 1_700_000_000.0
MESSAGES = """
    SELECT place & 0xffffffff, CAST(body AS BLOB) FROM messages WHERE place & 0xffffffff > ? ORDER BY place
"""


class Contents(NamedTuple):
    """All that is kept: how the stream is, its consumers, and its messages by sequence."""

    state: StreamState
    consumers: list[tuple[object, ...]]
    messages: list[tuple[int, bytes]]


class StreamLife(Life[SqliteStreamStore, Batch, Contents]):
    """The life of a disk with streams on it."""

    def __init__(self, disk: PowerCutDisk, directory: Path, seed: int) -> None:
        super().__init__(disk, directory, seed, nothing=Batch())
        self.path = directory / "bus.db"
        self.last = 0

    def make_store(self) -> SqliteStreamStore:
        return SqliteStreamStore(self.path, reserve_bytes=0, exclusive=True)

    def open(self, store: SqliteStreamStore) -> None:
        store.open()
        store.put_stream("work", SETTINGS, NOW)

    def commit(self, store: SqliteStreamStore, batch: Batch) -> None:
        self.last += len(store.commit(batch, NOW).placed)

    def rest(self, store: SqliteStreamStore) -> None:
        if self.rng.random() < 0.5:
            self.doing = "tidying"
            store.tidy(NOW, aged=True)

    def verify(self) -> Contents:
        found = super().verify()
        self.last = found.state.last
        return found

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

    def expected(self, batches: Sequence[Batch]) -> Contents:
        model = MemoryStreamStore()
        model.put_stream("work", SETTINGS, NOW)
        for batch in batches:
            model.commit(batch, NOW)
        [loaded] = model.open()
        page = model.read("work", 0, ">", 1000, 1 << 30)
        messages = [(one.sequence, one.message.to_json()) for one in page.envelopes]
        return Contents(loaded.state, [plain(one) for one in loaded.consumers], messages)


def plain(progress: Progress) -> tuple[object, ...]:
    return (*progress[:4], [tuple(one) for one in progress.pending], *progress[5:])


if __name__ == "__main__":
    sys.exit(campaign(__doc__, StreamLife, cuts_per_life=20))
