"""Answers that were given, so that a request which comes again gets the same one, and is carried out once.

While the first one is being worked on, whoever sends the same request waits for its answer. What was answered is kept
for a while, within bounds: the oldest goes first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.mcp.message import Message

__all__ = ["Answered", "Answers"]


class Answered(NamedTuple):
    """What came of a request. *final*: to do it again would be wrong, so the answer is kept; else nothing was done."""

    message: Message | None
    final: bool = True


class _Kept(NamedTuple):
    message: Message | None
    until: float
    size: int


_UNWRITABLE = 1024 * 1024
"""How many bytes a message counts that cannot be written: as many as one may have at most."""


class Answers:
    """Answers by key, kept for *window* seconds, at most *most* of them, together at most *size* bytes."""

    def __init__(
        self, window: float = 300.0, most: int = 10_000, size: int = 16 * 1024 * 1024, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._window = window
        self._most = most
        self._most_bytes = size
        self._clock = clock
        self._running: dict[Hashable, asyncio.Future[Message | None]] = {}
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return self._size

    async def once(
        self, key: Hashable, work: Callable[[], Awaitable[Answered]], timeout: float | None = None
    ) -> Message | None:
        """The answer to the request *key*: the one that was given, or is being worked on, else that of *work*.

        When whoever works on it is cancelled, one of those who wait takes over. Raises TimeoutError when somebody else
        is not done with it within *timeout* seconds.
        """
        async with asyncio.timeout(timeout):
            while (running := self._running.get(key)) is not None:
                await asyncio.wait({running})
                if not running.cancelled():
                    return running.result()
        self._expire()
        if (kept := self._kept.get(key)) is not None:
            return kept.message
        return await self._first(key, work)

    async def _first(self, key: Hashable, work: Callable[[], Awaitable[Answered]]) -> Message | None:
        running = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            answered = await work()
        except BaseException:
            running.cancel()
            raise
        finally:
            del self._running[key]
        if answered.final:
            self._keep(key, answered.message)
        running.set_result(answered.message)
        return answered.message

    def _keep(self, key: Hashable, message: Message | None) -> None:
        size = 0 if message is None else _size(message)
        self._kept[key] = _Kept(message, self._clock.monotonic() + self._window, size)
        self._size += size
        while len(self._kept) > self._most or self._size > self._most_bytes:
            self._drop()

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._drop()

    def _drop(self) -> None:
        _, kept = self._kept.popitem(last=False)
        self._size -= kept.size


def _size(message: Message) -> int:
    try:
        return len(message.to_json())
    except Exception:  # to refuse it is a matter of whoever sends it
        return _UNWRITABLE
