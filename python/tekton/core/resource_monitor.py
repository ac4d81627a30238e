"""The resource monitor: what the machine, its GPUs and the processes of components use, now and over the last hours.

    monitor = ResourceMonitor(sampling_interval=1.0)
    monitor.start()
    monitor.get_cpu_usage()         # [0.45, 0.2, 0.3, 0.1]
    monitor.register_threshold_callback("cpu", 80.0, lambda event: print(f"CPU at {event.value:.0f} %"))
    if not (verdict := monitor.check_constraints({"gpu_mem_free_min": 2.0})):
        print(verdict.reasons)
    monitor.stop()

One thread samples, in the middle of each interval, so that a late sample is still that interval's. Readings that may
hang (file systems, GPU drivers) have threads and deadlines of their own. What cannot be read is missing from the
sample, with the reason in its `problems`; the rest goes on. `get_…` tells what the newest sample says; before the first
one it takes one, which blocks for a tenth of a second. All methods may be called from any thread.

In a container, memory and CPU are those that its control group leaves; see `core.resources.machine` for what is read.
"""

import logging
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.resources.constraints import Readings, Verdict, check
from tekton.core.resources.gpu import Gpus
from tekton.core.resources.sample import GAUGES, ComponentUsage, DiskUsage, GpuUsage, ProcessTree, ResourceSample
from tekton.core.resources.sampler import Sampler
from tekton.core.resources.thresholds import Delivery, Threshold, ThresholdCallback
from tekton.core.series import Resolution, SeriesSet, Window, position, resolutions_for, wall_time
from tekton.utils.tekton_ids import nearest_name

__all__ = ["ResourceMonitor", "ResourceSample", "ThresholdRegistration", "Verdict"]

_COMPONENT_SLOTS: Final = 900, 1440
"""Of each component: so many intervals, and so many minutes."""

_logger = logging.getLogger("tekton.resources")


class ThresholdRegistration:
    """A threshold that was registered; `cancel()` takes it back."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Call back no more. A coroutine that runs is cancelled. Cancelling twice does nothing."""
        self._cancel()


