"""The only reader of clocks.

Everything that needs the time takes a `Clock`, so that tests (and `tekton.testing.ManualClock`) can move it.
"""

import time
from typing import Protocol

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Two instants, one for people, one for measuring; and what the second does not measure."""

    def time(self) -> float:
        """Wall-clock time, in seconds since the Unix epoch. May jump; never used to measure a length."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back and does not run while the machine is suspended."""
        ...

    def boottime(self) -> float:
        """Seconds on a clock that never goes back and runs on while the machine is suspended.

        It is `monotonic` where the operating system does not tell. Not `monotonic() + asleep()`: these are read one
        after the other, and a sum of readings between which something else ran may go back.
        """
        ...

    def asleep(self) -> float:
        """Seconds for which the machine has been suspended, counted from anywhere: only the growth means something.

        Always 0 where the operating system does not tell. Steps of less than a millisecond are noise.
        """
        ...


class SystemClock:
    """The clocks of the operating system."""

    __slots__ = ()

    # Every heartbeat asks for it, and a method that only calls another costs as much again.
    monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        return time.time()

    def boottime(self) -> float:
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    def asleep(self) -> float:
        return 0.0 if _BOOTTIME is None else time.clock_gettime(_BOOTTIME) - time.monotonic()


SYSTEM_CLOCK: Clock = SystemClock()
"""The clock of the machine: the default wherever a clock can be given."""
