"""What supervised processes use: CPU and memory of a process and of all that it has started.

`Usage` is for who asks now and then: nothing is measured until somebody does, and not more often than every FRESH
seconds, however many ask; one look reads `/proc` once for all components, in a thread. `TreeMeter` is for who looks all
the time, in a thread of his own. A process belongs to the nearest process above it that is asked about,
or to the one whose session it is in; what has left both (a daemon that began a session of its own and whose parent
has ended) is not counted.

Memory is the sum of the resident sets, so that a page which two processes share counts twice.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Final, NamedTuple

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.resources.sample import ProcessTree

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
    threads: int = 1


class Look(NamedTuple):
    """All processes at one moment, by pid; `uptime` is that of the machine in seconds."""

    uptime: float
    samples: Mapping[int, Sample]


class _Total(NamedTuple):
    uptime: float
    ticks: int


class TreeMeter:
    """What processes have used, each with what it has started, since the measurement before.

    With *thorough* N, only every Nth look is at processes that belonged to nobody in the last thorough one: a stranger
    does not become one of ours, but his pid may.
    """

    def __init__(self, look: Callable[[], Look] | None = None, *, thorough: int = 1) -> None:
        self._look = look
        self._thorough = thorough
        self._looks = 0
        self._strangers: frozenset[int] = frozenset()
        self._before: dict[tuple[int, int], _Total] = {}

    def measure(self, roots: Collection[int]) -> dict[int, ProcessTree]:
        """Look, and tell of those *roots* that are there. Blocks for about 10 µs per process of the machine."""
        look, known = self._look_for(roots), frozenset(roots)
        totals: dict[tuple[int, int], _Total] = {}
        found: dict[int, ProcessTree] = {}
        for root, members in _trees(look.samples, known).items():
            key = (root, look.samples[root].started)
            total = totals[key] = _Total(look.uptime, sum(member.ticks for member in members))
            # A process that nobody has looked at before has used nothing before it was there.
            before = self._before.get(key, _Total(key[1] / _TICKS_PER_SECOND, 0))
            memory = sum(member.pages for member in members) * _PAGE_BYTES
            pids, threads = [member.pid for member in members], sum(member.threads for member in members)
            found[root] = ProcessTree(_rate(before, total), memory, pids, threads)
        self._before = totals
        if not self._strangers:
            self._strangers = frozenset(look.samples).difference(*(tree.pids for tree in found.values()))
        return found

    def _look_for(self, roots: Collection[int]) -> Look:
        if not roots:
            return Look(0.0, {})
        if self._look is not None:
            return self._look()
        if self._looks % self._thorough == 0:
            self._strangers = frozenset()
        self._looks += 1
        return look_around(self._strangers.difference(roots))


class Usage:
    """What the processes that *roots* names use, each together with what it has started.

    `refresh` looks, `of` tells what was seen. Without `/proc` nothing is ever known.
    """

    def __init__(
        self, roots: Callable[[], Iterable[int]], *, clock: Clock = SYSTEM_CLOCK, look: Callable[[], Look] | None = None
    ) -> None:
        self._roots = roots
        self._clock = clock
        self._meter = TreeMeter(look)
        self._looked_at: float | None = None
        self._turn = asyncio.Lock()
        self._seen: dict[int, ProcessUsage] = {}

    async def refresh(self) -> None:
        """Look, unless somebody has just looked. Concurrent callers share one look."""
        async with self._turn:
            if self._looked_at is not None and self._clock.monotonic() - self._looked_at < FRESH:
                return
            roots = frozenset(self._roots())
            trees = await asyncio.to_thread(self._meter.measure, roots) if roots else {}
            self._seen = {root: ProcessUsage(tree.cpu, tree.memory) for root, tree in trees.items()}
            self._looked_at = self._clock.monotonic()

    def of(self, pid: int | None) -> ProcessUsage | None:
        """What was seen of the process *pid* last; None for one that was not seen."""
        return None if pid is None else self._seen.get(pid)


def look_around(without: Container[int] = ()) -> Look:
    """All processes of the machine, now, but those *without*. Blocks for about 10 µs per process."""
    samples: dict[int, Sample] = {}
    try:
        names = os.listdir("/proc")
        uptime = float(_content("/proc/uptime").split()[0])
    except OSError:
        return Look(0.0, {})
    for name in names:
        if name.isdigit() and int(name) not in without:
            try:
                samples[int(name)] = _sample(int(name), _content(f"/proc/{name}/stat"))
            except OSError:
                continue  # it has ended meanwhile
    return Look(uptime, samples)


def _sample(pid: int, stat: bytes) -> Sample:
    # proc(5): the name stands in parentheses and may contain anything; the state behind it is field 3.
    fields = stat.rpartition(b")")[2].split()
    ticks = sum(map(int, fields[11:15]))  # fields 14 to 17, its own and those of reaped children
    return Sample(pid, int(fields[1]), int(fields[3]), int(fields[19]), ticks, int(fields[21]), int(fields[17]))


def open_files(pids: Iterable[int]) -> int:
    """How many file descriptors those processes have open; of other users' processes none is counted. Blocks."""
    return sum(map(_open_files, pids))


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


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
