"""History of numbers in fixed memory: rings of slots at several resolutions.

    series = Series()
    series.append(position(clock), 0.42)
    now = position(clock)
    series.window(now - 600, now)     # Window(since=…, step=1.0, mean=(0.42, None, …), …)

A value goes into one slot of each ring. The finest ring keeps the last value of a slot, the coarser ones the least, the
mean and the most of all that came in a slot. A slot into which nothing came is a gap and reads as None: nothing is
interpolated, so that an outage of what was measured looks like one.

Slots are found by a *position* (seconds on a clock that never goes back, time in suspend included), never by the wall
clock: `position` tells the present one, and `wall_time` when one was, for people. So a step of the wall clock, in
either direction, moves what is shown and loses nothing. A position before the newest one counts as the newest.
"""

import math
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tekton.clock import Clock

_LARGEST: Final = 3.4e38
_GAP: Final = math.nan


class Resolution(NamedTuple):
    """*length* slots of *step* seconds each."""

    step: float
    length: int

    @property
    def reach(self) -> float:
        """Seconds that are kept."""
        return self.step * self.length


RESOLUTIONS: Final = (Resolution(1.0, 3600), Resolution(10.0, 2160), Resolution(60.0, 2880))
"""An hour by the second, six hours by ten seconds, two days by the minute: 87 KiB for each series."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was between two positions, in slots of *step* seconds from the position *since* on; None is a gap.

    In the finest resolution the three are the same.
    """

    since: float
    step: float
    mean: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


def position(clock: Clock) -> float:
    """Where on the way of time we are: seconds since some moment, those that the machine slept included."""
    return clock.boottime()


def wall_time(clock: Clock, at: float) -> float:
    """When the position *at* was, by what the wall clock says now: seconds since the Unix epoch."""
    return clock.time() - (position(clock) - at)


def resolutions_for(interval: float) -> tuple[Resolution, ...]:
    """Resolutions for values that come every *interval* seconds: an hour's worth of them, then the coarser ones."""
    if interval == RESOLUTIONS[0].step:
        return RESOLUTIONS
    coarser = [one for one in RESOLUTIONS if one.step > interval]
    return (Resolution(interval, RESOLUTIONS[0].length), *coarser)


class Series:
    """One number over time. Not for several threads at once; see `SeriesSet`.

    Values are kept as 64-bit floats in the finest ring, and as 32-bit floats (seven digits) in the others. What is not
    finite, or larger than these can hold, is left out. `append` costs about 2 µs.
    """

    __slots__ = ("_coarse", "_fine", "_newest")

    def __init__(self, resolutions: Sequence[Resolution] = RESOLUTIONS) -> None:
        """*resolutions* from the finest to the coarsest. Raises ValueError when there is none or the order is wrong."""
        steps = [one.step for one in resolutions]
        if not steps or steps != sorted(set(steps)) or steps[0] <= 0:
            raise ValueError("resolutions go from the finest to the coarsest")
        self._fine = _Last(resolutions[0])
        self._coarse = [_Summary(one) for one in resolutions[1:]]
        self._newest = -math.inf

    @property
    def newest(self) -> float:
        """The position of the newest value; minus infinity before the first one."""
        return self._newest

    @property
    def size_bytes(self) -> int:
        """The memory that the slots take. It does not grow."""
        return self._fine.size_bytes + sum(ring.size_bytes for ring in self._coarse)

    def append(self, at: float, value: float) -> None:
        """Take in *value*, which was measured at the position *at*."""
        if not -_LARGEST < value < _LARGEST:
            return
        self._newest = at = max(at, self._newest)
        self._fine.put(at, value)
        for ring in self._coarse:
            ring.put(at, value)

    def window(self, since: float, until: float, resolution: float | None = None) -> Window:
        """What was from *since* to *until*, both included; the last slots of it where more is asked for than is kept.

        *resolution* is the step wanted, in seconds: the finest ring that is at least as coarse answers, else the
        coarsest. Without it, the finest one that reaches back to *since*.
        """
        rings: list[_Last | _Summary] = [self._fine, *self._coarse]
        if resolution is None:
            fitting = [ring for ring in rings if until - ring.resolution.reach < since]
        else:
            fitting = [ring for ring in rings if ring.resolution.step >= resolution]
        return (fitting or rings[-1:])[0].window(since, until)


