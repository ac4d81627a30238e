"""How calls went lately: counted over the last so many, or over the last so many seconds.

Both cost the same however many calls there are, and forget: the one the oldest call with each new one, the other a
tenth of its time at once (as Resilience4j's partial aggregations do).
"""

from typing import Protocol

from tekton.core.degradation.breaker_settings import BreakerSettings

_FAILED, _SLOW = 1, 2
_SLICES = 10


class Window(Protocol):
    """Counts of calls that are still remembered."""

    calls: int
    failures: int
    slow: int

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call has ended at *now*, in seconds that never go back."""
        ...

    def clear(self) -> None:
        """Forget all calls."""
        ...


class CallWindow:
    """The last *size* calls."""

    __slots__ = ("_next", "_outcomes", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Forget all calls."""
        self._outcomes = bytearray(self._size)
        self._next = self.calls = self.failures = self.slow = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 - the other window needs it
        """A call has ended; the oldest is forgotten when there are too many."""
        outcome = (_FAILED if failed else 0) | (_SLOW if slow else 0)
        place = self._next
        oldest = self._outcomes[place]
        self._next = place + 1 if place + 1 < self._size else 0
        if self.calls < self._size:
            self.calls += 1
        if outcome != oldest:
            self._outcomes[place] = outcome
            self.failures += (outcome & _FAILED) - (oldest & _FAILED)
            self.slow += ((outcome & _SLOW) - (oldest & _SLOW)) // _SLOW


class TimeWindow:
    """The calls of the last *seconds*, or up to a tenth of that less: time passes in slices of a tenth."""

    __slots__ = ("_current", "_length", "_slices", "calls", "failures", "slow")

    def __init__(self, seconds: float) -> None:
        self._length = seconds / _SLICES
        self.clear()

    def clear(self) -> None:
        """Forget all calls."""
        self._slices = [[0, 0, 0] for _ in range(_SLICES)]
        self._current = 0
        self.calls = self.failures = self.slow = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call has ended at *now*; those before the window are forgotten."""
        current = int(now / self._length)
        if current > self._current:
            self._advance(current)
        counts = self._slices[current % _SLICES]
        counts[0] += 1
        self.calls += 1
        if failed or slow:
            counts[1] += failed
            counts[2] += slow
            self.failures += failed
            self.slow += slow

    def _advance(self, current: int) -> None:
        for number in range(max(self._current, current - _SLICES) + 1, current + 1):
            counts = self._slices[number % _SLICES]
            self.calls -= counts[0]
            self.failures -= counts[1]
            self.slow -= counts[2]
            counts[:] = (0, 0, 0)
        self._current = current


def windows_of(settings: BreakerSettings) -> tuple[Window, ...]:
    """The windows that are to be kept; none when no condition looks at one."""
    if not settings.windowed:
        return ()
    calls, seconds = settings.window_calls, settings.window_seconds
    by_count = () if calls is None else (CallWindow(calls),)
    by_time = () if seconds is None else (TimeWindow(seconds),)
    return (*by_count, *by_time)
