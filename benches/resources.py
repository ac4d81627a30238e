"""What the resource monitor costs: CPU of its thread, and the memory of an hour of history.

    python benches/resources.py [--seconds 15]

100 children sleep, and are looked at as so many components, at one sample a second. CPU is that of the whole process,
which does nothing else: the sampling thread, and those that it starts for what may hang. Beside it is what psutil takes
to look at the same processes. Memory is what the interpreter has allocated, and what the slots should take.
"""

import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import psutil

from _measure import gate, parser, section, verdict
from tekton.core.resource_monitor import ResourceMonitor
from tekton.core.resources.sample import ProcessTree, ResourceSample
from tekton.core.series import SeriesSet
from tekton.supervisor.usage import TreeMeter

PROCESSES = 100
SERIES = 100
HOUR = 3600
MIB = 1024**2


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--seconds", type=int, default=15, help="how long is sampled")
    seconds = options.parse_args().seconds
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(PROCESSES)]
    try:
        sampling([child.pid for child in children], seconds)
    finally:
        for child in children:
            child.kill()
            child.wait()
    history()
    return verdict()


def sampling(pids: list[int], seconds: int) -> None:
    section(f"sampling {PROCESSES} processes, among {len(psutil.pids())} of the machine")
    meter = TreeMeter(thorough=10)

    def processes() -> dict[str, ProcessTree]:
        return {f"component-{pid}": tree for pid, tree in meter.measure(pids).items()}

    share, most = at_one_hertz(processes, seconds)
    gate("one core, at one sample a second", share, 0.5, unit="%", better="lower", detail=f"longest {most:.1f} ms")
    share, _ = at_one_hertz(None, min(seconds, 5))
    gate("the same without processes", share, unit="%", better="lower")
    handles = [psutil.Process(pid) for pid in pids]
    began = time.thread_time()
    for handle in handles:
        handle.cpu_times(), handle.memory_info()
    gate(
        "psutil, the processes alone, without their children",
        100 * (time.thread_time() - began),
        unit="%",
        better="lower",
    )


def at_one_hertz(processes: Callable[[], dict[str, ProcessTree]] | None, seconds: int) -> tuple[float, float]:
    """Percent of a core that sampling takes, and the longest sample in milliseconds of CPU."""
    monitor = ResourceMonitor(1.0, processes=processes)
    spent: list[float] = []
    samples = threading.Semaphore(0)

    def note(_: ResourceSample) -> None:
        spent.append(time.process_time())
        samples.release()

    monitor.add_listener(note)
    monitor.start()
    # The first one loads what is needed, and the second what a difference needs.
    for _ in range(2 + seconds):
        samples.acquire()
    monitor.stop()
    turns = [after - before for before, after in pairwise(spent[1:])]
    return 100 * sum(turns) / len(turns), 1000 * max(turns)


def history() -> None:
    section(f"history of {SERIES} numbers")
    names = {f"number {index}": float(index) for index in range(SERIES)}
    tracemalloc.start()
    series = SeriesSet()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(HOUR):
        series.append(float(at), names)
    taken = (tracemalloc.get_traced_memory()[0] - before) / MIB
    tracemalloc.stop()
    detail = f"slots {series.size_bytes / MIB:.2f} MiB, of which an hour by the second {SERIES * HOUR * 8 / MIB:.2f}"
    gate("an hour by the second, and the coarser ones", taken, 16, unit="MiB", better="lower", detail=detail)
    began = time.thread_time()
    for at in range(HOUR, HOUR + 100):
        series.append(float(at), names)
    gate("100 values in", (time.thread_time() - began) * 10_000, unit="µs", better="lower")
    began = time.thread_time()
    series.window(["number 1"], 0.0, float(HOUR))
    gate("one hour of one number out", (time.thread_time() - began) * 1e6, unit="µs", better="lower")


if __name__ == "__main__":
    sys.exit(main())
