"""Admission: whether the machine has what a component wants to be free before it starts.

    read = partial(read_resources, cwd=spec.cwd)
    unmet(spec.constraints, read(spec.constraints))   # ["memory_free_min: 2.0 GiB free of 4.0 wanted"]

A start waits until the list is empty, within its timeout. What others that start at the same moment are going to take
is not known: two that both find room may find it together.

Memory is what can be had without pushing others out, within the tightest limit of the control groups that we are in.
Of several GPUs, the one with the most free memory counts. Without a driver, or without `pynvml`, there is none.
"""

import contextlib
import importlib
import shutil
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

_GIB: Final = 1024**3
_CPU_WINDOW: Final = 0.2
_NO_LIMIT: Final = 1 << 60
"""A control group of the first version without a limit reads as a number beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What is used and free on the machine. None: not asked for, or (`gpu_memory_free`) there is no GPU.

    Percentages are 0 to 100, the rest is in GiB.
    """

    cpu_percent: float | None = None
    memory_percent: float | None = None
    memory_free: float | None = None
    disk_free: float | None = None
    gpu_memory_free: float | None = None
    gpu_problem: str | None = None


def unmet(constraints: Mapping[str, float], resources: Resources) -> list[str]:
    """What of *constraints* does not hold, for people; empty when the component may start."""
    return [f"{name}: {why}" for name, limit in constraints.items() if (why := _RULES[name](limit, resources))]


def read_resources(wanted: Container[str], cwd: str = ".", root: Path = Path("/")) -> Resources:
    """Read what the constraints *wanted* are about. Blocks, for 0.2 s when the CPU is asked for: for a thread.

    *root* is where `proc` and `sys` are found.
    """
    import psutil

    memory = _memory(psutil, root) if "memory_percent_max" in wanted or "memory_free_min" in wanted else None
    gpu, problem = _gpu_memory_free() if "gpu_mem_free_min" in wanted else (None, None)
    return Resources(
        cpu_percent=psutil.cpu_percent(_CPU_WINDOW) if "cpu_percent_max" in wanted else None,
        memory_percent=None if memory is None else 100 * (1 - memory.free / memory.total),
        memory_free=None if memory is None else memory.free / _GIB,
        disk_free=_disk_free(cwd) if "disk_free_min" in wanted else None,
        gpu_memory_free=gpu,
        gpu_problem=problem,
    )


def _at_most(what: str, limit: float, found: float | None) -> str | None:
    return None if found is None or found <= limit else f"{what} at {found:.0f} %, {limit:g} % allowed"


def _at_least(limit: float, found: float | None, problem: str | None = None) -> str | None:
    if (found or 0.0) >= limit:
        return None
    return f"{found or 0.0:.1f} GiB free of {limit:.1f} wanted{f' ({problem})' if problem else ''}"


_RULES: Final[dict[str, Callable[[float, Resources], str | None]]] = {
    "cpu_percent_max": lambda limit, found: _at_most("CPU", limit, found.cpu_percent),
    "memory_percent_max": lambda limit, found: _at_most("memory", limit, found.memory_percent),
    "memory_free_min": lambda limit, found: _at_least(limit, found.memory_free),
    "disk_free_min": lambda limit, found: _at_least(limit, found.disk_free),
    "gpu_mem_free_min": lambda limit, found: _at_least(limit, found.gpu_memory_free, found.gpu_problem),
}


class _Memory(NamedTuple):
    """In bytes."""

    free: int
    total: int


def _memory(psutil: Any, root: Path) -> _Memory:
    machine = psutil.virtual_memory()
    everybody = _Memory(machine.available, machine.total)
    return min([everybody, *_limits(root)], key=lambda memory: memory.free)


def _limits(root: Path) -> Iterator[_Memory]:
    """The limited control groups that we are in."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _walk(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _walk(root / "sys/fs/cgroup/memory", path, *names)


def _walk(top: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[_Memory]:
    # In a container the path may be one of the host, which is not there; the top is then the container's own group.
    groups = [top / part for part in (path.lstrip("/"), *map(str, Path(path.lstrip("/")).parents))]
    for group in dict.fromkeys(groups):
        with contextlib.suppress(OSError, ValueError):
            most = int((group / limit).read_text())
            if most < _NO_LIMIT:
                used = int((group / usage).read_text()) - _statistic(group / "memory.stat", reclaimable)
                yield _Memory(max(0, most - used), max(1, most))


def _statistic(file: Path, name: str) -> int:
    words = (line.split() for line in file.read_text().splitlines())
    return next((int(value) for key, value in words if key == name), 0)


def _disk_free(cwd: str) -> float:
    path = Path(cwd).absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(there).free / _GIB


def _gpu_memory_free() -> tuple[float | None, str | None]:
    """GiB, or why there is none."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None, "pynvml is not installed"
    try:
        nvml.nvmlInit()
        try:
            devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            free = [nvml.nvmlDeviceGetMemoryInfo(device).free / _GIB for device in devices]
        finally:
            nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        return None, str(error)
    return (max(free), None) if free else (None, "there is no GPU")
