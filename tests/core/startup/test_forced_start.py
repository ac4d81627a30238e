"""Tests of starts that are forced past their dependencies: what is passed over, what is told, and what still holds."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import ReadinessCondition
from tekton.core.dependency import Dependency
from tekton.core.dependents import Dependents
from tekton.core.lifecycle import ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError, DependencyError, StartTimeoutError

UP = StartResult(True, None)
READY, STARTING, FAILED = ComponentState.READY, ComponentState.STARTING, ComponentState.FAILED


class System:
    """Components that note what runs."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
        self.started: list[str] = []
        self.broken: set[str] = set()

    async def add(
        self, unit: str, needs: Iterable[str | Dependency] = (), *, takes: float = 0.0, room: Iterable[bool] = ()
    ) -> None:
        async def start() -> None:
            self.started.append(unit)
            await asyncio.sleep(takes)
            if unit in self.broken:
                raise RuntimeError("boom")

        answers = iter(room)
        admission = [ReadinessCondition("room", lambda: next(answers, True))] if room else []
        await self.coordinator.register_component_handler(unit, start, needs, timeout=60, admission=admission)

    def forced_past(self, component_id: str) -> tuple[str, ...]:
        return self.coordinator.explain(component_id).forced_past

    def state(self, component_id: str) -> ComponentState | None:
        return self.coordinator.explain(component_id).state


# What is passed over.


