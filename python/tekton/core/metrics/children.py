"""The values behind metrics: one child for each label set. They may be used from any thread.

A child is kept by who records often: finding it costs more than the record. A record may come in the middle of another
one of the same thread, from a signal handler or a finalizer: so the locks are reentrant. Values are checked here, where
they come in: what is no finite number is refused with the name of the metric, and changes nothing.
"""

import math
import threading
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tekton.utils.tekton_errors import InvalidMetricError

if TYPE_CHECKING:
    from tekton.core.metrics.declaration import Metric

_PLAIN: Final = frozenset({int, float})
_LARGEST: Final = 1e300


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram or summary has seen. `buckets`: how many fell between the bounds, the last one above all."""

    count: int
    sum: float
    buckets: tuple[int, ...] = ()


Value = float | Distribution
"""A number for counters and gauges, a Distribution for histograms and summaries."""


class Child:
    """The value of one label set of one metric."""

    __slots__ = ("_lock", "_name")

    def __init__(self, metric: "Metric") -> None:
        self._name = metric.name
        self._lock = threading.RLock()

    def record(self, value: float) -> None:
        """Count *value* on (counter), set it (gauge) or observe it. Raises InvalidMetricError."""
        raise NotImplementedError

    def read(self) -> Value:
        """The value now."""
        raise NotImplementedError

    def _checked(self, value: float, least: float = -_LARGEST) -> float:
        if isinstance(value, bool):
            raise InvalidMetricError(self._name, f"{value!r} is no number")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidMetricError(self._name, f"{str(value)[:40]!r} is no number that can be recorded") from None
        if not -_LARGEST <= number <= _LARGEST:
            raise InvalidMetricError(self._name, f"{number!r} is no finite number")
        if number < least:
            raise InvalidMetricError(self._name, f"it counts up only; {number!r} would be down")
        return number


class Counter(Child):
    """Counts up, from 0."""

    __slots__ = ("_value",)

    def __init__(self, metric: "Metric") -> None:
        super().__init__(metric)
        self._value = 0.0

    def inc(self, value: float = 1) -> None:
        """Count *value*, which is not negative. Raises InvalidMetricError."""
        if type(value) not in _PLAIN or not 0 <= value <= _LARGEST:
            value = self._checked(value, 0.0)
        with self._lock:
            self._value += value

    record = inc

    def read(self) -> float:
        return self._value


class Gauge(Child):
    """Goes up and down."""

    __slots__ = ("_value",)

    def __init__(self, metric: "Metric") -> None:
        super().__init__(metric)
        self._value = 0.0

    def record(self, value: float) -> None:
        """Be *value* from now on. Raises InvalidMetricError."""
        if type(value) not in _PLAIN or not -_LARGEST <= value <= _LARGEST:
            value = self._checked(value)
        with self._lock:
            self._value = value

    set = record

    def inc(self, value: float = 1) -> None:
        """Be more by *value*. Raises InvalidMetricError."""
        if type(value) not in _PLAIN or not -_LARGEST <= value <= _LARGEST:
            value = self._checked(value)
        with self._lock:
            self._value += value

    def dec(self, value: float = 1) -> None:
        """Be less by *value*. Raises InvalidMetricError."""
        self.inc(-self._checked(value))

    def read(self) -> float:
        return self._value


class Summary(Child):
    """How many there were, and their sum."""

    __slots__ = ("_count", "_sum")

    def __init__(self, metric: "Metric") -> None:
        super().__init__(metric)
        self._count = 0
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take *value* in. Raises InvalidMetricError."""
        if type(value) not in _PLAIN or not -_LARGEST <= value <= _LARGEST:
            value = self._checked(value)
        with self._lock:
            self._count += 1
            self._sum += value

    record = observe

    def read(self) -> Distribution:
        with self._lock:
            return Distribution(self._count, self._sum)


class Histogram(Child):
    """How many there were up to each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, metric: "Metric") -> None:
        super().__init__(metric)
        self._bounds = metric.buckets
        self._counts = [0] * (len(metric.buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take *value* in. Raises InvalidMetricError. O(log buckets)."""
        if type(value) not in _PLAIN or not -_LARGEST <= value <= _LARGEST:
            value = self._checked(value)
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    record = observe

    def read(self) -> Distribution:
        with self._lock:
            counts = tuple(self._counts)
            return Distribution(sum(counts), self._sum, counts)


def add(one: Value, other: Value) -> Value:
    """Both together, for label sets that are shown as one."""
    if not isinstance(one, Distribution):
        assert not isinstance(other, Distribution)
        return one + other
    assert isinstance(other, Distribution)
    buckets = tuple(mine + theirs for mine, theirs in zip(one.buckets, other.buckets, strict=True))
    return Distribution(one.count + other.count, one.sum + other.sum, buckets)


def number(value: float) -> float:
    """What somebody gives for a number, as a float: what is too large for one is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
