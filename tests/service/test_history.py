"""The past of the system, put together from states and samples."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.history.sampler import INTERVAL
from tekton.core.history.sqlite_store import SqliteTelemetryStore
from tekton.core.history.store import MemoryTelemetryStore, TelemetryStore
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.uptime import Uptime
from tekton.gateway.errors import UnavailableError
from tekton.service.history import History, open_telemetry
from tekton.service.lineup import LineUp
from tekton.supervisor.supervisor import Supervisor
from tekton.testing.clock import ManualClock, virtual_time
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import HistoryUnknownError

BEGIN = 1_000_000.0
NUMBERS = {
    "machine": {"cpu": 12.5},
    "component/rhetor": {"cpu": 0.5, "memory": 1024.0, "restarts": 3.0},
}


class World:
    """A registry with `rhetor`, which is supervised, and its history."""

    def __init__(self, store: TelemetryStore, clock: ManualClock) -> None:
        self.clock = clock
        self.registry = ComponentRegistry(clock=clock)
        self.uptime = Uptime(self.registry)
        process = SimpleNamespace(port=8003, replica=0, restarts=1)
        self.history = History(
            store,
            self.registry,
            cast(LineUp, SimpleNamespace(groups=lambda _: ("models",))),
            cast(Supervisor, SimpleNamespace(process=lambda _: process)),
            self.uptime,
            sources=[NUMBERS.items],
            clock=clock,
        )
        self.instance = ""

    async def begin(self) -> None:
        self.uptime.start()
        self.history.start()
        registration = ComponentRegistration(component_id="rhetor", capabilities=("chat",))
        await self.registry.register(registration, supervised=True)
        self.instance = registration.instance_uuid
        self.clock.advance(10)
        await self.registry.make_ready("rhetor", self.instance)
        self.clock.advance(10)

    async def end(self) -> None:
        await self.history.stop()
        await self.registry.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=BEGIN)


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    world = World(MemoryTelemetryStore(clock=clock), clock)
    await world.begin()
    yield world
    await world.end()


async def test_a_component_is_shown_as_it_was(world: World) -> None:
    world.history._sampler.sample()
    await world.registry.set_state("rhetor", world.instance, ComponentState.FAILED, "killed")

    then = await world.history.at(BEGIN + 20 - 1e-3)
    now = await world.history.at(BEGIN + 20)

    (before,), (after,) = then.components, now.components
    assert (before.state, before.health, before.uptime) == (ComponentState.READY, "ok", pytest.approx(10, abs=0.01))
    assert (before.cpu, before.memory, before.restarts, before.port) == (None, None, 1, 8003)
    assert (before.replicas, before.ready_replicas, before.groups, before.pid) == (1, 1, ("models",), None)
    assert (after.state, after.health, after.uptime, after.note) == (ComponentState.FAILED, "fail", None, "killed")
    assert (after.cpu, after.memory, after.restarts) == (0.5, 1024, 3)
    assert (then.machine, now.machine) == ({}, {"cpu": 12.5})
    assert now.running
    assert now.known_since == BEGIN


async def test_a_time_that_was_rounded_to_the_microsecond_shows_what_happened_in_it(world: World) -> None:
    world.clock.advance(0.0000004)
    await world.registry.set_state("rhetor", world.instance, ComponentState.FAILED, "killed")

    (shown,) = (await world.history.at(float(f"{world.clock.time():.6f}"))).components

    assert shown.state is ComponentState.FAILED


async def test_of_a_time_before_everything_nothing_is_told(world: World) -> None:
    with pytest.raises(HistoryUnknownError, match="nothing is known of 1970-01-12T13:46:39Z: there is data since"):
        await world.history.at(BEGIN - 1)
    with pytest.raises(HistoryUnknownError, match="nothing is known of -900000000000 s"):
        await world.history.at(-9e11)


async def test_traffic_that_was_taken_away_is_shown(world: World) -> None:
    world.registry.observe_serving("rhetor", world.instance, False, "")

    (shown,) = (await world.history.at(BEGIN + 20)).components

    assert (shown.serving, shown.health, shown.note) == (False, "warn", "takes no traffic")


async def test_what_was_lost_is_made_up_for_before_anything_is_told(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "telemetry.db"
    world = World(SqliteTelemetryStore(path, size_bytes=1 << 20, age=3600, clock=clock, gather=0), clock)
    await world.begin()
    await world.history.at(clock.time())
    path.unlink()
    world.history._sampler.sample()

    found = await world.history.at(clock.time())

    assert found.running
    assert [one.component_id for one in found.components] == ["rhetor"]
    await world.end()


def minutely(clock: ManualClock, *, age: float) -> History:
    """A history of nothing but samples."""
    feed = SimpleNamespace(add_listener=lambda _: lambda: None)
    return History(
        MemoryTelemetryStore(clock=clock, age=age),
        cast(ComponentRegistry, SimpleNamespace(feed=feed, all_instances=list)),
        cast(LineUp, None),
        cast(Supervisor, None),
        cast(Uptime, SimpleNamespace(since=None)),
        sources=[NUMBERS.items],
        clock=clock,
    )


@virtual_time
async def test_a_sample_is_taken_every_minute() -> None:
    clock: Any = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    history = minutely(clock, age=1e9)
    history.start()

    await asyncio.sleep(10.5 * INTERVAL)

    assert len((await history.series("machine", [], 0.0, clock.time(), 100)).rows) == 10
    assert await history.samples() == ["component/rhetor", "machine"]
    await history.stop()
    await history.stop()


@virtual_time
async def test_what_is_too_old_goes_while_it_runs() -> None:
    clock: Any = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    history = minutely(clock, age=300.5)
    history.start()

    await asyncio.sleep(10.5 * INTERVAL)

    assert len((await history.series("machine", [], 0.0, clock.time(), 100)).rows) == 6
    await history.stop()


@virtual_time
async def test_a_disk_that_does_not_answer_is_not_waited_for() -> None:
    class Hung(MemoryTelemetryStore):
        async def known_since(self, _kind: object) -> float:
            return await asyncio.Future()

    clock: Any = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    history = History(
        Hung(clock=clock), cast(ComponentRegistry, None), cast(LineUp, None), cast(Supervisor, None),
        cast(Uptime, SimpleNamespace(since=None)), sources=[], clock=clock,
    )  # fmt: skip

    with pytest.raises(UnavailableError, match="the disk does not answer"):
        await history.at(clock.time())


def test_the_store_is_the_one_that_is_configured(tmp_path: Path, clock: ManualClock) -> None:
    def opened(size: str) -> TelemetryStore:
        environ = {"TEKTON_MONITORING_HISTORY_SIZE": size, "TEKTON_DATA_DIR": str(tmp_path)}
        return open_telemetry(TektonConfig.load(environ=environ, cwd=tmp_path), clock)

    assert isinstance(opened("0"), MemoryTelemetryStore)
    assert isinstance(opened("2M"), SqliteTelemetryStore)
    assert not (tmp_path / "telemetry.db").exists()