@virtual_time
async def test_a_forced_start_passes_over_what_is_unknown_what_has_failed_and_what_is_on_its_way(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    await system.add("slow", takes=30)
    await system.add("broken")
    await system.add("fine")
    await system.add("api", ["ghost", "broken", "slow", "fine"])
    system.broken = {"broken"}
    await system.coordinator.start_component("fine")
    with pytest.raises(ComponentError):
        await system.coordinator.start_component("broken")
    slow = asyncio.ensure_future(system.coordinator.start_component("slow"))
    await asyncio.sleep(1)
    with pytest.raises(DependencyError):
        await system.coordinator.start_component("api")

    assert await system.coordinator.start_component("api", force=True) == UP

    assert not slow.done()
    assert system.forced_past("api") == ("ghost", "broken", "slow")
    record = inline_registry.find("api")
    assert record is not None
    assert (record.state, record.reason) == (READY, "started by force past ghost, broken, slow")
    assert await slow == UP


@virtual_time
async def test_those_in_a_circle_can_be_started_by_force_and_then_the_others_without(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    for name, need in (("a", "b"), ("b", "a"), ("itself", "itself"), ("behind", "a")):
        await system.add(name, [need])

    assert await system.coordinator.start_component("a", force=True) == UP
    assert await system.coordinator.start_component("itself", force=True) == UP
    assert await system.coordinator.start_component("behind") == UP
    with pytest.raises(DependencyError, match="dependency cycle b -> a -> b"):
        await system.coordinator.start_component("b")
    assert await system.coordinator.start_component("b", force=True) == UP

    assert (system.forced_past("a"), system.forced_past("itself"), system.forced_past("b")) == (("b",), ("itself",), ())


@virtual_time
async def test_a_forced_start_of_what_lacks_nothing_is_like_any_other(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("base")
    await system.add("api", ["base"])
    await system.coordinator.start_component("base")

    assert await system.coordinator.start_component("api", force=True) == UP

    record = inline_registry.find("api")
    assert record is not None
    assert record.reason is None
    assert system.forced_past("api") == ()


@virtual_time
async def test_what_is_ready_already_is_left_alone(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("api")
    await system.coordinator.start_component("api")
    await system.add("api", ["ghost"])

    assert await system.coordinator.start_component("api", force=True) == UP

    assert system.started == ["api"]
    assert system.forced_past("api") == ()


# A start in progress.


@virtual_time
async def test_a_start_that_waits_for_its_dependencies_is_forced_on(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("slow", takes=30)
    await system.add("api", ["slow"])
    together = asyncio.ensure_future(system.coordinator.start_components())
    await asyncio.sleep(1)
    assert system.coordinator.waiting_for("api") == ["slow"]
    began = current_clock().monotonic()

    assert await system.coordinator.start_component("api", force=True) == UP

    assert current_clock().monotonic() == began
    assert (system.started, system.forced_past("api")) == (["slow", "api"], ("slow",))
    assert await together == {"slow": UP, "api": UP}


@virtual_time
async def test_the_timeout_of_a_start_that_was_forced_on_runs(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("slow", takes=30)
    await system.add("api", ["slow"], takes=1000)
    together = asyncio.ensure_future(system.coordinator.start_components())
    await asyncio.sleep(1)

    with pytest.raises(StartTimeoutError, match="not ready after 60 s"):
        await system.coordinator.start_component("api", force=True)
    assert (await together)["slow"] == UP


@virtual_time
async def test_a_start_that_runs_already_is_not_told_to_have_passed_over_what_is_lost_meanwhile(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    await system.add("base")
    await system.add("api", ["base"], takes=10)
    await system.coordinator.start_component("base")
    api = asyncio.ensure_future(system.coordinator.start_component("api"))
    await asyncio.sleep(1)
    await system.coordinator.stop_component("base")

    assert await system.coordinator.start_component("api", force=True) == await api == UP

    assert system.forced_past("api") == ()


@virtual_time
async def test_starts_that_wait_for_one_another_go_on_when_one_is_forced(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.coordinator.register_component_handler("b", lambda: system.coordinator.start_component("a"))
    await system.add("a", ["b"])
    b = asyncio.ensure_future(system.coordinator.start_component("b"))
    # Before anybody looks for deadlocks.
    await asyncio.sleep(0.5)
    assert system.coordinator.waiting_for("a") == ["b"]

    assert await system.coordinator.start_component("a", force=True) == UP

    assert await b == UP
    assert system.forced_past("a") == ("b",)


# What still holds.


@virtual_time
async def test_a_forced_start_waits_for_its_admission_and_says_for_what(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("api", ["ghost"], room=[False] * 3 + [True])
    api = asyncio.ensure_future(system.coordinator.start_component("api", force=True))
    await asyncio.sleep(0.05)

    why = system.coordinator.explain("api")
    assert (why.state, why.phase, why.forced_past) == (STARTING, "not yet", ("ghost",))
    assert (why.failed_dependencies, why.waiting_for, system.started) == ((), (), [])
    assert system.coordinator.waiting_for("api") == []

    assert await api == UP
    assert system.started == ["api"]


@virtual_time
async def test_a_forced_start_that_fails_is_a_failure_of_its_own(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("api", ["ghost"])
    system.broken = {"api"}

    with pytest.raises(ComponentError, match="boom"):
        await system.coordinator.start_component("api", force=True)

    why = system.coordinator.explain("api")
    assert (why.state, why.failed_dependencies, why.forced_past) == (FAILED, ("ghost",), ("ghost",))


@virtual_time
async def test_a_forced_restart_stops_what_runs_although_a_dependency_is_down(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    await system.add("base")
    await system.add("api", ["base"])
    await system.coordinator.start_components()
    await system.coordinator.stop_component("base")
    with pytest.raises(DependencyError):
        await system.coordinator.restart_component("api")
    assert system.started == ["base", "api"]

    assert await system.coordinator.restart_component("api", force=True) == UP

    assert system.started == ["base", "api", "api"]
    assert system.forced_past("api") == ("base",)


# How long it is told.


@virtual_time
@pytest.mark.parametrize("end", ["stop", "restart", "deregister", "remove"])
async def test_it_is_told_until_the_component_is_stopped_or_started_anew(
    inline_registry: ComponentRegistry, end: str
) -> None:
    system = System(inline_registry)
    await system.add("base")
    await system.add("api", ["base"])
    await system.coordinator.start_component("api", force=True)
    await system.coordinator.start_component("base")
    record = inline_registry.find("api")
    assert record is not None
    inline_registry.observe("api", record.instance_uuid, ComponentState.DEGRADED, "slow")
    assert system.forced_past("api") == ("base",)

    match end:
        case "stop":
            await system.coordinator.stop_component("api")
        case "restart":
            await system.coordinator.restart_component("api")
        case "deregister":
            await inline_registry.deregister("api", record.instance_uuid)
        case _:
            await system.coordinator.remove_component_handler("api")
            await system.add("api")

    assert system.forced_past("api") == ()


@virtual_time
async def test_it_is_told_of_a_component_when_any_of_its_replicas_was_forced(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    for unit in ("worker", "worker.1"):
        await system.add(unit, ["ghost"])
    await system.coordinator.start_component("worker.1", force=True)

    assert system.forced_past("worker") == system.forced_past("worker.1") == ("ghost",)


@virtual_time
async def test_an_automatic_restart_goes_by_the_rules_again(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add("base")
    await system.add("api", ["base"])
    recovery = Recovery(inline_registry, system.coordinator, clock=current_clock(), rng=random.Random(1))
    recovery.set_policy("api", RestartPolicy(backoff=(1.0, 1.0)))
    await recovery.start()
    await system.coordinator.start_component("api", force=True)
    record = inline_registry.find("api")
    assert record is not None

    inline_registry.observe("api", record.instance_uuid, FAILED, "exit code 1")
    await asyncio.sleep(10)
    assert (system.state("api"), system.started) == (FAILED, ["api"])
    await system.coordinator.start_component("base")
    await asyncio.sleep(10)

    assert (system.state("api"), system.forced_past("api")) == (READY, ())
    await recovery.stop()


@virtual_time
async def test_those_in_a_circle_do_not_restart_one_another_for_ever(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    recovery = Recovery(inline_registry, system.coordinator, clock=current_clock(), rng=random.Random(1))
    dependents = Dependents(inline_registry, recovery)
    for name, need in (("a", "b"), ("b", "a")):
        await system.add(name, [need])
        dependents.set_policy(name, "restart", [need])
    await recovery.start()
    dependents.start()
    await system.coordinator.start_component("a", force=True)
    await system.coordinator.start_component("b", force=True)

    await system.coordinator.restart_component("a", force=True)
    await asyncio.sleep(60)

    assert system.started == ["a", "b", "a"]
    assert (system.state("a"), system.state("b")) == (READY, READY)
    dependents.stop()
    await recovery.stop()
