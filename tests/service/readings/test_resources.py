"""What is read of resources: the newest sample, in base units; and who serves capabilities."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.resources.sample import (
    GIB,
    ComponentUsage,
    CpuUsage,
    DiskUsage,
    GpuUsage,
    MemoryUsage,
    NetworkUsage,
    Rates,
    ResourceSample,
)
from tekton.service.degradation import Degradation
from tekton.service.readings.resources import capabilities, resources
from tekton.service.resources import SystemResources
from tekton.utils.tekton_config import FallbackSpec

Read = Callable[..., Any]

SAMPLE = ResourceSample(
    at=0.0,
    time=0.0,
    cpu=CpuUsage((0.5, 0.25), 37.5, 2.0),
    memory=MemoryUsage(8.0, 2.0, False, 4.0, 1.0),
    disks=[DiskUsage("/", 100.0, 60.0, 40.0)],
    disk_rates=Rates(1000.0, 2000.0),
    network=NetworkUsage(Rates(1.0, 2.0), 300, 400),
    gpus=[GpuUsage(0, "one", util=50.0, mem_used=1.0, mem_total=24.0, temperature=61.0), GpuUsage(1, "mute")],
    components={
        "rhetor": ComponentUsage(0.5, 0.25, 3, 1.0, 17, 40),
        "hermes": ComponentUsage(0.0, 0.0, 1),
    },
    problems={"network": "it does not answer"},
)


def made(sample: ResourceSample | None, *exceeded: str) -> SystemResources:
    return cast(SystemResources, SimpleNamespace(monitor=SimpleNamespace(latest=sample), exceeded=set(exceeded)))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("tekton_machine_cpu_usage", (), 0.375),
        ("tekton_machine_cpu", (), 2),
        ("tekton_machine_memory", (), 8 * GIB),
        ("tekton_machine_memory_free", (), 2 * GIB),
        ("tekton_machine_swap_used", (), GIB),
        ("tekton_machine_disk", ("/",), 100 * GIB),
        ("tekton_machine_disk_free", ("/",), 40 * GIB),
        ("tekton_machine_disk_read", (), 1000),
        ("tekton_machine_disk_written", (), 2000),
        ("tekton_machine_network_received", (), 300),
        ("tekton_machine_network_sent", (), 400),
        ("tekton_machine_gpu_usage", ("0",), 0.5),
        ("tekton_machine_gpu_memory", ("0",), 24 * GIB),
        ("tekton_machine_gpu_memory_used", ("0",), GIB),
        ("tekton_machine_gpu_temperature", ("0",), 61),
        ("tekton_resource_sensors_failing", ("network",), 1),
        ("tekton_resource_sensors_failing", ("cpu",), 0),
        ("tekton_resource_alerts", ("disk",), 1),
        ("tekton_resource_alerts", ("cpu",), 0),
        ("tekton_component_cpu", ("rhetor",), 0.5),
        ("tekton_component_memory", ("rhetor",), GIB / 4),
        ("tekton_component_processes", ("rhetor",), 3),
        ("tekton_component_threads", ("rhetor",), 17),
        ("tekton_component_open_fds", ("rhetor",), 40),
        ("tekton_component_gpu_memory", ("rhetor",), GIB),
    ],
)
def test_a_sample_is_told_in_base_units(read: Read, name: str, labels: tuple[str, ...], value: float) -> None:
    assert read(partial(resources, made(SAMPLE, "disk")), name, *labels) == value


def test_what_does_not_tell_has_no_sample(read: Read) -> None:
    reader = partial(resources, made(SAMPLE))

    assert list(read(reader, "tekton_machine_gpu_temperature")) == [("0",)]
    assert list(read(reader, "tekton_component_gpu_memory")) == [("rhetor",)]
    assert read(partial(resources, made(None)), "tekton_machine_disk") == {}


async def test_each_capability_is_served_in_one_way(registry: ComponentRegistry, read: Read) -> None:
    config = SimpleNamespace(fallbacks={"chat": (FallbackSpec(component="local"),)})
    degradation = Degradation(registry, config=lambda: cast(Any, config), specs=dict)
    instances = {}
    for name, offers in (("rhetor", ("chat",)), ("local", ())):
        registration = ComponentRegistration(component_id=name, capabilities=offers, endpoint="http://h:1")
        await registry.register(registration)
        await registry.make_ready(name, registration.instance_uuid)
        instances[name] = registration.instance_uuid

    def served() -> list[str]:
        values = read(partial(capabilities, degradation), "tekton_capability_service")
        return [state for (_, state), value in values.items() if value]

    assert served() == ["normal"]
    registry.observe("rhetor", instances["rhetor"], ComponentState.FAILED, "test")
    assert served() == ["fallback"]
    registry.observe("local", instances["local"], ComponentState.FAILED, "test")
    assert served() == ["unavailable"]
