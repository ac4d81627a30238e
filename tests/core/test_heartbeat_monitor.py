"""Tests of tekton.core.heartbeat_monitor: leases, grace, storms, and what a heartbeat may say.

Most tests move a ManualClock and call `tick` themselves; those in virtual time let the monitor's own task do it.
"""

import asyncio
import math
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore, Mutation
from tekton.core.heartbeat_monitor import ComponentHeartbeat, HeartbeatMonitor, HeartbeatReply
from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.utils.tekton_errors import (
    IllegalTransitionError,
    InvalidRegistrationError,
    StaleInstanceError,
    StorageFullError,
    TooManyHeartbeatsError,
)

TIMEOUT = 30.0

_TO_STARTING = (ComponentState.INITIALIZING, ComponentState.STARTING)
_TO_STOPPING = (*_TO_STARTING, ComponentState.READY, ComponentState.STOPPING)
WAYS = {
    ComponentState.REGISTERING: (),
    ComponentState.INITIALIZING: _TO_STARTING[:1],
    ComponentState.STARTING: _TO_STARTING,
    ComponentState.READY: (*_TO_STARTING, ComponentState.READY),
    ComponentState.DEGRADED: (*_TO_STARTING, ComponentState.DEGRADED),
    ComponentState.FAILED: (ComponentState.FAILED,),
    ComponentState.STOPPING: _TO_STOPPING,
    ComponentState.STOPPED: (*_TO_STOPPING, ComponentState.STOPPED),
}
"""The states that a new component goes through to be in one."""


async def register(registry: ComponentRegistry, component_id: str, *, supervised: bool = False) -> str:
    registration = ComponentRegistration(component_id=component_id)
    await registry.register(registration, supervised=supervised)
    return registration.instance_uuid


async def bring_up(registry: ComponentRegistry, component_id: str, *, supervised: bool = False) -> str:
    instance = await register(registry, component_id, supervised=supervised)
    await registry.make_ready(component_id, instance)
    return instance


@dataclass
class Bench:
    """A monitor whose clock and steps belong to the test."""

    registry: ComponentRegistry
    clock: ManualClock
    monitor: HeartbeatMonitor

    def run(self, seconds: float, step: float = 0.25) -> list[str]:
        """Let time pass in steps; returns who was failed."""
        failed: list[str] = []
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end - 1e-9:
            self.clock.advance(min(step, end - self.clock.monotonic()))
            failed += [component_id for component_id, _ in self.monitor.tick(self.clock.monotonic())]
        return failed

    def state(self, component_id: str) -> ComponentState:
        record = self.registry.find(component_id)
        assert record is not None
        return record.state


async def make_bench(registry: ComponentRegistry, startup_timeout: float | None = None) -> Bench:
    clock = ManualClock()
    monitor = HeartbeatMonitor(registry, clock=clock, startup_timeout=startup_timeout)
    await monitor.start_monitoring(TIMEOUT)
    # The test ticks by itself; the monitor's own task would see the same clock, but at moments of its own.
    await monitor._task.stop()
    return Bench(registry, clock, monitor)


@pytest.fixture
async def bench(registry: ComponentRegistry) -> Bench:
    return await make_bench(registry)


# Expiry.


async def test_a_ready_component_that_is_silent_fails_with_a_reason(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]

    record = bench.registry.find("hermes")
    assert record is not None
    assert (record.state, record.reason) == (ComponentState.FAILED, "no heartbeat for 30 s")


async def test_a_heartbeat_starts_the_timeout_again(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    for _ in range(10):
        assert bench.run(20) == []
        assert bench.monitor.beat("hermes", instance).known

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]


async def test_a_failure_is_reported_once(bench: Bench) -> None:
    changes: list[Change] = []
    await bring_up(bench.registry, "hermes")
    bench.registry.feed.add_listener(changes.append)

    bench.run(5 * TIMEOUT)

    assert [change.state for change in changes] == [ComponentState.FAILED]


async def test_no_component_fails_before_its_timeout_nor_later_than_a_tick_after_it(bench: Bench) -> None:
    """Heartbeats at every millisecond of a tick, each looked at every millisecond around its deadline."""
    for millisecond in range(251):
        name = f"c{millisecond}"
        instance = await bring_up(bench.registry, name)
        bench.run(1 + millisecond / 1000, step=0.13)
        bench.monitor.beat(name, instance)
        beaten_at = bench.clock.monotonic()

        bench.run(TIMEOUT - 0.3)
        while bench.state(name) is ComponentState.READY:
            bench.run(0.001, step=0.001)

        silence = bench.clock.monotonic() - beaten_at
        assert TIMEOUT - 1e-9 <= silence <= TIMEOUT + 0.25 + 0.001


async def test_those_who_arrive_do_not_hold_up_the_leases_of_the_others(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")

    for number in range(10):
        assert bench.run(0.2, step=0.2) == []
        await bring_up(bench.registry, f"c{number}")

    assert bench.run(TIMEOUT - 2.25) == []
    assert "hermes" in bench.run(0.5)


@pytest.mark.parametrize("late", [-0.001, 0.0, 0.001])
async def test_a_heartbeat_before_the_last_step_saves_the_component(bench: Bench, late: float) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT - 0.25)
    bench.clock.advance(0.25 + late)

    assert bench.monitor.beat("hermes", instance).known

    assert bench.run(TIMEOUT - 0.25) == []


