"""Tests of tekton.core.leases.clock_jumps: what it says of clocks that jump, and of those that do not."""

import pytest

from tekton.clock import SYSTEM_CLOCK
from tekton.core.leases.clock_jumps import ClockJumps
from tekton.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_suspended_machine_is_noticed_once(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    jumps = ClockJumps(clock)
    clock.advance(5)
    clock.suspend(3600)

    assert (jumps.look(), jumps.look()) == (3600, 0)
    clock.suspend(0.5)
    assert jumps.look() == 0
    assert [record.getMessage() for record in caplog.records] == ["the machine was suspended for 3600.0 s"]


@pytest.mark.parametrize(("by", "said"), [(-3600, "back by 3600.0 s"), (86_400, "forward by 86400.0 s")])
def test_a_wall_clock_that_is_set_is_logged_and_is_no_suspend(
    clock: ManualClock, by: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    jumps = ClockJumps(clock)
    clock.set_wall(clock.time() + by)

    assert jumps.look() == 0
    assert said in caplog.text


def test_clocks_that_go_together_say_nothing(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    jumps = ClockJumps(clock)
    for _ in range(1000):
        clock.advance(1000)
        clock.set_wall(clock.time() + 0.5)  # steered by NTP
        assert jumps.look() == 0

    assert caplog.records == []


def test_what_was_before_is_forgotten(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    jumps = ClockJumps(clock)
    clock.suspend(100)
    clock.set_wall(0)
    jumps.forget()

    assert jumps.look() == 0
    assert caplog.records == []


def test_the_clocks_of_this_machine_do_not_jump_by_being_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    jumps = ClockJumps(SYSTEM_CLOCK)

    assert [jumps.look() for _ in range(1000)] == [0] * 1000
    assert caplog.records == []


def test_a_second_is_no_jump_and_a_little_more_is(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    jumps = ClockJumps(clock)
    clock.suspend(1.0)
    assert (jumps.look(), caplog.records) == (0.0, [])

    clock.suspend(1.5)
    assert jumps.look() == 1.5
    clock.set_wall(clock.time() - 1.0)
    assert jumps.look() == 0.0
    clock.set_wall(clock.time() + 1.5)
    assert jumps.look() == 0.0

    assert [record.getMessage() for record in caplog.records] == [
        "the machine was suspended for 1.5 s",
        "the wall clock was set forward by 1.5 s; leases, timeouts and restarts do not follow it",
    ]


def test_a_machine_that_was_suspended_with_its_clock_set_says_both(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    jumps = ClockJumps(clock)
    clock.suspend(3600)
    clock.set_wall(clock.time() - 60)

    assert jumps.look() == 3600

    assert [record.getMessage() for record in caplog.records] == [
        "the machine was suspended for 3600.0 s",
        "the wall clock was set back by 60.0 s; leases, timeouts and restarts do not follow it",
    ]
