"""A histogram for one writer: what is counted where every microsecond counts, and read when somebody looks."""

from bisect import bisect_left
from collections.abc import Sequence

from tekton.core.metrics.children import Distribution


class Tally:
    """Counts values between *bounds*, the upper ones of its buckets, which grow.

    Without a lock: one thread writes at a time. Who reads in another may miss the value that comes at that moment.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take *value* in. Nothing is checked. O(log bounds)."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> Distribution:
        """What was seen so far."""
        counts = tuple(self._counts)
        return Distribution(sum(counts), self._sum, counts)
