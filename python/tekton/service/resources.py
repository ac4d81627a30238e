"""The resource monitor of the control plane, and whom it feeds: admission, the socket, the API, the log.

It samples every `monitoring.collection_interval` seconds: the machine, the disks of `/` and of the data directory,
GPUs, and what each supervised component uses. What rises above `monitoring.thresholds` is an alert: a line in the log,
and an entry in every answer and every frame, of which the last 50 are kept.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from tekton.clock import Clock
from tekton.core.resource_monitor import ResourceMonitor, ResourceSample, ThresholdRegistration
from tekton.core.resources.sample import ProcessTree
from tekton.core.resources.thresholds import ThresholdEvent
from tekton.gateway.topics import Conflated
from tekton.supervisor.admission import Admission
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.usage import TreeMeter, open_files
from tekton.utils.tekton_config import TektonConfig

_MOST_ALERTS: Final = 50
_BUSY_FOR: Final = 60.0
"""Seconds of CPU usage above its threshold that are worth an alert: shorter ones are what a CPU is for."""
_NEVER: Final = 100.0
_THOROUGH: Final = 10
"""Of so many looks at the processes, one is at those that belong to no component."""
_NAMES: Final = {"cpu": "CPU usage", "memory": "memory", "disk": "the disk", "gpu_memory": "GPU memory"}

_logger = logging.getLogger("tekton.resources")


class CpuView(msgspec.Struct, frozen=True):
    """`cores` are fractions, `percent` is of all together, `available` how many cores' worth of time there may be."""

    percent: float
    cores: list[float]
    available: float


class MemoryView(msgspec.Struct, frozen=True):
    """In GiB. `limited`: of the control group that Tekton runs in, which has less than the machine."""

    total: float
    used: float
    free: float
    percent: float
    limited: bool
    swap_total: float
    swap_used: float


class DiskView(msgspec.Struct, frozen=True):
    """The file system at `path`, in GiB."""

    path: str
    total: float
    used: float
    free: float
    percent: float


class TrafficView(msgspec.Struct, frozen=True):
    """Bytes a second: of all disks, and of all network interfaces but loopback."""

    disk_read: float | None
    disk_written: float | None
    network_received: float | None
    network_sent: float | None


class GpuView(msgspec.Struct, frozen=True):
    """`util` is in percent, memory in GiB, `temperature` in °C, `power` in watts; null: it does not tell."""

    id: int
    name: str
    util: float | None
    mem_used: float | None
    mem_total: float | None
    mem_free: float | None
    temperature: float | None
    power: float | None
    problem: str | None


class UsageView(msgspec.Struct, frozen=True):
    """What the processes of a component use: `cpu` in cores, memory in GiB."""

    cpu: float
    memory: float
    processes: int
    gpu_memory: float | None


class AlertView(msgspec.Struct, frozen=True):
    """`resource` was at `value` percent, above `threshold`, from `since` on; `until` is null while it lasts."""

    resource: str
    threshold: float
    value: float
    since: float
    until: float | None


class ResourceHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """Slots of `step` seconds from `since` on; null is a gap. Where a slot is one sample, there is only `mean`."""

    since: float
    step: float
    mean: list[float | None]
    low: list[float | None] = []
    high: list[float | None] = []


class ResourcesView(msgspec.Struct, frozen=True, kw_only=True):
    """One sample. What could not be read is null or missing, and `problems` says why."""

    sampled_at: float
    interval: float
    cpu: CpuView | None
    memory: MemoryView | None
    disks: list[DiskView]
    traffic: TrafficView
    gpus: list[GpuView]
    components: dict[str, UsageView]
    problems: dict[str, str]
    alerts: list[AlertView]


