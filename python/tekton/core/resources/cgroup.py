"""What the control groups that we are in leave us: memory and CPU time, of both versions of cgroups.

In a container, and in a systemd unit with limits, the machine has more than we may have. A limit may stand in our own
group or in any above it, and the tightest one counts.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_NO_LIMIT: Final = 1 << 60
"""A memory group of the first version without a limit reads as a number beyond this."""


class MemoryLimit(NamedTuple):
    """In bytes. What can be reclaimed at once counts as free."""

    free: int
    total: int


class CpuLimit(NamedTuple):
    """*cores* of CPU time may be used in *group*; *used* is what has been, in seconds since it was made."""

    group: str
    cores: float
    used: float


def memory_limits(root: Path = Path("/")) -> Iterator[MemoryLimit]:
    """The limited memory groups that this process is in. *root* is where `proc` and `sys` are found."""
    for controllers, path in _memberships(root):
        if not controllers:
            for group in _groups(root / "sys/fs/cgroup", path):
                yield from _memory(group, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers:
            for group in _groups(root / "sys/fs/cgroup/memory", path):
                yield from _memory(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def cpu_limits(root: Path = Path("/")) -> Iterator[CpuLimit]:
    """The limited CPU groups that this process is in."""
    for controllers, path in _memberships(root):
        if not controllers:
            for group in _groups(root / "sys/fs/cgroup", path):
                yield from _cpu(group)
        elif "cpu" in controllers:
            for group in _groups(root / "sys/fs/cgroup/cpu", path):
                yield from _old_cpu(group, root / "sys/fs/cgroup")


def _memberships(root: Path) -> Iterator[tuple[list[str], str]]:
    """Controllers and path of each hierarchy; that of the second version has no controllers here."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        yield [name for name in controllers.split(",") if name], path


def _groups(top: Path, path: str) -> list[Path]:
    # In a container the path may be one of the host, which is not there; the top is then the container's own group.
    inner = PurePosixPath(path.lstrip("/"))
    return [top / part for part in dict.fromkeys([inner, *inner.parents])] if top.is_dir() else []


def _memory(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[MemoryLimit]:
    with suppress(OSError, ValueError):
        most = int((group / limit).read_text())
        if most < _NO_LIMIT:
            used = int((group / usage).read_text()) - _statistic(group / "memory.stat", reclaimable)
            yield MemoryLimit(max(0, most - used), max(1, most))


def _cpu(group: Path) -> Iterator[CpuLimit]:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        if quota != "max":
            yield CpuLimit(str(group), int(quota) / int(period), _statistic(group / "cpu.stat", "usage_usec") / 1e6)


def _old_cpu(group: Path, top: Path) -> Iterator[CpuLimit]:
    with suppress(OSError, ValueError):
        quota = int((group / "cpu.cfs_quota_us").read_text())
        if quota > 0:
            # Often the two are mounted together, with a link for each.
            accounts = top / "cpuacct" / group.relative_to(top / "cpu") / "cpuacct.usage"
            used = int(accounts.read_text()) / 1e9
            yield CpuLimit(str(group), quota / int((group / "cpu.cfs_period_us").read_text()), used)


def _statistic(file: Path, name: str) -> int:
    words = (line.split() for line in file.read_text().splitlines())
    return next((int(value) for key, value in words if key == name), 0)
