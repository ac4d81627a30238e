"""Tests of tekton.core.degradation.circuit_breaker: when it opens, who gets through, and what late results do."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import TRANSITIONS, BreakerEvent, BreakerState, Transition
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.permits import Permit
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import CircuitOpenError, ComponentNotFoundError

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN = BreakerState


class Fixture:
    """A breaker on a clock that stands still, and what its listener has heard."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.clock = ManualClock()
        self.breaker = CircuitBreaker("rhetor", settings, self.clock)
        self.heard: list[Transition] = []
        self.breaker.listeners.add(self.heard.append, direct=True)

    def fail(self, times: int = 1, error: Exception | None = None) -> None:
        for _ in range(times):
            self.breaker.acquire().failed(error)

    def succeed(self, times: int = 1, *, taking: float = 0.0) -> None:
        for _ in range(times):
            permit = self.breaker.acquire()
            self.clock.advance(taking)
            permit.succeeded()

    def pass_through(self, callers: int) -> list[Permit]:
        """The permits that so many callers get at the same time."""
        permits = []
        for _ in range(callers):
            try:
                permits.append(self.breaker.acquire())
            except CircuitOpenError:
                pass
        return permits

    def half_open(self) -> None:
        """Fail until it is open, and wait until it may be tried."""
        self.fail(self.breaker.settings.failure_threshold or 1)
        self.clock.advance(self.breaker.settings.reset_timeout)

    @property
    def events(self) -> list[BreakerEvent]:
        return [transition.event for transition in self.heard]


@pytest.fixture
def make() -> Callable[..., Fixture]:
    def build(**settings: object) -> Fixture:
        defaults = {"failure_threshold": 3, "reset_timeout": 60.0, "half_open_requests": 2}
        return Fixture(BreakerSettings(**{**defaults, **settings}))  # type: ignore[arg-type]

    return build


Make = Callable[..., Fixture]


def test_it_opens_after_so_many_failures_in_a_row(make: Make) -> None:
    one = make()

    one.fail(2)
    one.succeed()
    one.fail(2)
    assert one.breaker.state is CLOSED
    one.fail(error=ConnectionError("gone"))

    assert one.breaker.state is OPEN
    assert one.heard[0].reason == "3 failures in a row, the last one: ConnectionError: gone"


def test_an_open_one_refuses_and_says_when_to_come_back(make: Make) -> None:
    one = make()
    one.fail(3)
    one.clock.advance(20)

    with pytest.raises(CircuitOpenError) as refused:
        one.breaker.acquire()

    assert (refused.value.component_id, refused.value.state, refused.value.retry_after) == ("rhetor", "open", 40)
    assert one.breaker.rejections == 1


def test_of_1000_callers_at_the_half_open_moment_exactly_the_probes_pass(make: Make) -> None:
    one = make(half_open_requests=2)
    one.half_open()

    permits = one.pass_through(1000)

    assert len(permits) == 2
    assert one.breaker.state is HALF_OPEN
    assert one.breaker.rejections == 998
    for permit in permits:
        permit.succeeded()
    assert one.breaker.state is CLOSED
    assert len(one.pass_through(1000)) == 1000


async def test_of_1000_tasks_at_the_half_open_moment_exactly_the_probes_reach_the_component(make: Make) -> None:
    one = make(half_open_requests=2)
    one.half_open()
    release, reached = asyncio.Event(), []

    async def ask(number: int) -> None:
        reached.append(number)
        await release.wait()

    tasks = [asyncio.create_task(one.breaker.call(ask, number)) for number in range(1000)]
    await asyncio.sleep(0)
    release.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert len(reached) == 2
    assert sum(isinstance(outcome, CircuitOpenError) for outcome in outcomes) == 998


def test_of_many_threads_at_the_half_open_moment_exactly_the_probes_pass(make: Make) -> None:
    one = make(half_open_requests=3)
    one.half_open()
    passed: list[Permit] = []
    barrier = threading.Barrier(16)

    def caller() -> None:
        barrier.wait()
        passed.extend(one.pass_through(50))

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(passed) == 3