class SystemResources:
    """See the module. To be started and stopped on the event loop."""

    def __init__(self, config: TektonConfig, guard: GuardClient, clock: Clock) -> None:
        self._config = config
        self._guard = guard
        self._clock = clock
        self._meter = TreeMeter(thorough=_THOROUGH)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._registrations: list[ThresholdRegistration] = []
        self._unlisten: Callable[[], None] = lambda: None
        self._alerts: list[AlertView] = []
        self.topic = Conflated()
        """The topic `resources`."""
        self.monitor = ResourceMonitor(
            config.collection_interval, disks=_disks(config), processes=self._processes, clock=clock
        )
        self.admission = Admission(self.monitor.readings, clock=clock)

    @property
    def exceeded(self) -> frozenset[str]:
        """The resources that are above their threshold now."""
        return frozenset(alert.resource for alert in self._alerts if alert.until is None)

    def start(self) -> None:
        """Begin to sample."""
        self._loop = asyncio.get_running_loop()
        self._unlisten = self.monitor.add_listener(self._sampled)
        self._unwatch()  # a reload may have been quicker
        self._watch(self._config)
        self.monitor.start()

    async def stop(self) -> None:
        """Sample no more."""
        self._unlisten()
        self._unwatch()
        # It may be waiting for a sensor.
        await asyncio.to_thread(self.monitor.stop)

    async def adopt(self, config: TektonConfig) -> None:
        """Let the interval and the thresholds of *config* hold."""
        before, self._config = self._config, config
        if list(_thresholds(before)) != list(_thresholds(config)):
            self._unwatch()
            for alert in list(self._alerts):
                self._end(alert.resource, self._clock.time())
            self._watch(config)
        await asyncio.to_thread(self.monitor.set_interval, config.collection_interval)

    async def now(self) -> ResourcesView:
        """The newest sample. Before there is any, one is taken."""
        sample = self.monitor.latest
        return self._show(await asyncio.to_thread(self.monitor.sample) if sample is None else sample)

    # Inside

    def _processes(self) -> Mapping[str, ProcessTree]:
        """What each component uses, its replicas together. In the sampling thread."""
        owners = {
            child.pid: child.meta.get("component_id", child.name)
            for child in self._guard.children
            if child.exit is None
        }
        found: dict[str, ProcessTree] = {}
        for pid, tree in self._meter.measure(owners).items():
            before = found.get(owners[pid], ProcessTree(0.0, 0))
            found[owners[pid]] = ProcessTree(
                before.cpu + tree.cpu,
                before.memory + tree.memory,
                [*before.pids, *tree.pids],
                before.threads + tree.threads,
                before.files + open_files(tree.pids),
            )
        return found

    def _sampled(self, sample: ResourceSample) -> None:
        """In the sampling thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._publish, sample)

    def _publish(self, sample: ResourceSample) -> None:
        self.topic.publish(self._show(sample))

    def _show(self, sample: ResourceSample) -> ResourcesView:
        return show(sample, self.monitor.sampling_interval, list(self._alerts))

    def _watch(self, config: TektonConfig) -> None:
        for resource, threshold, hold in _thresholds(config):
            self._registrations.append(
                self.monitor.register_threshold_callback(
                    resource, threshold, self._crossed, on_cleared=self._cleared, hold=hold
                )
            )

    def _unwatch(self) -> None:
        for registration in self._registrations:
            registration.cancel()
        self._registrations = []

    async def _crossed(self, event: ThresholdEvent) -> None:
        resource, value = event.resource_type, event.value
        _logger.warning(
            "%s at %.1f %%, above %g %%", _NAMES[resource], value, event.threshold, extra={"resource": resource}
        )
        if len(self._alerts) == _MOST_ALERTS:
            # What lasts is told, however much comes and goes meanwhile.
            self._alerts.remove(next(alert for alert in self._alerts if alert.until is not None))
        self._alerts.append(AlertView(resource, event.threshold, value, event.time, None))
        self._publish_latest()

    async def _cleared(self, event: ThresholdEvent) -> None:
        resource = event.resource_type
        _logger.info("%s at %.0f %% again", _NAMES[resource], event.value, extra={"resource": resource})
        self._end(resource, event.time)
        self._publish_latest()

    def _end(self, resource: str, time: float) -> None:
        for number, alert in enumerate(self._alerts):
            if alert.resource == resource and alert.until is None:
                self._alerts[number] = msgspec.structs.replace(alert, until=time)

    def _publish_latest(self) -> None:
        if self.monitor.latest is not None:
            self._publish(self.monitor.latest)


def show(sample: ResourceSample, interval: float, alerts: list[AlertView]) -> ResourcesView:
    """A sample as clients see it."""
    cpu, memory, disk_rates, network = sample.cpu, sample.memory, sample.disk_rates, sample.network
    return ResourcesView(
        sampled_at=sample.time,
        interval=interval,
        cpu=None if cpu is None else CpuView(cpu.percent, list(cpu.cores), cpu.available),
        memory=None
        if memory is None
        else MemoryView(
            memory.total,
            memory.used,
            memory.free,
            memory.percent,
            memory.limited,
            memory.swap_total,
            memory.swap_used,
        ),
        disks=[DiskView(one.path, one.total, one.used, one.free, one.percent) for one in sample.disks],
        traffic=TrafficView(
            *(disk_rates if disk_rates is not None else (None, None)),
            *(network.rates if network is not None else (None, None)),
        ),
        gpus=[
            GpuView(
                gpu.id,
                gpu.name,
                gpu.util,
                gpu.mem_used,
                gpu.mem_total,
                gpu.mem_free,
                gpu.temperature,
                gpu.power,
                gpu.problem,
            )
            for gpu in sample.gpus
        ],
        components={
            name: UsageView(one.cpu, one.memory, one.processes, one.gpu_memory)
            for name, one in sample.components.items()
        },
        problems=dict(sample.problems),
        alerts=alerts,
    )


def _disks(config: TektonConfig) -> list[str]:
    return list(dict.fromkeys(["/", str(config.data_dir)]))


def _thresholds(config: TektonConfig) -> Iterator[tuple[str, float, float]]:
    """Resource, threshold, and the seconds for which it must be exceeded."""
    limits = (
        ("cpu", config.thresholds_cpu_percent, _BUSY_FOR),
        ("memory", config.thresholds_memory_percent, 0.0),
        ("disk", config.thresholds_disk_percent, 0.0),
        ("gpu_memory", config.thresholds_gpu_memory_percent, 0.0),
    )
    return (limit for limit in limits if limit[1] < _NEVER)
