"""Starts that wait for one another.

Declared dependencies cannot go round in circles: the coordinator refuses that before anything starts. But a start
function may wait for components that wait for its own one, and handlers may change while starts are in progress. So
while anything starts, once a second it is asked who waits for whom; of every circle, all starts end, each with the
circle as its reason.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, Protocol

from tekton.core.dependency import DependencyResolver
from tekton.utils.tekton_errors import DependencyError, TektonError

INTERVAL: Final = 1.0
"""Seconds between two looks. Each costs about a microsecond per start and wait."""


class Starting(Protocol):
    """What is asked of a start."""

    def waits_for(self) -> Iterable[str]:
        """The components without which it does not go on; some may be there meanwhile."""
        ...

    def still_waits_for(self, name: str) -> bool:
        """True when it cannot go on at this moment, for want of *name*."""
        ...

    def break_off(self, error: TektonError) -> None:
        """End it with *error*."""
        ...


class DeadlockWatch:
    """Looks at *starts*, the starts in progress by component, as long as there are any."""

    def __init__(self, starts: Mapping[str, Starting]) -> None:
        self._starts = starts
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """There is a start in progress."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def end(self) -> None:
        """Look no more, until the next `begin`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._starts:
            self.begin()
            for circle in list(self._circles()):
                self._break(circle)

    def _circles(self) -> Iterator[Sequence[str]]:
        waits = {name: [*start.waits_for()] for name, start in self._starts.items()}
        for circle in DependencyResolver.resolve_dependencies(waits)[1]:
            edges = pairwise([*circle, circle[0]])
            if all(self._starts[waiter].still_waits_for(name) for waiter, name in edges):
                yield circle

    def _break(self, circle: Sequence[str]) -> None:
        for position, name in enumerate(circle):
            turned = [*circle[position:], *circle[:position]]
            following = turned[1:2] or turned
            self._starts[name].break_off(DependencyError(name, following, describe_deadlock(turned), turned))


def describe_deadlock(circle: Sequence[str]) -> str:
    """`deadlock: a waits for b, which waits for a`."""
    return f"deadlock: {circle[0]} waits for {', which waits for '.join([*circle[1:], circle[0]])}"
