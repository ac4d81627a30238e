"""Tests of tekton.core.startup.stopper: the states of a stop, and what happens to a stop function that fails."""

import asyncio
import logging

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError

FAILED, STOPPING, STOPPED = ComponentState.FAILED, ComponentState.STOPPING, ComponentState.STOPPED
UP = StartResult(True, None)


async def succeed() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    raise RuntimeError("boom")


@virtual_time
async def test_every_step_of_a_stop_has_its_reason(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await inline_registry.register(ComponentRegistration(component_id="hermes"))
    changes: list[Change] = []
    inline_registry.feed.add_listener(changes.append)

    assert await coordinator.stop_component("hermes") == UP

    assert [(change.state, change.reason) for change in changes] == [
        (FAILED, "stopped"),
        (STOPPING, "stopped"),
        (STOPPED, "stopped"),
    ]


@virtual_time
async def test_every_instance_of_a_component_is_stopped_by_one_call_of_its_stop_function(
    inline_registry: ComponentRegistry,
) -> None:
    calls: list[int] = []

    async def stop() -> None:
        calls.append(1)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    for _ in range(2):
        one = ComponentRegistration(component_id="hermes", max_instances=2)
        await inline_registry.register(one)
        await inline_registry.make_ready("hermes", one.instance_uuid)

    assert await coordinator.stop_component("hermes") == UP

    assert [record.state for record in inline_registry.instances("hermes")] == [STOPPED, STOPPED]
    assert calls == [1]


@virtual_time
async def test_a_stop_function_that_ignores_its_cancellation_is_abandoned_and_told_of(
    inline_registry: ComponentRegistry,
) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, stop_func=stubborn, stop_timeout=7)
    await coordinator.start_component("hermes")

    (result,) = (await coordinator.stop_components(["hermes"])).values()
    leaked = coordinator.explain("hermes").leaked
    # Before anything is asserted: no test could end as long as it runs.
    release.set()
    await asyncio.sleep(0)

    assert result.error == "hermes: stop failed: the stop function did not return within 7 s"
    assert leaked == ("stop function",)
    assert coordinator.explain("hermes").leaked == ()


@virtual_time
async def test_a_stop_function_that_cancels_itself_has_failed(inline_registry: ComponentRegistry) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, stop_func=give_up)
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match="stop failed: the stop function was cancelled"):
        await coordinator.stop_component("hermes")


@virtual_time
async def test_a_stop_function_that_returns_false_has_failed_and_none_has_not(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    answers: list[object] = [False, None]

    async def stop() -> object:
        return answers.pop(0)

    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match="stop failed: the stop function returned False"):
        await coordinator.stop_component("hermes")
    assert await coordinator.stop_component("hermes") == UP


@virtual_time
async def test_what_is_left_of_a_failed_start_is_stopped_and_a_failure_of_that_is_only_told(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", hang, stop_func=fail, timeout=3)

    with caplog.at_level(logging.WARNING, "tekton.startup"), pytest.raises(ComponentError, match="not ready after 3 s"):
        await coordinator.start_component("hermes")

    assert "stopping what was left of hermes: RuntimeError: boom" in caplog.messages
    record = inline_registry.find("hermes")
    assert record is not None
    assert record.state is FAILED


@virtual_time
async def test_a_start_function_that_failed_by_itself_is_owed_no_stop(inline_registry: ComponentRegistry) -> None:
    calls: list[int] = []

    async def stop() -> None:
        calls.append(1)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", fail, stop_func=stop)
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes")

    assert calls == []