def test_one_success_is_not_enough_to_close(make: Make) -> None:
    one = make(half_open_requests=2)
    one.half_open()

    one.succeed()

    assert one.breaker.state is HALF_OPEN
    assert len(one.pass_through(10)) == 1


def test_a_probe_that_fails_opens_it_for_another_whole_time(make: Make) -> None:
    one = make()
    one.half_open()
    one.fail()

    one.clock.advance(59.9)
    assert one.pass_through(1) == []
    one.clock.advance(0.2)
    assert len(one.pass_through(1)) == 1
    assert one.events == [
        BreakerEvent.FAILING,
        BreakerEvent.WAITED,
        BreakerEvent.PROBE_FAILED,
        BreakerEvent.WAITED,
    ]


def test_a_probe_that_hangs_has_failed_at_its_deadline(make: Make) -> None:
    one = make(probe_timeout=5.0)
    one.half_open()
    hung = one.breaker.acquire()
    began = one.clock.monotonic()

    one.clock.advance(4.9)
    assert one.breaker.state is HALF_OPEN
    one.clock.advance(0.2)

    assert one.breaker.state is OPEN
    assert one.heard[-1].event is BreakerEvent.PROBE_TIMED_OUT
    assert one.heard[-1].at == began + 5.0
    hung.succeeded()
    assert one.breaker.state is OPEN


def test_a_deadline_that_nobody_noticed_counts_from_when_it_was(make: Make) -> None:
    one = make(probe_timeout=5.0, reset_timeout=60.0)
    one.half_open()
    one.breaker.acquire()

    one.clock.advance(65)

    assert len(one.pass_through(10)) == 2
    assert one.events[-2:] == [BreakerEvent.PROBE_TIMED_OUT, BreakerEvent.WAITED]


def test_the_result_of_a_probe_after_its_deadline_is_none(make: Make) -> None:
    one = make(half_open_requests=1, probe_timeout=5.0)
    one.half_open()
    probe = one.breaker.acquire()
    one.clock.advance(5)

    probe.succeeded()

    assert one.breaker.state is OPEN


def test_a_cancelled_probe_returns_its_slot_and_counts_neither_way(make: Make) -> None:
    one = make(half_open_requests=2)
    one.half_open()
    first, second = one.pass_through(10)

    first.cancelled()
    (third,) = one.pass_through(10)

    assert one.breaker.state is HALF_OPEN
    second.succeeded()
    assert one.breaker.state is HALF_OPEN
    third.succeeded()
    assert one.breaker.state is CLOSED


async def test_a_caller_who_is_cancelled_during_a_probe_returns_the_slot(make: Make) -> None:
    one = make(half_open_requests=1)
    one.half_open()
    probe = asyncio.create_task(one.breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    assert one.pass_through(1) == []

    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)

    assert one.breaker.state is HALF_OPEN
    assert len(one.pass_through(10)) == 1


def test_cancelled_calls_do_not_open_it_and_do_not_mend_it(make: Make) -> None:
    one = make()
    one.fail(2)

    for _ in range(10):
        one.breaker.acquire().cancelled()
    assert one.breaker.state is CLOSED
    one.fail()

    assert one.breaker.state is OPEN


def test_late_failures_of_calls_begun_before_it_opened_change_nothing(make: Make) -> None:
    one = make()
    late = one.pass_through(10)
    one.fail(3)
    one.clock.advance(50)
    for permit in late[:5]:
        permit.failed()
    one.clock.advance(10)

    probes = one.pass_through(10)
    assert len(probes) == 2
    for permit in late[5:]:
        permit.failed()
    assert one.breaker.state is HALF_OPEN
    for permit in probes:
        permit.succeeded()
    for permit in late:
        permit.failed()

    assert one.breaker.state is CLOSED
    assert one.breaker.failures == 3
    assert one.breaker.status().failures_in_a_row == 0


def test_a_late_success_does_not_close_it(make: Make) -> None:
    one = make(half_open_requests=1)
    (late,) = one.pass_through(1)
    one.half_open()
    one.pass_through(1)

    late.succeeded()

    assert one.breaker.state is HALF_OPEN


def test_the_wall_clock_may_jump(make: Make) -> None:
    one = make()
    one.fail(3)

    for jump in (-3600, 86_400):
        one.clock.set_wall(one.clock.time() + jump)
        assert one.pass_through(1) == []
    one.clock.advance(60)

    assert len(one.pass_through(1)) == 1


