"""Tests of tekton.core.recovery: restarts, their limits, and what is left alone."""

import asyncio
import itertools
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import ReadinessCondition
from tekton.core.component_lifecycle.store import MemoryStore, Mutation
from tekton.core.flapping import WINDOW, Flapping
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError, DependencyError, StorageFullError, TektonError

HOURS = int(os.environ.get("TEKTON_HOURS", "200"))
"""Virtual hours of crashing components."""
CHUNK = 500

FAILED, READY, STOPPING, STOPPED = (
    ComponentState.FAILED,
    ComponentState.READY,
    ComponentState.STOPPING,
    ComponentState.STOPPED,
)


@dataclass
class System:
    """A coordinator with Recovery beside it, and components whose starts are counted."""

    registry: ComponentRegistry
    clock: ManualClock = field(default_factory=current_clock)
    starts: dict[str, list[float]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    stops: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.coordinator = EnhancedStartUpCoordinator(self.registry, clock=self.clock)
        self.recovery = self.make_recovery()

    def make_recovery(self, **settings: Any) -> Recovery:
        return Recovery(self.registry, self.coordinator, clock=self.clock, rng=random.Random(1), **settings)

    async def add(
        self, name: str, *needs: str, policy: RestartPolicy | None = None, seconds: float = 0, start: bool = True
    ) -> None:
        async def begin() -> None:
            self.began(name)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running -= 1
            if name in self.broken:
                raise RuntimeError("broken")

        async def stop() -> None:
            self.stops.append(name)

        await self.coordinator.register_component_handler(name, begin, needs, stop_func=stop)
        if policy is not None:
            self.recovery.set_policy(name, policy)
        if start:
            await self.coordinator.start_component(name)

    def began(self, name: str) -> None:
        """Its start function has been called."""
        self.starts.setdefault(name, []).append(self.clock.monotonic())

    def crash(self, name: str, reason: str = "exited with code 1") -> None:
        record = self.registry.find(name)
        assert record is not None
        assert self.registry.observe(name, record.instance_uuid, FAILED, reason)

    async def end(self, name: str, reason: str) -> None:
        record = self.registry.find(name)
        assert record is not None
        await self.registry.set_state(name, record.instance_uuid, STOPPING)
        await self.registry.set_state(name, record.instance_uuid, STOPPED, reason)

    def state(self, name: str) -> ComponentState | None:
        record = self.registry.find(name)
        return record.state if record else None

    def count(self, name: str) -> int:
        return len(self.starts.get(name, ()))


@virtual_time
async def test_what_fails_is_started_again_after_a_backoff(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        failed_at = system.clock.monotonic()
        system.crash("hermes")
        assert system.recovery.status("hermes").next_at is not None

        await asyncio.sleep(2)

        assert system.state("hermes") is READY
        assert 1 <= system.starts["hermes"][1] - failed_at <= 2
        assert system.recovery.status("hermes").attempt == 1
        assert system.recovery.status("hermes").next_at is None


@virtual_time
async def test_an_expired_lease_is_recovered_from(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with HeartbeatMonitor(inline_registry, clock=system.clock), system.recovery:
        await system.add("hermes")

        await asyncio.sleep(35)

        assert system.count("hermes") == 2
        # It may hang rather than be dead.
        assert system.stops == ["hermes"]


@virtual_time
async def test_recovery_gives_up_visibly_after_so_many_restarts(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.broken.add("hermes")
        with caplog.at_level(logging.ERROR):
            system.crash("hermes")
            await asyncio.sleep(10_000)

    status = system.recovery.status("hermes")
    assert system.count("hermes") == 1 + 5
    assert (status.attempt, status.max, status.next_at, status.gave_up) == (5, 5, None, True)
    assert "gave up on hermes after 5 restarts" in caplog.text
    assert (system.recovery.restarted, system.recovery.given_up) == (5, 1)
    assert system.state("hermes") is FAILED


@virtual_time
async def test_waits_grow_up_to_the_longest(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    policy = RestartPolicy(max=12, backoff=(1, 30))
    async with system.recovery:
        await system.add("hermes", policy=policy)
        system.broken.add("hermes")
        system.crash("hermes")
        await asyncio.sleep(10_000)

    times = system.starts["hermes"]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(waits) == 12
    assert all(1 <= wait <= min(30, 2**number) + 1e-6 for number, wait in enumerate(waits, start=1))
    assert max(waits) > 8


@pytest.mark.parametrize("backoff", [(0.0, 0.0), (0.0, 60.0), (1.0, 60.0), (5.0, 5.0)])
def test_a_delay_is_within_the_backoff_for_every_attempt(backoff: tuple[float, float]) -> None:
    policy = RestartPolicy(backoff=backoff)
    rng = random.Random(1)

    delays = [policy.delay(attempt, rng) for attempt in range(1, 3000)]

    assert min(delays) >= backoff[0]
    assert max(delays) <= backoff[1]
    assert max(delays) >= 0.9 * backoff[1]


@virtual_time
async def test_health_for_long_enough_starts_the_count_anew(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        for _ in range(20):
            system.crash("hermes")
            await asyncio.sleep(100)

        assert system.state("hermes") is READY
        assert system.recovery.status("hermes").attempt == 0
        assert not system.recovery.status("hermes").gave_up


@virtual_time
async def test_health_that_is_too_short_does_not(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(backoff=(1, 1)))
        for _ in range(6):
            system.crash("hermes")
            await asyncio.sleep(30)

        assert system.count("hermes") == 6
        assert system.recovery.status("hermes").gave_up


@virtual_time
async def test_a_component_that_somebody_brings_up_after_recovery_gave_up_begins_anew(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(max=0))
        system.crash("hermes")
        assert system.recovery.status("hermes").gave_up
        system.recovery.set_policy("hermes", RestartPolicy(max=1))

        await system.coordinator.restart_component("hermes")
        assert not system.recovery.status("hermes").gave_up
        system.crash("hermes")
        await asyncio.sleep(5)

        assert system.state("hermes") is READY


# What is left alone.


@virtual_time
async def test_what_was_stopped_is_not_restarted(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(policy="always"))
        await system.coordinator.stop_component("hermes")

        await asyncio.sleep(1000)

        assert (system.state("hermes"), system.count("hermes")) == (STOPPED, 1)


@virtual_time
async def test_a_stop_calls_off_the_restart_that_is_due(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.crash("hermes")
        await system.coordinator.stop_component("hermes")

        await asyncio.sleep(1000)

        assert (system.state("hermes"), system.count("hermes")) == (STOPPED, 1)


@virtual_time
async def test_a_start_that_was_stopped_or_cancelled_is_not_tried_again(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        for name in ("stopped", "cancelled"):
            await system.add(name, seconds=30, start=False)
        callers = {
            name: asyncio.ensure_future(system.coordinator.start_component(name)) for name in ("stopped", "cancelled")
        }
        await asyncio.sleep(1)
        await system.coordinator.stop_component("stopped")
        callers["cancelled"].cancel()

        await asyncio.sleep(1000)

        assert [system.count(name) for name in callers] == [1, 1]
        assert [system.state(name) for name in callers] == [STOPPED, FAILED]
        with pytest.raises(ComponentError):
            await callers["stopped"]


@virtual_time
async def test_a_stop_that_failed_is_not_answered_by_a_restart(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)

    async def fail() -> None:
        raise RuntimeError("boom")

    async with system.recovery:
        await system.add("hermes", start=False)
        await system.coordinator.start_components({"hermes": {"stop_func": fail}})
        with pytest.raises(ComponentError):
            await system.coordinator.stop_component("hermes")

        await asyncio.sleep(1000)

        assert (system.state("hermes"), system.count("hermes")) == (FAILED, 1)


@virtual_time
async def test_who_is_held_stays_down_until_somebody_starts_it(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.recovery.hold("hermes")
        system.crash("hermes")
        await asyncio.sleep(1000)
        held = system.state("hermes"), system.count("hermes"), system.recovery.status("hermes").held
        await system.coordinator.start_component("hermes")
        free = not system.recovery.status("hermes").held
        system.crash("hermes")
        await asyncio.sleep(1000)

        assert (held, free) == ((FAILED, 1, True), True)
        assert (system.state("hermes"), system.count("hermes")) == (READY, 3)


@virtual_time
async def test_who_is_held_no_more_is_restarted_as_before(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.recovery.hold("hermes")
        system.recovery.hold("hermes", held=False)
        system.crash("hermes")
        await asyncio.sleep(1000)

        assert (system.state("hermes"), system.count("hermes")) == (READY, 2)


@virtual_time
async def test_a_policy_of_no_means_no(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(policy="no"))
        system.crash("hermes")

        await asyncio.sleep(1000)

        assert system.count("hermes") == 1


@pytest.mark.parametrize(
    ("policy", "reason", "starts"),
    [("always", "completed", 2), ("always", "exited with code 0", 2), ("on-failure", "completed", 1)],
)
@virtual_time
async def test_what_ended_by_itself_is_restarted_only_always(
    inline_registry: ComponentRegistry, policy: Any, reason: str, starts: int
) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(policy=policy))
        await system.end("hermes", reason)

        await asyncio.sleep(30)

        assert system.count("hermes") == starts


@virtual_time
async def test_what_nobody_can_start_is_left_alone(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.coordinator._handlers.clear()
        system.crash("hermes")

        await asyncio.sleep(1000)

        assert system.count("hermes") == 1
        assert not system.recovery.status("hermes").gave_up


@virtual_time
async def test_a_restart_is_called_off_when_the_component_is_up_again(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.crash("hermes")
        await system.coordinator.start_component("hermes")

        await asyncio.sleep(1000)

        assert system.count("hermes") == 2
        assert system.stops == ["hermes"]


@virtual_time
async def test_a_start_by_somebody_else_stays_theirs(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", seconds=50)
        system.crash("hermes")
        caller = asyncio.ensure_future(system.coordinator.start_component("hermes"))
        await asyncio.sleep(10)
        assert system.recovery.status("hermes").next_at is None

        caller.cancel()
        await asyncio.sleep(1000)

        assert (system.state("hermes"), system.count("hermes")) == (FAILED, 2)


@virtual_time
async def test_a_deregistered_component_is_forgotten(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes")
        system.crash("hermes")
        record = inline_registry.find("hermes")
        assert record is not None
        await inline_registry.deregister("hermes", record.instance_uuid)

        await asyncio.sleep(1000)

        assert system.count("hermes") == 1


@virtual_time
async def test_a_degraded_start_takes_the_place_of_a_restart(inline_registry: ComponentRegistry) -> None:
    async def start_degraded() -> None:
        await asyncio.sleep(0)

    system = System(inline_registry)
    async with system.recovery:
        system.broken.add("hermes")
        await system.add("hermes", start=False)
        with pytest.raises(ComponentError):
            await system.coordinator.start_component("hermes")
        await system.coordinator.start_component_degraded("hermes", start_degraded)

        await asyncio.sleep(1000)

        assert system.count("hermes") == 1
        assert system.state("hermes") is ComponentState.DEGRADED


@virtual_time
async def test_after_stopping_nothing_is_restarted(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.recovery.start()
    await system.recovery.start()
    await system.add("hermes")
    system.crash("hermes")

    await system.recovery.stop()
    await system.recovery.stop()
    await asyncio.sleep(1000)

    assert system.count("hermes") == 1
    assert system.recovery.status("hermes").next_at is None


# Many.


@virtual_time
async def test_at_most_four_restarts_run_at_once(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        for number in range(30):
            await system.add(f"c{number}", seconds=10)
        system.most = 0
        for number in range(30):
            system.crash(f"c{number}")

        await asyncio.sleep(300)

        assert system.most == 4
        assert {system.state(f"c{number}") for number in range(30)} == {READY}


@virtual_time
async def test_a_storm_of_lost_heartbeats_restarts_nobody(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with HeartbeatMonitor(inline_registry, clock=system.clock) as monitor, system.recovery:
        for number in range(40):
            await system.add(f"c{number}")

        await asyncio.sleep(59)

        assert len(monitor.suspected) == 40
        assert {system.count(f"c{number}") for number in range(40)} == {1}


@virtual_time
async def test_health_of_a_component_that_flaps_does_not_reset_its_restarts(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    flapping = Flapping(inline_registry, system.clock)
    flapping.start()
    system.recovery = system.make_recovery(flapping=flapping)
    policy = RestartPolicy(max=2, reset_after=60, backoff=(1, 30))
    waits: list[float] = []
    async with system.recovery:
        await system.add("hermes", policy=policy)
        for _ in range(20):
            await asyncio.sleep(61)
            if system.state("hermes") is not READY:
                break
            failed_at = system.clock.monotonic()
            system.crash("hermes")
            await asyncio.sleep(31)
            waits.append(system.starts["hermes"][-1] - failed_at)

    # Three returns, the last of them within five minutes of the first: from then on the count of restarts stays.
    assert system.recovery.status("hermes").gave_up
    assert waits[3] == pytest.approx(30)
    assert max(waits[:3]) < 4


@virtual_time
async def test_a_component_that_no_longer_flaps_is_restarted_as_before(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    flapping = Flapping(inline_registry, system.clock)
    flapping.start()
    system.recovery = system.make_recovery(flapping=flapping)
    async with system.recovery:
        await system.add("hermes")
        for _ in range(3):
            await asyncio.sleep(20)
            system.crash("hermes")
            await asyncio.sleep(20)
        assert "hermes" in flapping

        await asyncio.sleep(WINDOW)
        assert (system.state("hermes"), system.recovery.status("hermes").attempt) == (READY, 0)
        failed_at = system.clock.monotonic()
        system.crash("hermes")
        await asyncio.sleep(5)

    assert system.starts["hermes"][-1] - failed_at <= 2


@virtual_time
async def test_a_chain_recovers_from_its_root(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        system.broken.add("hermes")
        for name, needs in [("hermes", []), ("engram", ["hermes"]), ("ergon", ["engram", "hermes"])]:
            await system.add(name, *needs, start=False)
        results = await system.coordinator.start_components()
        assert not any(result.success for result in results.values())

        system.broken.clear()
        await asyncio.sleep(5)

        assert [system.state(name) for name in ("hermes", "engram", "ergon")] == [READY] * 3
        assert system.recovery.status("ergon").attempt == 0


@virtual_time
async def test_a_dependent_waits_for_its_dependency_without_using_up_its_restarts(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(policy="no"))
        await system.add("ergon", "hermes")
        system.crash("hermes")
        system.crash("ergon")
        await asyncio.sleep(1000)
        assert (system.count("ergon"), system.recovery.status("ergon").attempt) == (1, 1)

        await system.coordinator.restart_component("hermes")
        await asyncio.sleep(5)

        assert system.state("ergon") is READY


@virtual_time
async def test_a_restart_refused_for_want_of_disk_is_tried_again(
    inline_registry: ComponentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(inline_registry)
    refusals: list[str] = []
    register = inline_registry.register

    async def full(*args: Any, **kwargs: Any) -> Any:
        if len(refusals) < 3:
            refusals.append("full")
            raise StorageFullError("no space left")
        return await register(*args, **kwargs)

    async with system.recovery:
        await system.add("hermes")
        monkeypatch.setattr(inline_registry, "register", full)
        system.crash("hermes")

        await asyncio.sleep(100)

        assert refusals == ["full"] * 3
        assert system.state("hermes") is READY


class FullStore(MemoryStore):
    full = True
    attempts = 0

    def commit(self, batch: Sequence[Mutation]) -> None:
        self.attempts += 1
        if self.full:
            raise StorageFullError("no space left")
        super().commit(batch)


async def system_on_a_full_disk(new_inline_registry: Callable[..., ComponentRegistry]) -> tuple[System, FullStore]:
    """A control plane that has just started: hermes, and zeus that needs it, are both refused."""
    store = FullStore()
    system = System(new_inline_registry(store))
    await system.recovery.start()
    await system.add("hermes", start=False)
    await system.add("zeus", "hermes", start=False)
    results = await system.coordinator.start_components()
    assert not any(result.success for result in results.values())
    return system, store


@virtual_time
async def test_what_a_full_disk_kept_from_starting_is_started_when_there_is_room(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    system, store = await system_on_a_full_disk(new_inline_registry)
    await asyncio.sleep(3600)
    assert system.state("hermes") is None
    assert system.recovery.status("hermes").attempt == 1

    store.full = False
    await asyncio.sleep(70)

    assert (system.state("hermes"), system.state("zeus")) == (READY, READY)
    assert system.count("hermes") == system.count("zeus") == 1
    await system.recovery.stop()


@virtual_time
async def test_a_failure_on_a_full_disk_uses_up_no_restarts(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = FullStore()
    store.full = False
    system = System(new_inline_registry(store))
    async with system.recovery:
        await system.add("hermes")
        store.full = True
        system.crash("hermes")
        await asyncio.sleep(3600)
        assert not system.recovery.status("hermes").gave_up

        store.full = False
        await asyncio.sleep(70)

        assert system.state("hermes") is READY


@virtual_time
async def test_a_refused_start_that_somebody_stops_is_not_made_up_for(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    system, store = await system_on_a_full_disk(new_inline_registry)
    await system.coordinator.stop_components()

    store.full = False
    await asyncio.sleep(3600)

    assert (system.state("hermes"), system.count("hermes")) == (None, 0)
    await system.recovery.stop()


@virtual_time
async def test_a_refused_start_is_not_repeated_against_the_policy(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = FullStore()
    system = System(new_inline_registry(store))
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy("no"), start=False)
        await system.coordinator.start_components()

        store.full = False
        await asyncio.sleep(3600)

        assert system.state("hermes") is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), lifetimes=st.lists(st.floats(0, 300), min_size=1, max_size=40))
def test_never_more_than_five_restarts_in_a_minute(
    new_inline_registry: Callable[[], ComponentRegistry], seed: int, lifetimes: list[float]
) -> None:
    """Ten components that live as long as they like, and some that never come up, for hours."""

    @virtual_time
    async def scenario() -> None:
        system = System(new_inline_registry())
        rng = random.Random(seed)
        async with system.recovery:
            for number in range(10):
                await system.add(f"c{number}")
            system.most = 0
            for lifetime in lifetimes:
                await asyncio.sleep(lifetime)
                name = f"c{rng.randrange(10)}"
                if rng.random() < 0.3:
                    system.broken ^= {name}
                if system.state(name) is READY:
                    system.crash(name)
            await asyncio.sleep(3600)
        for times in system.starts.values():
            for first, sixth in zip(times[1:], times[6:]):
                assert sixth - first >= 60
        assert system.most <= 4

    scenario()


class Endurance(System):
    """Components that crash again and again for hours; counts what starts without being asked to."""

    restarts = 0
    most_in_a_minute = 0
    most_at_once = 0
    asked_for: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recent: dict[str, deque[float]] = {}
        self.owed: set[str] = set()

    async def run(self, hours: int, rng: random.Random) -> None:
        """Some live for seconds, some for a day; some depend on others. What was given up, somebody starts later."""
        names = [f"c{number}" for number in range(8)]
        for number, name in enumerate(names):
            needs = [need for need in names[:number] if rng.random() < 0.15]
            await self.add(name, *needs, seconds=rng.choice((0.0, 1.0, 10.0)))
        self.recent = {name: deque() for name in names}
        lives = [
            asyncio.ensure_future(self.live(name, rng.choice((5.0, 60.0, 3600.0, 36_000.0, 90_000.0)), rng))
            for name in names
        ]
        for _ in range(0, hours, 6):
            await asyncio.sleep(6 * 3600)
            for name in names:
                await self.start_if_given_up(name)
        for life in lives:
            life.cancel()

    async def live(self, name: str, mean: float, rng: random.Random) -> None:
        """Crash *mean* seconds after each start, or so; now and then stay broken for a while."""
        while True:
            await self.registry.wait_until(name, lambda record: record is not None and record.usable)
            await asyncio.sleep(rng.expovariate(1 / mean))
            if rng.random() < 0.1:
                self.broken.add(name)
                asyncio.get_running_loop().call_later(rng.expovariate(1 / 120), self.broken.discard, name)
            if self.state(name) is READY:
                self.crash(name)

    async def start_if_given_up(self, name: str) -> None:
        if self.recovery.status(name).gave_up:
            self.asked_for = name
            try:
                await self.coordinator.start_component(name)
            except DependencyError:
                # It starts when its dependencies do: somebody has asked for it.
                self.owed.add(name)
            except TektonError:
                pass
            self.asked_for = None

    def began(self, name: str) -> None:
        if name not in self.recent:
            return
        if name == self.asked_for or name in self.owed:
            # Whoever asks for it grants it as many restarts again.
            self.owed.discard(name)
            self.recent[name].clear()
            return
        now, recent = self.clock.monotonic(), self.recent[name]
        recent.append(now)
        while now - recent[0] >= 60:
            recent.popleft()
        self.restarts += 1
        self.most_in_a_minute = max(self.most_in_a_minute, len(recent))
        # One more may be the one that was asked for.
        self.most_at_once = max(self.most_at_once, self.running + 1 - (self.asked_for is not None))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(-(-HOURS // CHUNK)))
def test_in_many_hours_of_crashing_components_the_policy_is_never_exceeded(
    new_inline_registry: Callable[[], ComponentRegistry], chunk: int
) -> None:
    @virtual_time
    async def scenario() -> None:
        system = Endurance(new_inline_registry())
        async with system.recovery:
            await system.run(min(CHUNK, HOURS - chunk * CHUNK), random.Random(chunk))
        print(f"{system.restarts} restarts, {system.most_in_a_minute} in a minute, {system.most_at_once} at once")
        assert system.restarts > 0
        assert system.most_in_a_minute <= 5
        assert system.most_at_once <= 4

    scenario()


@pytest.mark.parametrize(
    "changes",
    [{"backoff": (5, 1)}, {"backoff": (-1, 1)}, {"backoff": (0, float("inf"))}, {"max": -1}, {"reset_after": -1}],
)
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"backoff|negative"):
        RestartPolicy(**changes)


@virtual_time
async def test_a_restart_that_waits_for_room_on_the_machine_holds_up_no_other(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    system.recovery = system.make_recovery(max_concurrent=1, default=RestartPolicy(backoff=(1, 1)))
    free = asyncio.Event()

    async def has_room() -> bool:
        return free.is_set()

    async def begin() -> None:
        system.began("big")

    free.set()
    room = ReadinessCondition("room", has_room)
    async with system.recovery:
        await system.coordinator.register_component_handler("big", begin, admission=[room])
        await system.coordinator.start_component("big")
        await system.add("small")
        free.clear()

        system.crash("big")
        await asyncio.sleep(3)
        system.crash("small")
        await asyncio.sleep(3)

        assert (system.state("small"), system.count("big")) == (READY, 1)
        free.set()
        await asyncio.sleep(3)
        assert system.state("big") is READY
        assert system.recovery.restarts("big") == 1


@virtual_time
async def test_nothing_is_due_of_a_component_that_was_forgotten(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(max=9))
        system.crash("hermes")

        system.recovery.forget("hermes")
        await asyncio.sleep(100)

        status = system.recovery.status("hermes")
        assert (status.next_at, status.attempt, status.max) == (None, 0, RestartPolicy().max)
        assert (system.state("hermes"), system.count("hermes")) == (FAILED, 1)


@virtual_time
async def test_a_restart_that_fails_after_its_component_was_forgotten_is_the_last(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    async with system.recovery:
        await system.add("hermes", policy=RestartPolicy(backoff=(1, 1)))
        system.broken.add("hermes")
        await system.add("hermes", seconds=5, start=False)
        system.crash("hermes")
        await asyncio.sleep(3)
        assert system.coordinator.in_flight("hermes")

        system.recovery.forget("hermes")
        await system.coordinator.remove_component_handler("hermes")
        await asyncio.sleep(100)

        assert system.recovery.status("hermes").next_at is None
        assert system.count("hermes") == 2