class _Ring:
    """Slots by number: the position divided by the step. Those after the newest hold what is out of reach."""

    __slots__ = ("newest", "resolution")

    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution
        self.newest: int | None = None

    def reach(self, at: float) -> tuple[int, bool]:
        """The index of the slot of *at*, and whether it is a new one. The slots that were passed over are gaps."""
        step, length = self.resolution
        slot, newest = int(at // step), self.newest
        if newest is not None and slot <= newest:
            return newest % length, False
        if newest is not None:
            for passed in range(max(newest + 1, slot - length), slot):
                self.clear(passed % length)
        self.newest = slot
        return slot % length, True

    def clear(self, index: int) -> None:
        raise NotImplementedError

    def slots(self, since: float, until: float) -> range:
        """The numbers of the slots from *since* to *until*, at most as many as there are."""
        step, length = self.resolution
        last = int(until // step)
        first = last - length + 1 if since < (last - length + 1) * step else int(since // step)
        return range(first, last + 1)

    def read(self, slots: range, values: "array[float]") -> tuple[float | None, ...]:
        """*values* of these slots."""
        newest, length = self.newest, self.resolution.length
        if newest is None:
            return (None,) * len(slots)
        oldest = newest - length
        return tuple(
            None if slot > newest or slot <= oldest or (value := values[slot % length]) != value else value
            for slot in slots
        )


class _Last(_Ring):
    """The last value of each slot."""

    __slots__ = ("_values",)

    def __init__(self, resolution: Resolution) -> None:
        super().__init__(resolution)
        self._values = array("d", [_GAP]) * resolution.length

    @property
    def size_bytes(self) -> int:
        return self._values.itemsize * len(self._values)

    def put(self, at: float, value: float) -> None:
        index, _ = self.reach(at)
        self._values[index] = value

    def clear(self, index: int) -> None:
        self._values[index] = _GAP

    def window(self, since: float, until: float) -> Window:
        slots, step = self.slots(since, until), self.resolution.step
        values = self.read(slots, self._values)
        return Window(slots.start * step, step, values, values, values)


class _Summary(_Ring):
    """The least, the mean and the most of each slot."""

    __slots__ = ("_count", "_high", "_low", "_mean", "_sum")

    def __init__(self, resolution: Resolution) -> None:
        super().__init__(resolution)
        empty = array("f", [_GAP]) * resolution.length
        self._low, self._mean, self._high = empty, empty[:], empty[:]
        self._sum = 0.0
        self._count = 0

    @property
    def size_bytes(self) -> int:
        return 3 * self._mean.itemsize * len(self._mean)

    def put(self, at: float, value: float) -> None:
        index, new = self.reach(at)
        if new:
            self._sum, self._count = value, 1
            self._low[index] = self._mean[index] = self._high[index] = value
            return
        self._sum += value
        self._count += 1
        self._mean[index] = self._sum / self._count
        if value < self._low[index]:
            self._low[index] = value
        elif value > self._high[index]:
            self._high[index] = value

    def clear(self, index: int) -> None:
        self._low[index] = self._mean[index] = self._high[index] = _GAP

    def window(self, since: float, until: float) -> Window:
        slots, step = self.slots(since, until), self.resolution.step
        low, mean, high = (self.read(slots, values) for values in (self._low, self._mean, self._high))
        return Window(slots.start * step, step, mean, low, high)


class SeriesSet:
    """Series by name, for one writer and any readers in other threads; at most *limit* of them.

    When it is full, a new one takes the place of the one that has been silent longest, and is left out (`refused`
    counts) while all of them are being written.
    """

    def __init__(self, resolutions: Sequence[Resolution] = RESOLUTIONS, *, limit: int = 1000) -> None:
        self.resolutions = tuple(resolutions)
        self.refused = 0
        self._limit = limit
        self._series: dict[str, Series] = {}
        self._lock = threading.Lock()

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Take in *values*, by name, which were measured at the position *at*."""
        with self._lock:
            for name, value in values.items():
                series = self._series.get(name) or self._begin(name, at)
                if series is not None:
                    series.append(at, value)

    def names(self) -> list[str]:
        """What there is a history of, in no particular order."""
        with self._lock:
            return list(self._series)

    def window(
        self, names: Iterable[str], since: float, until: float, resolution: float | None = None
    ) -> dict[str, Window]:
        """`Series.window` of those of *names* that there are, all as of one moment."""
        with self._lock:
            known = {name: self._series[name] for name in names if name in self._series}
            return {name: series.window(since, until, resolution) for name, series in known.items()}

    @property
    def size_bytes(self) -> int:
        """The memory that all slots take."""
        with self._lock:
            return sum(series.size_bytes for series in self._series.values())

    def _begin(self, name: str, at: float) -> Series | None:
        if len(self._series) >= self._limit:
            silent = min(self._series, key=lambda one: self._series[one].newest)
            if self._series[silent].newest >= at:
                self.refused += 1
                return None
            del self._series[silent]
        series = self._series[name] = Series(self.resolutions)
        return series
