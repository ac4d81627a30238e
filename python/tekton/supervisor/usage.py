"""What supervised processes use: CPU and memory of a process and of all that it has started.

Nothing is measured until somebody asks, and not more often than every FRESH seconds, however many ask: one look reads
`/proc` once for all components, in a thread. A process belongs to the nearest process above it that is asked about,
or to the one whose session it is in; what has left both (a daemon that began a session of its own and whose parent
has ended) is not counted.

Memory is the sum of the resident sets, so that a page which two processes share counts twice.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from tekton.clock import SYSTEM_CLOCK, Clock

FRESH: Final = 0.5
"""For so many seconds a look is not repeated."""


class ProcessUsage(NamedTuple):
    """`cpu` is a fraction of one core since the look before, or since the process started; `memory` is in bytes."""

    cpu: float
    memory: int


class Sample(NamedTuple):
    """One process at one moment. Times are in clock ticks, `started` since boot; `ticks` includes reaped children."""

    pid: int
    parent: int
    session: int
    started: int
    ticks: int
    pages: int


class Look(NamedTuple):
    """All processes at one moment, by pid; `uptime` is that of the machine in seconds."""

    uptime: float
    samples: Mapping[int, Sample]


class _Total(NamedTuple):
    uptime: float
    ticks: int


class Usage:
    """What the processes that *roots* names use, each together with what it has started.

    `refresh` looks, `of` tells what was seen. Without `/proc` nothing is ever known.
    """

    def __init__(
        self, roots: Callable[[], Iterable[int]], *, clock: Clock = SYSTEM_CLOCK, look: Callable[[], Look] | None = None
    ) -> None:
        self._roots = roots
        self._clock = clock
        self._look = look or look_around
        self._looked_at: float | None = None
        self._turn = asyncio.Lock()
        self._before: dict[tuple[int, int], _Total] = {}
        self._seen: dict[int, ProcessUsage] = {}

    async def refresh(self) -> None:
        """Look, unless somebody has just looked. Concurrent callers share one look."""
        async with self._turn:
            if self._looked_at is not None and self._clock.monotonic() - self._looked_at < FRESH:
                return
            roots = frozenset(self._roots())
            look = await asyncio.to_thread(self._look) if roots else Look(0.0, {})
            self._take(look, roots)
            self._looked_at = self._clock.monotonic()

    def of(self, pid: int | None) -> ProcessUsage | None:
        """What was seen of the process *pid* last; None for one that was not seen."""
        return None if pid is None else self._seen.get(pid)

    def _take(self, look: Look, roots: frozenset[int]) -> None:
        trees = _trees(look.samples, roots)
        totals: dict[tuple[int, int], _Total] = {}
        self._seen = {}
        for root, members in trees.items():
            key = (root, look.samples[root].started)
            total = totals[key] = _Total(look.uptime, sum(member.ticks for member in members))
            # A process that nobody has looked at before has used nothing before it was there.
            before = self._before.get(key, _Total(key[1] / _TICKS_PER_SECOND, 0))
            memory = sum(member.pages for member in members) * _PAGE_BYTES
            self._seen[root] = ProcessUsage(_rate(before, total), memory)
        self._before = totals


def look_around() -> Look:
    """All processes of the machine, now. Blocks for about 10 µs per process."""
    samples: dict[int, Sample] = {}
    try:
        names = os.listdir("/proc")
        uptime = float(_content("/proc/uptime").split()[0])
    except OSError:
        return Look(0.0, {})
    for name in names:
        if name.isdigit():
            try:
                samples[int(name)] = _sample(int(name), _content(f"/proc/{name}/stat"))
            except OSError:
                continue  # it has ended meanwhile
    return Look(uptime, samples)


def _sample(pid: int, stat: bytes) -> Sample:
    # proc(5): the name stands in parentheses and may contain anything; the state behind it is field 3.
    fields = stat.rpartition(b")")[2].split()
    ticks = sum(map(int, fields[11:15]))  # fields 14 to 17, its own and those of reaped children
    return Sample(pid, int(fields[1]), int(fields[3]), int(fields[19]), ticks, int(fields[21]))


def _content(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _trees(samples: Mapping[int, Sample], roots: frozenset[int]) -> dict[int, list[Sample]]:
    """The processes that belong to each of *roots* that is there."""
    trees: dict[int, list[Sample]] = {root: [samples[root]] for root in roots if root in samples}
    owners: dict[int, int | None] = {}
    for sample in samples.values():
        owner = None if sample.pid in trees else _owner(sample, samples, trees, owners)
        if owner is not None:
            trees[owner].append(sample)
    return trees


def _owner(
    sample: Sample, samples: Mapping[int, Sample], trees: Mapping[int, object], owners: dict[int, int | None]
) -> int | None:
    path: list[int] = []
    owner: int | None = None
    current: Sample | None = sample
    while current is not None and current.pid not in path:
        if current.pid in owners:
            owner = owners[current.pid]
            break
        if current.pid in trees or current.session in trees:
            owner = current.pid if current.pid in trees else current.session
            break
        path.append(current.pid)
        current = samples.get(current.parent)
    owners.update(dict.fromkeys(path, owner))
    return owner


def _rate(before: _Total, now: _Total) -> float:
    seconds = max(now.uptime - before.uptime, 1 / _TICKS_PER_SECOND)
    return max(now.ticks - before.ticks, 0) / _TICKS_PER_SECOND / seconds


_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
