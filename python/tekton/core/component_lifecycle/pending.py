"""What waits for the store, in the order in which it was accepted, and how much of it there may be.

Sizes are estimates of the JSON of the records that go to the store, and so of most of what they cost in memory.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from tekton.core.component_lifecycle.steps import Before, Fact, Key, Step
from tekton.core.events import can_be_told
from tekton.core.lifecycle import Change, ComponentRecord
from tekton.utils.tekton_errors import StorageError

MAX_BATCH = 512
MAX_BATCH_BYTES = 1024 * 1024
"""A batch ends before the entry with which it would have more; one entry always fits."""
MAX_PENDING = 16_384
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""From here on commands are refused. Observations are not: what has happened has happened."""

_SMALL = 512
"""Bytes that a record without a reason or metadata, and with few names, is counted as."""
_FEW = 8

_encode = msgspec.json.Encoder().encode


class Entry:
    """Steps that become visible together: a command with its callers, or an observation (*fact*) that has to wait."""

    __slots__ = ("before", "callers", "changes", "fact", "key", "size", "steps")

    def __init__(self, key: Key, steps: Sequence[Step], before: Sequence[Before], fact: Fact | None = None) -> None:
        self.key = key
        self.steps = steps
        self.before = before
        self.fact = fact
        self.callers: list[asyncio.Future[None]] = []
        self.changes: list[Change] = []
        # The steps of one entry write much the same record over again.
        self.size = _size(steps[0].record) * len(steps) if steps else 0

    def new_caller(self) -> "asyncio.Future[None]":
        """A future that is done when the entry is published, and fails when it is refused."""
        caller = asyncio.get_running_loop().create_future()
        self.callers.append(caller)
        return caller

    def answer(self, error: StorageError | None) -> None:
        """Tell the callers that the entry is published, or why it is not."""
        for caller in self.callers:
            if not can_be_told(caller):
                continue
            if error is None:
                caller.set_result(None)
            else:
                caller.set_exception(error)


def _size(record: ComponentRecord) -> int:
    # Encoding takes longer than everything else here, and nearly all are small.
    if record.metadata or record.reason or len(record.capabilities) + len(record.dependencies) > _FEW:
        return len(_encode(record))
    return _SMALL


class Pending:
    """The entries that no batch has taken yet."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def crowded(self) -> bool:
        """True when there is no room for another command."""
        return len(self._entries) >= MAX_PENDING or self._size >= MAX_PENDING_BYTES

    def append(self, entry: Entry) -> None:
        """Add *entry*, whether or not there is room."""
        self._entries.append(entry)
        self._size += entry.size

    def take_batch(self) -> list[Entry]:
        """Remove and return the oldest entries, as many as make one batch."""
        batch: list[Entry] = []
        size = 0
        while self._entries and len(batch) < MAX_BATCH:
            size += self._entries[0].size
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._entries.popleft())
        self._size -= sum(entry.size for entry in batch)
        return batch

    def take_all(self) -> list[Entry]:
        """Remove and return everything."""
        entries, self._entries, self._size = list(self._entries), deque(), 0
        return entries
