"""What is measured: the values of one sample.

Fractions are 0 to 1, percentages 0 to 100. Memory and disks are in GiB, rates in bytes a second; everything that cannot
be told is None.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

GIB: Final = 1024**3
_MOST_CORES: Final = 16
"""Of more cores than these there is no history of each."""


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """*cores*: the fraction of each core that was busy, whoever kept it so.

    *percent* is that of all together; where a control group limits us to less than the machine, it is the part of
    that limit which was used, if that is more. *available* is how many cores' worth of time we may have.
    """

    cores: tuple[float, ...]
    percent: float
    available: float


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """*free* is what can be had without pushing others out, *used* the rest of *total*.

    *limited*: these are the numbers of the tightest control group that we are in, not those of the machine.
    """

    total: float
    free: float
    limited: bool = False
    swap_total: float = 0.0
    swap_used: float = 0.0

    @property
    def used(self) -> float:
        """What is not free, in GiB."""
        return self.total - self.free

    @property
    def percent(self) -> float:
        """How much of the total is used."""
        return 100 * self.used / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The file system at *path*. *free* is what who is not root may have; *percent* is the used part of what he may."""

    path: str
    total: float
    used: float
    free: float

    @property
    def percent(self) -> float:
        """How full it is."""
        return 100 * self.used / (self.used + self.free) if self.used + self.free else 0.0


class Rates(NamedTuple):
    """Bytes a second: *taken* (read, received) and *given* (written, sent)."""

    taken: float
    given: float


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    """All interfaces but loopback; *interfaces* has each that is up, and the totals are bytes since it was."""

    rates: Rates
    received: int
    sent: int
    interfaces: Mapping[str, Rates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """One GPU. *processes*: the memory of those that use it, in GiB, by pid. *problem*: why it does not answer."""

    id: int
    name: str
    util: float | None = None
    mem_used: float | None = None
    mem_total: float | None = None
    mem_free: float | None = None
    temperature: float | None = None
    power: float | None = None
    processes: Mapping[int, float] = field(default_factory=dict)
    problem: str | None = None

    @property
    def mem_percent(self) -> float | None:
        """How much of its memory is used."""
        if self.mem_total is None or self.mem_free is None or not self.mem_total:
            return None
        return 100 * (1 - self.mem_free / self.mem_total)


class ProcessTree(NamedTuple):
    """What a process uses with all that it has started: *cpu* in cores, *memory* in bytes, and who they are.

    *files* are their open file descriptors, as far as we may count them.
    """

    cpu: float
    memory: int
    pids: Collection[int] = ()
    threads: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class ComponentUsage:
    """What the processes of one component use: *cpu* in cores, memory in GiB. *gpu_memory*: if there is a GPU."""

    cpu: float
    memory: float
    processes: int
    gpu_memory: float | None = None
    threads: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSample:
    """One look at everything. *at* is a position (`core.series`), *time* the wall clock's.

    *problems* says of what could not be read why.
    """

    at: float
    time: float
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    disks: Sequence[DiskUsage] = ()
    disk_rates: Rates | None = None
    network: NetworkUsage | None = None
    gpus: Sequence[GpuUsage] = ()
    components: Mapping[str, ComponentUsage] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def gauges(self) -> dict[str, float]:
        """The numbers of the machine by name, as history and thresholds know them; see docs/reference/resources.md."""
        return {name: value for name, value in self._gauges() if value is not None}

    def component_gauges(self) -> dict[str, float]:
        """Those of the components: `rhetor.cpu` (in percent of a core), `rhetor.memory` and `rhetor.gpu_memory`."""
        found: dict[str, float] = {}
        for name, usage in self.components.items():
            found |= {f"{name}.cpu": 100 * usage.cpu, f"{name}.memory": usage.memory}
            if usage.gpu_memory is not None:
                found[f"{name}.gpu_memory"] = usage.gpu_memory
        return found

    def _gauges(self) -> Iterator[tuple[str, float | None]]:
        if self.cpu is not None:
            yield "cpu", self.cpu.percent
            if len(self.cpu.cores) <= _MOST_CORES:
                yield from ((f"cpu.{number}", 100 * busy) for number, busy in enumerate(self.cpu.cores))
        if self.memory is not None:
            yield "memory", self.memory.percent
            if self.memory.swap_total:
                yield "swap", 100 * self.memory.swap_used / self.memory.swap_total
        yield "disk", max((disk.percent for disk in self.disks), default=None)
        if self.disk_rates is not None:
            yield from (("disk.read", self.disk_rates.taken), ("disk.written", self.disk_rates.given))
        if self.network is not None:
            yield from (
                ("network.received", self.network.rates.taken),
                ("network.sent", self.network.rates.given),
            )
        yield from self._gpu_gauges()

    def _gpu_gauges(self) -> Iterator[tuple[str, float | None]]:
        yield "gpu", max((gpu.util for gpu in self.gpus if gpu.util is not None), default=None)
        yield "gpu_memory", max((gpu.mem_percent for gpu in self.gpus if gpu.mem_percent is not None), default=None)
        for gpu in self.gpus:
            yield from ((f"gpu.{gpu.id}", gpu.util), (f"gpu_memory.{gpu.id}", gpu.mem_percent))


GAUGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cpu": "percent",
        "memory": "percent",
        "swap": "percent",
        "disk": "percent",
        "disk.read": "bytes per second",
        "disk.written": "bytes per second",
        "network.received": "bytes per second",
        "network.sent": "bytes per second",
        "gpu": "percent",
        "gpu_memory": "percent",
    }
)
"""The numbers that a threshold can be set for, with their units: of several disks or GPUs, the highest."""
