"""Tests of tekton.service.resources: what is sampled for whom, alerts, and what clients are shown."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from tekton.core.resources.sample import GpuUsage, MemoryUsage, ResourceSample
from tekton.core.resources.thresholds import ThresholdEvent
from tekton.gateway.sockets import Sub
from tekton.service.resources import SystemResources, show
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.usage import Look, Sample, TreeMeter
from tekton.testing import ManualClock
from tekton.utils.tekton_config import TektonConfig


class Memory:
    """Takes the place of what is read of the memory."""

    def __init__(self) -> None:
        self.percent = 50.0

    def __call__(self, _: Path) -> MemoryUsage:
        return MemoryUsage(100.0, 100.0 - self.percent)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    made_up = Memory()
    monkeypatch.setattr("tekton.core.resources.sampler.memory", made_up)
    return made_up


def child(pid: int, component_id: str, *, ended: bool = False) -> Any:
    return SimpleNamespace(pid=pid, name=component_id, meta={"component_id": component_id}, exit=ended or None)


@pytest.fixture
def config(tmp_path: Path) -> TektonConfig:
    settings = {
        "TEKTON_DATA_DIR": str(tmp_path / "data"),
        "TEKTON_MONITORING_COLLECTION_INTERVAL": "3600",
        "TEKTON_MONITORING_THRESHOLDS_MEMORY_PERCENT": "80",
    }
    return TektonConfig.load(environ=settings, cwd=tmp_path)


@pytest.fixture
async def resources(config: TektonConfig) -> AsyncIterator[SystemResources]:
    """One whose thread has taken its first sample, and takes the next one in an hour."""
    guard = cast(GuardClient, SimpleNamespace(children=[child(10, "a"), child(20, "a"), child(30, "b", ended=True)]))
    made = SystemResources(config, guard, ManualClock())
    made._meter = TreeMeter(
        lambda: Look(
            100.0, {pid: Sample(pid, 1, pid, 0, 0, pid) for pid in (10, 20, 30)} | {21: Sample(21, 20, 20, 0, 0, 1)}
        )
    )
    made.start()
    async with asyncio.timeout(10):
        await anext(made.topic.open(Sub(id=1, topic="resources")))
    yield made
    await made.stop()


async def sampled(resources: SystemResources) -> Any:
    """Take a sample; what the topic says of it."""
    frames = resources.topic.open(Sub(id=1, topic="resources"))
    async with asyncio.timeout(10):
        await anext(frames)
        await asyncio.to_thread(resources.monitor.sample)
        frame = json.loads(await anext(frames))
    await frames.aclose()
    return frame["data"]


async def until_alerts(resources: SystemResources, *ended: bool) -> list[Any]:
    """Wait until there are alerts that have *ended* or not."""
    frames = resources.topic.open(Sub(id=1, topic="resources"))
    async with asyncio.timeout(10):
        async for frame in frames:
            alerts: list[Any] = json.loads(frame)["data"]["alerts"]
            if [alert["until"] is not None for alert in alerts] == list(ended):
                await frames.aclose()
                return alerts
    raise AssertionError("unreachable")


async def test_every_sample_is_published(resources: SystemResources, memory: Memory) -> None:
    memory.percent = 60.0

    data = await sampled(resources)

    assert data["memory"]["percent"] == 60.0
    assert data["interval"] == 3600
    assert (await resources.now()).memory == resources.topic._value.memory  # type: ignore[attr-defined]


async def test_components_count_with_all_their_replicas_that_run(resources: SystemResources) -> None:
    view = await resources.now()

    assert {name: one.processes for name, one in view.components.items()} == {"a": 3}


async def test_what_rises_above_its_threshold_is_an_alert_until_it_is_over(
    resources: SystemResources, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tekton.resources")
    memory.percent = 90.0
    await sampled(resources)
    (alert,) = await until_alerts(resources, False)
    memory.percent = 50.0
    await sampled(resources)
    (over,) = await until_alerts(resources, True)

    assert (alert["resource"], alert["threshold"], alert["value"]) == ("memory", 80.0, 90.0)
    assert over == alert | {"until": over["until"]}
    assert [record.message for record in caplog.records if record.name == "tekton.resources"] == [
        "memory at 90.0 %, above 80 %",
        "memory at 50 % again",
    ]


async def test_other_thresholds_take_hold_and_end_the_alerts_of_the_old_ones(
    resources: SystemResources, config: TektonConfig, memory: Memory
) -> None:
    memory.percent = 90.0
    await sampled(resources)
    await until_alerts(resources, False)

    await resources.adopt(dataclasses.replace(config, thresholds_memory_percent=85.0))
    await sampled(resources)
    _, second = await until_alerts(resources, True, False)

    assert second["threshold"] == 85.0


async def test_an_alert_that_lasts_is_told_however_many_come_and_go(resources: SystemResources) -> None:
    def event(kind: Literal["crossed", "cleared"], resource: str, time: float) -> ThresholdEvent:
        return ThresholdEvent(kind, resource, 80.0, 90.0, time, time)

    await resources._crossed(event("crossed", "disk", 0.0))
    for number in range(100):
        await resources._crossed(event("crossed", "memory", number))
        await resources._cleared(event("cleared", "memory", number))

    assert resources.exceeded == {"disk"}
    assert len((await resources.now()).alerts) == 50


async def test_a_threshold_of_a_hundred_percent_is_none(
    resources: SystemResources, config: TektonConfig, memory: Memory
) -> None:
    memory.percent = 100.0
    await resources.adopt(dataclasses.replace(config, thresholds_memory_percent=100.0))

    assert (await sampled(resources))["alerts"] == []


async def test_settings_that_have_not_changed_keep_the_history(
    resources: SystemResources, config: TektonConfig
) -> None:
    before = resources.monitor.measured()
    await resources.adopt(config)

    assert resources.monitor.measured() == before != []


def test_what_could_not_be_read_is_null_and_the_reason_is_told() -> None:
    sample = ResourceSample(at=1.0, time=2.0, gpus=(GpuUsage(0, "", problem="lost"),), problems={"memory": "no memory"})

    view = show(sample, 1.0, [])

    assert (view.cpu, view.memory, view.disks, view.traffic.disk_read) == (None, None, [], None)
    assert view.gpus[0].problem == "lost"
    assert view.problems == {"memory": "no memory"}
