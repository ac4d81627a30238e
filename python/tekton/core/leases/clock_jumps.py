"""What happens to the clocks of the machine: it is suspended, its wall clock is set.

Neither moves anything of ours, because every length is measured on the monotonic clock; both explain a lot to whoever
reads the log. A suspended machine matters to the leases all the same: components elsewhere went on without us.
"""

import logging
from collections import Counter
from typing import Literal

from tekton.clock import Clock

LEAST = 1.0
"""Seconds; less is what two readings and a clock that is being steered differ by."""

Jump = Literal["suspended", "forward", "back"]

_logger = logging.getLogger("tekton.clock")


class ClockJumps:
    """Compares the clocks with each other, each time `look` is called."""

    __slots__ = ("_asleep", "_clock", "_wall", "seen")

    def __init__(self, clock: Clock) -> None:
        self.seen: Counter[Jump] = Counter()
        """How often each kind was seen."""
        self._clock = clock
        self._asleep = self._wall = 0.0
        self.forget()

    def forget(self) -> None:
        """Begin anew: what has happened until now is of no interest."""
        self._asleep = self._clock.asleep()
        self._wall = self._clock.time() - self._clock.monotonic()

    def look(self) -> float:
        """Seconds for which the machine was suspended since the last look; 0.0 when it was not. Logs what it sees."""
        asleep, wall = self._asleep, self._wall
        self.forget()
        slept = self._asleep - asleep if self._asleep - asleep > LEAST else 0.0
        if slept:
            self.seen["suspended"] += 1
            _logger.warning("the machine was suspended for %.1f s", slept)
        set_by = self._wall - wall - slept
        if abs(set_by) > LEAST:
            self.seen["forward" if set_by > 0 else "back"] += 1
            _logger.warning(
                "the wall clock was set %s by %.1f s; leases, timeouts and restarts do not follow it",
                "forward" if set_by > 0 else "back",
                abs(set_by),
            )
        return slept
