"""What the simulation holds against the monitor: neither more nor less than is promised."""

import asyncio

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.testing.invariants import LeaseInvariants
from tekton.testing.overseers import WatchedMonitor
from tekton.testing.simulated_core import SimulatedCore

TIMEOUT, INTERVAL, TICK = 30.0, 10.0, 0.25
KEY = ("rhetor", "00000000-0000-4000-8000-000000000001")
CROWD = [("telos", f"00000000-0000-4000-8000-{number:012}") for number in range(10)]


def watch(clock: ManualClock) -> tuple[LeaseInvariants, list[str]]:
    wrong: list[str] = []
    return LeaseInvariants(clock, TIMEOUT, INTERVAL, wrong), wrong


def pause(leases: LeaseInvariants, clock: ManualClock, seconds: float) -> None:
    leases.paused(clock.monotonic(), seconds)
    clock.advance(seconds)


def is_late(leases: LeaseInvariants, clock: ManualClock, wrong: list[str], seconds: float) -> bool:
    """True when a lease that is still there *seconds* from now is held against the monitor."""
    clock.advance(seconds)
    leases.sweep()
    return bool(wrong)


@virtual_time
async def test_a_second_pause_does_not_make_the_first_one_forgotten() -> None:
    """The first of 300 s had begun more than 300 s ago when the second one began; it had ended five seconds ago."""
    clock = current_clock()
    leases, wrong = watch(clock)
    async with SimulatedCore(
        timeout=TIMEOUT, make_monitor=lambda *args, **settings: WatchedMonitor(leases, *args, **settings)
    ) as core:
        core.add_listener(leases.hear)
        await core.registry.register(ComponentRegistration(component_id=KEY[0], instance_uuid=KEY[1]))
        await core.registry.make_ready(*KEY)
        core.monitor.beat(*KEY)
        leases.heard(KEY)
        for before, seconds in ((9.332, 300.0), (4.964, 60.0)):
            await asyncio.sleep(before)
            leases.paused(clock.monotonic(), seconds)
            core.pause(seconds)
        await asyncio.sleep(15)
        leases.sweep()
        alive = _state(core.registry)
        await asyncio.sleep(0.5)

        assert (alive, _state(core.registry)) == (ComponentState.READY, ComponentState.FAILED)
        assert (leases.found, wrong) == (1, [])


def _state(registry: ComponentRegistry) -> ComponentState:
    record = registry.instance(*KEY)
    assert record is not None
    return record.state


def test_who_is_silent_is_late_a_tick_after_its_timeout() -> None:
    clock = ManualClock()
    leases, wrong = watch(clock)
    leases.heard(KEY)

    assert not is_late(leases, clock, wrong, TIMEOUT + TICK)
    assert is_late(leases, clock, wrong, 0.01)


def test_a_pause_early_in_a_lease_adds_no_more_than_its_length() -> None:
    clock = ManualClock()
    leases, wrong = watch(clock)
    leases.heard(KEY)
    pause(leases, clock, 100)

    assert not is_late(leases, clock, wrong, TIMEOUT + TICK)
    assert is_late(leases, clock, wrong, 0.01)


def test_a_lease_that_runs_out_just_after_a_pause_waits_for_one_interval() -> None:
    clock = ManualClock()
    leases, wrong = watch(clock)
    leases.heard(KEY)
    clock.advance(TIMEOUT - 1)
    pause(leases, clock, 100)

    assert not is_late(leases, clock, wrong, INTERVAL + 2 * TICK)
    assert is_late(leases, clock, wrong, 0.01)


def test_a_suspect_has_a_second_lease_and_waits_for_its_turn() -> None:
    clock = ManualClock()
    leases, wrong = watch(clock)
    for key in CROWD:
        leases.heard(key)
    clock.advance(TIMEOUT)
    leases.suspected(CROWD)

    assert not is_late(leases, clock, wrong, TIMEOUT + TICK + 10 * len(CROWD))
    assert is_late(leases, clock, wrong, 0.01)


def test_a_suspicion_says_nothing_about_the_others() -> None:
    clock = ManualClock()
    leases, wrong = watch(clock)
    for key in [KEY, *CROWD]:
        leases.heard(key)
    leases.suspected(CROWD)

    assert is_late(leases, clock, wrong, TIMEOUT + TICK + 0.01)
    assert all(KEY[0] in violation for violation in wrong)
