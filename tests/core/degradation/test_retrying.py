"""Tests of tekton.core.degradation.retrying: how often, how fast, and in one layer only."""

import asyncio
import random

import pytest

from tekton.core.degradation.deadline import within
from tekton.core.degradation.retrying import retried
from tekton.testing import current_clock, virtual_time
from tekton.utils.retries import Retries


class Flaky:
    """Fails so many times, and remembers when it was called."""

    def __init__(self, failures: float = float("inf")) -> None:
        self.failures = failures
        self.at: list[float] = []

    async def __call__(self) -> str:
        self.at.append(current_clock().monotonic())
        if len(self.at) <= self.failures:
            raise ConnectionError("gone")
        return "here"


def retries(attempts: int = 3, savings: float = 10.0) -> Retries:
    return Retries(attempts=attempts, backoff=(1.0, 4.0), savings=savings, rng=random.Random(1))


@virtual_time
async def test_what_fails_is_tried_again_until_it_succeeds() -> None:
    flaky = Flaky(2)

    assert await retried(flaky, retries(), lambda _: True) == "here"

    assert len(flaky.at) == 3


@virtual_time
async def test_after_the_last_attempt_its_error_is_raised_and_no_retry_is_spent() -> None:
    budget = retries(attempts=3, savings=2.0)

    with pytest.raises(ConnectionError, match="gone"):
        await retried(Flaky(), budget, lambda _: True)

    assert not budget.spend()
    budget.earn()
    assert budget._saved == pytest.approx(0.1)


@virtual_time
async def test_delays_are_drawn_between_nothing_and_a_limit_that_doubles() -> None:
    delays: list[list[float]] = [[], [], [], []]
    for seed in range(100):
        flaky = Flaky()
        some = Retries(attempts=5, backoff=(1.0, 4.0), rng=random.Random(seed))
        with pytest.raises(ConnectionError):
            await retried(flaky, some, lambda _: True)
        for place, (earlier, later) in enumerate(zip(flaky.at, flaky.at[1:])):
            delays[place].append(later - earlier)

    for drawn, limit in zip(delays, (1.0, 2.0, 4.0, 4.0)):
        assert max(drawn) <= limit
        assert max(drawn) > 0.9 * limit
        assert min(drawn) < 0.1 * limit


@virtual_time
async def test_the_same_generator_gives_the_same_course() -> None:
    courses = []
    for _ in range(2):
        flaky, began = Flaky(), current_clock().monotonic()
        with pytest.raises(ConnectionError):
            await retried(flaky, retries(), lambda _: True)
        courses.append([round(at - began, 6) for at in flaky.at])

    assert courses[0] == courses[1]


@virtual_time
async def test_what_is_not_worth_it_is_not_tried_again() -> None:
    flaky = Flaky()

    with pytest.raises(ConnectionError):
        await retried(flaky, retries(), lambda error: not isinstance(error, ConnectionError))

    assert len(flaky.at) == 1


@virtual_time
async def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    flaky = Flaky()
    began = current_clock().monotonic()

    with within(0.01), pytest.raises(ConnectionError):
        await retried(flaky, retries(), lambda _: True)

    assert len(flaky.at) == 1
    assert current_clock().monotonic() == began


@virtual_time
async def test_when_everything_fails_a_tenth_of_the_calls_are_retries() -> None:
    flaky, budget = Flaky(), retries()

    for _ in range(1000):
        with pytest.raises(ConnectionError):
            await retried(flaky, budget, lambda _: True)

    assert 1000 <= len(flaky.at) <= 1.1 * 1000 + 10


@virtual_time
async def test_three_layers_that_retry_are_one() -> None:
    flaky = Flaky()
    budgets = [retries() for _ in range(3)]

    async def middle() -> str:
        return await retried(flaky, budgets[1], lambda _: True)

    async def top() -> str:
        return await retried(middle, budgets[2], lambda _: True)

    async def call() -> str:
        return await retried(top, budgets[0], lambda _: True)

    for _ in range(1000):
        with pytest.raises(ConnectionError):
            await call()

    assert len(flaky.at) <= 1.1 * 1000 + 10


@virtual_time
async def test_cancellation_passes_through() -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(retried(hang, retries(), lambda _: True))
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
