"""Readings of the machine: CPU, memory, disks, network. By psutil, and by the control groups that we are in.

Usage over time is that since the reading before; the first one of the CPU takes a tenth of a second, the first one of a
rate is none. Nothing here waits for anything but the kernel; `disks` does as long as a file system that is gone.
"""

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tekton.clock import Clock
from tekton.core.resources.cgroup import cpu_limits, memory_limits
from tekton.core.resources.sample import GIB, CpuUsage, DiskUsage, MemoryUsage, NetworkUsage, Rates

_SHORTEST: Final = 0.05
"""Seconds below which the kernel's ticks are too coarse for a difference to mean anything."""
_FIRST: Final = 0.1


class _CpuTimes(NamedTuple):
    """Seconds since boot: busy and all of each core; and of each limited control group, what it has used."""

    cores: Sequence[tuple[float, float]]
    groups: Mapping[str, tuple[float, float]]


class CpuMeter:
    """CPU usage between one reading and the next. *root* is where `proc` and `sys` are found."""

    def __init__(self, clock: Clock, root: Path = Path("/")) -> None:
        self._clock = clock
        self._root = root
        self._before: _CpuTimes | None = None
        self._at = 0.0
        self._usage: CpuUsage | None = None

    def read(self) -> CpuUsage:
        """Usage since the last reading. Soon after it, that of then; the first time, that of the next 0.1 s."""
        if self._before is None:
            self._before, self._at = self._times(), self._clock.monotonic()
            threading.Event().wait(_FIRST)
        elif self._usage is not None and self._clock.monotonic() - self._at < _SHORTEST:
            return self._usage
        times, at = self._times(), self._clock.monotonic()
        self._usage = _usage(self._before, times, max(at - self._at, _SHORTEST))
        self._before, self._at = times, at
        return self._usage

    def _times(self) -> _CpuTimes:
        import psutil

        groups = {limit.group: (limit.used, limit.cores) for limit in cpu_limits(self._root)}
        return _CpuTimes([_busy(times) for times in psutil.cpu_times(percpu=True)], groups)


def _busy(times: object) -> tuple[float, float]:
    """Busy and all seconds of a core. Time for guests is in that of its users already."""
    told = times._asdict()  # type: ignore[attr-defined]
    whole = sum(told.values()) - told.get("guest", 0.0) - told.get("guest_nice", 0.0)
    return whole - told["idle"] - told.get("iowait", 0.0), whole


def _usage(before: _CpuTimes, now: _CpuTimes, seconds: float) -> CpuUsage:
    cores = tuple(_fraction(*pair) for pair in zip(before.cores, now.cores))
    shares = [
        (used - before.groups[group][0]) / seconds / limit
        for group, (used, limit) in now.groups.items()
        if group in before.groups and limit > 0
    ]
    percent = 100 * max([sum(cores) / len(cores) if cores else 0.0, *shares])
    limits = [limit for _, limit in now.groups.values()]
    return CpuUsage(cores, min(max(percent, 0.0), 100.0), min([float(_usable_cores(len(now.cores))), *limits]))


def _fraction(before: tuple[float, float], now: tuple[float, float]) -> float:
    # Ticks are counted when they end, so that a core can seem to have been busy for longer than there was time.
    whole = now[1] - before[1]
    return min(max((now[0] - before[0]) / whole, 0.0), 1.0) if whole > 0 else 0.0


def _usable_cores(there_are: int) -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there_are


def memory(root: Path = Path("/")) -> MemoryUsage:
    """Memory of the machine, or of the control group that leaves us the least."""
    import psutil

    machine, swap = psutil.virtual_memory(), psutil.swap_memory()
    tightest = min(memory_limits(root), key=lambda limit: limit.free, default=None)
    swaps = swap.total / GIB, swap.used / GIB
    if tightest is None or tightest.free >= machine.available:
        return MemoryUsage(machine.total / GIB, machine.available / GIB, False, *swaps)
    return MemoryUsage(tightest.total / GIB, tightest.free / GIB, True, *swaps)


def disk(path: str) -> DiskUsage:
    """The file system that *path* lies on, or would: of one that is not there, that of the folder above."""
    folder = Path(path).absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    total, used, free = shutil.disk_usage(there)
    return DiskUsage(path, total / GIB, used / GIB, free / GIB)


class RateMeter:
    """Bytes a second from counters that grow. One that has shrunk was set back, and says nothing this time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: float | None = None
        self._before: dict[str, tuple[int, int]] = {}

    def rates(self, counters: Mapping[str, tuple[int, int]]) -> dict[str, Rates]:
        """The rates since the last call, by name: of those that were there then."""
        now, before = self._clock.monotonic(), self._before
        seconds = 0.0 if self._at is None else now - self._at
        self._at, self._before = now, dict(counters)
        if seconds <= 0:
            return {}
        return {
            name: Rates((taken - before[name][0]) / seconds, (given - before[name][1]) / seconds)
            for name, (taken, given) in counters.items()
            if name in before and taken >= before[name][0] and given >= before[name][1]
        }


class NetworkMeter:
    """Traffic of all interfaces but loopback."""

    def __init__(self, clock: Clock) -> None:
        self._meter = RateMeter(clock)

    def read(self) -> NetworkUsage:
        """What has gone through since the last reading."""
        import psutil

        told = psutil.net_io_counters(pernic=True)
        counters = {name: (one.bytes_recv, one.bytes_sent) for name, one in told.items() if not _is_loopback(name)}
        rates = self._meter.rates(counters)
        received, sent = (sum(pair[side] for pair in counters.values()) for side in (0, 1))
        return NetworkUsage(_sum(rates), received, sent, rates)


class DiskMeter:
    """Traffic of all disks."""

    def __init__(self, clock: Clock) -> None:
        self._meter = RateMeter(clock)

    def read(self) -> Rates:
        """What has been read and written since the last reading."""
        import psutil

        told = psutil.disk_io_counters()
        rates = self._meter.rates({} if told is None else {"": (told.read_bytes, told.write_bytes)})
        return _sum(rates)


def _sum(rates: Mapping[str, Rates]) -> Rates:
    return Rates(sum(one.taken for one in rates.values()), sum(one.given for one in rates.values()))


def _is_loopback(name: str) -> bool:
    return name == "lo" or (name.startswith("lo") and name[2:].isdigit())
