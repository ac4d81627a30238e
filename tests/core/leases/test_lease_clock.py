"""Tests of tekton.core.leases.lease_clock: ticks that never run ahead of real time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.leases.lease_clock import MAX_TICK, MIN_TICK, LeaseClock

timeouts = st.floats(min_value=0.01, max_value=3600, allow_nan=False)


@pytest.mark.parametrize(
    ("timeout", "tick", "ticks"),
    [(30.0, 0.25, 120), (5.0, 0.25, 20), (1.0, 0.05, 20), (0.2, 0.01, 20), (0.05, 0.01, 5), (0.004, 0.004, 1)],
)
def test_a_tick_is_a_fraction_of_the_timeout(timeout: float, tick: float, ticks: int) -> None:
    clock = LeaseClock(timeout, 0.0)

    assert clock.tick == pytest.approx(tick)
    assert clock.timeout_ticks == ticks


@given(timeouts)
def test_the_ticks_of_a_timeout_are_never_shorter_than_it(timeout: float) -> None:
    clock = LeaseClock(timeout, 0.0)

    assert clock.tick * clock.timeout_ticks == pytest.approx(timeout, rel=0, abs=1e-9 * (clock.timeout_ticks + 1))
    assert round(clock.tick * 1e9) * clock.timeout_ticks >= round(timeout * 1e9)
    assert clock.tick <= max(MAX_TICK, MIN_TICK) + 1e-9


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_is_a_positive_number(timeout: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        LeaseClock(timeout, 0.0)


def test_a_step_counts_whole_ticks_and_keeps_the_rest() -> None:
    clock = LeaseClock(30.0, 100.0)

    assert not clock.step(100.3)
    assert clock.position == 1
    assert not clock.step(100.49)
    assert clock.position == 1
    assert not clock.step(100.5)
    assert clock.position == 2


def test_a_step_takes_at_most_two_ticks_and_says_that_it_was_late() -> None:
    clock = LeaseClock(30.0, 100.0)

    assert not clock.step(100.5)
    assert clock.step(1_000.0)

    assert clock.position == 4


def test_time_before_a_restart_is_not_counted() -> None:
    clock = LeaseClock(30.0, 100.0)

    clock.restart(5_000.0)

    assert not clock.step(5_000.2)
    assert clock.position == 0


def test_a_step_back_in_time_changes_nothing() -> None:
    clock = LeaseClock(30.0, 100.0)
    clock.step(100.5)

    assert not clock.step(99.0)
    assert clock.position == 2
    assert clock.round_up(99.0) == 2


def test_the_next_tick_is_announced() -> None:
    clock = LeaseClock(30.0, 100.0)

    assert clock.until_next(100.1) == pytest.approx(0.15)
    assert clock.until_next(101.0) == 0


@given(
    timeout=st.floats(min_value=0.05, max_value=60),
    before=st.lists(st.floats(min_value=0, max_value=2), max_size=20),
    beat=st.floats(min_value=0, max_value=5),
    after=st.lists(st.floats(min_value=0, max_value=2), max_size=200),
)
def test_a_lease_lasts_its_timeout_however_the_steps_fall(
    timeout: float, before: list[float], beat: float, after: list[float]
) -> None:
    now = 1_000.0
    clock = LeaseClock(timeout, now)
    for pause in before:
        now += pause
        clock.step(now)

    now += beat
    beaten_at = now
    deadline = clock.round_up(now) + clock.timeout_ticks
    for pause in after:
        now += pause
        clock.step(now)
        if clock.position >= deadline:
            assert now - beaten_at >= timeout - 1e-8
            break


def test_a_heartbeat_just_before_a_late_step_still_gets_the_whole_timeout() -> None:
    clock = LeaseClock(30.0, 1_000.0)
    beaten_at = now = 1_000.0 + 2.9 * clock.tick
    deadline = clock.round_up(now) + clock.timeout_ticks

    while clock.position < deadline:
        clock.step(now)
        now += clock.tick / 10

    assert now - beaten_at >= 30.0


@given(timeout=st.floats(min_value=0.05, max_value=60), phase=st.floats(min_value=0, max_value=1))
def test_a_lease_ends_one_tick_after_its_timeout_at_the_latest(timeout: float, phase: float) -> None:
    clock = LeaseClock(timeout, 1_000.0)
    beaten_at = 1_000.0 + phase * clock.tick
    deadline = clock.round_up(beaten_at) + clock.timeout_ticks

    now = 1_000.0
    while clock.position < deadline:
        now += clock.until_next(now)
        clock.step(now)

    assert now - beaten_at <= timeout + clock.tick + 1e-6


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=1e9), st.lists(st.floats(min_value=0, max_value=2), max_size=30))
def test_rounding_up_is_exact_wherever_it_is_asked(start: float, moves: list[float]) -> None:
    clock = LeaseClock(30.0, start)
    now = start
    for move in moves:
        now += move
        ticks = -((clock._anchor - round(now * 1e9)) // clock._tick)

        assert clock.round_up(now) == clock.position + min(max(ticks, 0), 2)

        if move > 1:
            clock.step(now)
