"""The only reader of clocks.

Everything that needs the time takes a `Clock`, so that tests (and `tekton.testing.ManualClock`) can move it.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Two instants: one for people, one for measuring."""

    def time(self) -> float:
        """Wall-clock time, in seconds since the Unix epoch. May jump; never used to measure a length."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back and does not run while the machine is suspended."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    __slots__ = ()

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK: Clock = SystemClock()