def test_an_error_about_the_request_is_an_answer(make: Make) -> None:
    one = make()
    one.fail(2)

    one.fail(10, ComponentNotFoundError("ghost"))

    assert one.breaker.state is CLOSED
    assert one.breaker.status().failures_in_a_row == 0


def test_an_error_about_the_request_lets_a_probe_succeed(make: Make) -> None:
    one = make(half_open_requests=1)
    one.half_open()

    one.fail(1, ComponentNotFoundError("ghost"))

    assert one.breaker.state is CLOSED


def test_the_classification_is_the_callers_choice() -> None:
    breaker = CircuitBreaker(
        "rhetor", BreakerSettings(failure_threshold=1), classify=lambda error: isinstance(error, OSError)
    )

    breaker.acquire().failed(ValueError("no"))
    assert breaker.state is CLOSED
    breaker.acquire().failed(ConnectionError("yes"))

    assert breaker.state is OPEN


def test_a_classification_that_fails_keeps_no_permit(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    settings = BreakerSettings(failure_threshold=1, half_open_requests=1)
    breaker = CircuitBreaker("rhetor", settings, clock, classify=lambda _: 1 // 0 > 0)

    breaker.acquire().failed(ValueError("no"))
    assert breaker.state is OPEN
    clock.advance(settings.reset_timeout)
    breaker.acquire().failed(ValueError("no"))

    assert breaker.state is OPEN
    assert "the classification of errors of rhetor failed" in caplog.text


def test_the_call_with_which_there_are_enough_decides_even_if_it_succeeds(make: Make) -> None:
    one = make(failure_threshold=None, failure_rate=0.5, window_calls=10, minimum_calls=4)
    one.fail(3)
    assert one.breaker.state is CLOSED, "three calls say nothing"

    one.succeed(1)

    assert one.heard[0].reason == "3 of 4 calls failed"


def test_too_few_calls_say_nothing_and_then_the_share_counts(make: Make) -> None:
    one = make(failure_threshold=None, failure_rate=0.5, window_calls=10, minimum_calls=6)
    one.succeed(4)
    one.fail(1)

    assert one.breaker.state is CLOSED
    one.fail(2)
    assert one.breaker.state is CLOSED, "3 of 7"
    one.fail(1)

    assert one.breaker.state is OPEN
    assert one.heard[0].reason == "4 of 8 calls failed"


def test_what_has_left_the_window_is_forgotten(make: Make) -> None:
    one = make(failure_threshold=None, failure_rate=0.5, window_calls=4, minimum_calls=4)

    for _ in range(10):
        one.succeed(3)
        one.fail(1)

    assert one.breaker.state is CLOSED


def test_a_share_of_failures_within_some_time_opens_it(make: Make) -> None:
    one = make(failure_threshold=None, failure_rate=0.5, window_calls=None, window_seconds=10.0, minimum_calls=4)
    one.fail(3)
    one.clock.advance(11)
    one.fail(1)
    one.succeed(2)
    assert one.breaker.state is CLOSED

    one.fail(1)

    assert one.breaker.state is OPEN
    assert one.heard[0].reason == "2 of 4 calls failed"


def test_slow_calls_open_it_without_an_error(make: Make) -> None:
    one = make(slow_call_seconds=1.0, slow_call_rate=0.5, minimum_calls=4)

    one.succeed(3, taking=0.9)
    one.succeed(2, taking=1.0)
    assert one.breaker.state is CLOSED
    one.succeed(1, taking=5.0)

    assert one.breaker.state is OPEN
    assert one.heard[0].reason == "3 of 6 calls took 1 s or longer"


def test_a_slow_probe_opens_it_again(make: Make) -> None:
    one = make(slow_call_seconds=1.0, half_open_requests=1)
    one.half_open()

    one.succeed(1, taking=2.0)

    assert one.heard[-1].event is BreakerEvent.PROBE_FAILED


def test_without_traffic_good_health_closes_it(make: Make) -> None:
    one = make(half_open_requests=2)
    one.fail(3)

    one.clock.advance(59)
    one.breaker.probed(True)
    assert one.breaker.state is OPEN, "not before its time"
    one.clock.advance(1)
    one.breaker.probed(True)
    assert one.breaker.state is HALF_OPEN
    one.breaker.probed(True)

    assert one.breaker.state is CLOSED


def test_bad_health_keeps_it_open_and_does_not_make_the_wait_longer(make: Make) -> None:
    one = make()
    one.fail(3)

    for _ in range(12):
        one.clock.advance(5)
        one.breaker.probed(False)

    assert len(one.pass_through(1)) == 1
    one.breaker.probed(False)
    assert one.breaker.state is OPEN


def test_health_does_not_open_a_closed_one(make: Make) -> None:
    one = make()

    for _ in range(100):
        one.breaker.probed(False)

    assert one.breaker.state is CLOSED


def test_it_can_be_opened_by_hand_and_stays_open_until_it_is_reset(make: Make) -> None:
    one = make()
    one.breaker.trip("maintenance")
    one.clock.advance(1e6)
    one.breaker.probed(True)

    with pytest.raises(CircuitOpenError) as refused:
        one.breaker.acquire()
    assert (refused.value.state, refused.value.retry_after) == ("forced_open", None)
    one.breaker.reset()

    assert one.breaker.state is CLOSED
    assert [transition.reason for transition in one.heard] == ["maintenance", "reset by hand"]


def test_a_reset_forgets_what_has_failed(make: Make) -> None:
    one = make()
    late = one.pass_through(1)
    one.fail(2)

    one.breaker.reset()
    late[0].failed()
    one.fail(2)

    assert one.breaker.state is CLOSED
    assert one.heard == []


def test_transitions_are_numbered_in_the_order_in_which_they_are_heard(make: Make) -> None:
    one = make(half_open_requests=1)
    for _ in range(3):
        one.half_open()
        one.succeed()

    assert [transition.number for transition in one.heard] == list(range(1, 10))
    assert all(TRANSITIONS[transition.previous, transition.event] is transition.state for transition in one.heard)
    assert [earlier.state for earlier in one.heard[:-1]] == [later.previous for later in one.heard[1:]]


def test_a_listener_that_resets_the_breaker_is_told_of_that_afterwards(make: Make) -> None:
    one = make()
    one.breaker.listeners.add(lambda change: one.breaker.reset() if change.state is OPEN else None, direct=True)
    others: list[Transition] = []
    one.breaker.listeners.add(others.append, direct=True)

    one.fail(3)

    assert one.breaker.state is CLOSED
    assert [transition.state for transition in one.heard] == [OPEN, CLOSED]
    assert others == one.heard


def test_checking_takes_no_slot(make: Make) -> None:
    one = make(half_open_requests=1)
    one.breaker.check()
    one.fail(3)
    with pytest.raises(CircuitOpenError):
        one.breaker.check()
    one.clock.advance(60)

    for _ in range(10):
        one.breaker.check()

    assert one.breaker.state is OPEN
    assert one.breaker.rejections == 0
    assert len(one.pass_through(10)) == 1
    with pytest.raises(CircuitOpenError):
        one.breaker.check()


def test_the_status_says_all(make: Make) -> None:
    one = make()
    one.succeed(4)
    one.fail(3)
    one.clock.advance(10)
    one.pass_through(2)

    status = one.breaker.status()

    assert (status.state, status.seconds, status.reason) == ("open", 10, "3 failures in a row")
    assert (status.successes, status.failures, status.rejections, status.transitions) == (4, 3, 2, 1)
    assert status.retry_after == 50
    assert make().breaker.status().retry_after is None


async def test_a_call_passes_on_what_comes_back(make: Make) -> None:
    one = make(failure_threshold=1)

    async def answer(value: int, *, more: int = 0) -> int:
        return value + more

    async def fail() -> None:
        raise ConnectionError("gone")

    assert await one.breaker.call(answer, 1, more=2) == 3
    with pytest.raises(ConnectionError):
        await one.breaker.call(fail)
    with pytest.raises(CircuitOpenError):
        await one.breaker.call(answer, 1)
    assert one.breaker.successes == 1


def test_a_plain_call_passes_on_what_comes_back(make: Make) -> None:
    one = make(failure_threshold=1)

    def leave() -> None:
        raise SystemExit

    def fail() -> None:
        raise ConnectionError("gone")

    assert one.breaker.call_sync(max, 1, 2) == 2
    with pytest.raises(SystemExit):
        one.breaker.call_sync(leave)
    assert one.breaker.state is CLOSED
    with pytest.raises(ConnectionError):
        one.breaker.call_sync(fail)
    assert one.breaker.state is OPEN


def test_every_transition_says_when_and_why(make: Make) -> None:
    one = make(failure_threshold=1, half_open_requests=1, probe_timeout=5.0, slow_call_seconds=1.0)
    began = one.clock.monotonic()
    one.fail(1, ConnectionError("gone"))
    one.clock.advance(60)
    one.fail(1, ConnectionError("still gone"))
    one.clock.advance(60)
    one.fail()
    one.clock.advance(60)
    one.succeed(taking=1.0)
    one.clock.advance(60)
    one.breaker.acquire()
    one.clock.advance(70)
    one.breaker.probed(True)
    one.breaker.trip()
    one.breaker.reset()
    one.fail()
    one.clock.advance(60)
    one.breaker.acquire()
    one.breaker.probed(False)

    assert [(change.at - began, change.state.value, change.reason) for change in one.heard] == [
        (0, "open", "1 failures in a row, the last one: ConnectionError: gone"),
        (60, "half_open", "it is tried again"),
        (60, "open", "a probe failed: ConnectionError: still gone"),
        (120, "half_open", "it is tried again"),
        (120, "open", "a probe failed"),
        (180, "half_open", "it is tried again"),
        (181, "open", "a probe was slow"),
        (241, "half_open", "it is tried again"),
        (246, "open", "no answer to a probe within 5 s"),
        (311, "half_open", "it is healthy again"),
        (311, "closed", "the probes have succeeded"),
        (311, "forced_open", "opened by hand"),
        (311, "closed", "reset by hand"),
        (311, "open", "1 failures in a row"),
        (371, "half_open", "it is tried again"),
        (371, "open", "its health is bad"),
    ]
    assert {change.breaker for change in one.heard} == {"rhetor"}
    assert one.heard[0].time == one.clock.time() - 371


async def test_a_call_that_succeeds_ends_a_row_of_failures(make: Make) -> None:
    one = make(failure_threshold=2)

    async def fine() -> None:
        """It is."""

    for succeed in (lambda: one.breaker.call(fine), lambda: one.breaker.call_sync(fine)):
        one.fail()
        await succeed()
        assert one.breaker.status().failures_in_a_row == 0
    one.fail(1)

    assert one.breaker.state is CLOSED
    assert one.breaker.successes == 2


async def test_a_probe_is_a_call_too(make: Make) -> None:
    one = make(half_open_requests=2)
    one.half_open()

    async def fine() -> int:
        return 1

    assert await one.breaker.call(fine) == 1
    assert one.breaker.call_sync(int) == 0

    assert one.breaker.state is CLOSED


async def test_an_error_about_the_request_passes_through_a_call_and_is_an_answer(make: Make) -> None:
    one = make(failure_threshold=1)

    def refuse() -> None:
        raise ComponentNotFoundError("ghost")

    async def refuse_later() -> None:
        refuse()

    with pytest.raises(ComponentNotFoundError):
        one.breaker.call_sync(refuse)
    with pytest.raises(ComponentNotFoundError):
        await one.breaker.call(refuse_later)

    assert one.breaker.state is CLOSED


def test_a_closed_one_makes_no_object_for_a_call(make: Make) -> None:
    one = make()

    assert one.breaker.acquire() is one.breaker.acquire()


@pytest.mark.parametrize("state", BreakerState)
@pytest.mark.parametrize("event", BreakerEvent)
def test_what_the_table_does_not_have_changes_nothing(make: Make, state: BreakerState, event: BreakerEvent) -> None:
    one = make()
    one.breaker._state = state

    moved = one.breaker._move(event, 0.0, "")

    assert moved is ((state, event) in TRANSITIONS)
    assert one.breaker._state is TRANSITIONS.get((state, event), state)
