"""The clock that leases run on.

Leases are counted in ticks of a fixed length. The clock takes at most two ticks per step, so time in which this
process did not run (a pause, a blocked loop, a suspended machine) does not count against anybody. It never runs
faster than real time, and instants are rounded up to a tick; together: a lease never runs out before its timeout,
and in a process that runs at most one tick after it.

Instants are integer nanoseconds inside, so that no rounding of a float expires anybody early.
"""

import math

MAX_TICK = 0.25
MIN_TICK = 0.01
TICKS_PER_TIMEOUT = 20
MAX_TICKS_PER_STEP = 2

_NS = 1_000_000_000
_MARGIN = 1e-6
_MOST_TICKS = 2**31


class LeaseClock:
    """Ticks for leases of *timeout* seconds. A tick is a whole fraction of the timeout: 10 to 250 ms, about."""

    __slots__ = ("_after", "_anchor", "_before", "_tick", "position", "timeout_ticks")

    def __init__(self, timeout: float, now: float) -> None:
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("a heartbeat timeout is a positive number of seconds")
        longest = max(min(MAX_TICK, timeout / TICKS_PER_TIMEOUT), MIN_TICK)
        # A hair less than the ratio, so that 5.0 / 0.25 is twenty and not twenty-one.
        self.timeout_ticks = max(1, math.ceil(timeout / longest - 1e-6))
        self._tick = -(-_ns(timeout) // self.timeout_ticks)
        self.position = 0
        self._anchor_at(_ns(now))

    @property
    def tick(self) -> float:
        """The length of a tick in seconds."""
        return self._tick / _NS

    def ticks(self, seconds: float) -> int:
        """The ticks of a lease of another length: no shorter than *seconds*."""
        return min(max(1, -(-_ns(seconds) // self._tick)), _MOST_TICKS)

    def restart(self, now: float) -> None:
        """Go on from *now* without counting what has passed: nobody had a lease meanwhile."""
        self._anchor_at(_ns(now))

    def step(self, now: float) -> float:
        """Move `position` on to *now*; the seconds that were left out, if it was late by more than a tick, else 0."""
        elapsed = (_ns(now) - self._anchor) // self._tick
        if elapsed < 0:
            return 0.0
        late = max(0, _ns(now) - self._anchor - MAX_TICKS_PER_STEP * self._tick)
        self.position += min(elapsed, MAX_TICKS_PER_STEP)
        self._anchor_at(_ns(now) if late else self._anchor + elapsed * self._tick)
        return late / _NS

    def round_up(self, now: float) -> int:
        """The first tick that is not before *now*. A lease of `timeout_ticks` from it lasts the whole timeout."""
        if self._after < now < self._before:
            return self.position + 1
        elapsed = -((self._anchor - _ns(now)) // self._tick)
        return self.position + min(max(elapsed, 0), MAX_TICKS_PER_STEP)

    def _anchor_at(self, anchor: int) -> None:
        self._anchor = anchor
        # Between these, nearly always, the next tick is the first one: a heartbeat need not calculate.
        self._after = anchor / _NS + _MARGIN
        self._before = (anchor + self._tick) / _NS - _MARGIN

    def until_next(self, now: float) -> float:
        """Seconds from *now* to the next tick; 0 when it is due."""
        return max(0, self._anchor + self._tick - _ns(now)) / _NS


def _ns(seconds: float) -> int:
    return round(seconds * _NS)
