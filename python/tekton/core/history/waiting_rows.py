"""Rows that wait for the disk: a queue that never blocks and never grows beyond its limit."""

import threading
from collections import deque
from collections.abc import Sequence

from tekton.core.history.store import Row, is_timed, size_of


class WaitingRows:
    """The newest rows of *limit* bytes. One thread puts, another one takes.

    `total` counts what came, `dropped` what of it was lost.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: deque[Row] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self.dropped = 0
        self.total = 0

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, rows: Sequence[Row]) -> None:
        """Add *rows*, but for those that have no time."""
        with self._lock:
            self.total += len(rows)
            for row in rows:
                if is_timed(row):
                    self._rows.append(row)
                    self._size += size_of(row)
                else:
                    self.dropped += 1
            self._trim()

    def refuse(self, count: int) -> None:
        """Note that *count* rows came too late."""
        with self._lock:
            self.total += count
            self.dropped += count

    def lost(self, count: int) -> None:
        """Note that *count* rows that were taken are no more."""
        with self._lock:
            self.dropped += count

    def take(self, count: int, size_bytes: int) -> list[Row]:
        """Take up to *count* rows of *size_bytes*, but at least one if there is any, oldest first."""
        taken: list[Row] = []
        with self._lock:
            while self._rows and len(taken) < count and (not taken or size_bytes > 0):
                row = self._rows.popleft()
                taken.append(row)
                self._size -= size_of(row)
                size_bytes -= size_of(row)
        return taken

    def put_back(self, rows: Sequence[Row]) -> None:
        """Give back what was taken."""
        with self._lock:
            self._rows.extendleft(reversed(rows))
            self._size += sum(map(size_of, rows))
            self._trim()

    def rows(self) -> list[Row]:
        """What waits, oldest first."""
        with self._lock:
            return list(self._rows)

    def _trim(self) -> None:
        while self._size > self._limit:
            self._size -= size_of(self._rows.popleft())
            self.dropped += 1
