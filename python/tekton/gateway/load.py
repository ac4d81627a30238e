"""How long requests wait for their turn, and how much is refused until they wait less.

Of the requests that come, one every `INTERVAL` is asked how long ago it reached this machine (`arrivals`). Where that
is not known, what counts is how long the event loop takes to get round to something. As long as it is more than
`TARGET` the pressure grows, else it falls. Who has given up by then counts as the last one that had not: when everybody
gives up, nobody would be left to say how long it takes. Nothing happens while no requests come.

* Up to a pressure of 0, nothing is refused: a short delay passes by itself.
* From 0 to 1, that share of what is only looked at is refused: lists, documents, new streams and sockets.
* From 1 to 2, all of that, and a share of what changes something.
* What is vital is never refused: health, readiness, heartbeats. Nor is a change that comes through the Unix socket; and
  what is looked at through that counts as a change.

A share, and not all or nothing: so there is always something to do while others are refused. Where fewer than `QUEUE`
requests wait, it is not they who make each other wait, and refusing some would not help. `TARGET` is longer than a full
set of connections (`server.MAX_CONNECTIONS`) waits for ordinary requests: those are held up by not being read, which
costs less than refusing them.
"""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Final, Literal

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.gateway.arrivals import age as age_of
from tekton.gateway.rsgi import Scope

INTERVAL: Final = 0.05
TARGET: Final = 0.25
"""Seconds that a request may wait before it is looked at."""

QUEUE: Final = 32
"""Requests that wait at the same time."""

_STEEPEST: Final = 2.0
"""By so much a second the pressure grows at most; by 1 it falls."""

_AT_ONCE: Final = 0.1
"""Seconds for which the pressure grows at one look, also after a longer time."""

_LEAST: Final = -0.5
_MOST: Final = 2.0

Priority = Literal["vital", "change", "look"]


class Load:
    """The pressure on the running loop.

    *chance* gives numbers from 0 to 1, *age* the seconds since a request between two addresses came, if they are known.
    """

    __slots__ = ("_age", "_arrived", "_chance", "_last", "_monotonic", "_queued", "_waited", "pressure")

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        chance: Callable[[], float] | None = None,
        age: Callable[[str, str], float | None] | None = None,
    ) -> None:
        self._monotonic = clock.monotonic
        self._chance = chance or random.Random().random
        self._age = age or age_of
        self._arrived = 0
        self._last = self._monotonic()
        self._queued = 0.0
        self._waited = 0.0
        self.pressure = _LEAST

    @property
    def waited(self) -> float:
        """Seconds that the request which was asked last had waited for its turn."""
        return max(self._waited, self._queued)

    def arrive(self, scope: Scope) -> None:
        """A request has come."""
        self._arrived += 1
        if (now := self._monotonic()) - self._last >= INTERVAL:
            self._look(scope, now)

    def sheds(self, priority: Priority) -> bool:
        """Whether a request of that priority is to be refused now."""
        if priority == "vital" or self.pressure <= 0:
            return False
        return self._chance() < self.pressure - (1.0 if priority == "change" else 0.0)

    def _look(self, scope: Scope, now: float) -> None:
        elapsed, self._last = now - self._last, now
        arrived, self._arrived = self._arrived, 0
        age = self._age(scope.client, scope.server)
        if age is not None and age < math.inf:
            self._waited = age
        self.adjust(self._waited if age is not None else self._queued, arrived / elapsed, elapsed)
        if age is None:
            asyncio.get_running_loop().call_soon(self._passed, now)

    def _passed(self, queued: float) -> None:
        self._queued = self._monotonic() - queued

    def adjust(self, waited: float, rate: float, elapsed: float) -> None:
        """In the last *elapsed* seconds *rate* requests came a second, and one of them has waited for *waited* seconds.

        By Little's law the product of those is how many wait.
        """
        if waited > TARGET and waited * rate >= QUEUE:
            change = min(waited / TARGET - 1.0, _STEEPEST) * min(elapsed, _AT_ONCE)
        else:
            change = -elapsed
        self.pressure = min(max(self.pressure + change, _LEAST), _MOST)
