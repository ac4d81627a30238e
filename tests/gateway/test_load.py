"""What the load refuses, and when."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.gateway.load import INTERVAL, QUEUE, TARGET, Load, Priority
from tekton.testing.clock import ManualClock

LATE = 2 * TARGET
BUSY = 2 * QUEUE / LATE
"""Requests a second."""


def at(pressure: float, chance: float) -> Load:
    load = Load(ManualClock(), lambda: chance)
    load.pressure = pressure
    return load


@pytest.mark.parametrize(
    ("pressure", "look", "change"), [(0.0, 0, 0), (0.25, 25, 0), (1.0, 100, 0), (1.5, 100, 50), (2.0, 100, 100)]
)
def test_lists_are_refused_first_then_changes_and_what_is_vital_never(pressure: float, look: int, change: int) -> None:
    def refused(priority: Priority) -> int:
        return sum(at(pressure, number / 100).sheds(priority) for number in range(100))

    assert (refused("look"), refused("change"), refused("vital")) == (look, change, 0)


def test_requests_that_wait_are_relieved_and_no_longer_than_needed() -> None:
    load = at(0.0, 0.5)

    for _ in range(10):
        load.adjust(LATE, BUSY, 0.05)
    risen = load.pressure
    for _ in range(10):
        load.adjust(0.0, BUSY, 0.05)

    assert risen == pytest.approx(0.5)
    assert load.pressure == pytest.approx(0.0)


def test_a_delay_that_passes_refuses_nothing() -> None:
    load = Load(ManualClock(), lambda: 0.0)

    for _ in range(9):
        load.adjust(LATE, BUSY, 0.05)

    assert not load.sheds("look")


@pytest.mark.parametrize("rate", [0.0, 1.0, 0.9 * QUEUE / LATE])
def test_few_requests_that_wait_long_are_not_refused(rate: float) -> None:
    load = Load(ManualClock(), lambda: 0.0)

    for _ in range(1000):
        load.adjust(LATE, rate, 0.05)

    assert not load.sheds("look")


def test_one_long_block_refuses_nothing() -> None:
    load = Load(ManualClock(), lambda: 0.0)

    load.adjust(3600.0, 100_000.0, 3600.0)

    assert not load.sheds("look")


def test_the_pressure_has_an_end() -> None:
    load = Load(ManualClock())

    for _ in range(1000):
        load.adjust(60.0, BUSY, 0.05)
    assert load.pressure == 2.0
    load.adjust(0.0, BUSY, 60.0)
    assert load.pressure == -0.5


class Waits:
    """Requests that have waited for as long as the test says. None: nobody knows."""

    def __init__(self, scope: Callable[..., Any], seconds: float | None) -> None:
        self.clock = ManualClock()
        self.asked = 0
        self._seconds = seconds
        self._scope = scope()
        self._scope.server = "127.0.0.1:8010"
        self.load = Load(self.clock, age=self._age)

    def _age(self, client: str, server: str) -> float | None:
        assert (client, server) == ("127.0.0.1:50000", "127.0.0.1:8010")
        self.asked += 1
        return self._seconds

    def come(self, count: int, seconds: float) -> None:
        """*count* requests in *seconds*."""
        for _ in range(count):
            self.clock.advance(seconds / count)
            self.load.arrive(self._scope)


def test_one_request_in_each_interval_is_asked_how_long_it_has_waited(scope: Callable[..., Any]) -> None:
    waits = Waits(scope, LATE)

    waits.come(1_000, 10 * INTERVAL)

    assert 9 <= waits.asked <= 10
    assert waits.load.pressure > -0.5


def test_requests_that_did_not_wait_put_no_pressure(scope: Callable[..., Any]) -> None:
    waits = Waits(scope, 0.01)

    waits.come(1_000, 1.0)

    assert waits.load.pressure == -0.5


def test_those_who_have_given_up_count_as_the_last_who_had_not(scope: Callable[..., Any]) -> None:
    waits = Waits(scope, LATE)
    waits.come(100, 2 * INTERVAL)
    before = waits.load.pressure

    waits._seconds = float("inf")
    waits.come(1000, 10 * INTERVAL)

    assert waits.load.pressure > before


def test_those_who_give_up_at_once_put_no_pressure(scope: Callable[..., Any]) -> None:
    waits = Waits(scope, float("inf"))

    waits.come(1000, 10 * INTERVAL)

    assert waits.load.pressure == -0.5


async def test_where_nobody_knows_it_the_queue_of_the_loop_counts(scope: Callable[..., Any]) -> None:
    waits = Waits(scope, None)

    waits.come(100, 2 * INTERVAL)
    waits.clock.advance(LATE)
    await asyncio.sleep(0)
    waits.come(100, 2 * INTERVAL)

    assert waits.load.pressure > -0.5
