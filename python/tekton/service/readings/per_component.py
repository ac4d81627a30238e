"""Metrics with a value for each component, of which there may be very many."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tekton.core.metrics.family import OVERFLOW
from tekton.core.metrics.metrics import Reading

MOST: Final = 500
"""Components that are told apart in one metric. Those that come later are summed, as the component `overflow`."""


class PerComponent:
    """Makes the readings of one pass over components: *most* of them are told apart, the same in all metrics."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: set[str] = set()
        self._rest: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)

    def __call__(self, name: str, component: str, value: float, *labels: str) -> Reading | None:
        """The reading of *component*, or None when it is among those that are summed."""
        if component in self._known or len(self._known) < self._most:
            self._known.add(component)
            return Reading(name, value, (component, *labels))
        self._rest[name, labels] += value
        return None

    def rest(self) -> Iterator[Reading]:
        """What was summed."""
        for (name, labels), value in self._rest.items():
            yield Reading(name, value, (OVERFLOW, *labels))
