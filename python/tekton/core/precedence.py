"""Who goes first where several want one event loop and one disk: the registry does.

While the registry makes a change durable, and a moment after, precedence is *taken*. Whoever has much to do that can
wait a little looks at that, and goes slowly then: in small turns, or with rests between his commits (`Rests`). Never
so slowly that nothing goes: a registry that is changed all the time must not bring everything else to a halt.

Nobody is told when precedence ends. Who waits for it looks again soon.
"""

from typing import Final

from tekton.clock import Clock

MOMENT: Final = 0.004
"""Seconds for which precedence lasts after a change: who has changed something often changes something else next."""
RESTS: Final = 4
"""A rest is so many times as long as the commit before it."""
LONGEST_REST: Final = 0.008
"""Seconds."""


class Precedence:
    """That of one registry."""

    __slots__ = ("_monotonic", "_underway", "_until")

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._underway = 0
        self._until = 0.0

    def begin(self) -> None:
        """A change is on its way to the disk."""
        self._underway += 1

    def end(self) -> None:
        """It has got there, or was refused."""
        self._underway -= 1
        self._until = self._monotonic() + MOMENT

    @property
    def taken(self) -> bool:
        """Whether everybody else is to go slowly now."""
        return self._underway > 0 or self._monotonic() < self._until


class Rests:
    """The rests that a writer takes between his commits while *precedence* is taken.

    They are longer after long commits, which hold up others most; small ones hardly slow down who writes alone.
    """

    __slots__ = ("_began", "_ended", "_monotonic", "_precedence")

    def __init__(self, precedence: Precedence, clock: Clock) -> None:
        self._precedence = precedence
        self._monotonic = clock.monotonic
        self._began = self._ended = 0.0

    def begin(self) -> None:
        """A commit begins."""
        self._began = self._monotonic()

    def end(self) -> None:
        """It has ended."""
        self._ended = self._monotonic()

    @property
    def left(self) -> float:
        """Seconds until the next commit may begin; 0 when that is now."""
        if not self._precedence.taken:
            return 0.0
        rest = min(RESTS * (self._ended - self._began), LONGEST_REST)
        return max(0.0, self._ended + rest - self._monotonic())
