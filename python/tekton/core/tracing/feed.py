"""The spans as they end, for those who watch.

Whoever watches is a position in a short log, so that a slow one costs no memory: what it has missed is passed over, and
it is told how much that was.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

LENGTH: Final = 2000
ROOM: Final = 8 * 1024 * 1024
"""Bytes."""


class Batch(NamedTuple):
    """Spans as JSON, the number of the first of them, and how many before them were missed."""

    first: int
    spans: list[bytes]
    missed: int


class SpanFeed:
    """The last *length* spans, as far as they have *room*, numbered from 1."""

    def __init__(self, length: int = LENGTH, room: int = ROOM) -> None:
        self._log: deque[bytes] = deque()
        self._length = length
        self._room = room
        self._last = 0
        self._news = asyncio.Event()

    def publish(self, spans: Sequence[bytes]) -> None:
        """Add *spans*, each as JSON."""
        if not spans:
            return
        self._log.extend(spans)
        self._room -= sum(map(len, spans))
        while len(self._log) > self._length or self._room < 0:
            self._room += len(self._log.popleft())
        self._last += len(spans)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def watch(self) -> AsyncGenerator[Batch, None]:
        """What is published from this moment on."""
        return self._after(self._last)

    async def _after(self, seen: int) -> AsyncGenerator[Batch, None]:
        while True:
            while seen == self._last:
                await self._news.wait()
            first = max(seen, self._last - len(self._log)) + 1
            batch = Batch(first, list(self._log)[first - self._last - 1 :], first - 1 - seen)
            seen = self._last
            yield batch
