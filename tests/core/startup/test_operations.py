"""Tests of tekton.core.startup.operations: what is shared, who keeps a start alive, and what is told of its end."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable

import pytest

from tekton.core.calls import CANCEL_GRACE
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import HealthCheck
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError, DependencyError

Start = Callable[[], Awaitable[object]]
UP = StartResult(True, None)


async def succeed() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    raise RuntimeError("boom")


def takes(seconds: float) -> Start:
    async def start() -> None:
        await asyncio.sleep(seconds)

    return start


# Who keeps a start alive.


@virtual_time
async def test_a_start_that_another_start_waits_for_outlives_its_own_caller(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("inner", takes(10))
    await coordinator.register_component_handler("outer", lambda: coordinator.start_component("inner"))
    direct = asyncio.ensure_future(coordinator.start_component("inner"))
    outer = asyncio.ensure_future(coordinator.start_component("outer"))
    await asyncio.sleep(1)

    direct.cancel()

    assert await outer == UP
    assert direct.cancelled()


@virtual_time
async def test_starts_that_only_wait_for_each_other_end_with_their_last_caller(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("a", lambda: coordinator.start_component("b"))
    await coordinator.register_component_handler("b", lambda: coordinator.start_component("a"))
    caller = asyncio.ensure_future(coordinator.start_component("a"))
    await asyncio.sleep(0.5)
    assert coordinator.in_flight("b")

    caller.cancel()
    # Each is given time to end, and the other is what it waits for.
    async with asyncio.timeout(CANCEL_GRACE + 0.4):
        await asyncio.wait([caller])

    assert caller.cancelled()
    assert not coordinator.in_flight("a")
    assert not coordinator.in_flight("b")


# What is told.


@virtual_time
async def test_a_start_tells_how_long_it_took_and_how_it_ended(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    with caplog.at_level(logging.INFO, "tekton.startup"):
        await coordinator.start_component("hermes", takes(2.5))
        # What is up is not started, so there is nothing to tell.
        await coordinator.start_components({"hermes": {"start_func": succeed}})
        with pytest.raises(ComponentError):
            await coordinator.start_component("ergon", fail)

    told = [(record.component, record.seconds, record.getMessage()) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [
        ("hermes", 2.5, "hermes is up"),
        ("ergon", 0.0, "start failed: ergon: RuntimeError: boom"),
    ]


@virtual_time
async def test_a_start_that_is_refused_is_told_like_one_that_failed(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("a", succeed, ["b"])
    await coordinator.register_component_handler("b", succeed, ["a"])

    with pytest.raises(DependencyError) as refusal:
        await coordinator.start_component("a")

    assert coordinator.last_error("a") == str(refusal.value)
    assert coordinator.explain("a").last_error == str(refusal.value)
    assert coordinator.last_error("b") is None
    told = [(record.component, record.getMessage()) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [("a", f"start refused: {refusal.value}")]


@virtual_time
async def test_the_failure_of_a_start_is_forgotten_when_its_component_comes_up_by_itself(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes", fail)
    with pytest.raises(DependencyError):
        await coordinator.start_component("ergon", succeed, ["hermes"])
    assert coordinator.blocked_by("hermes") == ["ergon"]

    for name in ("hermes", "ergon"):
        one = ComponentRegistration(component_id=name)
        await inline_registry.register(one)
        await inline_registry.make_ready(name, one.instance_uuid)

    assert coordinator.last_error("hermes") is None
    assert coordinator.blocked_by("hermes") == []


@virtual_time
async def test_starting_many_drives_a_live_instance_and_does_not_stop_it(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    one = ComponentRegistration(component_id="hermes")
    await inline_registry.register(one)
    states: list[ComponentState] = []
    inline_registry.feed.add_listener(lambda change: states.append(change.state))

    assert await coordinator.start_components({"hermes": {"start_func": succeed}}) == {"hermes": UP}

    assert states == [ComponentState.INITIALIZING, ComponentState.STARTING, ComponentState.READY]
    assert [record.instance_uuid for record in inline_registry.instances("hermes")] == [one.instance_uuid]


# Settings.


@virtual_time
async def test_a_timeout_of_the_call_counts_before_that_of_the_handler_before_the_default(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock(), default_timeout=30)
    await coordinator.register_component_handler("own", takes(1000), timeout=20)
    await coordinator.register_component_handler("none", takes(1000))

    for name, timeout, seconds in (("own", 10.0, 10), ("own", None, 20), ("none", None, 30)):
        began = current_clock().monotonic()
        with pytest.raises(ComponentError, match=f"not ready after {seconds} s"):
            await coordinator.start_component(name, timeout=timeout)
        assert current_clock().monotonic() - began == pytest.approx(seconds)


@virtual_time
async def test_what_the_coordinator_registers_is_not_supervised_unless_that_is_asked_for(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("plain", succeed)
    await coordinator.register_component_handler("watched", succeed, supervised=True)

    await coordinator.start_components()

    supervised = {record.component_id: record.supervised for record in inline_registry.components()}
    assert supervised == {"plain": False, "watched": True}


@virtual_time
async def test_a_degraded_start_does_not_ask_the_readiness_conditions(inline_registry: ComponentRegistry) -> None:
    async def never() -> bool:
        return False

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", fail, readiness=[ReadinessCondition("port", never)])

    assert await coordinator.start_component_degraded("hermes", succeed) == UP

    record = inline_registry.find("hermes")
    assert record is not None
    assert (record.state, record.reason) == (ComponentState.DEGRADED, "started in degraded mode")


# Health.


@virtual_time
async def test_whoever_asks_strictly_needs_one_bad_answer(inline_registry: ComponentRegistry) -> None:
    async def sick() -> bool:
        raise CheckFailedError("no pulse")

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    check = HealthCheck("pulse", sick, interval=1000)
    await coordinator.register_component_handler("hermes", succeed, health=[check])
    await coordinator.start_component("hermes")

    assert [health.healthy for health in await coordinator.check_health("hermes")] == [True]
    assert [health.healthy for health in await coordinator.check_health("hermes", strict=True)] == [False]
    answers = await coordinator.check_health("hermes")
    assert coordinator.explain("hermes").health == tuple(answers)
    await coordinator.close()


@virtual_time
async def test_checks_that_come_with_a_later_configuration_are_asked_from_then_on(
    inline_registry: ComponentRegistry,
) -> None:
    asked: list[str] = []

    async def pulse() -> bool:
        asked.append("pulse")
        return True

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.start_component("hermes", succeed)

    config = ComponentConfig(start_func=succeed, health=[HealthCheck("pulse", pulse, interval=10)])
    assert await coordinator.start_components({"hermes": config}) == {"hermes": UP}
    await asyncio.sleep(35)

    assert len(asked) == 3
    await coordinator.close()


# The end.


@virtual_time
async def test_a_closed_coordinator_leaves_nothing_of_itself_in_the_registry(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.start_component("hermes", succeed)
    gone = weakref.ref(coordinator._operations)

    await coordinator.close()
    await coordinator.close()

    del coordinator
    gc.collect()
    assert gone() is None