class ResourceMonitor:
    """See the module.

    *disks* are paths whose file systems are watched. *processes* tells what the processes of each component use; it is
    called in the sampling thread. *root* is where `proc` and `sys` are found. Memory: 87 KiB for each number of the
    machine at the default interval, 24 KiB for each of a component.
    """

    def __init__(
        self,
        sampling_interval: float = 1.0,
        *,
        disks: Sequence[str] = ("/",),
        processes: Callable[[], Mapping[str, ProcessTree]] | None = None,
        gpus: Gpus | None = None,
        clock: Clock = SYSTEM_CLOCK,
        root: Path = Path("/"),
    ) -> None:
        """Raises ValueError when *sampling_interval* is less than a tenth of a second."""
        if not sampling_interval >= 0.1:
            raise ValueError("the sampling interval is at least 0.1 s")
        self.sampling_interval = sampling_interval
        self._clock = clock
        self._gpus = gpus or Gpus()
        self._sampler = Sampler(clock, disks=disks, gpus=self._gpus, processes=processes, root=root)
        self._machine = SeriesSet(resolutions_for(sampling_interval))
        self._components = SeriesSet(_component_resolutions(sampling_interval))
        self._thresholds: dict[Threshold, tuple[Delivery, ...]] = {}
        self._listeners: list[Callable[[ResourceSample], None]] = []
        self._latest: ResourceSample | None = None
        self._sampling = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> None:
        """Begin to sample, at once. Raises RuntimeError when it has begun already."""
        if self.running:
            raise RuntimeError("the resource monitor runs already")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="resource monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sample no more, and let go of the GPU driver. What was measured stays. Stopping twice does nothing.

        A callback that runs is left to end by itself, a coroutine is cancelled.
        """
        self._halt()
        for deliveries in self._thresholds.copy().values():
            for delivery in deliveries:
                delivery.interrupt()
        self._gpus.close()

    @property
    def running(self) -> bool:
        """True while samples are taken."""
        return self._thread is not None and self._thread.is_alive()

    def set_interval(self, sampling_interval: float) -> None:
        """Sample in another interval. The history of the old one is given up if it is not the same."""
        if sampling_interval == self.sampling_interval:
            return
        if not sampling_interval >= 0.1:
            raise ValueError("the sampling interval is at least 0.1 s")
        was_running = self.running
        self._halt()
        self.sampling_interval = sampling_interval
        self._machine = SeriesSet(resolutions_for(sampling_interval))
        self._components = SeriesSet(_component_resolutions(sampling_interval))
        if was_running:
            self.start()

    # What is used now

    @property
    def latest(self) -> ResourceSample | None:
        """The newest sample; None before the first one."""
        return self._latest

    def sample(self) -> ResourceSample:
        """Take a sample now, and return it. Blocks for as long as the readings take, 2 s at the most."""
        with self._sampling:
            sample = self._latest = self._sampler.sample()
            self._machine.append(sample.at, sample.gauges())
            self._components.append(sample.at, sample.component_gauges())
            self._judge(sample)
        for listener in tuple(self._listeners):
            try:
                listener(sample)
            except Exception:  # somebody else's code
                _logger.exception("a listener of the resource monitor failed")
        return sample

    def get_cpu_usage(self) -> list[float]:
        """How busy each core is, as a fraction: `[0.45, 0.2, 0.3, 0.1]`."""
        cpu = self._newest().cpu
        return [] if cpu is None else list(cpu.cores)

    def get_memory_usage(self) -> dict[str, float]:
        """`{"total": 16.0, "used": 8.5, "free": 7.5, "percent": 53.1, "swap_total": 4.0, "swap_used": 0.0}`, in GiB."""
        memory = self._newest().memory
        if memory is None:
            return {}
        return {
            "total": memory.total,
            "used": memory.used,
            "free": memory.free,
            "percent": memory.percent,
            "swap_total": memory.swap_total,
            "swap_used": memory.swap_used,
        }

    def get_gpu_usage(self) -> list[dict[str, Any]]:
        """`[{"id": 0, "name": "…", "util": 45, "mem_used": 4.2, "mem_total": 24.0, "mem_free": 19.8, …}]`.

        `util` is in percent, memory in GiB, `temperature` in °C, `power` in watts, `processes` the memory by pid; what
        a GPU does not tell is None. Empty where there is none.
        """
        return [_gpu(gpu) for gpu in self._newest().gpus]

    def get_disk_usage(self) -> list[dict[str, Any]]:
        """`[{"path": "/", "total": 100.0, "used": 40.0, "free": 55.0, "percent": 42.1}]`, in GiB."""
        return [_disk(disk) for disk in self._newest().disks]

    def get_network_usage(self) -> dict[str, float]:
        """Bytes a second that are received and sent, and bytes in all: of all interfaces but loopback."""
        network = self._newest().network
        if network is None:
            return {}
        return {
            "received": network.rates.taken,
            "sent": network.rates.given,
            "received_total": network.received,
            "sent_total": network.sent,
        }

    def get_component_usage(self) -> dict[str, ComponentUsage]:
        """What the processes of each component use; empty without *processes*."""
        return dict(self._newest().components)

    # What was used

    def history(
        self,
        names: Iterable[str] | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        resolution: float | None = None,
    ) -> dict[str, Window]:
        """What was measured between two moments of the wall clock (`since` of a window is one too), by name.

        By default of every number of the machine, for the last ten minutes. *names* may be those of components, such as
        `rhetor.cpu`. See `Series.window` for *resolution*.
        """
        offset = wall_time(self._clock, 0.0)
        end = self._clock.time() if until is None else until
        begin = end - 600.0 if since is None else since
        wanted = self._machine.names() if names is None else list(names)
        found = self._components.window(wanted, begin - offset, end - offset, resolution)
        found |= self._machine.window(wanted, begin - offset, end - offset, resolution)
        return {name: replace(window, since=window.since + offset) for name, window in found.items()}

    def measured(self) -> list[str]:
        """The names that there is a history of."""
        return sorted({*self._machine.names(), *self._components.names()})

    @property
    def history_bytes(self) -> int:
        """The memory that the history takes."""
        return self._machine.size_bytes + self._components.size_bytes

    # Thresholds, constraints, listeners

    def register_threshold_callback(
        self,
        resource_type: str,
        threshold: float,
        callback: ThresholdCallback,
        *,
        on_cleared: ThresholdCallback | None = None,
        hysteresis: float | None = None,
        hold: float = 0.0,
    ) -> ThresholdRegistration:
        """Call *callback* when a number has risen above *threshold* and stayed there for *hold* seconds; once.

        *resource_type* is one of `GAUGES`: `cpu`, `memory`, `disk`, `gpu`, … It is armed again, and *on_cleared* is
        called, when the number has come down by *hysteresis*, 5 % of the threshold by default. Callbacks are functions
        or coroutine functions, of the `ThresholdEvent` or of nothing; see `core.resources.thresholds` for where they
        run. Raises ValueError for a number that there is not.
        """
        if resource_type not in GAUGES:
            nearest = nearest_name(resource_type, GAUGES)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise ValueError(f"there is no resource {resource_type!r}{hint}")
        crossed = Delivery(callback, f"callback of {resource_type} above {threshold:g}")
        cleared = None if on_cleared is None else Delivery(on_cleared, f"callback of {resource_type} cleared")
        one = Threshold(
            resource_type, threshold, hysteresis=hysteresis, hold=hold, on_crossed=crossed, on_cleared=cleared
        )
        self._thresholds[one] = (crossed,) if cleared is None else (crossed, cleared)
        return ThresholdRegistration(partial(self._forget, one))

    def check_constraints(self, constraints: Mapping[str, float], *, cwd: str = ".") -> Verdict:
        """Whether what *constraints* ask for is free now; the verdict is true or false and carries the reasons.

        The rules are those of `core.resources.constraints`; disk space is that where *cwd* is. Raises ValueError for a
        constraint that does not exist. May block for a second, and for longer where a disk does not answer.
        """
        return check(constraints, self.readings(constraints, cwd))

    def readings(self, wanted: Container[str], cwd: str = ".") -> Readings:
        """What the constraints *wanted* are about, read now: CPU alone is that of the newest sample while we run."""
        return self._sampler.readings(wanted, cwd, self._latest.cpu if self.running and self._latest else None)

    def add_listener(self, listener: Callable[[ResourceSample], None]) -> Callable[[], None]:
        """Tell *listener* of every sample, in the sampling thread: it must be quick. Returns what takes that back."""
        self._listeners.append(listener)

        def remove() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    # Inside

    def _halt(self) -> None:
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                self.sample()
            except Exception:  # ours: the next sample has another chance
                _logger.exception("a sample of the resources failed")
            stopping.wait(self._pause())

    def _pause(self) -> float:
        """Seconds until the middle of the next interval."""
        return self.sampling_interval * 1.5 - position(self._clock) % self.sampling_interval

    def _newest(self) -> ResourceSample:
        latest = self._latest
        if latest is not None and (self.running or self._is_fresh(latest)):
            return latest
        with self._sampling:
            # The first one of a monitor that has just been started may have come meanwhile.
            newest = self._latest
            return newest if newest is not None and newest is not latest else self.sample()

    def _is_fresh(self, sample: ResourceSample) -> bool:
        return position(self._clock) - sample.at <= self.sampling_interval

    def _judge(self, sample: ResourceSample) -> None:
        gauges = sample.gauges() if self._thresholds else {}
        for threshold in self._thresholds.copy():
            value = gauges.get(threshold.resource_type)
            if value is not None:
                threshold.judge(value, sample.at, sample.time)

    def _forget(self, threshold: Threshold) -> None:
        for delivery in self._thresholds.pop(threshold, ()):
            delivery.cancel()


def _component_resolutions(interval: float) -> tuple[Resolution, ...]:
    fine, minutes = _COMPONENT_SLOTS
    return (Resolution(interval, fine), *((Resolution(60.0, minutes),) if interval < 60.0 else ()))


def _gpu(gpu: GpuUsage) -> dict[str, Any]:
    return {
        "id": gpu.id,
        "name": gpu.name,
        "util": gpu.util,
        "mem_used": gpu.mem_used,
        "mem_total": gpu.mem_total,
        "mem_free": gpu.mem_free,
        "temperature": gpu.temperature,
        "power": gpu.power,
        "processes": dict(gpu.processes),
        "problem": gpu.problem,
    }


def _disk(disk: DiskUsage) -> dict[str, Any]:
    return {
        "path": disk.path,
        "total": disk.total,
        "used": disk.used,
        "free": disk.free,
        "percent": disk.percent,
    }
