"""Tests of tekton.core.startup.start_work: whatever user code does in a start, it is contained and explained."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tekton.core.calls import CANCEL_GRACE
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition, all_of
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError

UP = StartResult(True, None)


class Upheaval(BaseException):
    """Not even an Exception."""


ERRORS = [
    (SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (GeneratorExit(), "GeneratorExit"),
    (Upheaval("all over"), "Upheaval: all over"),
    (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup: two (2 sub-exceptions)"),
    (RecursionError(), "RecursionError"),
    (StopAsyncIteration(), "StopAsyncIteration"),
    (OSError("http://user:hunter22@db refused"), "OSError: http://user:[redacted]@db refused"),
]


async def succeed() -> None:
    return


def raising(error: BaseException) -> Callable[[], Any]:
    def plain() -> None:
        raise error

    return plain


def raising_async(error: BaseException) -> Callable[[], Any]:
    async def on_loop() -> None:
        raise error

    return on_loop


async def beside(registry: ComponentRegistry, config: ComponentConfig) -> StartResult:
    """The result of a start with *config*; another component starts beside it, and the loop lives on."""
    coordinator = EnhancedStartUpCoordinator(registry)
    async with asyncio.timeout(10):
        results = await coordinator.start_components({"hermes": config, "engram": {"start_func": succeed}})
        await coordinator.close()
    assert results["engram"] == UP
    return results["hermes"]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("make", [raising, raising_async])
async def test_whatever_a_start_function_raises_fails_its_component_and_nobody_else(
    registry: ComponentRegistry, make: Callable[[BaseException], Any], error: BaseException, text: str
) -> None:
    result = await beside(registry, ComponentConfig(start_func=make(error)))

    assert result == StartResult(False, f"hermes: {text}")
    record = registry.find("hermes")
    assert record is not None
    assert (record.state, record.reason) == (ComponentState.FAILED, text)


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: type(value).__name__)
async def test_whatever_a_readiness_check_raises_is_a_finding(
    registry: ComponentRegistry, error: BaseException, text: str
) -> None:
    condition = ReadinessCondition("port", raising_async(error), interval=0.01, timeout=0.05)

    result = await beside(registry, ComponentConfig(start_func=succeed, readiness=[condition]))

    assert result.error == f"hermes: port not met after 0.05 s: {text}"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Upheaval()], ids=lambda e: type(e).__name__)
async def test_whatever_the_factory_of_the_registration_raises_fails_its_component(
    registry: ComponentRegistry, error: BaseException
) -> None:
    def register() -> ComponentRegistration:
        raise error

    result = await beside(registry, ComponentConfig(start_func=succeed, registration=register))

    assert result.error is not None
    assert result.error.startswith(f"hermes: cannot be registered: {type(error).__name__}")


@pytest.mark.parametrize(("error", "text"), ERRORS[:4], ids=lambda value: type(value).__name__)
async def test_whatever_a_stop_function_raises_fails_the_stop(
    registry: ComponentRegistry, error: BaseException, text: str
) -> None:
    coordinator = EnhancedStartUpCoordinator(registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=raising_async(error))
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match=f"stop failed: {text}"):
        await coordinator.stop_component("hermes")


# What does not end.


@virtual_time
async def test_what_ignores_its_cancellation_is_abandoned_and_told_of_until_it_ends(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    began = current_clock().monotonic()
    with caplog.at_level(logging.WARNING):
        results = await coordinator.start_components(
            {"hermes": {"start_func": stubborn, "timeout": 10}, "ergon": {"start_func": succeed}}
        )

    elapsed = current_clock().monotonic() - began
    leaked = coordinator.explain("hermes").leaked, coordinator.explain("ergon").leaked
    # Before anything is asserted: no test could end as long as it runs.
    release.set()
    await asyncio.sleep(0)

    assert elapsed == pytest.approx(10 + CANCEL_GRACE)
    assert results["ergon"] == UP
    assert leaked == (("start function",), ())
    assert coordinator.explain("hermes").leaked == ()
    assert [record.component for record in caplog.records if getattr(record, "leaked", False)] == ["hermes"]  # type: ignore[attr-defined]


async def test_a_thread_that_hangs_is_told_of_until_it_ends(registry: ComponentRegistry) -> None:
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def blocked() -> None:
        began.set()
        release.wait(30)
        ended.set()

    coordinator = EnhancedStartUpCoordinator(registry)
    try:
        async with asyncio.timeout(30):
            caller = asyncio.ensure_future(coordinator.start_component("hermes", blocked))
            await asyncio.to_thread(began.wait, 30)
            caller.cancel()
            await asyncio.wait([caller])
            assert coordinator.explain("hermes").leaked == ("start function",)
            release.set()
            await asyncio.to_thread(ended.wait, 30)
            while coordinator.explain("hermes").leaked:  # noqa: ASYNC110 - a thread's last steps wake nobody
                await asyncio.sleep(0)
    finally:
        release.set()


# What a start is doing.


@virtual_time
async def test_a_start_tells_which_conditions_are_not_met_and_why(inline_registry: ComponentRegistry) -> None:
    async def port() -> bool:
        raise CheckFailedError("connection refused")

    cache = iter([False, False, True])
    condition = all_of(ReadinessCondition("port", port, 1), ReadinessCondition("cache", lambda: next(cache), 1))
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    config = ComponentConfig(start_func=succeed, readiness=[condition], timeout=5)
    starting = asyncio.ensure_future(coordinator.start_components({"hermes": config}))

    phases = []
    for _ in range(4):
        await asyncio.sleep(0.999)
        phases.append(coordinator.explain("hermes").phase)
    result = (await starting)["hermes"]

    both = "port: connection refused; cache: not yet"
    assert phases == [both, both, "port: connection refused", "port: connection refused"]
    assert result.error == "hermes: not ready after 5 s (waiting for port: connection refused)"


@virtual_time
async def test_conditions_are_waited_for_one_after_the_other(inline_registry: ComponentRegistry) -> None:
    asked: list[str] = []

    def condition(name: str) -> ReadinessCondition:
        def check() -> bool:
            asked.append(name)
            return asked.count(name) == 2

        return ReadinessCondition(name, check, 1)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    config = ComponentConfig(start_func=succeed, readiness=[condition("port"), condition("cache")])

    assert await coordinator.start_components({"hermes": config}) == {"hermes": UP}
    assert asked == ["port", "port", "cache", "cache"]


@virtual_time
async def test_a_start_tells_of_its_waits_as_long_as_they_last(inline_registry: ComponentRegistry) -> None:
    async def wait_twice() -> None:
        for name in ("b", "c"):
            await inline_registry.wait_until(name, lambda best: best is not None)
        await asyncio.sleep(10)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    running = asyncio.ensure_future(coordinator.start_component("a", wait_twice))
    phases = []
    for name in ("b", "c", None):
        await asyncio.sleep(5)
        phases.append(coordinator.explain("a").phase)
        if name is not None:
            await inline_registry.register(ComponentRegistration(component_id=name))

    assert phases == ["start function, which waits for b", "start function, which waits for c", "start function"]
    assert await running == UP


@virtual_time
async def test_a_start_function_that_cancels_itself_has_failed(inline_registry: ComponentRegistry) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())

    with pytest.raises(ComponentError, match=r"^hermes: the start function was cancelled$"):
        await coordinator.start_component("hermes", give_up)
