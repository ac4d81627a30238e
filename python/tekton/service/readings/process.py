"""The readings of the process; their names are those that every program with prometheus-client has."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tekton.core.metrics.metrics import Reader, Reading

if TYPE_CHECKING:
    import psutil


def process_reader() -> Reader:
    """Reads what this process uses."""
    process: psutil.Process | None = None

    def read() -> Iterator[Reading]:
        nonlocal process
        import psutil

        process = process or psutil.Process()
        with process.oneshot():
            cpu, memory, started = process.cpu_times(), process.memory_info().rss, process.create_time()
        yield Reading("process_cpu", cpu.user + cpu.system)
        yield Reading("process_resident_memory", memory)
        yield Reading("process_start_time", started)
        if sys.platform != "win32":
            yield Reading("process_open_fds", process.num_fds())
        if sys.platform == "linux":
            yield Reading("process_max_fds", process.rlimit(psutil.RLIMIT_NOFILE)[0])

    return read
