"""What waits for one reader of a bus client: bounded, and what becomes of the rest is declared (`Policy`)."""

import asyncio
from collections import OrderedDict
from typing import Final

from tekton.bus.bus import Limits, Policy
from tekton.bus.envelope import Envelope

__all__ = ["UNKNOWN", "Mailbox"]

UNKNOWN: Final = -1
"""A gap of which nobody knows how many messages it has."""


class _Waiting:
    """A message that waits, behind a gap of so many messages."""

    __slots__ = ("envelope", "gap", "size")

    def __init__(self, envelope: Envelope, gap: int, size: int) -> None:
        self.envelope = envelope
        self.gap = gap
        self.size = size


class Mailbox:
    """Messages in order, with the gaps between them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._conflates = limits.policy is Policy.CONFLATE
        self._waiting: OrderedDict[int | str, _Waiting] = OrderedDict()
        self._came = 0
        self._size = 0
        self._gap = 0
        self._news = asyncio.Event()
        self._closed = False
        self.error: BaseException | None = None
        self.passed = 0
        """How many were passed over, in all; a gap of unknown size counts as one."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """True when it holds what it may, or more."""
        return len(self._waiting) >= self._limits.messages or self._size >= self._limits.size

    @property
    def half_empty(self) -> bool:
        """True when there is room for half of what it may hold."""
        return len(self._waiting) <= self._limits.messages // 2 and self._size <= self._limits.size // 2

    def put(self, envelope: Envelope, size: int) -> bool:
        """Let a message of *size* bytes wait. False when that is too much, and the policy is to cut who is slow."""
        if self._closed:
            return True
        self._came += 1
        key = envelope.subject if self._conflates else self._came
        if (older := self._waiting.pop(key, None)) is not None:
            # It is not missed: who reads wants the newest only.
            self._size -= older.size
            self._gap = _sum(self._gap, older.gap)
        while self._waiting and self._too_much(size):
            if self._limits.policy is Policy.DISCONNECT:
                return False
            self._drop_oldest()
        self._waiting[key] = _Waiting(envelope, self._gap, size)
        self._gap = 0
        self._size += size
        self._news.set()
        return True

    def add(self, envelope: Envelope, size: int) -> None:
        """Let a message wait, however many there are: who adds has looked whether it is `full`."""
        if self._closed:
            return
        self._came += 1
        self._waiting[self._came] = _Waiting(envelope, self._gap, size)
        self._gap = 0
        self._size += size
        self._news.set()

    def skip(self, lost: int) -> None:
        """So many messages, or `UNKNOWN`, are missing here."""
        self._gap = _sum(self._gap, lost)
        self.passed += abs(lost)

    def close(self, error: BaseException | None = None, *, keep: bool = False) -> None:
        """Nothing more comes in. Readers get what waits, and then *error*; without one the rest is forgotten, unless it
        is to be kept.
        """
        if self._closed:
            return
        self._closed, self.error = True, error
        if error is None and not keep:
            self._waiting.clear()
        self._news.set()

    async def wait(self) -> bool:
        """Return when something waits; False when nothing ever will. Raises what it was closed with."""
        while not self._waiting:
            if self.error is not None:
                raise self.error
            if self._closed:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def take(self) -> tuple[int, Envelope]:
        """The oldest message, and the gap before it. Something has to wait."""
        _, waiting = self._waiting.popitem(last=False)
        self._size -= waiting.size
        return waiting.gap, waiting.envelope

    def take_all(self) -> tuple[int, list[Envelope]]:
        """The oldest messages up to the next gap, and the gap before them. Something has to wait."""
        gap, first = self.take()
        batch = [first]
        while self._waiting and not next(iter(self._waiting.values())).gap:
            batch.append(self.take()[1])
        return gap, batch

    def _too_much(self, size: int) -> bool:
        return len(self._waiting) >= self._limits.messages or self._size + size > self._limits.size

    def _drop_oldest(self) -> None:
        gap, _ = self.take()
        gap = _sum(gap, 1)
        self.passed += 1
        if self._waiting:
            following = next(iter(self._waiting.values()))
            following.gap = _sum(following.gap, gap)
        else:
            self._gap = _sum(self._gap, gap)


def _sum(gap: int, more: int) -> int:
    return UNKNOWN if UNKNOWN in (gap, more) else gap + more
