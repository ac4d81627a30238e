"""The timer wheel against a plain list of timers."""

import gc
import sys
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tekton._native import TimerWheel

# Near, at the edges of a turn, a few turns away, and far beyond.
TICKS = st.one_of(st.integers(0, 20), st.integers(1020, 1030), st.integers(0, 5000), st.integers(0, 2**40))


class WheelMachine(RuleBasedStateMachine):
    """Every operation on a wheel and on a list, compared."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel = TimerWheel()
        self.scheduled: list[tuple[int, int]] = []  # (due, handle), in the order in which they were scheduled
        self.handles: list[int] = []
        self.now = 0

    @rule(ticks=TICKS)
    def schedule(self, ticks: int) -> None:
        handle = self.wheel.schedule(self.now + ticks, len(self.handles))
        assert handle not in self.handles
        self.scheduled.append((self.now + ticks, len(self.handles)))
        self.handles.append(handle)

    @rule(place=st.integers(0, 30))
    def cancel(self, place: int) -> None:
        if place < len(self.handles):
            waiting = [timer for timer in self.scheduled if timer[1] == place]
            assert self.wheel.cancel(self.handles[place]) is bool(waiting)
            self.scheduled = [timer for timer in self.scheduled if timer[1] != place]

    @rule(ticks=TICKS)
    def advance(self, ticks: int) -> None:
        self.now += ticks
        due = sorted(timer for timer in self.scheduled if timer[0] <= self.now)
        assert self.wheel.advance(self.now) == [name for _, name in due]
        self.scheduled = [timer for timer in self.scheduled if timer[0] > self.now]

    @invariant()
    def the_next_due_tick_is_exact(self) -> None:
        assert self.wheel.next_due() == min((due for due, _ in self.scheduled), default=None)
        assert len(self.wheel) == len(self.scheduled)


TestWheel = WheelMachine.TestCase
TestWheel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_timers_of_one_tick_come_back_in_the_order_in_which_they_were_scheduled() -> None:
    wheel = TimerWheel()
    for name in "abc":
        wheel.schedule(5000, name)
    wheel.advance(4999)
    wheel.schedule(5000, "d")

    assert wheel.advance(5000) == ["a", "b", "c", "d"]


def test_a_tick_that_has_passed_counts_as_the_present_one() -> None:
    wheel = TimerWheel()
    wheel.advance(2000)

    wheel.schedule(3, "late")

    assert wheel.next_due() == 2000
    assert wheel.advance(0) == ["late"]


def test_a_stale_handle_does_not_cancel_the_timer_that_took_its_place() -> None:
    wheel = TimerWheel()
    stale = wheel.schedule(1, "a")
    wheel.advance(1)
    fresh = wheel.schedule(2, "b")

    assert not wheel.cancel(stale)

    assert wheel.cancel(fresh)
    assert not wheel.cancel(fresh)


def test_a_number_that_never_was_a_handle_cancels_nothing() -> None:
    wheel = TimerWheel()
    handle = wheel.schedule(1, "a")

    assert not any(wheel.cancel(number) for number in (handle + 1, handle + 2**32, 2**32 - 1, 2**64 - 1))

    assert len(wheel) == 1


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    wheel = TimerWheel()

    for use in (wheel.cancel, wheel.advance, lambda due: wheel.schedule(due, "a")):
        with pytest.raises(OverflowError):
            use(number)

    assert len(wheel) == 0


def test_payloads_are_held_exactly_as_long_as_they_are_scheduled() -> None:
    wheel = TimerWheel()
    payload = object()
    before = sys.getrefcount(payload)

    handle = wheel.schedule(10, payload)
    wheel.schedule(5000, payload)
    assert sys.getrefcount(payload) == before + 2

    wheel.cancel(handle)
    assert sys.getrefcount(payload) == before + 1

    wheel.advance(5000)
    assert sys.getrefcount(payload) == before


def test_a_payload_that_uses_the_wheel_while_it_dies_does_no_harm() -> None:
    wheel = TimerWheel()

    class Parting:
        def __del__(self) -> None:
            wheel.schedule(7, "from the grave")

    handle = wheel.schedule(1, Parting())
    assert wheel.cancel(handle)

    assert wheel.advance(7) == ["from the grave"]


@pytest.mark.parametrize("due", [10, 5000])
def test_a_wheel_and_a_payload_that_refers_to_it_are_collected(due: int) -> None:
    class Holder:
        def __init__(self) -> None:
            self.wheel = TimerWheel()
            self.wheel.schedule(due, self)

    gone = weakref.ref(Holder())
    gc.collect()

    assert gone() is None