async def test_random_deaths_are_found_within_a_tick_and_nobody_else_fails(bench: Bench) -> None:
    rng = random.Random(1)
    beats: dict[str, tuple[str, float]] = {}
    for number in range(200):
        beats[f"c{number}"] = (await bring_up(bench.registry, f"c{number}"), rng.uniform(0, 10))
    dies_at = {name: rng.uniform(40, 400) for name in rng.sample(sorted(beats), 100)}
    last: dict[str, float] = {}
    found: dict[str, float] = {}
    start = bench.clock.monotonic()

    while (now := bench.clock.advance(0.25) - start) < 450:
        for name, (instance, due) in beats.items():
            if due <= now < dies_at.get(name, math.inf):
                bench.monitor.beat(name, instance)
                last[name] = now
                beats[name] = (instance, due + 10)
        for name, _ in bench.monitor.tick(bench.clock.monotonic()):
            found[name] = now

    assert found.keys() == dies_at.keys()
    delays = [found[name] - last[name] for name in found]
    assert min(delays) >= TIMEOUT
    assert max(delays) <= TIMEOUT + 0.5  # a tick, and one for the steps of this loop


# Who has a lease.


@pytest.mark.parametrize("state", [ComponentState.READY, ComponentState.DEGRADED])
async def test_a_self_registered_component_has_a_lease_once_it_is_usable(bench: Bench, state: ComponentState) -> None:
    instance = await register(bench.registry, "hermes")
    for step in (ComponentState.INITIALIZING, ComponentState.STARTING):
        await bench.registry.set_state("hermes", instance, step)
    assert not bench.monitor.leased("hermes", instance)

    await bench.registry.set_state("hermes", instance, state)

    assert bench.monitor.leased("hermes", instance)


async def test_a_component_that_is_starting_fails_only_after_it_has_beaten_once(bench: Bench) -> None:
    instance = await register(bench.registry, "hermes")
    assert bench.run(10 * TIMEOUT) == []

    bench.monitor.beat("hermes", instance)

    assert bench.run(TIMEOUT + 0.25) == ["hermes"]


