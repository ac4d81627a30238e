"""What Tekton sees of the GPUs of this machine, beside `nvidia-smi`; what a look costs, and what it survives.

    python benches/gpu.py [--allocate 2.0]

Needs an NVIDIA driver, `psutil` and `nvidia-ml-py`, and nothing else of Tekton's dependencies: `PYTHONPATH=python` is
enough. A child process takes GPU memory through the driver's own library, to see whether it is found. It leaves
nothing behind.
"""

import csv
import ctypes
import io
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from _measure import gate, parser, section, skip, verdict
from tekton.clock import SYSTEM_CLOCK
from tekton.core.resource_monitor import ResourceMonitor
from tekton.core.resources.gpu import Gpus, NoGpuError
from tekton.core.resources.sample import GIB, ProcessTree
from tekton.supervisor.admission import Admission

READS = 50


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--allocate", type=float, default=2.0, help="GiB that the child takes")
    options.add_argument("--hold", action="store_true", help="what the child does: take it, and hold it")
    chosen = options.parse_args()
    if chosen.hold:
        return hold(chosen.allocate)
    gpus = Gpus()
    try:
        seconds, _ = timed(gpus.read)
    except NoGpuError as error:
        return skip(f"no GPU: {error}")
    cost(gpus, seconds)
    monitor = ResourceMonitor(sampling_interval=0.5, gpus=gpus, processes=lambda: trees)
    trees: dict[str, ProcessTree] = {}
    look(monitor)
    with monitored(monitor):
        allocation(monitor, trees, chosen.allocate)
        shut_down_by_another(monitor)
        constraints(monitor)
    troubles()
    return verdict()


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def cost(gpus: Gpus, first: float) -> None:
    section("what a look at the GPUs costs")
    gate("the first one, with the driver's start", first * 1000, unit="ms", better="lower")
    walls = sorted(timed(gpus.read)[0] * 1000 for _ in range(READS))
    gate("one", walls[READS // 2], unit="ms", better="lower", spread=(walls[0], walls[-1]))
    began = time.thread_time()
    for _ in range(READS):
        gpus.read()
    gate("CPU of one", (time.thread_time() - began) / READS * 1000, unit="ms", better="lower")


def look(monitor: ResourceMonitor) -> None:
    section("beside nvidia-smi")
    seen = monitor.get_gpu_usage()
    for gpu in seen:
        print("  tekton:", gpu)
    said = nvidia_smi()
    if said is None:
        print("  nvidia-smi is not here: nothing to compare with")
        return
    gate("GPUs more or fewer than nvidia-smi", abs(len(seen) - len(said)), 0, unit="", better="lower")
    for gpu, row in zip(seen, said):
        print("  nvidia-smi:", row)
        total, used = float(row[2]) / 1024, float(row[3]) / 1024
        gate(
            f"GPU {gpu['id']}: memory in all, apart by", abs(gpu["mem_total"] - total), 0.01, unit="GiB", better="lower"
        )
        gate(f"GPU {gpu['id']}: memory used, apart by", abs(gpu["mem_used"] - used), 0.1, unit="GiB", better="lower")
        gate(f"GPU {gpu['id']}: another name", int(gpu["name"] != row[1]), 0, unit="", better="lower")


def nvidia_smi() -> list[list[str]] | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = "--query-gpu=index,name,memory.total,memory.used,utilization.gpu"
    told = subprocess.run(
        [program, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=30, check=False
    )
    return list(csv.reader(io.StringIO(told.stdout), skipinitialspace=True)) if told.returncode == 0 else None


@contextmanager
def monitored(monitor: ResourceMonitor) -> Any:
    monitor.start()
    try:
        yield
    finally:
        section("sampling")
        thread = next(one for one in threading.enumerate() if one.name == "resource monitor")
        began, taken = time.monotonic(), cpu_time(thread)
        time.sleep(5)
        spent = (cpu_time(thread) - taken) / (time.monotonic() - began)
        gate("one core, at 2 Hz, without the GPU's own thread", 100 * spent, unit="%", better="lower")
        monitor.stop()
        windows = monitor.history(["gpu", "gpu_memory"])
        for name, window in windows.items():
            print(f"  {name}:", [None if value is None else round(value, 1) for value in window.mean[-30:]])


def cpu_time(thread: threading.Thread) -> float:
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def allocation(monitor: ResourceMonitor, trees: dict[str, ProcessTree], size: float) -> None:
    section(f"a process that takes {size:g} GiB of GPU memory")
    free = monitor.sample().gpus[0].mem_free or 0.0
    arguments = [sys.executable, __file__, "--hold", "--allocate", str(size)]
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        answer = child.stdout.readline().strip()
        if answer != "holding":
            print(f"  it could not: {answer or 'it ended'}")
            return
        trees["child"] = ProcessTree(0.0, 0, (child.pid,))
        sample = monitor.sample()
        taken = free - (sample.gpus[0].mem_free or 0.0)
        gate("free memory fell by, in parts of that", taken / size, 1.0)
        print(f"  pid {child.pid}; pids that the driver names: {dict(sample.gpus[0].processes)}")
        found = sample.components["child"].gpu_memory or 0.0
        # In a container the driver may name the pids of the host.
        gate("found to be that process's, in parts of that", found / size)
    finally:
        trees.clear()
        child.communicate()
    after = monitor.sample().gpus[0].mem_free or 0.0
    gate("free again, in parts of what was", after / free, 0.98)


def hold(size: float) -> int:
    """Take *size* GiB on the first GPU until stdin ends."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        print(error, flush=True)
        return 1
    device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    steps = (
        ("cuInit", (ctypes.c_uint(0),)),
        ("cuDeviceGet", (ctypes.byref(device), ctypes.c_int(0))),
        ("cuCtxCreate_v2", (ctypes.byref(context), ctypes.c_uint(0), device)),
        ("cuMemAlloc_v2", (ctypes.byref(pointer), ctypes.c_size_t(int(size * GIB)))),
    )
    for name, arguments in steps:
        if (status := getattr(cuda, name)(*arguments)) != 0:
            print(f"{name} failed with {status}", flush=True)
            return 1
    print("holding", flush=True)
    sys.stdin.read()
    return 0


def shut_down_by_another(monitor: ResourceMonitor) -> None:
    section("somebody else in the process shuts the library down")
    import pynvml

    pynvml.nvmlShutdown()
    seconds, sample = timed(monitor.sample)
    gate("GPUs seen after it", len(sample.gpus), 1, unit="")
    gate("the sample after it", seconds * 1000, unit="ms", better="lower")
    print("  problems:", dict(sample.problems))


def constraints(monitor: ResourceMonitor) -> None:
    section("constraints and admission")
    free = max(gpu.mem_free or 0.0 for gpu in monitor.sample().gpus)
    for part in (0.5, 2.0):
        verdict = monitor.check_constraints({"gpu_mem_free_min": free * part})
        print(f"  gpu_mem_free_min {free * part:.1f} of {free:.1f}: {bool(verdict)} {verdict.reasons}")
        gate(
            f"{part:g} of what is free: wrong verdict", int(bool(verdict) is not (part < 1)), 0, unit="", better="lower"
        )
    admission = Admission(monitor.readings, clock=SYSTEM_CLOCK)
    share = {"gpu_mem_free_min": free * 0.6}
    admitted = sum(bool(admission.admit(f"start {number}", share)) for number in range(50))
    gate(
        "starts at once that want 60 % of a GPU, per GPU",
        admitted / len(monitor.sample().gpus),
        1,
        unit="",
        better="lower",
    )
    began = time.thread_time()
    seconds, _ = timed(lambda: [admission.admit("one", share) for _ in range(20)])
    gate("one admission", seconds / 20 * 1000, unit="ms", better="lower")
    gate("CPU of one admission", (time.thread_time() - began) / 20 * 1000, unit="ms", better="lower")


def troubles() -> None:
    section("a driver that does not answer")

    class Hung(Gpus):
        def read(self) -> Any:
            threading.Event().wait()

    monitor = ResourceMonitor(gpus=Hung())
    seconds, sample = timed(monitor.sample)
    gate("the first sample beside it", seconds, 2.0, unit="s", better="lower")
    gate("each one after", max(timed(monitor.sample)[0] for _ in range(5)) * 1000, 500, unit="ms", better="lower")
    print("  problems:", dict(sample.problems))


if __name__ == "__main__":
    sys.exit(main())
