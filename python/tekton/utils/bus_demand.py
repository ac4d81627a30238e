"""How many deliveries one who consumes lets come: as many as he wants now, and what he will want in a moment.

What waits at a reader grows old: its ack_wait runs, and nobody else can have it. So no more is asked for beforehand
than is taken within a tenth of a second, at the pace of the last ones; who works slowly gets one at a time. When one
takes much longer than those before, what waits is given back (`bus_unread`), and no more comes until he is done.
"""

from typing import Final

__all__ = ["AHEAD", "MOST", "Demand"]

AHEAD: Final = 0.1
"""Seconds of work that are asked for beforehand."""
MOST: Final = 64
"""Deliveries that may be on their way, or wait, for a reader who takes one at a time."""
_SMOOTHING: Final = 0.2


class Demand:
    """The credit of one consumption. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._given = 0
        self._batch = 1
        self._pace: float | None = None
        self._taken_at: float | None = None
        self._paused = False

    def begin(self) -> int:
        """There is a new connection: the credit to begin with."""
        self._given = self._batch if self._paused else self._target
        return self._given

    def came(self, count: int) -> None:
        """So many have come."""
        self._given -= count

    def asked(self, now: float, most: int = 1) -> None:
        """The reader has done with what he took last, and wants up to *most*."""
        self._batch = most
        if self._taken_at is not None:
            taken, self._taken_at = now - self._taken_at, None
            before = taken if self._pace is None or self._paused else self._pace
            self._pace = before + _SMOOTHING * (taken - before)
        self._paused = False

    def took(self, now: float) -> None:
        """The reader has what he wanted."""
        self._taken_at = now

    def pause(self) -> int:
        """The reader lets wait what is here: nothing more until he has done. How much credit to take back."""
        self._paused = True
        less = max(0, self._given)
        self._given -= less
        return less

    def more(self, waiting: int) -> int:
        """How much credit to give when so many wait here; 0 for none yet."""
        if self._paused:
            return 0
        missing = self._target - self._given - waiting
        if missing <= self._target // 2:
            return 0
        self._given += missing
        return missing

    @property
    def _target(self) -> int:
        if self._pace is None:
            return self._batch
        # The pace is that of whole batches.
        ahead = self._batch * AHEAD / max(self._pace, 1e-6)
        return max(self._batch, min(MOST, int(ahead)))
