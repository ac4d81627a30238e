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


# Draining.


class Draining:
    """A component that drains ten seconds, and what is seen of its stop: states, and whether it serves."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.clock = current_clock()
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=self.clock)
        self.seen: list[tuple[float, str, ComponentState, bool]] = []

    async def start(self) -> str:
        await self.coordinator.register_component_handler("hermes", succeed, stop_func=self.stop, drain=10)
        await self.coordinator.start_component("hermes")
        self._began = self.clock.monotonic()
        self.registry.feed.add_listener(self._note)
        record = self.registry.find("hermes")
        assert record is not None
        return record.instance_uuid

    async def stop(self) -> None:
        self.seen.append((self.clock.monotonic() - self._began, "stop function", STOPPING, False))

    def _note(self, change: Change) -> None:
        self.seen.append(
            (self.clock.monotonic() - self._began, change.reason or "", change.state, change.record.serving)
        )


@virtual_time
async def test_traffic_is_taken_away_before_a_component_is_stopped(inline_registry: ComponentRegistry) -> None:
    draining = Draining(inline_registry)
    await draining.start()

    await draining.coordinator.stop_component("hermes")

    assert draining.seen == [
        (0, "draining", ComponentState.READY, False),
        (10, "stopped", STOPPING, False),
        (10, "stop function", STOPPING, False),
        (10, "stopped", STOPPED, False),
    ]


@virtual_time
async def test_a_component_that_ends_while_it_drains_is_not_waited_for(inline_registry: ComponentRegistry) -> None:
    draining = Draining(inline_registry)
    instance = await draining.start()
    stopping = asyncio.ensure_future(draining.coordinator.stop_component("hermes"))
    await asyncio.sleep(4)

    inline_registry.observe("hermes", instance, FAILED, "exit 1")
    await stopping

    assert [(at, reason) for at, reason, _, _ in draining.seen] == [
        (0, "draining"),
        (4, "exit 1"),
        (4, "stopped"),
        (4, "stop function"),
        (4, "stopped"),
    ]


@virtual_time
async def test_a_component_that_cannot_be_used_is_not_drained(inline_registry: ComponentRegistry) -> None:
    draining = Draining(inline_registry)
    instance = await draining.start()
    inline_registry.observe("hermes", instance, FAILED, "exit 1")
    await draining.coordinator.stop_component("hermes")
    assert {at for at, *_ in draining.seen} == {0}


@virtual_time
async def test_a_restart_drains_too_and_what_comes_back_serves(inline_registry: ComponentRegistry) -> None:
    draining = Draining(inline_registry)
    instance = await draining.start()

    await draining.coordinator.restart_component("hermes")

    record = inline_registry.find("hermes")
    assert record is not None
    assert (record.state, record.serving) == (ComponentState.READY, True)
    assert record.instance_uuid != instance
    assert draining.seen[0] == (0, "draining", ComponentState.READY, False)
    assert (10, "restarting", STOPPING, False) in draining.seen


@virtual_time
async def test_the_time_that_a_restart_drains_is_not_taken_from_its_timeout(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, timeout=3, drain=10)
    await coordinator.start_component("hermes")
    assert await coordinator.restart_component("hermes") == UP


@virtual_time
async def test_a_component_that_is_stuck_in_its_stop_keeps_no_other_from_stopping(
    inline_registry: ComponentRegistry,
) -> None:
    """All of it within the longest chain: what drains and stops in turn adds up, what does not stops beside it."""

    async def stick() -> None:
        await asyncio.Event().wait()

    clock = current_clock()
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=clock)
    await coordinator.register_component_handler("db", succeed, stop_func=succeed, drain=1)
    await coordinator.register_component_handler("api", succeed, ["db"], stop_func=stick, drain=2, stop_timeout=20)
    await coordinator.register_component_handler("beside", succeed, stop_func=stick, stop_timeout=20)
    await coordinator.start_components()
    began = clock.monotonic()

    results = await coordinator.stop_components()

    assert clock.monotonic() - began == 1 + 2 + 20
    assert {name: result.success for name, result in results.items()} == {"db": True, "api": False, "beside": False}


# Forgetting.


@virtual_time
async def test_a_component_that_was_forgotten_is_stopped_and_cannot_be_started(
    inline_registry: ComponentRegistry,
) -> None:
    calls: list[int] = []

    async def stop() -> None:
        calls.append(1)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    await coordinator.start_component("hermes")

    assert await coordinator.remove_component_handler("hermes") == UP

    record = inline_registry.find("hermes")
    assert record is not None
    assert (record.state, calls) == (STOPPED, [1])
    assert not coordinator.has_handler("hermes")
    with pytest.raises(ComponentError, match="no start function is known"):
        await coordinator.start_component("hermes")


@virtual_time
async def test_a_start_that_waits_is_ended_when_its_component_is_forgotten(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())

    async def slowly() -> None:
        await asyncio.sleep(50)

    await coordinator.register_component_handler("db", slowly)
    await coordinator.register_component_handler("hermes", succeed, ["db"])
    starting = asyncio.ensure_future(coordinator.start_components())
    await asyncio.sleep(1)

    await coordinator.remove_component_handler("hermes")

    assert not coordinator.in_flight("hermes")
    assert (await starting)["hermes"].error == "hermes: stopped"
    assert coordinator.last_error("hermes") is None


@virtual_time
async def test_a_stop_in_progress_goes_on_with_what_was_known_when_it_began(inline_registry: ComponentRegistry) -> None:
    calls: list[int] = []

    async def stop() -> None:
        await asyncio.sleep(5)
        calls.append(1)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    await coordinator.start_component("hermes")
    stopping = asyncio.ensure_future(coordinator.stop_component("hermes"))
    await asyncio.sleep(0)

    assert await coordinator.remove_component_handler("hermes") == UP

    assert (await stopping, calls) == (UP, [1])


# Beginning anew.


@virtual_time
async def test_a_start_in_progress_is_begun_anew_on_demand(inline_registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    stops: list[float] = []
    clock = current_clock()

    async def never() -> None:
        await asyncio.Event().wait()

    async def stop() -> None:
        stops.append(clock.monotonic())

    await coordinator.register_component_handler("hermes", never, stop_func=stop)
    await coordinator.register_component_handler("api", succeed, ["hermes"])
    first = asyncio.ensure_future(coordinator.start_components())
    await asyncio.sleep(5)
    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)

    assert await coordinator.restart_component("hermes", afresh=True) == UP

    results = await first
    assert results["hermes"].error == "hermes: restarting"
    assert results["api"] == UP
    assert len(stops) == 1
