"""The readings of resources: the newest sample of the machine and the components, and how capabilities are served."""

from collections.abc import Iterator
from typing import Final, get_args

from tekton.core.capability_service import ServiceState
from tekton.core.metrics.metrics import Reading
from tekton.core.resources.sample import GIB, GpuUsage, ResourceSample
from tekton.service.degradation import Degradation
from tekton.service.readings.per_component import PerComponent
from tekton.service.resources import SystemResources

_SENSORS: Final = ("cpu", "memory", "disk", "network", "gpu", "processes")
_WATCHED: Final = ("cpu", "memory", "disk", "gpu_memory")


def capabilities(degradation: Degradation) -> Iterator[Reading | None]:
    """How the capabilities that have fallbacks are served."""
    for capability, served in degradation.states():
        for state in get_args(ServiceState):
            yield Reading("tekton_capability_service", state == served, (capability, state))


def resources(system: SystemResources) -> Iterator[Reading | None]:
    """The newest sample; nothing before the first one. O(components)."""
    exceeded = system.exceeded
    for resource in _WATCHED:
        yield Reading("tekton_resource_alerts", resource in exceeded, (resource,))
    sample = system.monitor.latest
    if sample is not None:
        yield from _machine(sample)
        for gpu in sample.gpus:
            yield from _gpu(gpu)
        yield from _components(sample)


def _machine(sample: ResourceSample) -> Iterator[Reading]:
    for sensor in _SENSORS:
        yield Reading("tekton_resource_sensors_failing", sensor in sample.problems, (sensor,))
    if sample.cpu is not None:
        yield Reading("tekton_machine_cpu_usage", sample.cpu.percent / 100)
        yield Reading("tekton_machine_cpu", sample.cpu.available)
    if (memory := sample.memory) is not None:
        yield Reading("tekton_machine_memory", round(memory.total * GIB))
        yield Reading("tekton_machine_memory_free", round(memory.free * GIB))
        yield Reading("tekton_machine_swap_used", round(memory.swap_used * GIB))
    for disk in sample.disks:
        yield Reading("tekton_machine_disk", round(disk.total * GIB), (disk.path,))
        yield Reading("tekton_machine_disk_free", round(disk.free * GIB), (disk.path,))
    if sample.disk_rates is not None:
        yield Reading("tekton_machine_disk_read", sample.disk_rates.taken)
        yield Reading("tekton_machine_disk_written", sample.disk_rates.given)
    if sample.network is not None:
        yield Reading("tekton_machine_network_received", sample.network.received)
        yield Reading("tekton_machine_network_sent", sample.network.sent)


def _gpu(gpu: GpuUsage) -> Iterator[Reading]:
    label = (str(gpu.id),)
    if gpu.util is not None:
        yield Reading("tekton_machine_gpu_usage", gpu.util / 100, label)
    if gpu.mem_total is not None:
        yield Reading("tekton_machine_gpu_memory", round(gpu.mem_total * GIB), label)
    if gpu.mem_used is not None:
        yield Reading("tekton_machine_gpu_memory_used", round(gpu.mem_used * GIB), label)
    if gpu.temperature is not None:
        yield Reading("tekton_machine_gpu_temperature", gpu.temperature, label)


def _components(sample: ResourceSample) -> Iterator[Reading | None]:
    each = PerComponent()
    for name, usage in sample.components.items():
        yield each("tekton_component_cpu", name, usage.cpu)
        yield each("tekton_component_memory", name, round(usage.memory * GIB))
        yield each("tekton_component_processes", name, usage.processes)
        yield each("tekton_component_threads", name, usage.threads)
        yield each("tekton_component_open_fds", name, usage.files)
        if usage.gpu_memory is not None:
            yield each("tekton_component_gpu_memory", name, round(usage.gpu_memory * GIB))
    yield from each.rest()
