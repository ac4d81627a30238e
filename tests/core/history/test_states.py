"""What the components were at a time, as it is put together again from what was written down."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.history.sampler import Sampler
from tekton.core.history.sqlite_store import SqliteTelemetryStore
from tekton.core.history.states import ProcessFacts, StateRecorder, picture
from tekton.core.history.store import MemoryTelemetryStore, Row, TelemetryStore
from tekton.core.lifecycle import VALID_TRANSITIONS, ComponentRegistration, ComponentState
from tekton.core.uptime import Uptime
from tekton.testing.clock import ManualClock

CASES = int(os.environ.get("TEKTON_HISTORY_CASES", "20"))
"""Random lives of a system that are compared with the model."""


class Plane:
    """One run of a control plane: a registry and who writes down its changes."""

    def __init__(self, registry: ComponentRegistry, store: TelemetryStore, clock: ManualClock) -> None:
        self.registry = registry
        self.uptime = Uptime(registry)
        self.recorder = StateRecorder(
            registry,
            store,
            usable_since=self.uptime.since,
            facts=lambda _: ProcessFacts(8003, 1, 4),
            clock=clock,
        )

    async def start(self) -> None:
        self.uptime.start()
        self.recorder.start()
        await self.recorder.compare()

    async def register(self, name: str, instance: str = "one", **fields: object) -> None:
        registration = ComponentRegistration(
            component_id=name, instance_uuid=uuid(instance), capabilities=("chat",), **fields
        )
        await self.registry.register(registration)

    async def go(self, name: str, *states: ComponentState, instance: str = "one", reason: str = "why") -> None:
        for state in states:
            await self.registry.set_state(name, uuid(instance), state, reason)


def uuid(instance: str) -> str:
    return f"00000000-0000-4000-8000-{instance.encode().hex():>012}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=1_000_000.0)


@pytest.fixture
def store(clock: ManualClock) -> MemoryTelemetryStore:
    return MemoryTelemetryStore(clock=clock)


@pytest.fixture
async def plane(store: MemoryTelemetryStore, clock: ManualClock) -> Plane:
    plane = Plane(ComponentRegistry(clock=clock), store, clock)
    await plane.start()
    return plane


async def shown(store: TelemetryStore, at: float) -> dict[str, str]:
    return {record.component_id: record.state.value for record in (await picture(store, at)).view.components()}


async def test_every_moment_can_be_seen_again(plane: Plane, store: MemoryTelemetryStore, clock: ManualClock) -> None:
    await plane.register("rhetor")
    clock.advance(10)
    await plane.registry.make_ready("rhetor", uuid("one"))
    clock.advance(10)
    await plane.go("rhetor", ComponentState.FAILED, reason="killed")
    clock.advance(10)
    await plane.registry.deregister("rhetor", uuid("one"))

    assert await shown(store, 999_999) == {}
    assert await shown(store, 1_000_009) == {"rhetor": "registering"}
    assert await shown(store, 1_000_010) == {"rhetor": "ready"}
    assert await shown(store, 1_000_029) == {"rhetor": "failed"}
    assert await shown(store, 1_000_030) == {}
    then = (await picture(store, 1_000_025)).view.find("rhetor")
    assert then is not None
    assert (then.reason, then.capabilities, then.changed_at) == ("killed", ("chat",), 1_000_020)


async def test_traffic_and_the_time_since_when_it_is_usable_are_kept(
    plane: Plane, store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    await plane.register("rhetor")
    await plane.registry.make_ready("rhetor", uuid("one"))
    clock.advance(10)
    await plane.go("rhetor", ComponentState.DEGRADED)
    plane.registry.observe_serving("rhetor", uuid("one"), False, "a probe failed")

    found = await picture(store, clock.time())

    state = found.states["rhetor", uuid("one")]
    assert (state.serving, state.reason, state.usable_since) == (False, "a probe failed", 1_000_000)
    assert [record.serving for record in found.view.components()] == [False]


async def test_of_several_instances_the_best_stands_for_the_component(
    plane: Plane, store: MemoryTelemetryStore
) -> None:
    for instance in ("one", "two"):
        await plane.register("rhetor", instance, max_instances=2)
    await plane.registry.make_ready("rhetor", uuid("two"))
    await plane.go("rhetor", ComponentState.FAILED)

    found = await picture(store, 1_000_000)

    assert [record.instance_uuid for record in found.view.components()] == [uuid("two")]
    assert len(found.view.instances("rhetor")) == 2


async def test_only_of_supervised_components_the_process_is_asked_about(
    plane: Plane, store: MemoryTelemetryStore
) -> None:
    await plane.register("rhetor")
    await plane.registry.register(
        ComponentRegistration(component_id="engram", instance_uuid=uuid("one")), supervised=True
    )

    found = await picture(store, 1_000_000)

    assert found.states["rhetor", uuid("one")].port is None
    assert (found.states["engram", uuid("one")].port, found.states["engram", uuid("one")].restarts) == (8003, 4)


async def test_what_was_there_before_anything_was_written_down_is_there_since_its_last_change(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    plane = Plane(ComponentRegistry(clock=clock), store, clock)
    await plane.register("rhetor")
    clock.advance(100)

    await plane.start()

    assert await shown(store, 1_000_000) == {"rhetor": "registering"}


async def test_a_plane_that_starts_again_writes_down_what_nobody_saw(
    plane: Plane, store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    for name in ("engram", "hermes", "rhetor"):
        await plane.register(name)
    plane.recorder.stop()
    plane.uptime.stop()
    clock.advance(10)
    await plane.registry.make_ready("engram", uuid("one"))
    await plane.registry.deregister("hermes", uuid("one"))
    clock.advance(10)

    await Plane(plane.registry, store, clock).start()

    assert await shown(store, 1_000_009) == dict.fromkeys(("engram", "hermes", "rhetor"), "registering")
    assert await shown(store, 1_000_010) == {"engram": "ready", "hermes": "registering", "rhetor": "registering"}
    assert await shown(store, 1_000_020) == {"engram": "ready", "rhetor": "registering"}
    assert len(await store.read("state", key=f"rhetor/{uuid('one')}")) == 1


async def test_an_observation_that_a_crash_took_back_was_there_until_the_next_start(
    store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    """The registry persists observations behind: a crash can make it forget one that was written down."""
    registry = ComponentRegistry(clock=clock)
    plane = Plane(registry, store, clock)
    await plane.register("rhetor")
    await plane.start()
    key = f"rhetor/{uuid('one')}"
    seen = (await store.read("state", key=key))[0].body.replace(b'"registering"', b'"failed"')
    revision = registry.revision
    clock.advance(10)
    store.append("state", [Row(clock.time(), key, seen.replace(b",%d," % revision, b",%d," % (revision + 9)))])
    clock.advance(10)

    await Plane(registry, store, clock).start()

    assert await shown(store, 1_000_009) == {"rhetor": "registering"}
    assert await shown(store, 1_000_019) == {"rhetor": "failed"}
    assert await shown(store, 1_000_020) == {"rhetor": "registering"}


async def test_while_the_plane_was_down_it_says_so(
    plane: Plane, store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    clock.advance(10)
    plane.recorder.stop()
    clock.advance(10)
    await Plane(plane.registry, store, clock).start()

    running = [(await picture(store, at)).running for at in (999_999, 1_000_000, 1_000_009, 1_000_015, 1_000_020)]

    assert running == [False, True, True, False, True]


async def test_after_a_crash_it_was_down_since_a_minute_after_the_last_sign_of_life(
    plane: Plane, store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    clock.advance(60)
    Sampler(store, [], clock).sample()
    clock.advance(1000)
    await Plane(plane.registry, store, clock).start()

    running = [(await picture(store, at)).running for at in (1_000_060, 1_000_120, 1_000_121, 1_001_059, 1_001_060)]

    assert running == [True, True, False, False, True]


async def test_without_its_last_word_the_plane_counts_as_running_while_something_was_written(
    clock: ManualClock,
) -> None:
    store = MemoryTelemetryStore(clock=clock)
    plane = Plane(ComponentRegistry(clock=clock), store, clock)
    await plane.register("rhetor")
    await plane.start()
    store._rows["state"] = [row for row in store._rows["state"] if row.key]

    assert (await picture(store, clock.time())).running


async def test_a_comparison_that_was_given_up_is_made_the_next_time(plane: Plane, store: MemoryTelemetryStore) -> None:
    await plane.register("rhetor")
    store._dropped["state"] += 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await plane.recorder.catch_up()
    store._rows["state"].clear()

    await plane.recorder.catch_up()

    assert [row.key for row in store._rows["state"]] == ["", f"rhetor/{uuid('one')}"]


async def test_rows_of_another_version_are_passed_over(
    plane: Plane, store: MemoryTelemetryStore, clock: ManualClock
) -> None:
    await plane.register("rhetor")
    store.append("state", [Row(clock.time(), "other/one", b'["what", "is", "this"]'), Row(clock.time(), "x/y", b"{}")])

    assert await shown(store, clock.time()) == {"rhetor": "registering"}
    await plane.recorder.compare()
    assert await shown(store, clock.time()) == {"rhetor": "registering"}


async def test_rows_that_were_dropped_are_made_up_for(clock: ManualClock, tmp_path: Path) -> None:
    store = SqliteTelemetryStore(
        tmp_path / "telemetry.db", size_bytes=1 << 20, age=3600, clock=clock, queue_bytes=4000, gather=30.0
    )
    plane = Plane(ComponentRegistry(clock=clock), store, clock)
    await plane.start()
    for number in range(40):
        await plane.register(f"c{number}")
    assert store.status().dropped["state"] > 0
    assert len(await shown(store, clock.time())) < 40

    for _ in range(10):
        await plane.recorder.catch_up()

    assert len(await shown(store, clock.time())) == 40
    await store.close()


async def test_what_a_damaged_file_knew_is_made_up_for(clock: ManualClock, tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    store = SqliteTelemetryStore(path, size_bytes=1 << 20, age=3600, clock=clock, gather=0)
    plane = Plane(ComponentRegistry(clock=clock), store, clock)
    await plane.start()
    await plane.register("rhetor")
    assert await shown(store, clock.time()) == {"rhetor": "registering"}
    clock.advance(10)
    path.unlink()
    await plane.register("engram")
    assert await shown(store, clock.time()) == {"engram": "registering"}

    await plane.recorder.catch_up()

    found = await picture(store, clock.time())
    assert found.running
    assert [record.component_id for record in found.view.components()] == ["engram", "rhetor"]
    assert await store.known_since("state") == clock.time()
    await store.close()


# A model


class Life:
    """A system that lives at random: its registry goes on, the plane that writes down comes and goes."""

    def __init__(self, seed: int, clock: ManualClock, path: Path) -> None:
        self._random = random.Random(seed)
        self._clock = clock
        self._path = path if seed % 5 == 0 else None
        self._registry = ComponentRegistry(clock=clock)
        self._plane: Plane | None = None
        self.store = self._opened() or MemoryTelemetryStore(clock=clock)

    async def step(self) -> tuple[float, bool, dict[str, object]]:
        """Let something happen; the time, whether the plane is up, and every component with its state and reason."""
        self._clock.advance(self._random.choice([0.5, 1, 30]))
        if self._plane is None:
            await self._come_up()
        elif self._random.random() < 0.1:
            await self._go_down()
        else:
            await self._do_something(self._plane)
        now = {record.component_id: (record.state, record.reason) for record in self._registry.components()}
        return self._clock.time(), self._plane is not None, now

    async def end(self) -> None:
        """Have a store that is open."""
        self.store = (self._opened() if self._plane is None else None) or self.store

    def _opened(self) -> TelemetryStore | None:
        if self._path is None:
            return None
        return SqliteTelemetryStore(self._path, size_bytes=1 << 24, age=1e6, clock=self._clock, gather=0)

    async def _come_up(self) -> None:
        self.store = self._opened() or self.store
        self._plane = Plane(self._registry, self.store, self._clock)
        await self._plane.start()

    async def _go_down(self) -> None:
        assert self._plane is not None
        self._plane.recorder.stop()
        self._plane.uptime.stop()
        self._plane = None
        if self._path is not None:
            await self.store.close()

    async def _do_something(self, plane: Plane) -> None:
        name = f"c{self._random.randrange(4)}"
        record = self._registry.find(name)
        if record is None or record.state is ComponentState.STOPPED:
            await plane.register(name, f"i{self._random.randrange(1000)}")
        elif self._random.random() < 0.1:
            await self._registry.deregister(name, record.instance_uuid)
        else:
            legal = sorted(VALID_TRANSITIONS[record.state], key=lambda state: state.value)
            reason = f"r{self._random.random()}"
            await self._registry.set_state(name, record.instance_uuid, self._random.choice(legal), reason)


@pytest.mark.parametrize("seed", range(CASES))
async def test_any_life_of_a_system_is_what_a_naive_model_remembers(
    seed: int, clock: ManualClock, tmp_path: Path
) -> None:
    life = Life(seed, clock, tmp_path / "telemetry.db")

    remembered = [await life.step() for _ in range(60)]
    await life.end()

    for at, running, expected in remembered:
        found = await picture(life.store, at)
        assert found.running == running
        assert {one.component_id: (one.state, one.reason) for one in found.view.components()} == expected, at
    await life.store.close()
