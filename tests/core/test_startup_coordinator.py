"""Tests of tekton.core.startup_coordinator: one component, many, stopping, and everything that can go wrong."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import ReadinessCondition
from tekton.core.component_lifecycle.store import MemoryStore, Mutation
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    DependencyError,
    StartTimeoutError,
    StorageFullError,
)

REGISTERING, INITIALIZING, STARTING, READY, DEGRADED, FAILED, STOPPING, STOPPED = list(ComponentState)[1:]
UP = StartResult(True, None)


async def succeed() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    raise RuntimeError("boom")


async def hang() -> None:
    await asyncio.Event().wait()


def takes(seconds: float) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        await asyncio.sleep(seconds)

    return start


class Recorder:
    """Start and stop functions that note when they were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, name: str, *, seconds: float = 0) -> Callable[[], Awaitable[None]]:
        async def start() -> None:
            self.calls.append(f"start {name}")
            await asyncio.sleep(seconds)

        return start

    def stop(self, name: str, *, seconds: float = 0) -> Callable[[], Awaitable[None]]:
        async def stop() -> None:
            self.calls.append(f"stop {name}")
            await asyncio.sleep(seconds)

        return stop


class States:
    """The states that each component went through."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.changes: list[Change] = []
        registry.feed.add_listener(self.changes.append)

    def of(self, component_id: str) -> list[ComponentState]:
        return [c.state for c in self.changes if c.component_id == component_id and c.kind != "deregistered"]

    def reasons(self, component_id: str) -> list[str | None]:
        return [c.reason for c in self.changes if c.component_id == component_id and c.kind != "deregistered"]


def state(registry: ComponentRegistry, component_id: str) -> ComponentState | None:
    record = registry.find(component_id)
    return record.state if record else None


def reason(registry: ComponentRegistry, component_id: str) -> str | None:
    record = registry.find(component_id)
    return record.reason if record else None


def coordinator_of(registry: ComponentRegistry, **settings: Any) -> EnhancedStartUpCoordinator:
    return EnhancedStartUpCoordinator(registry, clock=current_clock(), **settings)


async def self_register(registry: ComponentRegistry, component_id: str, *, ready: bool = False) -> str:
    registration = ComponentRegistration(component_id=component_id)
    await registry.register(registration)
    if ready:
        await registry.make_ready(component_id, registration.instance_uuid)
    return registration.instance_uuid


# One component.


@virtual_time
async def test_a_start_walks_every_step_to_ready(inline_registry: ComponentRegistry) -> None:
    states = States(inline_registry)
    async with coordinator_of(inline_registry) as coordinator:
        success, error = await coordinator.start_component("hermes", succeed)

    assert (success, error) == (True, None)
    assert states.of("hermes") == [REGISTERING, INITIALIZING, STARTING, READY]


async def test_a_start_works_with_threads_and_real_time(registry: ComponentRegistry) -> None:
    ran_in: list[int] = []
    coordinator = EnhancedStartUpCoordinator(registry)

    async with asyncio.timeout(5):
        assert await coordinator.start_component("hermes", lambda: ran_in.append(threading.get_ident())) == UP
        await coordinator.close()

    assert ran_in != [threading.get_ident()]


@virtual_time
async def test_a_start_function_sees_its_component_starting(inline_registry: ComponentRegistry) -> None:
    seen: list[ComponentState | None] = []

    async def start() -> None:
        seen.append(state(inline_registry, "hermes"))

    await coordinator_of(inline_registry).start_component("hermes", start)

    assert seen == [STARTING]


@pytest.mark.parametrize("present", [READY, DEGRADED])
@virtual_time
async def test_what_is_usable_already_is_not_started(
    inline_registry: ComponentRegistry, present: ComponentState
) -> None:
    instance = await self_register(inline_registry, "hermes", ready=True)
    if present is DEGRADED:
        await inline_registry.set_state("hermes", instance, DEGRADED)
    revision = inline_registry.revision

    assert await coordinator_of(inline_registry).start_component("hermes", fail) == UP

    assert inline_registry.revision == revision


@virtual_time
async def test_a_live_instance_is_driven_instead_of_registering_another(inline_registry: ComponentRegistry) -> None:
    instance = await self_register(inline_registry, "hermes")
    await inline_registry.set_state("hermes", instance, INITIALIZING)

    await coordinator_of(inline_registry).start_component("hermes", succeed)

    record = inline_registry.find("hermes")
    assert record is not None
    assert (record.instance_uuid, record.generation, record.state) == (instance, 1, READY)


@pytest.mark.parametrize("ended", [FAILED, STOPPED])
@virtual_time
async def test_an_ended_instance_is_replaced_by_a_new_one(
    inline_registry: ComponentRegistry, ended: ComponentState
) -> None:
    instance = await self_register(inline_registry, "hermes", ready=True)
    for step in (FAILED,) if ended is FAILED else (STOPPING, STOPPED):
        await inline_registry.set_state("hermes", instance, step)

    await coordinator_of(inline_registry).start_component("hermes", succeed)

    record = inline_registry.find("hermes")
    assert record is not None
    assert record.instance_uuid != instance
    assert (record.generation, record.state) == (2, READY)


@virtual_time
async def test_a_component_that_marks_itself_ready_is_left_so(inline_registry: ComponentRegistry) -> None:
    states = States(inline_registry)

    async def start() -> None:
        record = inline_registry.find("hermes")
        assert record is not None
        await inline_registry.make_ready("hermes", record.instance_uuid)

    assert await coordinator_of(inline_registry).start_component("hermes", start) == UP
    assert states.of("hermes") == [REGISTERING, INITIALIZING, STARTING, READY]


@virtual_time
async def test_a_component_may_take_its_steps_by_itself(inline_registry: ComponentRegistry) -> None:
    states = States(inline_registry)
    steps: list[asyncio.Future[object]] = []

    def take_a_step(change: Change) -> None:
        if change.state is REGISTERING:
            step = inline_registry.set_state("hermes", change.instance_uuid, INITIALIZING)
            steps.append(asyncio.ensure_future(step))

    inline_registry.feed.add_listener(take_a_step)

    assert await coordinator_of(inline_registry).start_component("hermes", succeed) == UP
    assert states.of("hermes") == [REGISTERING, INITIALIZING, STARTING, READY]


@virtual_time
async def test_a_component_that_registers_another_instance_while_it_starts_is_driven_with_that_one(
    inline_registry: ComponentRegistry,
) -> None:
    own: list[str] = []

    async def start() -> None:
        record = inline_registry.find("hermes")
        assert record is not None
        await inline_registry.deregister("hermes", record.instance_uuid)
        own.append(await self_register(inline_registry, "hermes"))

    # Gone for a moment: that ends the start.
    with pytest.raises(ComponentError, match="deregistered while starting"):
        await coordinator_of(inline_registry).start_component("hermes", start)

    async def start_second() -> None:
        registration = ComponentRegistration(component_id="engram", max_instances=2)
        await inline_registry.register(registration)
        first = next(r for r in inline_registry.instances("engram") if r.instance_uuid != registration.instance_uuid)
        inline_registry.observe("engram", first.instance_uuid, FAILED, "replaced by itself")
        own.append(registration.instance_uuid)

    handler = ComponentConfig(
        start_func=start_second,
        registration=lambda: ComponentRegistration(component_id="engram", max_instances=2),
    )
    results = await coordinator_of(inline_registry).start_components({"engram": handler})

    assert results == {"engram": UP}
    best = inline_registry.instances("engram")[0]
    assert (best.instance_uuid, best.state) == (own[-1], READY)


@virtual_time
async def test_what_is_registered_comes_from_the_factory_and_anew_for_each_start(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes",
        succeed,
        registration=lambda: ComponentRegistration(component_id="hermes", version="1.2.3", capabilities=("bus",)),
        supervised=True,
    )

    await coordinator.start_component("hermes")
    first = inline_registry.find("hermes")
    await coordinator.restart_component("hermes")
    second = inline_registry.find("hermes")

    assert first is not None
    assert second is not None
    assert (first.version, first.capabilities, first.supervised) == ("1.2.3", ("bus",), True)
    assert first.instance_uuid != second.instance_uuid


@virtual_time
async def test_a_factory_that_fails_or_names_another_component_fails_the_start(
    inline_registry: ComponentRegistry,
) -> None:
    def broken() -> ComponentRegistration:
        raise LookupError("no such thing")

    coordinator = coordinator_of(inline_registry)
    results = await coordinator.start_components(
        {
            "a": {"start_func": succeed, "registration": broken},
            "b": {"start_func": succeed, "registration": lambda: ComponentRegistration(component_id="c")},
        }
    )

    assert results["a"].error == "a: cannot be registered: LookupError: no such thing"
    assert results["b"].error == "b: its registration is that of c"


@virtual_time
async def test_an_invalid_id_is_refused(inline_registry: ComponentRegistry) -> None:
    with pytest.raises(ComponentError, match="not a valid id"):
        await coordinator_of(inline_registry).start_component("Not Valid", succeed)


@virtual_time
async def test_without_a_start_function_there_is_no_start(inline_registry: ComponentRegistry) -> None:
    with pytest.raises(ComponentError, match="no start function"):
        await coordinator_of(inline_registry).start_component("hermes")

    assert inline_registry.find("hermes") is None


# Failing starts.


@virtual_time
async def test_a_start_function_that_raises_fails_its_component_with_type_and_text(
    inline_registry: ComponentRegistry,
) -> None:
    with pytest.raises(ComponentError) as caught:
        await coordinator_of(inline_registry).start_component("hermes", fail)

    assert (caught.value.component_id, caught.value.reason) == ("hermes", "RuntimeError: boom")
    assert (state(inline_registry, "hermes"), reason(inline_registry, "hermes")) == (FAILED, "RuntimeError: boom")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), MemoryError()])
@virtual_time
async def test_a_start_function_can_raise_what_it_likes(
    inline_registry: ComponentRegistry, error: BaseException
) -> None:
    async def start() -> None:
        raise error

    with pytest.raises(ComponentError):
        await coordinator_of(inline_registry).start_component("hermes", start)

    assert state(inline_registry, "hermes") is FAILED


@virtual_time
async def test_a_start_function_that_returns_false_has_failed_and_none_has_not(
    inline_registry: ComponentRegistry,
) -> None:
    async def refuse() -> bool:
        return False

    with pytest.raises(ComponentError, match="returned False"):
        await coordinator_of(inline_registry).start_component("hermes", refuse)

    assert state(inline_registry, "hermes") is FAILED


@virtual_time
async def test_a_start_that_hangs_ends_at_its_timeout(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    began = current_clock().monotonic()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", hang, stop_func=recorder.stop("hermes"))

    with pytest.raises(StartTimeoutError) as caught:
        await coordinator.start_component("hermes", timeout=7)

    assert current_clock().monotonic() - began == pytest.approx(7)
    assert caught.value.reason == "not ready after 7 s (waiting for start function)"
    assert (state(inline_registry, "hermes"), reason(inline_registry, "hermes")) == (FAILED, caught.value.reason)
    assert recorder.calls == ["stop hermes"]


@virtual_time
async def test_the_default_timeout_is_a_minute(inline_registry: ComponentRegistry) -> None:
    began = current_clock().monotonic()

    with pytest.raises(StartTimeoutError):
        await coordinator_of(inline_registry).start_component("hermes", hang)

    assert current_clock().monotonic() - began == pytest.approx(60)


@virtual_time
async def test_a_start_that_ignores_cancellation_is_abandoned(
    inline_registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    began = current_clock().monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(StartTimeoutError):
        await coordinator_of(inline_registry).start_component("hermes", stubborn, timeout=10)

    assert current_clock().monotonic() - began == pytest.approx(15)
    assert "abandoned" in caplog.text
    released.set()
    await asyncio.sleep(0)


async def test_a_blocking_start_function_blocks_nobody_else(registry: ComponentRegistry) -> None:
    release = threading.Event()
    coordinator = EnhancedStartUpCoordinator(registry)
    try:
        async with asyncio.timeout(5):
            results = await coordinator.start_components(
                {"stuck": {"start_func": release.wait, "timeout": 0.05}, "hermes": {"start_func": lambda: None}}
            )
    finally:
        release.set()

    assert results["hermes"] == UP
    assert not results["stuck"].success


@virtual_time
async def test_a_start_ends_early_when_somebody_sees_its_instance_fail(inline_registry: ComponentRegistry) -> None:
    began = current_clock().monotonic()

    async def start() -> None:
        record = inline_registry.find("hermes")
        assert record is not None
        inline_registry.observe("hermes", record.instance_uuid, FAILED, "exited with code 1")
        await hang()

    with pytest.raises(ComponentError, match="failed: exited with code 1 while starting"):
        await coordinator_of(inline_registry).start_component("hermes", start)

    assert current_clock().monotonic() == began
    assert reason(inline_registry, "hermes") == "exited with code 1"


@virtual_time
async def test_a_component_is_ready_when_its_readiness_conditions_are_met(inline_registry: ComponentRegistry) -> None:
    states: list[ComponentState | None] = []

    async def answers() -> bool:
        states.append(state(inline_registry, "hermes"))
        return len(states) == 3

    config = ComponentConfig(start_func=succeed, readiness=[ReadinessCondition("port", answers, interval=1)])
    results = await coordinator_of(inline_registry).start_components({"hermes": config})

    assert results == {"hermes": UP}
    assert states == [STARTING] * 3


@virtual_time
async def test_a_readiness_condition_that_is_never_met_fails_the_start_and_stops_what_runs(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()
    never = ReadinessCondition("port", lambda: False, timeout=3)
    config = ComponentConfig(start_func=recorder.start("hermes"), stop_func=recorder.stop("hermes"), readiness=[never])

    results = await coordinator_of(inline_registry).start_components({"hermes": config})

    assert results["hermes"].error == "hermes: port not met after 3 s: not yet"
    assert recorder.calls == ["start hermes", "stop hermes"]


@virtual_time
async def test_the_timeout_names_the_readiness_condition_it_waited_for(inline_registry: ComponentRegistry) -> None:
    config = ComponentConfig(start_func=succeed, readiness=[ReadinessCondition("port", hang)], timeout=3)

    results = await coordinator_of(inline_registry).start_components({"hermes": config})

    assert results["hermes"].error == "hermes: not ready after 3 s (waiting for port)"


# Dependencies.


@virtual_time
async def test_an_unknown_dependency_fails_at_once(inline_registry: ComponentRegistry) -> None:
    began = current_clock().monotonic()

    with pytest.raises(DependencyError) as caught:
        await coordinator_of(inline_registry).start_component("ergon", succeed, ["hermes", "rhetor"])

    assert caught.value.failed_dependencies == ["hermes", "rhetor"]
    assert str(caught.value) == "ergon cannot start: hermes is unknown; rhetor is unknown"
    assert current_clock().monotonic() == began
    assert inline_registry.find("ergon") is None


@virtual_time
async def test_a_dependency_with_a_handler_is_not_started_implicitly(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed)

    with pytest.raises(DependencyError, match="hermes has not been started"):
        await coordinator.start_component("ergon", succeed, ["hermes"])

    assert inline_registry.find("hermes") is None


@virtual_time
async def test_a_failed_dependency_fails_at_once_with_its_reason(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes", fail)

    with pytest.raises(DependencyError, match=r"hermes failed \(RuntimeError: boom\)"):
        await coordinator.start_component("ergon", succeed, ["hermes"])


@virtual_time
async def test_a_dependency_on_its_way_is_waited_for(inline_registry: ComponentRegistry) -> None:
    instance = await self_register(inline_registry, "hermes")
    coordinator = coordinator_of(inline_registry)
    asyncio.get_running_loop().call_later(
        20, lambda: asyncio.ensure_future(inline_registry.make_ready("hermes", instance))
    )
    began = current_clock().monotonic()

    assert await coordinator.start_component("ergon", succeed, ["hermes"]) == UP

    assert current_clock().monotonic() - began == pytest.approx(20)


@virtual_time
async def test_a_dependency_that_fails_on_its_way_fails_its_dependents(inline_registry: ComponentRegistry) -> None:
    instance = await self_register(inline_registry, "hermes")
    coordinator = coordinator_of(inline_registry)
    asyncio.get_running_loop().call_later(
        20, lambda: inline_registry.observe("hermes", instance, FAILED, "exited with code 1")
    )

    with pytest.raises(DependencyError, match="exited with code 1"):
        await coordinator.start_component("ergon", succeed, ["hermes"])


@virtual_time
async def test_waiting_for_a_dependency_is_part_of_the_timeout(inline_registry: ComponentRegistry) -> None:
    await self_register(inline_registry, "hermes")

    with pytest.raises(StartTimeoutError, match="waiting for hermes"):
        await coordinator_of(inline_registry).start_component("ergon", succeed, ["hermes"], timeout=5)

    assert inline_registry.find("ergon") is None


@virtual_time
async def test_a_dependency_that_is_being_started_is_waited_for(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)

    results = await asyncio.gather(
        coordinator.start_component("hermes", takes(3)), coordinator.start_component("ergon", succeed, ["hermes"])
    )

    assert list(results) == [UP, UP]


@pytest.mark.parametrize("graph", [{"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": ["b"], "b": ["c"], "c": ["a"]}])
@virtual_time
async def test_a_component_in_a_cycle_is_refused_with_the_cycle(
    inline_registry: ComponentRegistry, graph: dict[str, list[str]]
) -> None:
    coordinator = coordinator_of(inline_registry)
    for name, dependencies in graph.items():
        await coordinator.register_component_handler(name, succeed, dependencies)

    with pytest.raises(DependencyError) as caught:
        await coordinator.start_component("a")

    assert caught.value.cycle == list(graph)
    assert f"dependency cycle {' -> '.join([*graph, 'a'])}" in str(caught.value)
    assert coordinator.explain("a").cycle == tuple(graph)
    # Bringing one of them up does not help the others: they are refused, not waiting.
    assert coordinator.blocked_by(caught.value.failed_dependencies[0]) == []


@virtual_time
async def test_a_cycle_with_a_registered_component_is_found(inline_registry: ComponentRegistry) -> None:
    await inline_registry.register(ComponentRegistration(component_id="hermes", dependencies=("ergon",)))

    with pytest.raises(DependencyError, match="cycle ergon -> hermes -> ergon"):
        await coordinator_of(inline_registry).start_component("ergon", succeed, ["hermes"])


@virtual_time
async def test_a_dependency_lost_before_the_start_function_is_called_stops_the_start(
    inline_registry: ComponentRegistry,
) -> None:
    """The dependency fails after it was checked, while its dependent is being registered."""
    instance = await self_register(inline_registry, "hermes", ready=True)
    recorder = Recorder()

    def lose(change: Change) -> None:
        if change.component_id == "ergon" and change.state is STARTING:
            inline_registry.observe("hermes", instance, FAILED, "exited")

    inline_registry.feed.add_listener(lose)

    with pytest.raises(DependencyError, match="exited"):
        await coordinator_of(inline_registry).start_component("ergon", recorder.start("ergon"), ["hermes"])

    assert recorder.calls == []
    assert state(inline_registry, "ergon") is FAILED


@virtual_time
async def test_a_started_dependency_need_not_be_ready(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    order: list[str] = []

    async def hermes() -> None:
        await asyncio.sleep(10)
        order.append("hermes up")

    async def ergon() -> None:
        order.append("ergon starts")

    await coordinator.start_components(
        {
            "hermes": {"start_func": hermes},
            "ergon": {"start_func": ergon, "dependencies": [Dependency("hermes", "started")]},
        }
    )

    assert order == ["ergon starts", "hermes up"]


@virtual_time
async def test_a_completed_dependency_is_one_that_has_ended_well(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    seen: list[tuple[ComponentState | None, str | None]] = []

    async def work() -> None:
        record = inline_registry.find("migrate")
        assert record is not None
        key = (record.component_id, record.instance_uuid)
        await asyncio.sleep(5)
        await inline_registry.set_state(*key, STOPPING)
        await inline_registry.set_state(*key, STOPPED, "completed")

    async def migrate() -> None:
        asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(work()))

    async def ergon() -> None:
        seen.append((state(inline_registry, "migrate"), reason(inline_registry, "migrate")))

    results = await coordinator.start_components(
        {
            "ergon": {"start_func": ergon, "dependencies": [Dependency("migrate", "completed")]},
            "migrate": {"start_func": migrate},
        }
    )

    assert results == {"ergon": UP, "migrate": UP}
    assert seen == [(STOPPED, "completed")]


@virtual_time
async def test_a_one_shot_that_is_run_again_has_to_complete_again(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    order: list[str] = []

    async def migrate() -> None:
        order.append("migrate starts")
        await asyncio.sleep(5)
        record = inline_registry.find("migrate")
        assert record is not None
        key = (record.component_id, record.instance_uuid)
        await inline_registry.make_ready(*key)
        await inline_registry.set_state(*key, STOPPING)
        await inline_registry.set_state(*key, STOPPED, "completed")
        order.append("migrate completed")

    async def ergon() -> None:
        order.append("ergon starts")

    configs: dict[str, ComponentConfig] = {
        "ergon": {"start_func": ergon, "dependencies": [Dependency("migrate", "completed")]},
        "migrate": {"start_func": migrate, "dependencies": ["database"]},
        "database": {"start_func": takes(5)},
    }
    for _ in range(2):
        assert await coordinator.start_components(configs) == {"ergon": UP, "migrate": UP, "database": UP}
        await coordinator.stop_components(["ergon", "database"])

    assert order == ["migrate starts", "migrate completed", "ergon starts"] * 2


@virtual_time
async def test_a_one_shot_may_complete_while_its_start_function_still_waits(
    inline_registry: ComponentRegistry,
) -> None:
    async def migrate() -> None:
        record = inline_registry.find("migrate")
        assert record is not None
        key = (record.component_id, record.instance_uuid)
        await inline_registry.make_ready(*key)
        await inline_registry.set_state(*key, STOPPING)
        await inline_registry.set_state(*key, STOPPED, "completed")
        await hang()

    assert await coordinator_of(inline_registry).start_component("migrate", migrate) == UP

    assert (state(inline_registry, "migrate"), reason(inline_registry, "migrate")) == (STOPPED, "completed")


@virtual_time
async def test_a_dependency_that_is_stopping_fails_at_once(inline_registry: ComponentRegistry) -> None:
    instance = await self_register(inline_registry, "hermes", ready=True)
    await inline_registry.set_state("hermes", instance, STOPPING)

    with pytest.raises(DependencyError, match="hermes is stopping"):
        await coordinator_of(inline_registry).start_component("ergon", succeed, ["hermes"])


@virtual_time
async def test_a_one_shot_that_was_stopped_has_not_completed(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.start_component("migrate", succeed)
    await coordinator.stop_component("migrate")

    with pytest.raises(DependencyError, match=r"migrate is stopped \(stopped\)"):
        await coordinator.start_component("ergon", succeed, [Dependency("migrate", "completed")])


@virtual_time
async def test_a_dependency_that_never_completes_is_waited_for_no_longer_than_the_timeout(
    inline_registry: ComponentRegistry,
) -> None:
    results = await coordinator_of(inline_registry).start_components(
        {
            "service": {"start_func": takes(100), "timeout": 200},
            "ergon": {"start_func": succeed, "dependencies": [Dependency("service", "completed")], "timeout": 5},
        }
    )

    assert results["ergon"].error == "ergon: not ready after 5 s (waiting for service)"


@virtual_time
async def test_only_those_in_a_cycle_are_refused_for_it_not_those_behind_or_between(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = coordinator_of(inline_registry)
    graph = {"a": ["b"], "b": ["a"], "between": ["a"], "c": ["d", "between"], "d": ["c"], "behind": ["d"], "fine": []}
    for name, dependencies in graph.items():
        await coordinator.register_component_handler(name, succeed, dependencies)

    results = await coordinator.start_components()

    refused = {
        n for n, result in results.items() if str(result.error).startswith(f"{n} cannot start: dependency cycle")
    }
    assert refused == {"a", "b", "c", "d"}
    assert results["fine"] == UP
    assert not results["between"].success
    assert not results["behind"].success


# Concurrent calls.


@pytest.mark.parametrize("callers", [2, 100])
@virtual_time
async def test_concurrent_starts_share_one(inline_registry: ComponentRegistry, callers: int) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)

    results = await asyncio.gather(
        *(coordinator.start_component("hermes", recorder.start("hermes", seconds=1)) for _ in range(callers))
    )

    assert results == [UP] * callers
    assert recorder.calls == ["start hermes"]


@virtual_time
async def test_concurrent_starts_share_a_failure(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)

    results = await asyncio.gather(
        *(coordinator.start_component("hermes", fail) for _ in range(3)), return_exceptions=True
    )

    assert [str(result) for result in results] == ["hermes: RuntimeError: boom"] * 3


@virtual_time
async def test_a_failed_start_can_be_tried_again(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes", fail)

    assert await coordinator.start_component("hermes", succeed) == UP


@virtual_time
async def test_a_start_during_the_clean_up_of_the_last_one_waits_for_it(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", hang, stop_func=recorder.stop("hermes", seconds=10))
    began = current_clock().monotonic()
    first = asyncio.ensure_future(coordinator.start_component("hermes", timeout=5))
    await asyncio.sleep(6)

    assert await coordinator.start_component("hermes", recorder.start("hermes")) == UP

    assert recorder.calls == ["stop hermes", "start hermes"]
    assert current_clock().monotonic() - began == pytest.approx(15)
    with pytest.raises(StartTimeoutError):
        await first


@virtual_time
async def test_a_cancelled_caller_cancels_the_start_and_leaves_no_orphan(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes", recorder.start("hermes", seconds=1000), stop_func=recorder.stop("hermes")
    )
    caller = asyncio.ensure_future(coordinator.start_component("hermes"))
    await asyncio.sleep(1)

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert recorder.calls == ["start hermes", "stop hermes"]
    assert (state(inline_registry, "hermes"), reason(inline_registry, "hermes")) == (FAILED, "cancelled")


@virtual_time
async def test_one_cancelled_caller_of_two_does_not_cancel_the_start(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    callers = [asyncio.ensure_future(coordinator.start_component("hermes", takes(10))) for _ in range(2)]
    await asyncio.sleep(1)

    callers[0].cancel()

    assert await callers[1] == UP
    assert callers[0].cancelled()


@pytest.mark.parametrize("steps", range(12))
@virtual_time
async def test_a_start_cancelled_at_any_step_leaves_nothing_live(
    inline_registry: ComponentRegistry, steps: int
) -> None:
    running: set[str] = set()

    async def start() -> None:
        running.add("hermes")
        await asyncio.sleep(0)

    async def stop() -> None:
        running.discard("hermes")

    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", start, stop_func=stop)
    caller = asyncio.ensure_future(coordinator.start_component("hermes"))
    for _ in range(steps):
        await asyncio.sleep(0)

    caller.cancel()
    await asyncio.wait([caller])
    await inline_registry.flush()

    if caller.cancelled():
        assert state(inline_registry, "hermes") in {None, FAILED}
        assert running == set()
    else:
        assert state(inline_registry, "hermes") is READY


# Many.


@virtual_time
async def test_components_start_when_their_own_dependencies_are_up(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    began = current_clock().monotonic()

    results = await coordinator_of(inline_registry).start_components(
        {
            "example": {"start_func": recorder.start("example"), "dependencies": ["engram", "hermes"]},
            "slow": {"start_func": recorder.start("slow", seconds=30)},
            "engram": {"start_func": recorder.start("engram", seconds=5), "dependencies": ["hermes"]},
            "hermes": {"start_func": recorder.start("hermes", seconds=5)},
        }
    )

    assert results == {"example": UP, "slow": UP, "engram": UP, "hermes": UP}
    assert list(results) == ["example", "slow", "engram", "hermes"]
    assert recorder.calls == ["start slow", "start hermes", "start engram", "start example"]
    # Nobody waited for the slow one.
    assert current_clock().monotonic() - began == pytest.approx(30)


@virtual_time
async def test_failure_reaches_the_dependents_and_nobody_else(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()

    results = await coordinator_of(inline_registry).start_components(
        {
            "hermes": {"start_func": fail},
            "engram": {"start_func": recorder.start("engram"), "dependencies": ["hermes"]},
            "ergon": {"start_func": recorder.start("ergon"), "dependencies": ["engram"]},
            "rhetor": {"start_func": recorder.start("rhetor")},
        }
    )

    assert recorder.calls == ["start rhetor"]
    assert results == {
        "hermes": StartResult(False, "hermes: RuntimeError: boom"),
        "engram": StartResult(False, "engram cannot start: hermes failed (RuntimeError: boom)"),
        "ergon": StartResult(False, "ergon cannot start: engram cannot start: hermes failed (RuntimeError: boom)"),
        "rhetor": UP,
    }


@virtual_time
async def test_the_error_at_the_end_of_a_long_chain_names_the_next_and_the_cause(
    inline_registry: ComponentRegistry,
) -> None:
    configs = {f"c{n}": ComponentConfig(start_func=succeed, dependencies=[f"c{n - 1}"]) for n in range(1, 100)}

    results = await coordinator_of(inline_registry).start_components({"c0": {"start_func": fail}, **configs})

    assert results["c2"].error == "c2 cannot start: c1 cannot start: c0 failed (RuntimeError: boom)"
    for number in range(3, 100):
        assert results[f"c{number}"].error == (
            f"c{number} cannot start: c{number - 1} cannot start: … c0 failed (RuntimeError: boom)"
        )


@virtual_time
async def test_cycles_and_missing_dependencies_are_refused_and_the_rest_starts(
    inline_registry: ComponentRegistry,
) -> None:
    results = await coordinator_of(inline_registry).start_components(
        {
            "a": {"start_func": succeed, "dependencies": ["b"]},
            "b": {"start_func": succeed, "dependencies": ["a"]},
            "behind": {"start_func": succeed, "dependencies": ["a"]},
            "lost": {"start_func": succeed, "dependencies": ["nowhere"]},
            "fine": {"start_func": succeed},
        }
    )

    assert results == {
        "a": StartResult(False, "a cannot start: dependency cycle a -> b -> a"),
        "b": StartResult(False, "b cannot start: dependency cycle b -> a -> b"),
        "behind": StartResult(False, "behind cannot start: a cannot start: dependency cycle a -> b -> a"),
        "lost": StartResult(False, "lost cannot start: nowhere is unknown"),
        "fine": UP,
    }


@virtual_time
async def test_a_deep_chain_is_not_limited_by_one_timeout(inline_registry: ComponentRegistry) -> None:
    configs = {
        f"c{n}": ComponentConfig(start_func=takes(50), dependencies=[f"c{n - 1}"] if n else []) for n in range(10)
    }
    began = current_clock().monotonic()

    results = await coordinator_of(inline_registry).start_components(configs)

    assert all(result.success for result in results.values())
    assert current_clock().monotonic() - began == pytest.approx(500)


@virtual_time
async def test_dependencies_outside_the_call_may_run_already(inline_registry: ComponentRegistry) -> None:
    await self_register(inline_registry, "hermes", ready=True)

    results = await coordinator_of(inline_registry).start_components(
        {"ergon": {"start_func": succeed, "dependencies": ["hermes"]}}
    )

    assert results == {"ergon": UP}


@virtual_time
async def test_without_configurations_every_handler_is_started(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("ergon", succeed, ["hermes"])
    await coordinator.register_component_handler("hermes", succeed)

    assert await coordinator.start_components() == {"ergon": UP, "hermes": UP}
    assert await coordinator.start_components() == {"ergon": UP, "hermes": UP}
    assert await coordinator.start_components({}) == {}


@virtual_time
async def test_what_a_configuration_leaves_out_comes_from_the_handler(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", recorder.start("hermes"), supervised=True)

    await coordinator.start_components({"hermes": {"timeout": 5}})

    record = inline_registry.find("hermes")
    assert record is not None
    assert record.supervised
    assert recorder.calls == ["start hermes"]


@virtual_time
async def test_a_misspelt_setting_is_an_error_before_anything_starts(inline_registry: ComponentRegistry) -> None:
    configs: dict[str, Any] = {"hermes": {"start_func": succeed}, "ergon": {"start_function": succeed}}

    with pytest.raises(TypeError, match="ergon: unknown setting start_function"):
        await coordinator_of(inline_registry).start_components(configs)

    assert inline_registry.find("hermes") is None


@virtual_time
async def test_without_resolution_components_start_in_the_given_order_one_by_one(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()

    results = await coordinator_of(inline_registry).start_components(
        {
            "b": {"start_func": recorder.start("b", seconds=5), "dependencies": ["a"]},
            "broken": {"start_func": fail},
            "a": {"start_func": recorder.start("a"), "dependencies": ["b"]},
        },
        resolve_dependencies=False,
    )

    assert recorder.calls == ["start b", "start a"]
    assert [result.success for result in results.values()] == [True, False, True]


@virtual_time
async def test_at_most_so_many_components_start_at_once(inline_registry: ComponentRegistry) -> None:
    running: set[str] = set()
    peak: list[int] = []

    def start(name: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            running.add(name)
            peak.append(len(running))
            await asyncio.sleep(40)
            running.remove(name)

        return run

    results = await coordinator_of(inline_registry, max_concurrent=3).start_components(
        {f"c{n}": {"start_func": start(f"c{n}")} for n in range(12)}
    )

    # Waiting for a place does not count against the timeout of a minute.
    assert all(result.success for result in results.values())
    assert max(peak) == 3


@virtual_time
async def test_components_that_wait_for_dependencies_take_no_place(inline_registry: ComponentRegistry) -> None:
    results = await coordinator_of(inline_registry, max_concurrent=1).start_components(
        {
            "c": {"start_func": succeed, "dependencies": ["b"]},
            "b": {"start_func": succeed, "dependencies": ["a"]},
            "a": {"start_func": succeed},
        }
    )

    assert all(result.success for result in results.values())


@virtual_time
async def test_cancelling_a_start_of_many_keeps_what_is_up_and_cancels_the_rest(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    caller = asyncio.ensure_future(
        coordinator.start_components(
            {
                name: {
                    "start_func": recorder.start(name, seconds=seconds),
                    "stop_func": recorder.stop(name),
                    "dependencies": needs,
                }
                for name, seconds, needs in [("fast", 1, []), ("slow", 50, []), ("last", 1, ["slow"])]
            }
        )
    )
    await asyncio.sleep(10)

    caller.cancel()
    await asyncio.wait([caller])

    assert caller.cancelled()
    assert [state(inline_registry, name) for name in ("fast", "slow", "last")] == [READY, FAILED, None]
    assert recorder.calls == ["start fast", "start slow", "stop slow"]


@virtual_time
async def test_a_hundred_components_start_in_a_hundred_turns_not_a_hundred_tasks_polling(
    inline_registry: ComponentRegistry,
) -> None:
    configs = {
        f"c{n}": ComponentConfig(start_func=succeed, dependencies=[f"c{m}" for m in range(max(0, n - 3), n)])
        for n in range(100)
    }
    before = current_clock().monotonic()

    results = await coordinator_of(inline_registry).start_components(configs)

    assert all(result.success for result in results.values())
    assert current_clock().monotonic() == before


# Restart and degraded start.


@virtual_time
async def test_a_restart_stops_and_starts_again_as_before(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    states = States(inline_registry)
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", fail, stop_func=recorder.stop("hermes"))
    await coordinator.start_component("hermes", recorder.start("hermes"))

    assert await coordinator.restart_component("hermes") == UP

    assert recorder.calls == ["start hermes", "stop hermes", "start hermes"]
    walk = [REGISTERING, INITIALIZING, STARTING, READY]
    assert states.of("hermes") == [*walk, STOPPING, STOPPED, *walk]


@virtual_time
async def test_a_failed_component_is_restarted_without_walking_through_a_stop(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", recorder.start("hermes"), stop_func=recorder.stop("hermes"))
    await coordinator.start_component("hermes")
    record = inline_registry.find("hermes")
    assert record is not None
    inline_registry.observe("hermes", record.instance_uuid, FAILED, "no heartbeat for 30 s")
    states = States(inline_registry)

    await coordinator.restart_component("hermes")

    # What hangs without heartbeats still runs: it is stopped before the next one starts.
    assert recorder.calls == ["start hermes", "stop hermes", "start hermes"]
    assert states.of("hermes") == [REGISTERING, INITIALIZING, STARTING, READY]


@virtual_time
async def test_what_an_earlier_process_has_started_can_be_owed_a_stop(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes", recorder.start("hermes"), ["zeus"], stop_func=recorder.stop("hermes")
    )
    instance = await self_register(inline_registry, "hermes", ready=True)
    inline_registry.observe("hermes", instance, FAILED, "no heartbeat for 30 s")
    coordinator.owe_stop("hermes")

    with pytest.raises(DependencyError):
        await coordinator.restart_component("hermes")

    assert recorder.calls == ["stop hermes"]


@virtual_time
async def test_who_listens_hears_of_starts_that_fail_with_their_error(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    heard: list[tuple[str, str]] = []
    unlisten = coordinator.add_failure_listener(lambda name, error: heard.append((name, str(error))))
    await coordinator.register_component_handler("hermes", fail)
    await coordinator.register_component_handler("zeus", succeed)

    await coordinator.start_components()
    unlisten()
    await coordinator.start_components()

    assert [name for name, _ in heard] == ["hermes"]
    assert coordinator.last_error("hermes") == heard[0][1]


@virtual_time
async def test_restarting_what_failed_to_start_calls_no_stop_function(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", fail, stop_func=recorder.stop("hermes"))
    for _ in range(2):
        with pytest.raises(ComponentError):
            await coordinator.restart_component("hermes")

    assert recorder.calls == []


@virtual_time
async def test_restarting_what_nobody_knows_is_an_error(inline_registry: ComponentRegistry) -> None:
    await self_register(inline_registry, "hermes")

    with pytest.raises(ComponentNotFoundError) as caught:
        await coordinator_of(inline_registry).restart_component("hermse")

    assert caught.value.nearest == "hermes"


@virtual_time
async def test_a_restart_fails_when_the_stop_does(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", recorder.start("hermes"), stop_func=fail)
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match="stop failed: RuntimeError: boom"):
        await coordinator.restart_component("hermes")

    assert recorder.calls == ["start hermes"]
    assert state(inline_registry, "hermes") is FAILED


@virtual_time
async def test_a_degraded_start_ends_degraded_and_satisfies_dependents(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes", fail)

    assert await coordinator.start_component_degraded("hermes", succeed) == UP

    assert state(inline_registry, "hermes") is DEGRADED
    assert await coordinator.start_component("ergon", succeed, ["hermes"]) == UP


@virtual_time
async def test_a_degraded_start_does_without_its_dependencies(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(DependencyError):
        await coordinator.start_component("ergon", fail, ["hermes"])

    assert await coordinator.start_component_degraded("ergon", succeed) == UP

    # A restart tries the whole thing again.
    with pytest.raises(DependencyError):
        await coordinator.restart_component("ergon")


# Stopping.


@virtual_time
async def test_a_stop_calls_the_stop_function_between_stopping_and_stopped(inline_registry: ComponentRegistry) -> None:
    seen: list[ComponentState | None] = []
    coordinator = coordinator_of(inline_registry)

    async def stop() -> None:
        seen.append(state(inline_registry, "hermes"))

    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    await coordinator.start_component("hermes")
    assert await coordinator.stop_component("hermes") == UP

    assert seen == [STOPPING]
    assert (state(inline_registry, "hermes"), reason(inline_registry, "hermes")) == (STOPPED, "stopped")


@virtual_time
async def test_stopping_what_does_not_run_does_nothing(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=fail)

    assert await coordinator.stop_component("hermes") == UP
    assert inline_registry.find("hermes") is None
    with pytest.raises(ComponentNotFoundError):
        await coordinator.stop_component("nobody")


@virtual_time
async def test_stopping_a_start_cancels_it_on_the_way_failed_stopping_stopped(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()
    states = States(inline_registry)
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes", recorder.start("hermes", seconds=1000), stop_func=recorder.stop("hermes")
    )
    caller = asyncio.ensure_future(coordinator.start_component("hermes"))
    await asyncio.sleep(1)

    assert await coordinator.stop_component("hermes") == UP

    assert recorder.calls == ["start hermes", "stop hermes"]
    assert states.of("hermes") == [REGISTERING, INITIALIZING, STARTING, FAILED, STOPPING, STOPPED]
    assert states.reasons("hermes")[3:] == ["stopped"] * 3
    with pytest.raises(ComponentError, match="stopped"):
        await caller


@pytest.mark.parametrize("steps", range(12))
@virtual_time
async def test_a_stop_at_any_step_of_a_start_ends_stopped_or_before_it_began(
    inline_registry: ComponentRegistry, steps: int
) -> None:
    running: set[str] = set()

    async def start() -> None:
        running.add("hermes")
        await asyncio.sleep(0)

    async def stop() -> None:
        running.discard("hermes")

    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", start, stop_func=stop)
    caller = asyncio.ensure_future(coordinator.start_component("hermes"))
    for _ in range(steps):
        await asyncio.sleep(0)

    await coordinator.stop_component("hermes")
    await asyncio.wait([caller])
    caller.exception()

    if steps:
        assert state(inline_registry, "hermes") in {None, STOPPED}
        assert running == set()


@virtual_time
async def test_a_self_registered_component_on_its_way_is_stopped_too(inline_registry: ComponentRegistry) -> None:
    states = States(inline_registry)
    await self_register(inline_registry, "hermes")

    assert await coordinator_of(inline_registry).stop_component("hermes") == UP

    assert states.of("hermes") == [REGISTERING, FAILED, STOPPING, STOPPED]


@virtual_time
async def test_a_stop_function_that_fails_leaves_the_component_failed(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=fail)
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match="stop failed: RuntimeError: boom"):
        await coordinator.stop_component("hermes")

    assert state(inline_registry, "hermes") is FAILED


@virtual_time
async def test_a_stop_ends_what_an_earlier_failure_said(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(ComponentError):
        await coordinator.start_component("hermes", fail)
    assert coordinator.last_error("hermes") == "hermes: RuntimeError: boom"

    await coordinator.stop_component("hermes")

    assert coordinator.last_error("hermes") is None
    assert state(inline_registry, "hermes") is STOPPED


@pytest.mark.parametrize("leaves", [False, True])
@virtual_time
async def test_a_component_may_say_by_itself_that_it_has_stopped(
    inline_registry: ComponentRegistry, leaves: bool
) -> None:
    async def stop() -> None:
        record = inline_registry.find("hermes")
        assert record is not None
        await inline_registry.set_state("hermes", record.instance_uuid, STOPPED, "bye")
        if leaves:
            await inline_registry.deregister("hermes", record.instance_uuid)

    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=stop)
    await coordinator.start_component("hermes")

    assert await coordinator.stop_component("hermes") == UP

    assert reason(inline_registry, "hermes") == (None if leaves else "bye")


class FullStore(MemoryStore):
    """A store that is full when it is told to be."""

    full = False

    def commit(self, batch: Sequence[Mutation]) -> None:
        if self.full:
            raise StorageFullError("no space left")
        super().commit(batch)


@virtual_time
async def test_a_component_can_be_stopped_but_not_started_on_a_full_disk(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = FullStore()
    registry = new_inline_registry(store)
    recorder = Recorder()
    coordinator = coordinator_of(registry)
    await coordinator.register_component_handler("hermes", recorder.start("hermes"), stop_func=recorder.stop("hermes"))
    await coordinator.start_component("hermes")

    store.full = True
    assert await coordinator.stop_component("hermes") == UP
    assert (state(registry, "hermes"), reason(registry, "hermes")) == (STOPPED, "stopped")
    with pytest.raises(StorageFullError):
        await coordinator.start_component("hermes")

    assert recorder.calls == ["start hermes", "stop hermes"]
    assert state(registry, "hermes") is STOPPED
    store.full = False
    assert await coordinator.start_component("hermes") == UP


@virtual_time
async def test_a_stop_function_that_hangs_is_given_up(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=hang, stop_timeout=4)
    await coordinator.start_component("hermes")

    with pytest.raises(ComponentError, match="did not return within 4 s"):
        await coordinator.stop_component("hermes")


@virtual_time
async def test_concurrent_stops_share_one_and_a_cancelled_caller_does_not_end_it(
    inline_registry: ComponentRegistry,
) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("hermes", succeed, stop_func=recorder.stop("hermes", seconds=3))
    await coordinator.start_component("hermes")
    callers = [asyncio.ensure_future(coordinator.stop_component("hermes")) for _ in range(2)]
    await asyncio.sleep(1)
    callers[0].cancel()

    assert await callers[1] == UP

    assert recorder.calls == ["stop hermes"]
    assert state(inline_registry, "hermes") is STOPPED


@virtual_time
async def test_a_start_during_a_stop_waits_for_it(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes", recorder.start("hermes"), stop_func=recorder.stop("hermes", seconds=3)
    )
    await coordinator.start_component("hermes")
    stopping = asyncio.ensure_future(coordinator.stop_component("hermes"))
    await asyncio.sleep(1)

    assert await coordinator.start_component("hermes") == UP
    await stopping

    assert recorder.calls == ["start hermes", "stop hermes", "start hermes"]
    assert state(inline_registry, "hermes") is READY


@virtual_time
async def test_a_start_right_after_a_stop_does_not_join_the_start_that_is_being_stopped(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = coordinator_of(inline_registry)
    first = asyncio.ensure_future(coordinator.start_component("hermes", takes(100)))
    await asyncio.sleep(1)

    stopped, started = await asyncio.gather(
        coordinator.stop_component("hermes"), coordinator.start_component("hermes", succeed)
    )

    assert (stopped, started) == (UP, UP)
    assert state(inline_registry, "hermes") is READY
    with pytest.raises(ComponentError, match="stopped"):
        await first


@virtual_time
async def test_a_start_waits_for_a_component_that_stops_by_itself(inline_registry: ComponentRegistry) -> None:
    instance = await self_register(inline_registry, "hermes", ready=True)
    await inline_registry.set_state("hermes", instance, STOPPING)
    asyncio.get_running_loop().call_later(
        5, lambda: asyncio.ensure_future(inline_registry.set_state("hermes", instance, STOPPED))
    )
    began = current_clock().monotonic()

    assert await coordinator_of(inline_registry).start_component("hermes", succeed) == UP

    assert current_clock().monotonic() - began == pytest.approx(5)


@virtual_time
async def test_a_stop_during_a_restart_wins(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler(
        "hermes", recorder.start("hermes"), stop_func=recorder.stop("hermes", seconds=3)
    )
    await coordinator.start_component("hermes")
    restarting = asyncio.ensure_future(coordinator.restart_component("hermes"))
    await asyncio.sleep(1)

    assert await coordinator.stop_component("hermes") == UP

    with pytest.raises(ComponentError, match="stopped"):
        await restarting
    assert recorder.calls == ["start hermes", "stop hermes"]
    assert state(inline_registry, "hermes") is STOPPED


@virtual_time
async def test_components_stop_after_those_that_depend_on_them(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    for name, needs, seconds in [("a", [], 1), ("b", ["a"], 5), ("c", ["a"], 2), ("d", ["b", "c"], 1), ("e", [], 1)]:
        await coordinator.register_component_handler(
            name, succeed, needs, stop_func=recorder.stop(name, seconds=seconds)
        )
    await coordinator.start_components()
    began = current_clock().monotonic()

    results = await coordinator.stop_components()

    assert results == dict.fromkeys("abcde", UP)
    assert recorder.calls == ["stop d", "stop e", "stop b", "stop c", "stop a"]
    assert current_clock().monotonic() - began == pytest.approx(7)


@virtual_time
async def test_a_stop_that_fails_keeps_nobody_running(inline_registry: ComponentRegistry) -> None:
    recorder = Recorder()
    coordinator = coordinator_of(inline_registry)
    await coordinator.register_component_handler("a", succeed, stop_func=recorder.stop("a"))
    await coordinator.register_component_handler("b", succeed, ["a"], stop_func=fail)
    await coordinator.start_components()

    results = await coordinator.stop_components(["a", "b", "nobody"])

    assert results["a"] == UP
    assert results["b"] == StartResult(False, "b: stop failed: RuntimeError: boom")
    assert not results["nobody"].success
    assert recorder.calls == ["stop a"]


@virtual_time
async def test_components_in_a_cycle_are_stopped_too(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    for name, needs in [("a", ["b"]), ("b", ["a"])]:
        await coordinator.register_component_handler(name, succeed, needs)
        await self_register(inline_registry, name, ready=True)

    assert await coordinator.stop_components() == {"a": UP, "b": UP}
    assert [state(inline_registry, name) for name in "ab"] == [STOPPED, STOPPED]


@virtual_time
async def test_closing_cancels_starts_and_keeps_what_is_up(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.start_component("hermes", succeed)
    caller = asyncio.ensure_future(coordinator.start_component("ergon", hang))
    await asyncio.sleep(1)

    await coordinator.close()
    await coordinator.close()

    assert [state(inline_registry, name) for name in ("hermes", "ergon")] == [READY, FAILED]
    with pytest.raises(ComponentError, match="cancelled"):
        await caller


# Explaining.


@virtual_time
async def test_why_tells_what_a_start_waits_for(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    caller = asyncio.ensure_future(
        coordinator.start_components(
            {
                "hermes": {"start_func": takes(10)},
                "ergon": {"start_func": succeed, "dependencies": ["hermes"]},
            }
        )
    )
    await asyncio.sleep(1)

    ergon, hermes = coordinator.explain("ergon"), coordinator.explain("hermes")

    assert coordinator.waiting_for("ergon") == ["hermes"]
    assert (ergon.phase, ergon.waiting_for, ergon.failed_dependencies) == ("hermes", ("hermes",), ())
    assert (hermes.state, hermes.phase, hermes.dependents) == (STARTING, "start function", ("ergon",))
    await caller
    assert coordinator.explain("ergon").waiting_for == ()


@virtual_time
async def test_why_tells_what_failed(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    await coordinator.start_components(
        {"hermes": {"start_func": fail}, "ergon": {"start_func": succeed, "dependencies": ["hermes"]}}
    )

    why = coordinator.explain("ergon")

    assert (why.state, why.failed_dependencies, why.phase) == (None, ("hermes",), None)
    assert why.last_error == "ergon cannot start: hermes failed (RuntimeError: boom)"
    assert coordinator.explain("hermes").reason == "RuntimeError: boom"
    assert coordinator.last_error("ergon") == why.last_error
    assert coordinator.blocked_by("hermes") == ["ergon"]
    with pytest.raises(ComponentNotFoundError):
        coordinator.explain("nobody")


@virtual_time
async def test_a_success_ends_what_an_earlier_failure_said(inline_registry: ComponentRegistry) -> None:
    coordinator = coordinator_of(inline_registry)
    with pytest.raises(DependencyError):
        await coordinator.start_component("ergon", succeed, ["hermes"])

    instance = await self_register(inline_registry, "ergon", ready=True)

    assert coordinator.explain("ergon").last_error is None
    assert coordinator.blocked_by("hermes") == []
    assert instance