async def test_a_supervised_component_has_a_lease_from_its_first_heartbeat(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes", supervised=True)
    assert bench.run(10 * TIMEOUT) == []

    bench.monitor.beat("hermes", instance)

    assert bench.run(TIMEOUT + 0.25) == ["hermes"]


@pytest.mark.parametrize("state", [ComponentState.STOPPING, ComponentState.FAILED])
async def test_a_component_that_ends_has_no_lease(bench: Bench, state: ComponentState) -> None:
    instance = await bring_up(bench.registry, "hermes")

    await bench.registry.set_state("hermes", instance, state)

    assert not bench.monitor.leased("hermes", instance)
    assert bench.run(2 * TIMEOUT) == []
    assert bench.state("hermes") is state


async def test_who_dies_while_it_stops_gives_its_id_back(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    instance = await bring_up(registry, "hermes")
    await registry.set_state("hermes", instance, ComponentState.STOPPING)

    assert bench.run(59.75) == []
    assert bench.run(0.5) == ["hermes"]

    record = registry.find("hermes")
    assert record is not None
    assert record.reason == "never finished stopping: nothing was heard of it for 60 s"
    await bring_up(registry, "hermes")


async def test_a_heartbeat_does_not_give_a_stopping_component_a_lease(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    await bench.registry.set_state("hermes", instance, ComponentState.STOPPING)

    assert bench.monitor.beat("hermes", instance).known

    assert not bench.monitor.leased("hermes", instance)


async def test_a_deregistered_component_leaves_nothing_behind(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.monitor.beat("hermes", instance, {"load": 1.0})

    await bench.registry.deregister("hermes", instance)
    other = await bring_up(bench.registry, "engram", supervised=True)

    assert bench.run(2 * TIMEOUT) == []
    assert not bench.monitor.leased("hermes", instance)
    assert not bench.monitor.leased("engram", other)
    assert (bench.monitor.metrics("hermes"), bench.monitor.last_beat("hermes")) == ({}, None)


async def test_who_takes_the_place_of_a_removed_component_keeps_its_own_lease(bench: Bench) -> None:
    hermes = await bring_up(bench.registry, "hermes")
    slot = bench.registry.table.find("hermes", hermes)
    engram = ComponentRegistration(component_id="engram")

    async def beat() -> None:
        assert bench.registry.table.find("engram", engram.instance_uuid) == slot
        assert bench.monitor.leased("hermes", hermes)
        bench.monitor.beat("engram", engram.instance_uuid)

    await asyncio.gather(bench.registry.deregister("hermes", hermes), bench.registry.register(engram), beat())

    assert not bench.monitor.leased("hermes", hermes)
    assert bench.run(TIMEOUT + 0.25) == ["engram"]


async def test_what_is_registered_when_monitoring_starts_gets_one_full_lease(registry: ComponentRegistry) -> None:
    clock = ManualClock()
    for number in range(5):
        await bring_up(registry, f"c{number}")
    clock.advance(10_000)
    monitor = HeartbeatMonitor(registry, clock=clock)

    await monitor.start_monitoring(TIMEOUT)
    await monitor._task.stop()
    bench = Bench(registry, clock, monitor)

    assert bench.run(TIMEOUT - 0.25) == []
    assert len(bench.run(0.5)) == 5


async def test_without_monitoring_heartbeats_are_answered_and_nobody_fails(registry: ComponentRegistry) -> None:
    clock = ManualClock()
    monitor = HeartbeatMonitor(registry, clock=clock)
    instance = await bring_up(registry, "hermes")

    assert monitor.beat("hermes", instance).known
    clock.advance(1000)

    assert monitor.tick(clock.monotonic()) == []


# Those who are not ready yet.


async def test_who_dies_before_it_is_ready_does_not_keep_its_id(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    await register(registry, "hermes")
    assert bench.run(59.75) == []

    assert bench.run(0.5) == ["hermes"]

    record = registry.find("hermes")
    assert record is not None
    assert (record.state, record.reason) == (
        ComponentState.FAILED,
        "never became ready: nothing was heard of it for 60 s",
    )
    await register(registry, "hermes")


async def test_nobody_has_less_time_to_become_ready_than_between_heartbeats(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=1)
    await register(registry, "hermes")

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]


async def test_every_step_on_the_way_to_ready_is_a_sign_of_life(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    instance = await register(registry, "hermes")
    for state in (ComponentState.INITIALIZING, ComponentState.STARTING):
        assert bench.run(59) == []
        await registry.set_state("hermes", instance, state)
    assert bench.run(59) == []
    await registry.make_ready("hermes", instance)

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]


async def test_a_heartbeat_before_it_is_ready_begins_the_ordinary_lease(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    instance = await register(registry, "hermes")
    bench.run(50)

    assert bench.monitor.beat("hermes", instance).known

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]
    assert registry.find("hermes").reason == "no heartbeat for 30 s"  # type: ignore[union-attr]


async def test_a_step_of_who_beats_already_does_not_make_its_lease_longer(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    instance = await register(registry, "hermes")
    bench.monitor.beat("hermes", instance)

    await registry.set_state("hermes", instance, ComponentState.INITIALIZING)

    assert bench.run(TIMEOUT + 0.25) == ["hermes"]
    assert registry.find("hermes").reason == "no heartbeat for 30 s"  # type: ignore[union-attr]


async def test_a_supervised_component_that_starts_is_not_judged_by_a_lease(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    await register(registry, "hermes", supervised=True)

    assert bench.run(200) == []


async def test_a_restart_gives_those_who_start_the_full_time_again(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    await register(registry, "hermes")
    bench.run(50)
    await bench.monitor.stop_monitoring()
    assert not registry.table.armed(registry.table.slots("hermes")[0])

    bench = await make_bench(registry, startup_timeout=60)

    assert bench.run(59.75) == []
    assert bench.run(0.5) == ["hermes"]


async def test_many_who_die_before_they_are_ready_are_no_storm(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    for number in range(100):
        await register(registry, f"c{number}")

    assert len(bench.run(61)) == 100


async def test_who_leaves_before_it_is_ready_leaves_no_lease(registry: ComponentRegistry) -> None:
    bench = await make_bench(registry, startup_timeout=60)
    instance = await register(registry, "hermes")
    await registry.deregister("hermes", instance)
    await register(registry, "zeus", supervised=True)

    assert not bench.monitor.leased("hermes", instance)
    assert bench.run(200) == []


# Time in which we did not run.


@pytest.mark.parametrize("pause", [0.5, 1, 2, 10])
async def test_nobody_fails_because_we_were_stopped(bench: Bench, pause: float) -> None:
    rng = random.Random(int(pause * 10))
    beats = {}
    for number in range(500):
        beats[f"c{number}"] = (await bring_up(bench.registry, f"c{number}"), rng.uniform(0, 10))
    dead = rng.sample(sorted(beats), 50)
    failed: list[str] = []
    start = bench.clock.monotonic()

    def run_until(end: float) -> None:
        while bench.clock.monotonic() - start < end:
            now = bench.clock.advance(0.25) - start
            # The step comes before the heartbeats that waited: the worse of the two orders.
            failed.extend(name for name, _ in bench.monitor.tick(bench.clock.monotonic()))
            for name, (instance, due) in beats.items():
                if due <= now and not (name in dead and now > 40):
                    bench.monitor.beat(name, instance)
                    beats[name] = (instance, due + 10 * math.ceil((now - due + 0.01) / 10))

    run_until(45.0)
    bench.clock.advance(pause * TIMEOUT)
    resumed = bench.clock.monotonic() - start
    run_until(resumed + TIMEOUT + 0.5)

    assert sorted(failed) == sorted(dead)


async def test_after_a_stall_expiry_is_held_for_one_interval(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT - 0.5)

    bench.clock.advance(5)

    assert bench.run(bench.monitor.next_interval - 0.25) == []
    assert bench.run(0.75) == ["hermes"]


async def test_expiry_goes_on_exactly_one_interval_after_the_step_that_noticed_the_stall(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT - 0.5)
    bench.clock.advance(5)
    bench.run(0.25)

    assert bench.run(bench.monitor.next_interval - 0.25) == []
    assert bench.run(0.25) == ["hermes"]


@pytest.mark.parametrize(("after", "failed"), [(TIMEOUT - 0.25, ["hermes"]), (TIMEOUT, [])])
async def test_a_second_stall_holds_expiry_again_when_a_timeout_has_passed_since_the_first(
    bench: Bench, after: float, failed: list[str]
) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.clock.advance(5)
    bench.monitor.tick(bench.clock.monotonic())
    bench.monitor.beat("hermes", instance)
    bench.run(after - 5)
    bench.clock.advance(5)
    bench.monitor.tick(bench.clock.monotonic())

    # What is left of the lease is less than an interval.
    assert bench.run(bench.monitor.next_interval - 0.25) == failed


async def test_a_second_that_was_left_out_is_logged_and_less_is_not(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bring_up(bench.registry, "hermes")

    for pause in (1.25, 1.5):
        bench.clock.advance(pause)
        bench.monitor.tick(bench.clock.monotonic())

    assert [record.getMessage() for record in caplog.records] == [
        "this process did not run for 1.0 s: that time counts against nobody"
    ]


async def test_time_without_any_lease_is_no_stall(bench: Bench) -> None:
    bench.clock.advance(1_000)
    await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT - 5)

    # This one is, and has its hold, though less than a timeout has passed.
    bench.clock.advance(4.5)

    assert bench.run(bench.monitor.next_interval - 0.25) == []


async def test_expiry_is_held_at_most_once_per_timeout(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")
    failed: list[str] = []

    for _ in range(100):
        bench.clock.advance(5)
        failed += bench.run(5)
        if failed:
            break

    # Each round counts two ticks for the stall and twenty for the rest.
    assert failed == ["hermes"]
    assert bench.clock.monotonic() - 1_000 <= 2 * TIMEOUT + 15


async def test_setting_the_wall_clock_expires_nobody(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    for wall in (0.0, 4e9, 1e6):
        bench.clock.set_wall(wall)
        assert bench.run(20) == []
        bench.monitor.beat("hermes", instance)


# Storms.


async def test_a_storm_is_suspected_not_failed(bench: Bench) -> None:
    for number in range(20):
        await bring_up(bench.registry, f"c{number}")

    assert bench.run(TIMEOUT + 1) == []

    assert bench.monitor.suspected == {f"c{number}" for number in range(20)}
    assert bench.state("c0") is ComponentState.READY
    assert bench.monitor.suspects("c0", bench.registry.instances("c0")[0].instance_uuid)
    assert not bench.monitor.suspects("c0", str(uuid.uuid4()))


@pytest.mark.parametrize(("last_heard", "failed"), [(10.0, []), (10.25, ["c0"])])
async def test_silence_of_everybody_for_two_thirds_of_the_timeout_is_a_storm(
    bench: Bench, last_heard: float, failed: list[str]
) -> None:
    instances = {f"c{number}": await bring_up(bench.registry, f"c{number}") for number in range(10)}
    bench.run(last_heard)
    for name in list(instances)[1:]:
        bench.monitor.beat(name, instances[name])

    assert bench.run(TIMEOUT - last_heard) == failed

    assert bench.monitor.suspected == {"c0"} - set(failed)


async def test_nobody_has_been_silent_who_never_beat(bench: Bench) -> None:
    await bring_up(bench.registry, "c0")
    bench.run(5)
    for number in range(1, 10):
        await bring_up(bench.registry, f"c{number}")

    assert bench.run(TIMEOUT - 5) == ["c0"]


async def test_nobody_is_expired_in_a_silence_that_goes_on_over_a_restart(registry: ComponentRegistry) -> None:
    """Neither those of before, whose leases run out together, nor who has just come back in the middle of it."""
    for number in range(10):
        await bring_up(registry, f"c{number}")
    bench = await make_bench(registry)
    bench.run(1)
    await bring_up(registry, "newcomer")

    assert bench.run(TIMEOUT + 1) == []
    assert "newcomer" in bench.monitor.suspected


async def test_a_suspect_gets_one_more_full_lease(bench: Bench) -> None:
    for number in range(20):
        await bring_up(bench.registry, f"c{number}")
    bench.run(TIMEOUT)
    assert len(bench.monitor.suspected) == 20

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.25) == ["c0"]


async def test_suspects_that_beat_again_are_well(bench: Bench) -> None:
    instances = {f"c{number}": await bring_up(bench.registry, f"c{number}") for number in range(20)}
    bench.run(TIMEOUT + 1)

    for name, instance in instances.items():
        assert bench.monitor.beat(name, instance).known

    assert bench.monitor.suspected == frozenset()
    assert bench.run(TIMEOUT - 1) == []


async def test_a_suspect_whose_second_lease_ran_out_is_well_again_after_a_heartbeat(bench: Bench) -> None:
    instances = {f"c{number}": await bring_up(bench.registry, f"c{number}") for number in range(20)}
    bench.run(2 * TIMEOUT + 1)

    bench.monitor.beat("c19", instances["c19"])

    assert "c19" not in bench.monitor.suspected
    assert bench.monitor.leased("c19", instances["c19"])
    bench.run(TIMEOUT + 1)
    assert "c19" in bench.monitor.suspected


async def test_suspects_that_stay_silent_fail_at_a_bounded_rate(bench: Bench) -> None:
    for number in range(20):
        await bring_up(bench.registry, f"c{number}")

    assert bench.run(2 * TIMEOUT + 1) == ["c0"]
    assert bench.run(10) == ["c1"]
    # Ten minus one are no storm: the rest goes together.
    assert len(bench.run(90)) == 18
    assert bench.monitor.suspected == frozenset()


async def test_when_nobody_is_heard_any_more_we_suspect_ourselves(bench: Bench) -> None:
    """Our network is gone: leases run out one by one, as their heartbeats came, not in one tick."""
    instances = {f"c{number}": await bring_up(bench.registry, f"c{number}") for number in range(40)}
    for name, instance in instances.items():
        bench.run(0.25)
        bench.monitor.beat(name, instance)

    assert bench.run(1.5 * TIMEOUT) == []

    assert len(bench.monitor.suspected) == 40


async def test_a_suspect_that_is_stopped_is_no_suspect(bench: Bench) -> None:
    instances = {f"c{number}": await bring_up(bench.registry, f"c{number}") for number in range(20)}
    bench.run(TIMEOUT + 1)

    await bench.registry.set_state("c0", instances["c0"], ComponentState.STOPPING)

    assert "c0" not in bench.monitor.suspected


# Heartbeats.


async def test_a_reply_says_who_we_know_and_when_to_beat_again(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    reply = bench.monitor.beat("hermes", instance)

    assert (reply.known, reply.state, reply.next_interval) == (True, ComponentState.READY, 10.0)


@pytest.mark.parametrize(("timeout", "interval"), [(30, 10), (60, 10), (3, 1)])
async def test_components_are_asked_to_beat_three_times_per_timeout_at_least(
    registry: ComponentRegistry, timeout: float, interval: float
) -> None:
    monitor = HeartbeatMonitor(registry, clock=ManualClock())
    await monitor.start_monitoring(timeout)

    assert monitor.next_interval == interval
    assert monitor.heartbeat_timeout == timeout

    await monitor.stop_monitoring()


async def test_a_component_nobody_knows_is_told_to_register(bench: Bench) -> None:
    assert bench.monitor.beat("nobody", str(uuid.uuid4())) == (await _reply_for_unknown(bench))
    assert not bench.monitor.beat("nobody", str(uuid.uuid4())).known


async def _reply_for_unknown(bench: Bench) -> object:
    heartbeat = ComponentHeartbeat(component_id="nobody", instance_uuid=str(uuid.uuid4()), state="ready")
    return await bench.monitor.process_heartbeat(heartbeat)


async def test_a_replaced_instance_is_told_that_it_is_stale(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")

    with pytest.raises(StaleInstanceError):
        bench.monitor.beat("hermes", str(uuid.uuid4()))


async def test_a_failed_component_is_told_to_register_and_stays_failed(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT + 1)

    reply = bench.monitor.beat("hermes", instance)

    assert (reply.known, reply.state) == (False, ComponentState.FAILED)
    assert bench.state("hermes") is ComponentState.FAILED
    assert not bench.monitor.leased("hermes", instance)


async def test_the_new_instance_of_a_failed_component_is_watched_like_the_first(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")
    bench.run(TIMEOUT + 1)

    await bring_up(bench.registry, "hermes")

    assert bench.run(TIMEOUT - 0.25) == []
    assert bench.run(0.5) == ["hermes"]


async def test_a_state_in_a_heartbeat_moves_the_component(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    reply = await bench.monitor.process_heartbeat(
        ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state="degraded")
    )

    assert reply.state is ComponentState.DEGRADED
    assert bench.state("hermes") is ComponentState.DEGRADED


async def test_a_heartbeat_takes_traffic_away_and_gives_it_back(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    beat = partial(ComponentHeartbeat, component_id="hermes", instance_uuid=instance)

    await bench.monitor.process_heartbeat(beat(serving=False, reason="the disk is full"))
    withdrawn = bench.registry.find("hermes")
    reply = await bench.monitor.process_heartbeat(beat())
    await bench.monitor.process_heartbeat(beat(serving=True))

    assert withdrawn is not None
    assert (withdrawn.state, withdrawn.serving) == (ComponentState.READY, False)
    assert (reply.known, reply.state) == (True, ComponentState.READY)
    told = [entry.reason for entry in await bench.registry.get_history("hermes", limit=2)]
    assert told == ["it says that it takes requests again", "the disk is full"]


async def test_a_late_heartbeat_says_nothing_about_traffic(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    beat = partial(ComponentHeartbeat, component_id="hermes", instance_uuid=instance)

    await bench.monitor.process_heartbeat(beat(serving=True, sequence=2))
    await bench.monitor.process_heartbeat(beat(serving=False, sequence=1))

    record = bench.registry.find("hermes")
    assert record is not None
    assert record.serving


async def test_a_reason_in_a_heartbeat_is_that_of_the_state(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    await bench.monitor.process_heartbeat(
        ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state="degraded", reason="no mail server")
    )

    record = bench.registry.find("hermes")
    assert record is not None
    assert record.reason == "no mail server"


async def test_repeating_the_present_state_is_no_change(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    revision = bench.registry.revision

    await bench.monitor.process_heartbeat(
        ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state="ready", timestamp=1.0)
    )

    assert bench.registry.revision == revision


async def test_a_state_that_cannot_be_reached_in_one_step_is_refused_but_the_heartbeat_counts(bench: Bench) -> None:
    instance = await register(bench.registry, "hermes")

    with pytest.raises(IllegalTransitionError):
        await bench.monitor.process_heartbeat(
            ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state="ready")
        )

    assert bench.state("hermes") is ComponentState.REGISTERING
    assert bench.monitor.last_beat("hermes") == bench.clock.monotonic()


async def test_metrics_and_the_time_of_the_last_beat_are_kept(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    assert (bench.monitor.metrics("hermes"), bench.monitor.last_beat("hermes")) == ({}, None)

    bench.monitor.beat("hermes", instance)
    assert bench.monitor.metrics("hermes") == {}
    bench.monitor.beat("hermes", instance, {"cpu_percent": 15.2})
    bench.monitor.beat("hermes", instance)

    assert bench.monitor.metrics("hermes") == {"cpu_percent": 15.2}
    assert bench.monitor.last_beat("hermes") == bench.clock.monotonic()


async def test_a_heartbeat_that_was_overtaken_moves_nothing(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.monitor.beat("hermes", instance, {"queue": 2.0}, sequence=2)
    bench.run(20)

    reply = bench.monitor.beat("hermes", instance, {"queue": 1.0}, sequence=1)

    assert (reply.known, reply.state) == (True, ComponentState.READY)
    assert bench.monitor.metrics("hermes") == {"queue": 2.0}
    assert bench.run(10.25) == ["hermes"]


async def test_a_state_in_a_heartbeat_that_was_overtaken_is_no_wish(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    for sequence, state in ((2, "ready"), (1, "degraded")):
        await bench.monitor.process_heartbeat(
            ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state=state, sequence=sequence)
        )

    assert bench.state("hermes") is ComponentState.READY


async def test_an_instance_that_comes_back_after_it_was_failed_may_count_from_the_start(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.monitor.beat("hermes", instance, sequence=1000)
    bench.run(TIMEOUT + 1)
    registration = ComponentRegistration(component_id="hermes", instance_uuid=instance)
    await bench.registry.register(registration)
    await bench.registry.make_ready("hermes", instance)

    for sequence in range(1, 10):
        bench.run(20)
        assert bench.monitor.beat("hermes", instance, sequence=sequence).known


async def test_a_flood_is_refused_and_its_sender_lives_on_what_was_taken(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    other = await bring_up(bench.registry, "engram")
    refused = 0
    for _ in range(100):
        bench.run(1)
        bench.monitor.beat("engram", other)
        for _ in range(50):
            try:
                bench.monitor.beat("hermes", instance)
            except TooManyHeartbeatsError:
                refused += 1

    assert 3_800 < refused < 4_000
    assert bench.state("hermes") is bench.state("engram") is ComponentState.READY
    assert bench.run(TIMEOUT - 1.5) == []
    assert sorted(bench.run(2)) == ["engram", "hermes"]


async def test_who_floods_is_named_and_loses_nothing_that_was_taken(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    for number in range(100):
        bench.monitor.beat("hermes", instance, {"number": float(number)})

    with pytest.raises(TooManyHeartbeatsError) as caught:
        [bench.monitor.beat("hermes", instance) for _ in range(2)]

    assert (caught.value.component_id, caught.value.interval) == ("hermes", 10.0)
    assert bench.monitor.metrics("hermes") == {"number": 99.0}


async def test_heartbeats_of_nobody_leave_nothing_behind(bench: Bench) -> None:
    await bring_up(bench.registry, "hermes")
    for _ in range(1000):
        assert not bench.monitor.beat("nobody", str(uuid.uuid4())).known
        with pytest.raises(StaleInstanceError):
            bench.monitor.beat("hermes", str(uuid.uuid4()))

    assert len(bench.monitor._pulses) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"load": math.nan}},
        {"metrics": {"load": math.inf}},
        {"metrics": {"load": 10**400}},
        {"metrics": {"load": "high"}},
        {"metrics": {"": 1.0}},
        {"metrics": {"x" * 200: 1.0}},
        {"metrics": {f"m{number}": 1.0 for number in range(65)}},
        {"state": "happy"},
    ],
)
async def test_a_heartbeat_that_cannot_be_is_refused_and_does_not_count(
    bench: Bench, changes: dict[str, object]
) -> None:
    instance = await bring_up(bench.registry, "hermes")
    heartbeat = ComponentHeartbeat(component_id="hermes", instance_uuid=instance, **changes)  # type: ignore[arg-type]

    with pytest.raises(InvalidRegistrationError):
        await bench.monitor.process_heartbeat(heartbeat)

    assert bench.monitor.last_beat("hermes") is None
    assert bench.monitor.metrics("hermes") == {}


async def test_an_instance_id_in_upper_case_is_the_same_instance(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    for _ in range(3):
        bench.run(20)
        assert bench.monitor.beat("hermes", instance.upper()).known

    assert bench.run(TIMEOUT + 1) == ["hermes"]
    assert not bench.monitor.leased("hermes", instance)


async def test_a_reply_without_a_heartbeat_says_the_same_and_counts_for_nothing(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    bench.run(20)

    assert bench.monitor.reply("hermes", instance) == HeartbeatReply(True, ComponentState.READY, 10.0)
    assert bench.monitor.reply("hermes", str(uuid.uuid4())) == HeartbeatReply(False, None, 10.0)
    assert bench.monitor.reply("nobody", instance) == HeartbeatReply(False, None, 10.0)

    assert bench.monitor.last_beat("hermes") is None
    assert bench.run(10.25) == ["hermes"]


@pytest.mark.parametrize("state", WAYS)
async def test_only_who_has_failed_or_stopped_is_told_to_register_again(bench: Bench, state: ComponentState) -> None:
    instance = await register(bench.registry, "hermes")
    for step in WAYS[state]:
        await bench.registry.set_state("hermes", instance, step)

    reply = bench.monitor.beat("hermes", instance)

    assert reply == HeartbeatReply(state not in {ComponentState.FAILED, ComponentState.STOPPED}, state, 10.0)
    assert (bench.monitor.last_beat("hermes") is not None) is reply.known


async def test_a_state_that_does_not_exist_is_refused_by_its_name(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")

    with pytest.raises(InvalidRegistrationError) as caught:
        await bench.monitor.process_heartbeat(
            ComponentHeartbeat(component_id="hermes", instance_uuid=instance, state="happy")
        )

    assert (caught.value.field, caught.value.problem) == ("/state", "'happy' is not a state")


async def test_a_first_heartbeat_under_an_upper_case_id_gives_the_instance_its_lease(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes", supervised=True)

    bench.monitor.beat("hermes", instance.upper())

    assert bench.monitor.leased("hermes", instance)
    assert not bench.monitor.leased("hermes", instance.upper())


async def test_an_instance_that_was_deregistered_may_count_from_the_start_when_it_comes_back(bench: Bench) -> None:
    registration = ComponentRegistration(component_id="hermes")
    for _ in range(2):
        await bench.registry.register(registration)
        bench.monitor.beat("hermes", registration.instance_uuid, {"queue": 1.0}, sequence=1)
        assert bench.monitor.metrics("hermes") == {"queue": 1.0}

        await bench.registry.deregister("hermes", registration.instance_uuid)
        assert bench.monitor.metrics("hermes") == {}


async def test_what_a_component_reported_is_kept_as_long_as_it_has_an_instance(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = (ComponentRegistration(component_id="hermes", max_instances=2) for _ in range(2))
    for registration in (one, other):
        await bench.registry.register(registration)
    bench.monitor.beat("hermes", one.instance_uuid, {"queue": 1.0})

    await bench.registry.deregister("hermes", one.instance_uuid)
    assert bench.monitor.metrics("hermes") == {"queue": 1.0}

    await bench.registry.deregister("hermes", other.instance_uuid)
    assert bench.monitor.metrics("hermes") == {}
    assert caplog.records == []


async def test_a_component_that_never_beat_goes_without_a_trace(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    instance = await bring_up(bench.registry, "hermes")

    await bench.registry.deregister("hermes", instance)

    assert caplog.records == []
    assert not bench.monitor.leased("hermes", instance)


async def test_metrics_are_those_of_the_moment_and_nobody_elses_to_change(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "hermes")
    sent = {"queue": 1.0}
    bench.monitor.beat("hermes", instance, sent)

    sent["queue"] = 2.0
    bench.monitor.metrics("hermes")["queue"] = 3.0

    assert bench.monitor.metrics("hermes") == {"queue": 1.0}


# The monitor's own task.


@virtual_time
async def test_the_monitor_runs_by_itself(inline_registry: ComponentRegistry) -> None:
    clock = current_clock()
    async with HeartbeatMonitor(inline_registry, clock=clock) as monitor:
        await asyncio.sleep(1_000)
        await bring_up(inline_registry, "hermes")
        ready_at = clock.monotonic()

        await inline_registry.wait_until("hermes", lambda record: record is not None and not record.usable)

        assert TIMEOUT <= clock.monotonic() - ready_at <= TIMEOUT + 0.25 + 1e-6
        assert monitor.heartbeat_timeout == TIMEOUT


@virtual_time
async def test_the_task_of_the_monitor_has_a_name_and_ends_with_it(inline_registry: ComponentRegistry) -> None:
    async with HeartbeatMonitor(inline_registry, clock=current_clock()):
        assert "heartbeat monitor" in {task.get_name() for task in asyncio.all_tasks()}

    assert len(asyncio.all_tasks()) == 1


async def test_before_monitoring_nobody_is_suspected_nor_leased(registry: ComponentRegistry) -> None:
    monitor = HeartbeatMonitor(registry)
    instance = await bring_up(registry, "hermes")

    assert monitor.suspected == frozenset()
    assert not monitor.suspects("hermes", instance)
    assert not monitor.leased("hermes", instance)
    assert (monitor.heartbeat_timeout, monitor.next_interval) == (30.0, 10.0)
    assert monitor.beat("hermes", instance) == HeartbeatReply(True, ComponentState.READY, 10.0)
    await monitor.stop_monitoring()


@virtual_time
async def test_an_hour_of_heartbeats_fails_nobody(inline_registry: ComponentRegistry) -> None:
    async with HeartbeatMonitor(inline_registry, clock=current_clock()) as monitor:
        instance = await bring_up(inline_registry, "hermes")

        for _ in range(360):
            await asyncio.sleep(monitor.next_interval)
            assert monitor.beat("hermes", instance).state is ComponentState.READY


@virtual_time
async def test_a_stopped_process_fails_nobody_when_it_goes_on(inline_registry: ComponentRegistry) -> None:
    async with HeartbeatMonitor(inline_registry, clock=current_clock()) as monitor:
        instance = await bring_up(inline_registry, "hermes")
        for _ in range(20):
            await asyncio.sleep(monitor.next_interval)
            monitor.beat("hermes", instance)
            current_clock().advance(10 * TIMEOUT)

        assert monitor.beat("hermes", instance).known


@virtual_time
async def test_monitoring_can_be_stopped_and_started_again(inline_registry: ComponentRegistry) -> None:
    monitor = HeartbeatMonitor(inline_registry, clock=current_clock())
    await monitor.start_monitoring(5)
    with pytest.raises(RuntimeError, match=r"^already monitoring$"):
        await monitor.start_monitoring(5)
    instance = await bring_up(inline_registry, "hermes")

    await monitor.stop_monitoring()
    await monitor.stop_monitoring()
    await asyncio.sleep(100)
    assert monitor.beat("hermes", instance).known

    await monitor.start_monitoring(5)
    await asyncio.sleep(6)
    assert not monitor.beat("hermes", instance).known
    await monitor.stop_monitoring()


def test_a_monitor_outlives_the_event_loop_it_was_made_on(
    new_inline_registry: Callable[[], ComponentRegistry],
) -> None:
    registry = new_inline_registry()
    monitor = HeartbeatMonitor(registry)

    @virtual_time
    async def session() -> None:
        await monitor.start_monitoring(5)
        await asyncio.sleep(1)
        await monitor.stop_monitoring()

    session()
    session()


async def test_who_stops_watching_takes_all_leases_back(registry: ComponentRegistry) -> None:
    monitor = HeartbeatMonitor(registry, clock=ManualClock())
    await monitor.start_monitoring()
    instance = await bring_up(registry, "hermes")
    assert monitor.heartbeat_timeout == 30
    assert monitor.leased("hermes", instance)
    slot = registry.table.find("hermes", instance)
    assert registry.table.armed(slot)

    await monitor.stop_monitoring()

    assert not monitor.leased("hermes", instance)
    assert not registry.table.armed(slot)
    assert monitor.tick(1e6) == []
    # What happens from now on is nothing to it.
    other = await bring_up(registry, "engram")
    assert not monitor.leased("engram", other)


async def test_a_component_that_is_failed_for_the_second_time_is_named_with_the_timeout_of_that_time(
    registry: ComponentRegistry,
) -> None:
    clock = ManualClock()
    monitor = HeartbeatMonitor(registry, clock=clock, interval=2.0)
    bench = Bench(registry, clock, monitor)
    for timeout, interval in ((12, 2.0), (1.5, 0.5)):
        await monitor.start_monitoring(timeout)
        await monitor._task.stop()
        await bring_up(registry, "hermes")
        assert monitor.next_interval == interval

        assert bench.run(timeout - 0.25, step=0.05) == []
        assert bench.run(0.5, step=0.05) == ["hermes"]

        record = registry.find("hermes")
        assert record is not None
        assert record.reason == f"no heartbeat for {timeout} s"
        await monitor.stop_monitoring()


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
async def test_a_timeout_that_is_no_positive_number_starts_nothing(registry: ComponentRegistry, timeout: float) -> None:
    monitor = HeartbeatMonitor(registry, clock=ManualClock())

    with pytest.raises(ValueError, match="positive"):
        await monitor.start_monitoring(timeout)

    assert monitor.heartbeat_timeout == 30
    await monitor.start_monitoring(5)
    await monitor.stop_monitoring()


# When the store refuses.


class FullStore(MemoryStore):
    """A store that can be full."""

    full = False

    def commit(self, batch: Sequence[Mutation]) -> None:
        if self.full:
            raise StorageFullError("no space left")
        super().commit(batch)


async def test_a_component_whose_removal_was_refused_keeps_a_lease() -> None:
    store = FullStore()
    async with ComponentRegistry(store=store) as registry:
        bench = await make_bench(registry)
        instance = await bring_up(registry, "hermes")
        store.full = True
        with pytest.raises(StorageFullError):
            await registry.deregister("hermes", instance)

        assert bench.run(TIMEOUT - 0.25) == []
        assert bench.run(0.5) == ["hermes"]
        store.full = False


async def test_a_lease_that_runs_out_while_a_refused_command_says_failed_is_not_lost() -> None:
    store = FullStore()
    async with ComponentRegistry(store=store) as registry:
        bench = await make_bench(registry)
        instance = await bring_up(registry, "hermes")
        bench.run(TIMEOUT - 0.25)
        store.full = True

        async def run_out() -> list[str]:
            return bench.run(0.5)

        refused, failed = await asyncio.gather(
            registry.set_state("hermes", instance, ComponentState.FAILED), run_out(), return_exceptions=True
        )

        assert isinstance(refused, StorageFullError)
        assert failed == []
        assert bench.state("hermes") is ComponentState.FAILED
        store.full = False


async def test_who_beats_before_its_registration_is_refused_gets_a_lease_with_the_next_one() -> None:
    store = FullStore()
    async with ComponentRegistry(store=store) as registry:
        bench = await make_bench(registry)
        registration = ComponentRegistration(component_id="hermes")
        store.full = True

        async def beat() -> None:
            assert bench.monitor.beat("hermes", registration.instance_uuid).known

        refused, _ = await asyncio.gather(registry.register(registration), beat(), return_exceptions=True)

        assert isinstance(refused, StorageFullError)
        assert not bench.monitor.leased("hermes", registration.instance_uuid)

        store.full = False
        await registry.register(registration)
        await registry.make_ready("hermes", registration.instance_uuid)
        assert bench.run(TIMEOUT + 0.25) == ["hermes"]


async def test_a_supervised_component_keeps_the_lease_that_a_heartbeat_gave_it_when_its_removal_is_refused() -> None:
    store = FullStore()
    async with ComponentRegistry(store=store) as registry:
        bench = await make_bench(registry)
        heard = await bring_up(registry, "hermes", supervised=True)
        unheard = await bring_up(registry, "engram", supervised=True)
        bench.monitor.beat("hermes", heard)
        store.full = True
        for name, instance in (("hermes", heard), ("engram", unheard)):
            with pytest.raises(StorageFullError):
                await registry.deregister(name, instance)

        assert bench.monitor.leased("hermes", heard)
        assert not bench.monitor.leased("engram", unheard)
        assert bench.run(TIMEOUT + 0.25) == ["hermes"]
        store.full = False


async def test_watching_that_starts_during_a_removal_watches_the_component_when_the_removal_is_refused() -> None:
    store = FullStore()
    async with ComponentRegistry(store=store) as registry:
        instance = await bring_up(registry, "hermes")
        supervised = await bring_up(registry, "engram", supervised=True)
        store.full = True

        refused, other, bench = await asyncio.gather(
            registry.deregister("hermes", instance),
            registry.deregister("engram", supervised),
            make_bench(registry),
            return_exceptions=True,
        )

        assert isinstance(refused, StorageFullError)
        assert isinstance(other, StorageFullError)
        assert isinstance(bench, Bench)
        assert bench.monitor.leased("hermes", instance)
        assert not bench.monitor.leased("engram", supervised)
        assert bench.run(TIMEOUT + 0.25) == ["hermes"]
        store.full = False


# Other times.


async def test_with_other_times_who_beats_at_the_old_pace_is_not_failed(bench: Bench) -> None:
    instance = await bring_up(bench.registry, "engram")
    bench.monitor.beat("engram", instance)

    await bench.monitor.adjust(interval=1.0, timeout=3.0, startup_timeout=None)
    await bench.monitor._task.stop()

    assert bench.run(9.75, step=0.125) == []
    assert bench.monitor.beat("engram", instance).next_interval == 1.0


async def test_with_other_times_silence_is_noticed_by_the_new_ones(bench: Bench) -> None:
    alive = {name: await bring_up(bench.registry, name) for name in ("engram", "ergon", "rhetor", "terma")}
    await bring_up(bench.registry, "hermes")

    await bench.monitor.adjust(interval=1.0, timeout=3.0, startup_timeout=None)
    await bench.monitor._task.stop()
    failed = []
    for _ in range(14):
        for name, instance in alive.items():
            bench.monitor.beat(name, instance)
        failed += bench.run(1.0, step=0.125)

    assert failed == ["hermes"]
    record = bench.registry.find("hermes")
    assert record is not None
    assert record.reason == "no heartbeat for 3 s"
