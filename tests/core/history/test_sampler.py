"""Numbers once a minute."""

import logging
import math
from collections.abc import Iterator
from typing import cast

import pytest

from tekton.core.history.sampler import Numbers, Sampler, names, nearest, series
from tekton.core.history.store import ALWAYS, FOREVER, MemoryTelemetryStore
from tekton.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=1_000_000.0)


@pytest.fixture
def store(clock: ManualClock) -> MemoryTelemetryStore:
    return MemoryTelemetryStore(clock=clock)


class Source:
    """Says what it was told to."""

    def __init__(self, **said: Numbers) -> None:
        self.said = said
        self.error: Exception | None = None

    def __call__(self) -> Iterator[tuple[str, Numbers]]:
        yield from self.said.items()
        if self.error is not None:
            raise self.error


async def test_a_series_has_a_row_for_each_sample_and_none_for_gaps(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    source = Source(machine={"cpu": 1.0, "disk": 2.0})
    sampler = Sampler(store, [source], clock)
    sampler.sample()
    clock.advance(60)
    source.said = {"machine": {"cpu": 3.0}}
    sampler.sample()

    found = await series(store, "machine", ALWAYS, FOREVER)

    assert found.columns == ["cpu", "disk"]
    assert found.rows == [(1_000_000.0, [1.0, 2.0]), (1_000_060.0, [3.0, None])]
    assert (await series(store, "machine", ALWAYS, FOREVER, columns=["disk", "gpu"])).rows[0][1] == [2.0, None]
    assert (await series(store, "machine", 1_000_001, FOREVER)).rows == [(1_000_060.0, [3.0])]
    assert (await series(store, "machine", ALWAYS, FOREVER, limit=1)).rows == [(1_000_060.0, [3.0])]
    assert (await series(store, "nothing", ALWAYS, FOREVER)).rows == []


async def test_the_nearest_sample_is_at_most_a_minute_and_a_half_old(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    Sampler(store, [Source(machine={"cpu": 1.0}, metrics={"a": 2.0})], clock).sample()

    assert await nearest(store, 1_000_090) == {"machine": {"cpu": 1.0}, "metrics": {"a": 2.0}}
    assert await nearest(store, 1_000_091) == {}
    assert await nearest(store, 999_999) == {}


async def test_a_source_that_fails_leaves_a_gap_and_says_so_once(
    store: MemoryTelemetryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Source(broken={"a": 1.0}), Source(sound={"a": 1.0})
    broken.error = OSError("no sensor")
    sampler = Sampler(store, [broken, sound], clock)

    sampler.sample()
    sampler.sample()

    assert await names(store) == ["sound"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]

    broken.error = None
    sampler.sample()
    assert await names(store) == ["broken", "sound"]


async def test_what_is_no_number_at_all_spoils_its_source_and_no_other(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    sources = [Source(broken={"a": cast(float, "text")}), Source(sound={"a": 1.0})]

    Sampler(store, sources, clock).sample()

    assert await names(store) == ["sound"]


async def test_what_is_no_finite_number_is_left_out(store: MemoryTelemetryStore, clock: ManualClock) -> None:
    Sampler(store, [Source(machine={"a": math.nan, "b": math.inf, "c": 1.0})], clock).sample()

    assert await nearest(store, clock.time()) == {"machine": {"c": 1.0}}


async def test_without_anything_to_sample_a_row_says_that_we_are_there(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    Sampler(store, [], clock).sample()

    assert len(await store.read("sample")) == 1
    assert await names(store) == []
