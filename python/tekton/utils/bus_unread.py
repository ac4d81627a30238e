"""The deliveries that have come to one who consumes, and that nobody has begun with.

They were asked for because they were about to be taken (`bus_demand`). While they wait, their ack_wait runs and nobody
else can have them; so when the oldest has waited for too long, all are given back.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tekton.bus.envelope import Envelope

__all__ = ["Unread"]

_PATIENCE: Final = 1.0
"""Seconds for which one may wait: ten times as long as it was meant to."""
_PART: Final = 3
"""And no longer than one part in so many of the ack_wait: whoever takes it has the rest."""


class Unread:
    """Deliveries in order. *give_back* gets all that are here when the oldest has waited for too long."""

    def __init__(self, give_back: Callable[[list[Envelope]], None]) -> None:
        self.ack_wait = math.inf
        """Of the consumer, which is not known before there are deliveries."""
        self._give_back = give_back
        self._waiting: deque[tuple[float, Envelope]] = deque()
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, envelopes: Sequence[Envelope]) -> None:
        """These have come."""
        now = self._loop.time()
        self._waiting.extend((now, envelope) for envelope in envelopes)
        self._watch()

    def take(self, count: int) -> list[Envelope]:
        """The oldest *count*: somebody begins with them."""
        return [self._waiting.popleft()[1] for _ in range(count)]

    def take_all(self) -> list[Envelope]:
        """All of them."""
        return self.take(len(self._waiting))

    def look(self) -> None:
        """Give back what has waited for too long, also where the event loop had no time to tell."""
        if self._waiting and self._waiting[0][0] + self._patience <= self._loop.time():
            self._give_back(self.take_all())

    def close(self) -> None:
        """Forget all that are here. Twice does nothing."""
        self._waiting.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    @property
    def _patience(self) -> float:
        return min(_PATIENCE, self.ack_wait / _PART)

    def _watch(self) -> None:
        # Not set anew with each that is taken: it looks then how long the oldest has to wait.
        if self._alarm is None and self._waiting:
            self._alarm = self._loop.call_at(self._waiting[0][0] + self._patience, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.look()
        self._watch()
