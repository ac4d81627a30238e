"""Tests of tekton.core.startup.deadlocks: starts that wait for one another are found, others are left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import DependencyError, TektonError

UP = StartResult(True, None)
Start = Callable[[], Awaitable[object]]


def usable(record: ComponentRecord | None) -> bool:
    return record is not None and record.usable


async def succeed() -> None:
    await asyncio.sleep(0)


def takes(seconds: float) -> Start:
    async def start() -> None:
        await asyncio.sleep(seconds)

    return start


class World:
    """A coordinator, and start functions that wait for other components."""

    def __init__(self, registry: ComponentRegistry, **settings: Any) -> None:
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock(), **settings)

    def waits_for(self, name: str) -> Start:
        async def start() -> None:
            await self.registry.wait_until(name, usable)

        return start

    def starts(self, *names: str) -> Start:
        async def start() -> None:
            for name in names:
                await self.coordinator.start_component(name)

        return start

    def starts_all(self, *names: str) -> Start:
        async def start() -> bool:
            results = await self.coordinator.start_components({name: {} for name in names})
            return all(result.success for result in results.values())

        return start

    def reason(self, name: str) -> str | None:
        record = self.registry.find(name)
        return record.reason if record and record.state is ComponentState.FAILED else None


@pytest.mark.parametrize("how", ["waits_for", "starts", "starts_all"])
@virtual_time
async def test_a_start_function_that_waits_for_what_waits_for_it_fails_both_with_the_circle(
    inline_registry: ComponentRegistry, how: str
) -> None:
    world = World(inline_registry)
    began = current_clock().monotonic()

    results = await world.coordinator.start_components(
        {"a": {"start_func": getattr(world, how)("b")}, "b": {"start_func": succeed, "dependencies": ["a"]}}
    )

    assert results == {
        "a": StartResult(False, "a cannot start: deadlock: a waits for b, which waits for a"),
        "b": StartResult(False, "b cannot start: deadlock: b waits for a, which waits for b"),
    }
    assert current_clock().monotonic() - began == pytest.approx(1)
    assert world.reason("a") == "deadlock: a waits for b, which waits for a"
    assert world.coordinator.blocked_by("a") == []


@virtual_time
async def test_the_error_names_the_circle(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry)
    await world.coordinator.register_component_handler("c", succeed, ["b"])
    await world.coordinator.register_component_handler("b", world.waits_for("a"))
    await world.coordinator.register_component_handler("a", world.starts("c"))

    outcomes = await asyncio.gather(
        world.coordinator.start_component("a"), world.coordinator.start_component("b"), return_exceptions=True
    )

    assert [error.cycle for error in outcomes if isinstance(error, DependencyError)] == [
        ["a", "c", "b"],
        ["b", "a", "c"],
    ]


@virtual_time
async def test_of_a_circle_each_one_lacks_the_next(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry)
    for name, other in ("ab", "bc", "ca", "zz"):
        await world.coordinator.register_component_handler(name, world.starts(other))

    outcomes = await asyncio.gather(
        *(world.coordinator.start_component(name) for name in "abcz"), return_exceptions=True
    )

    errors = [error for error in outcomes if isinstance(error, DependencyError)]
    assert [error.failed_dependencies for error in errors] == [["b"], ["c"], ["a"], ["z"]]
    assert [error.cycle for error in errors] == [list("abc"), list("bca"), list("cab"), ["z"]]


@virtual_time
async def test_start_functions_that_wait_for_each_other_through_the_registry_are_found(
    inline_registry: ComponentRegistry,
) -> None:
    world = World(inline_registry)

    results = await world.coordinator.start_components(
        {name: {"start_func": world.waits_for(other)} for name, other in ("ab", "bc", "ca")}
    )

    assert [result.error for result in results.values()] == [
        f"{a} cannot start: deadlock: {a} waits for {b}, which waits for {c}, which waits for {a}"
        for a, b, c in ("abc", "bca", "cab")
    ]


@pytest.mark.parametrize("how", ["starts", "starts_all"])
@virtual_time
async def test_a_start_function_that_starts_its_own_component_is_found(
    inline_registry: ComponentRegistry, how: str
) -> None:
    world = World(inline_registry)

    results = await world.coordinator.start_components({"a": {"start_func": getattr(world, how)("a")}})

    assert results["a"].error == "a cannot start: deadlock: a waits for a"


@virtual_time
async def test_those_behind_a_deadlock_fail_too_and_those_beside_it_start(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry)

    results = await world.coordinator.start_components(
        {
            "a": {"start_func": world.starts("b")},
            "b": {"start_func": succeed, "dependencies": ["a"]},
            "behind": {"start_func": succeed, "dependencies": ["b"]},
            "waiting": {"start_func": world.waits_for("slow")},
            "slow": {"start_func": takes(30)},
        }
    )

    assert {name for name, result in results.items() if result.success} == {"waiting", "slow"}


@virtual_time
async def test_starts_whose_dependencies_were_turned_round_meanwhile_are_found(
    inline_registry: ComponentRegistry,
) -> None:
    """No graph of that moment has a circle: the handler of a start in progress was replaced."""
    world = World(inline_registry)
    coordinator = world.coordinator
    await coordinator.register_component_handler("gate", takes(5))
    await coordinator.register_component_handler("a", succeed, ["gate", "b"])
    await coordinator.register_component_handler("b", takes(1), ["gate"])
    first = asyncio.ensure_future(coordinator.start_components({"gate": {}, "a": {}, "b": {}}))
    await asyncio.sleep(1)
    await coordinator.register_component_handler("a", succeed)
    stopping = asyncio.ensure_future(coordinator.stop_component("b"))
    second = asyncio.ensure_future(
        coordinator.start_components({"b": {"start_func": succeed, "dependencies": ["gate", "a"]}})
    )

    async with asyncio.timeout(300):
        await asyncio.wait([first, second, stopping])

    assert second.result()["b"].error == "b cannot start: deadlock: b waits for a, which waits for b"
    assert first.result()["a"].error == "a cannot start: deadlock: a waits for b, which waits for a"


@virtual_time
async def test_a_start_that_waits_in_a_task_of_its_own_goes_on_and_is_no_deadlock(
    inline_registry: ComponentRegistry,
) -> None:
    """A component that brings up its plugins behind itself, once it is ready."""
    world = World(inline_registry)
    behind: list[asyncio.Future[StartResult]] = []

    async def start() -> None:
        behind.append(asyncio.ensure_future(world.coordinator.start_component("plugin")))
        await asyncio.sleep(10)

    await world.coordinator.register_component_handler("plugin", succeed, ["a"])

    assert await world.coordinator.start_component("a", start) == UP
    assert await behind[0] == UP


@virtual_time
async def test_a_deadlock_of_a_task_ends_by_the_timeout_which_says_what_was_waited_for(
    inline_registry: ComponentRegistry,
) -> None:
    world = World(inline_registry)
    await world.coordinator.register_component_handler("b", succeed, ["a"])

    async def start() -> None:
        await asyncio.gather(world.coordinator.start_component("b"))

    results = await world.coordinator.start_components({"a": {"start_func": start, "timeout": 20}})

    assert results["a"].error == "a: not ready after 20 s (waiting for start function, which waits for b)"


@virtual_time
async def test_waiting_for_what_somebody_else_brings_up_is_no_deadlock(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry)
    coordinator = world.coordinator
    config: dict[str, ComponentConfig] = {
        "a": {"start_func": world.waits_for("b")},
        "b": {"start_func": takes(20), "dependencies": ["c"]},
        "c": {"start_func": takes(20)},
    }
    running = asyncio.ensure_future(coordinator.start_components(config))
    await asyncio.sleep(5)

    assert coordinator.explain("a").phase == "start function, which waits for b"
    assert set((await running).values()) == {UP}


@virtual_time
async def test_a_component_may_wait_until_somebody_marks_it_ready(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry, max_concurrent=1)
    starting = asyncio.ensure_future(world.coordinator.start_component("a", world.waits_for("a")))
    await asyncio.sleep(10)
    record = inline_registry.find("a")
    assert record is not None
    await inline_registry.make_ready("a", record.instance_uuid)

    assert await starting == UP


@pytest.mark.parametrize("places", [1, 2, 3, None])
@virtual_time
async def test_overlapping_sets_of_many_callers_never_hang_however_few_places_there_are(
    inline_registry: ComponentRegistry, places: int | None
) -> None:
    """Some start others, some wait for others, all of them at the same time, twice over."""
    world = World(inline_registry, max_concurrent=places)
    configs: dict[str, ComponentConfig] = {f"leaf{n}": {"start_func": takes(1)} for n in range(6)}
    for number in range(6):
        ways = (world.starts, world.starts_all, lambda *names: world.waits_for(names[0]))
        start = ways[number % 3](f"leaf{number}", f"leaf{(number + 1) % 6}")
        configs[f"middle{number}"] = {"start_func": start}
        configs[f"top{number}"] = {"start_func": world.starts(f"middle{number}"), "dependencies": [f"leaf{number}"]}
    for name, config in configs.items():
        await world.coordinator.register_component_handler(
            name, config["start_func"], config.get("dependencies", ()), timeout=60
        )
    names = list(configs)

    results = await asyncio.gather(
        *(world.coordinator.start_components({name: {} for name in names[n:] + names[:n]}) for n in range(5)),
        *(world.coordinator.start_component(f"top{n}") for n in range(6)),
        return_exceptions=True,
    )

    for result in results[:5]:
        assert isinstance(result, dict)
        assert set(result.values()) == {UP}
    for result in results[5:]:
        # A single start does not start its dependencies: they may not have been asked for yet.
        assert result == UP or isinstance(result, TektonError)


@pytest.mark.parametrize("depth", [1, 2, 10])
@virtual_time
async def test_a_tower_of_starts_that_start_the_next_needs_one_place(
    inline_registry: ComponentRegistry, depth: int
) -> None:
    world = World(inline_registry, max_concurrent=1)
    running = 0
    most = 0

    def level(number: int) -> Start:
        async def start() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            if number:
                await world.coordinator.start_component(f"c{number - 1}", level(number - 1))
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

        return start

    # One that has nothing to do with it competes for the place.
    results = await asyncio.gather(
        world.coordinator.start_component(f"c{depth}", level(depth)),
        *(world.coordinator.start_component(f"other{n}", takes(1)) for n in range(5)),
    )

    assert set(results) == {UP}
    assert most == 1


@virtual_time
async def test_a_cancelled_start_function_gives_its_lent_place_away(inline_registry: ComponentRegistry) -> None:
    world = World(inline_registry, max_concurrent=1)
    slow = asyncio.ensure_future(world.coordinator.start_component("slow", world.starts("slower")))
    await world.coordinator.register_component_handler("slower", takes(1000))
    await asyncio.sleep(5)
    slow.cancel()
    await asyncio.wait([slow])

    assert await world.coordinator.start_component("next", succeed) == UP
