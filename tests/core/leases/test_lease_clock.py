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


# At the edges of a tick. A clock of a 30 s timeout ticks every 250 ms; here it begins at 100 s.


def test_an_instant_counts_from_the_first_tick_that_is_not_before_it() -> None:
    clock = LeaseClock(30.0, 100.0)

    ticks = {now: clock.round_up(now) for now in (99.0, 100.0, 100.000_000_1, 100.1, 100.25, 100.250_000_1, 100.5)}

    assert ticks == {99.0: 0, 100.0: 0, 100.000_000_1: 1, 100.1: 1, 100.25: 1, 100.250_000_1: 2, 100.5: 2}


def test_an_instant_counts_two_ticks_ahead_of_the_clock_at_most() -> None:
    clock = LeaseClock(30.0, 100.0)
    assert clock.round_up(100.51) == clock.round_up(5_000.0) == 2

    clock.step(100.25)

    assert clock.round_up(5_000.0) == 3


def test_a_tick_is_taken_at_its_very_instant_and_not_before() -> None:
    clock = LeaseClock(30.0, 100.0)

    assert (clock.step(100.249_999_9), clock.position) == (0.0, 0)
    assert (clock.step(100.25), clock.position) == (0.0, 1)
    assert (clock.step(100.25), clock.position) == (0.0, 1)


def test_two_ticks_are_not_late_and_a_hair_more_is() -> None:
    on_time, late = LeaseClock(30.0, 100.0), LeaseClock(30.0, 100.0)

    assert on_time.step(100.5) == 0.0
    assert late.step(100.500_001) == pytest.approx(1e-6)
    assert on_time.position == late.position == 2


def test_a_late_step_says_how_much_was_left_out_and_goes_on_from_where_it_is() -> None:
    clock = LeaseClock(30.0, 100.0)

    assert clock.step(107.6) == pytest.approx(7.1)

    assert clock.position == 2
    assert clock.until_next(107.6) == pytest.approx(0.25)
    assert (clock.step(107.84), clock.position) == (0.0, 2)
    assert (clock.step(107.85), clock.position) == (0.0, 3)


def test_a_step_on_time_keeps_the_beat_of_the_clock() -> None:
    clock = LeaseClock(30.0, 100.0)

    clock.step(100.4)

    assert clock.until_next(100.4) == pytest.approx(0.1)


def test_a_restart_begins_a_tick_without_moving() -> None:
    clock = LeaseClock(30.0, 100.0)
    clock.step(100.5)

    clock.restart(200.0)

    assert clock.position == 2
    assert clock.until_next(200.0) == 0.25
    assert clock.round_up(200.0) == 2
    assert clock.round_up(200.1) == 3


def test_the_error_says_what_a_timeout_is() -> None:
    with pytest.raises(ValueError, match=r"^a heartbeat timeout is a positive number of seconds$"):
        LeaseClock(0, 0.0)


@pytest.mark.parametrize("seconds", [0.001, 0.25, 30.0, 59.9, 60.0, 3600.0])
def test_a_lease_of_another_length_is_no_shorter_than_that_and_no_tick_longer(seconds: float) -> None:
    clock = LeaseClock(30.0, 0.0)

    lasts = clock.ticks(seconds) * clock.tick

    assert seconds - 1e-9 <= lasts < seconds + clock.tick


def test_a_lease_of_the_same_length_is_the_same() -> None:
    for timeout in (0.5, 1.0, 7.3, 30.0):
        clock = LeaseClock(timeout, 0.0)
        assert clock.ticks(timeout) == clock.timeout_ticks


def test_a_very_long_lease_is_as_long_as_the_table_can_count() -> None:
    assert LeaseClock(0.2, 0.0).ticks(1e12) == 2**31


def test_a_lease_of_another_length_is_no_shorter_than_that_and_has_a_tick_at_least() -> None:
    clock = LeaseClock(30.0, 100.0)

    ticks = {seconds: clock.ticks(seconds) for seconds in (0.0, 0.001, 0.25, 0.251, 60.0, 60.000_000_001, 1e12)}

    assert ticks == {0.0: 1, 0.001: 1, 0.25: 1, 0.251: 2, 60.0: 240, 60.000_000_001: 241, 1e12: 2**31}
