"""Which traces are recorded.

* Who sends a `traceparent` has decided: we follow.
* Of the traces that begin here, the share *ratio* is recorded, chosen by the trace id, as OpenTelemetry does: all
  programs with the same ratio choose the same ones.
* And only so many a second, whatever the ratio: a flood of requests is not to become a flood of spans. The same holds
  for the requests of others that are to be recorded. What this leaves out costs next to nothing and leaves no trace.
"""

from collections.abc import Callable
from typing import Final

NEW_TRACES: Final = (20.0, 100.0)
"""Traces a second that begin here, and how many at once after a pause."""
JOINED: Final = (500.0, 1000.0)
"""Requests a second that belong to a trace of somebody else, and how many at once."""

_WHOLE: Final = 2**64


class Allowance:
    """So many a second, and *burst* at once: a token bucket."""

    __slots__ = ("_at", "_burst", "_left", "_monotonic", "_rate")

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._monotonic = monotonic
        self._at = monotonic()

    def take(self) -> bool:
        """Take one; False when there is none."""
        if self._left < 1.0:
            now = self._monotonic()
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True


class Sampler:
    """Decides for one process."""

    def __init__(
        self,
        ratio: float,
        monotonic: Callable[[], float],
        *,
        new_traces: tuple[float, float] = NEW_TRACES,
        joined: tuple[float, float] = JOINED,
    ) -> None:
        self.ratio = ratio
        self._begun = Allowance(*new_traces, monotonic)
        self._joined = Allowance(*joined, monotonic)

    def may_begin(self) -> bool:
        """True when one more trace may begin now; `chooses` has still to be asked about its id."""
        return self.ratio > 0 and self._begun.take()

    def may_join(self) -> bool:
        """True when one more span of a trace that is recorded elsewhere may be recorded here."""
        return self.ratio > 0 and self._joined.take()

    def chooses(self, trace_id: str) -> bool:
        """True when the trace with that id is among those that are recorded."""
        # Its last 8 bytes: of the whole id, only those are random for sure.
        return self.ratio >= 1.0 or int(trace_id[16:], 16) < self.ratio * _WHOLE
