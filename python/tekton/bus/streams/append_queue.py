"""What is published and not yet with the store: in order, and bounded."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tekton.bus.streams.store import Placed, Put
from tekton.utils.tekton_errors import BusBusyError, TektonError

MAX_BATCH: Final = 512
MAX_BATCH_BYTES: Final = 1024 * 1024
"""A batch ends before the entry with which it would have more; one entry always fits."""
MAX_WAITING: Final = 8192
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""What waits for the disk at most, in messages and in bytes of JSON. Who comes then waits outside."""
PATIENCE: Final = 5.0
"""Seconds that somebody waits outside before he is told that the disk does not keep up."""


class Entry:
    """What one call publishes, or a part of it; *done* gets its places."""

    __slots__ = ("done", "patience", "puts", "size")

    def __init__(self, puts: Sequence[Put], done: "asyncio.Future[list[Placed]]") -> None:
        self.puts = puts
        self.size = sum(len(put.body) for put in puts)
        self.done = done
        self.patience: asyncio.TimerHandle | None = None

    def fail(self, error: TektonError) -> None:
        """Tell that it was not stored."""
        if not self.done.done():
            self.done.set_exception(error)


class AppendQueue:
    """Entries, and outside those for which there is no room. *ready* is called when there is one to take.

    `waiting` counts the messages of the former, `refused` those that were not stored.
    """

    def __init__(self, ready: Callable[[], None]) -> None:
        self.waiting = self.refused = 0
        self._ready = ready
        self._entries: deque[Entry] = deque()
        self._outside: deque[Entry] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry, *, bounded: bool) -> None:
        """Take *entry*, or let it wait outside. It fails with BusBusyError when it has to wait there for long."""
        if bounded and (self._outside or not self._has_room(entry)):
            entry.patience = asyncio.get_running_loop().call_later(PATIENCE, self._give_up, entry)
            self._outside.append(entry)
        else:
            self._admit(entry)

    def take_batch(self) -> list[Entry]:
        """Remove and return the oldest entries, as many as make one batch."""
        taken: list[Entry] = []
        count = size = 0
        while self._entries:
            entry = self._entries[0]
            count, size = count + len(entry.puts), size + entry.size
            if taken and (count > MAX_BATCH or size > MAX_BATCH_BYTES):
                break
            taken.append(self._entries.popleft())
            self.waiting -= len(entry.puts)
            self._size -= entry.size
        self._let_in()
        return taken

    def refuse(self, entries: Sequence[Entry], error: TektonError) -> None:
        """Tell *error* to *entries*, which were taken, and to all that came behind them."""
        for entry in (*entries, *self._entries, *self._outside):
            if entry.patience is not None:
                entry.patience.cancel()
            entry.fail(error)
            self.refused += len(entry.puts)
        self._entries.clear()
        self._outside.clear()
        self.waiting = self._size = 0

    def _has_room(self, entry: Entry) -> bool:
        if not self._entries:
            return True
        return self.waiting + len(entry.puts) <= MAX_WAITING and self._size + entry.size <= MAX_WAITING_BYTES

    def _admit(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.waiting += len(entry.puts)
        self._size += entry.size
        self._ready()

    def _let_in(self) -> None:
        while self._outside and self._has_room(self._outside[0]):
            entry = self._outside.popleft()
            if entry.patience is not None:
                entry.patience.cancel()
            if not entry.done.cancelled():
                self._admit(entry)

    def _give_up(self, entry: Entry) -> None:
        self._outside.remove(entry)
        entry.fail(BusBusyError(PATIENCE))
        self.refused += len(entry.puts)


def parts(puts: Sequence[Put]) -> Iterator[list[Put]]:
    """*puts* in order, in parts that fit into a batch."""
    part: list[Put] = []
    size = 0
    for put in puts:
        size += len(put.body)
        if part and (len(part) == MAX_BATCH or size > MAX_BATCH_BYTES):
            yield part
            part, size = [], len(put.body)
        part.append(put)
    if part:
        yield part
