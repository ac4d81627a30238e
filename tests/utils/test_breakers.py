"""Tests of tekton.utils.breakers: what opens the circuit to a component, and what closes it."""

import asyncio
import logging

import msgspec
import pytest
from component_records import component_record

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import BreakerState
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.testing import ManualClock
from tekton.utils.breakers import DEFAULTS, Breakers
from tekton.utils.config_schema import BreakerSpec
from tekton.utils.tekton_errors import CircuitOpenError, ProblemError, TransportError

TWICE = BreakerSettings(failure_threshold=2, reset_timeout=10.0, half_open_requests=1)
FAILURE = TransportError("http://127.0.0.1:1", "refused")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breakers(clock: ManualClock) -> Breakers:
    return Breakers({"rhetor": TWICE}, clock=clock)


def one(
    instance: str = "1", component_id: str = "rhetor", state: ComponentState = ComponentState.READY
) -> ComponentRecord:
    return component_record(component_id, instance, endpoint="http://127.0.0.1:1", max_instances=2, state=state)


async def call(breakers: Breakers, error: BaseException | None = None, record: ComponentRecord | None = None) -> None:
    instance = record or one()
    breakers.before(instance)
    breakers.after(instance, error)


def state(breakers: Breakers) -> BreakerState:
    breaker = breakers.breaker("rhetor")
    assert breaker is not None
    return breaker.state


async def test_after_too_many_failures_nothing_is_sent_until_the_reset_timeout(
    breakers: Breakers, clock: ManualClock
) -> None:
    await call(breakers, FAILURE, one("1"))
    await call(breakers, FAILURE, one("2"))

    with pytest.raises(CircuitOpenError, match="rhetor"):
        await call(breakers)
    clock.advance(10.0)
    await call(breakers)

    assert state(breakers) is BreakerState.CLOSED


@pytest.mark.parametrize(
    "error", [None, ProblemError(404, "http_error", "no such thing"), asyncio.CancelledError()], ids=repr
)
async def test_what_says_nothing_about_the_component_opens_nothing(
    breakers: Breakers, error: BaseException | None
) -> None:
    for _ in range(5):
        await call(breakers, error)

    assert state(breakers) is BreakerState.CLOSED


async def test_each_of_several_callers_gives_back_its_own_permit(breakers: Breakers, clock: ManualClock) -> None:
    for _ in range(2):
        await call(breakers, FAILURE)
    clock.advance(10.0)
    begun, done = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        breakers.before(one())
        begun.set()
        await done.wait()
        breakers.after(one(), None)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(probe())
        await begun.wait()
        with pytest.raises(CircuitOpenError):
            await call(breakers)
        # It was refused, and has no permit to give back.
        breakers.after(one(), FAILURE)
        done.set()

    assert state(breakers) is BreakerState.CLOSED


async def test_a_new_instance_is_called_at_once(breakers: Breakers) -> None:
    for _ in range(2):
        await call(breakers, FAILURE)

    breakers.observed(one(state=ComponentState.FAILED))
    before = state(breakers)
    breakers.observed(one("2", state=ComponentState.STARTING))
    meanwhile = state(breakers)
    breakers.observed(one("2"))

    assert (before, meanwhile, state(breakers)) == (BreakerState.OPEN, BreakerState.OPEN, BreakerState.CLOSED)


async def test_an_instance_that_is_ready_again_helps_when_the_reset_timeout_is_over(
    breakers: Breakers, clock: ManualClock
) -> None:
    for _ in range(2):
        await call(breakers, FAILURE)

    breakers.observed(one())
    early = state(breakers)
    clock.advance(10.0)
    breakers.observed(one())

    assert (early, state(breakers)) == (BreakerState.OPEN, BreakerState.CLOSED)


async def test_what_is_known_of_an_instance_ends_with_it(breakers: Breakers) -> None:
    for _ in range(2):
        await call(breakers, FAILURE)

    breakers.observed(one(), gone=True)
    breakers.observed(one())

    assert state(breakers) is BreakerState.CLOSED


async def test_new_settings_hold_at_once_and_the_same_ones_change_nothing(breakers: Breakers) -> None:
    for _ in range(2):
        await call(breakers, FAILURE)

    breakers.adopt({"rhetor": TWICE})
    same = state(breakers)
    breakers.adopt({"rhetor": msgspec.structs.replace(TWICE, failure_threshold=3)})
    other = state(breakers)
    breakers.adopt({"rhetor": None})

    assert (same, other) == (BreakerState.OPEN, BreakerState.CLOSED)
    assert breakers.breaker("rhetor") is None
    for _ in range(9):
        await call(breakers, FAILURE)


async def test_its_transitions_are_logged(breakers: Breakers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tekton.calls"):
        for _ in range(2):
            await call(breakers, FAILURE)
        breakers.observed(one("2"))

    told = [(record.levelname, record.getMessage().partition(" (")[0]) for record in caplog.records]
    assert told == [("WARNING", "calls to rhetor: circuit open"), ("INFO", "calls to rhetor: circuit closed")]


def test_the_defaults_are_those_of_the_configuration() -> None:
    configured = msgspec.structs.asdict(BreakerSpec())

    assert configured.pop("enabled")
    assert BreakerSettings(**configured) == DEFAULTS
