"""When metrics are read, sampled and published. What is read: see `readings`."""

import asyncio
from typing import Any, cast

import pytest

from tekton.core.metrics.exposition import refresh
from tekton.core.metrics.metrics import Reading
from tekton.gateway.sockets import Sub
from tekton.service.metering import Metering
from tekton.testing.clock import ManualClock, virtual_time


def values(metering: Metering, name: str) -> dict[tuple[str, ...], Any]:
    return {tuple(each.labels.values()): each.value for each in metering.metrics.get_metric_values(name)}


def one(metering: Metering, name: str) -> Any:
    return values(metering, name)[()]


async def test_the_process_is_measured() -> None:
    metering = Metering(ManualClock(), 10.0)

    await refresh(metering.metrics)

    assert one(metering, "process_resident_memory") > 1_000_000
    assert one(metering, "process_cpu") > 0


async def test_a_label_set_that_is_one_too_many_is_told_of_with_its_metric() -> None:
    metering = Metering(ManualClock(), 10.0)
    metering.metrics.register_metric("own", "x", metering.metrics.find("process_cpu").metric_type, labels=["id"])
    for number in range(2002):
        metering.metrics.record("own", 1, {"id": str(number)})

    await refresh(metering.metrics)

    assert values(metering, "tekton_metrics_label_sets_refused") == {("own",): 2}


@virtual_time
async def test_a_sample_is_taken_every_interval() -> None:
    loop = cast(Any, asyncio.get_running_loop())
    metering = Metering(loop.clock, 10.0)
    streams: list[int] = []
    metering.read_streams(streams, 512)

    metering.start()
    await asyncio.sleep(5)
    for count in range(1, 4):
        streams.append(count)
        await asyncio.sleep(10)
    await metering.stop()

    (sample,) = metering.metrics.get_metric_values("tekton_http_streams_open")
    assert sample.history is not None
    assert [value for value in sample.history.mean if value is not None] == [1, 2, 3]


@virtual_time
async def test_who_watches_gets_all_metrics_at_once_and_after_each_sample() -> None:
    loop = cast(Any, asyncio.get_running_loop())
    metering = Metering(loop.clock, 10.0)
    metering.start()
    began = loop.time()

    frames = metering.watch(Sub(id=7, topic="metrics"))
    first = await anext(frames)
    second = await anext(frames)
    waited = loop.time() - began
    await frames.aclose()
    await metering.stop()

    assert first.startswith('{"id":7,"t":"snap","seq":1,"data":{"at":')
    assert '"name":"tekton_build_info"' in second
    assert waited == pytest.approx(10, abs=0.5)
    assert metering.topic.watchers == 0


async def test_nothing_is_counted_or_sampled_when_metrics_are_disabled() -> None:
    metering = Metering(ManualClock(), 10.0, enabled=False)

    metering.start()
    await metering.stop()

    assert metering.observers == []


@virtual_time
async def test_what_takes_a_while_is_measured_once_in_an_interval() -> None:
    metering = Metering(cast(Any, asyncio.get_running_loop()).clock, 10.0)
    sizes: list[float] = []

    async def measure() -> list[Reading]:
        sizes.append(len(sizes))
        return [Reading("tekton_data_size", sizes[-1], ("logs",))]

    metering.measure(measure)
    metering.start()
    await asyncio.sleep(25)
    await metering.exposition.refresh(kept=0.0)
    await metering.stop()

    assert sizes == [0, 1, 2]
    assert values(metering, "tekton_data_size") == {("logs",): 2}
