"""One look at everything: each reading by a sensor of its own, so that none takes another with it."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tekton.clock import Clock
from tekton.core.resources.constraints import Readings
from tekton.core.resources.gpu import Gpus, NoGpuError
from tekton.core.resources.machine import CpuMeter, DiskMeter, NetworkMeter, disk, memory
from tekton.core.resources.sample import GIB, ComponentUsage, CpuUsage, GpuUsage, ProcessTree, ResourceSample
from tekton.core.resources.sensor import Sensor
from tekton.core.series import position

DEADLINE: Final = 1.0
"""Seconds that a file system or a GPU driver may take for its answer."""
_FRESH: Final = 0.5
"""A reading of the GPUs of so many seconds ago is as good as a new one: it is an expensive one."""


class Sampler:
    """All that is read. The arguments are those of `ResourceMonitor`."""

    def __init__(
        self,
        clock: Clock,
        *,
        disks: Sequence[str],
        gpus: Gpus,
        processes: Callable[[], Mapping[str, ProcessTree]] | None,
        root: Path,
    ) -> None:
        self._clock = clock
        self._cpu = Sensor("the CPU", CpuMeter(clock, root).read, clock)
        self._cpu_now = Sensor("the CPU", lambda: CpuMeter(clock, root).read(), clock)
        self._memory = Sensor("the memory", partial(memory, root), clock)
        self._disks = Sensor("the disks", lambda: [disk(path) for path in disks], clock, deadline=DEADLINE)
        self._disk_rates = Sensor("the traffic of the disks", DiskMeter(clock).read, clock)
        self._network = Sensor("the network", NetworkMeter(clock).read, clock)
        self._gpus = Sensor("the GPUs", gpus.read, clock, deadline=DEADLINE, absent=NoGpuError)
        self._processes = None if processes is None else Sensor("the processes", processes, clock)

    def sample(self) -> ResourceSample:
        """Read everything."""
        at, time = position(self._clock), self._clock.time()
        gpus = self._gpus.read() or ()
        trees = self._processes.read() if self._processes is not None else None
        return ResourceSample(
            at=at,
            time=time,
            cpu=self._cpu.read(),
            memory=self._memory.read(),
            disks=self._disks.read() or (),
            disk_rates=self._disk_rates.read(),
            network=self._network.read(),
            gpus=gpus,
            components={name: _component(tree, gpus) for name, tree in (trees or {}).items()},
            # That there is no GPU is no problem: nobody has asked for one.
            problems=self._problems(absent=False),
        )

    def readings(self, wanted: Container[str], cwd: str, cpu: CpuUsage | None) -> Readings:
        """Read what the constraints *wanted* are about; *cpu*, if it is given, is as good as a reading."""
        memory = self._memory.read() if "memory_percent_max" in wanted or "memory_free_min" in wanted else None
        if "cpu_percent_max" in wanted and cpu is None:
            cpu = self._cpu_now.read()
        gpus = (self._gpus.read(_FRESH) or ()) if "gpu_mem_free_min" in wanted else ()
        problems = self._problems(absent=True)
        disk_free = None
        if "disk_free_min" in wanted:
            problems.pop("disk", None)
            try:
                disk_free = disk(cwd).free
            except OSError as error:
                problems["disk"] = str(error)
        return Readings(
            cpu_percent=None if cpu is None else cpu.percent,
            memory_percent=None if memory is None else memory.percent,
            memory_free=None if memory is None else memory.free,
            disk_free=disk_free,
            gpu_memory_free=[gpu.mem_free for gpu in gpus if gpu.mem_free is not None],
            problems=problems,
        )

    def _problems(self, *, absent: bool) -> dict[str, str]:
        sensors: dict[str, Sensor[Any] | None] = {
            "cpu": self._cpu,
            "memory": self._memory,
            "disk": self._disks,
            "network": self._network,
            "gpu": self._gpus,
            "processes": self._processes,
        }
        return {
            name: one.problem
            for name, one in sensors.items()
            if one is not None and one.problem is not None and (absent or not one.is_absent)
        }


def _component(tree: ProcessTree, gpus: Sequence[GpuUsage]) -> ComponentUsage:
    on_gpus = [gpu.processes[pid] for gpu in gpus for pid in tree.pids if pid in gpu.processes]
    on_gpu = sum(on_gpus) if gpus else None
    return ComponentUsage(tree.cpu, tree.memory / GIB, len(tree.pids), on_gpu, tree.threads, tree.files)
