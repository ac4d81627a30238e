"""What the kernel says about running processes, and signals that reach exactly the process that was meant.

A process is named by its pid *and* its start time, because pids are used again. Every function here reads
`/proc`; on systems without it the answers are empty, and callers fall back to process groups.
"""

import os
import signal
from collections.abc import Iterable
from typing import NamedTuple

MARK_VARIABLE = "TEKTON_RUN_ID"
"""The environment variable that marks what a guard started: `<data directory>.<run>.<child>`."""


AVAILABLE = os.path.exists("/proc/self/stat")
"""False where the answers below are always empty."""


class Process(NamedTuple):
    """One process at one moment. `started` is in clock ticks since boot."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: int

    @property
    def dead(self) -> bool:
        """True for a zombie: it runs no more and waits for its parent to ask."""
        return self.state in "ZX"


def read(pid: int) -> Process | None:
    """The process *pid*, or None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may contain anything, parentheses included.
    fields = stat.rpartition(b")")[2].split()
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[19]))


def snapshot() -> list[Process]:
    """All processes. About 15 µs per process on the machine."""
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return []
    found = (read(int(name)) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def descendants(root: int) -> list[Process]:
    """All processes below *root*, parents first; zombies are left out.

    Of a subreaper these are all that it and its children ever started and that still run.
    """
    children: dict[int, list[Process]] = {}
    for process in snapshot():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = [root]
    for parent in parents:
        below = children.get(parent, ())
        parents.extend(process.pid for process in below)
        found.extend(process for process in below if not process.dead)
    return found


def variable_of(pid: int, name: str) -> str | None:
    """A variable that *pid* was started with; None when it has none, or hides or has overwritten its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = b"\0" + file.read()
    except OSError:
        return None
    start = environment.find(b"\0" + name.encode() + b"=")
    if start < 0:
        return None
    value = environment[start + len(name) + 2 :].split(b"\0", 1)[0]
    return value.decode(errors="replace")


def mark_of(pid: int) -> str | None:
    """The mark that *pid* was started with; None when it has none, or hides it."""
    return variable_of(pid, MARK_VARIABLE)


def marked(prefix: str, *, exclude: Iterable[int] = ()) -> list[Process]:
    """All processes whose mark starts with *prefix*."""
    ignored = set(exclude)
    return [
        process
        for process in snapshot()
        if not process.dead and process.pid not in ignored and (mark_of(process.pid) or "").startswith(prefix)
    ]


def send(process: Process, signum: int) -> bool:
    """Signal *process*, and never another one that has got its pid since. True when it was there."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return _send_by_pid(process, signum)
    try:
        return _is_same(process) and _send_by_handle(handle, signum)
    finally:
        os.close(handle)


def kill_all(processes: Iterable[Process]) -> int:
    """SIGKILL each of *processes*; the number of those that were there."""
    return sum(send(process, signal.SIGKILL) for process in processes)


def _is_same(process: Process) -> bool:
    now = read(process.pid)
    return now is not None and now.started == process.started


def _send_by_handle(handle: int, signum: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _send_by_pid(process: Process, signum: int) -> bool:
    try:
        if _is_same(process):
            os.kill(process.pid, signum)
            return True
    except (ProcessLookupError, PermissionError):
        pass
    return False
