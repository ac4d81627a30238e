"""Tests of tekton.core.startup.start_job: cancelled at every point, and dependencies that come and go."""

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition
from tekton.core.lifecycle import ENDED, USABLE, Change, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import VirtualTimeLoop, current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError, DependencyError, TektonError

Make = Callable[[], ComponentRegistry]
UP = StartResult(True, None)
READY, FAILED, STARTING = ComponentState.READY, ComponentState.FAILED, ComponentState.STARTING


class InterruptingLoop(VirtualTimeLoop):
    """Interrupts what is armed as soon as *step* callbacks have been scheduled since."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._left = step
        self._interrupt: Callable[[], object] | None = None

    def arm(self, interrupt: Callable[[], object]) -> None:
        self._interrupt = interrupt

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        interrupt = self._interrupt
        if interrupt is not None:
            self._left -= 1
            if self._left < 0:
                self._interrupt = None
                super().call_soon(interrupt)
        return handle


def at_every_step(scenario: Callable[[], Coroutine[Any, Any, bool]]) -> int:
    """Run *scenario* on a loop that interrupts it after 0, 1, 2… callbacks, until it ends before; the number of runs.

    The scenario arms the loop, and returns True when it was interrupted.
    """
    step = 0
    while True:
        with asyncio.Runner(loop_factory=functools.partial(InterruptingLoop, step)) as runner:
            if not runner.run(scenario()):
                return step
        step += 1


class System:
    """Three components, one behind the other and one beside them, that note what runs."""

    def __init__(self, registry: ComponentRegistry, places: int | None = None) -> None:
        self.registry = registry
        self.running: set[str] = set()
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock(), max_concurrent=places)

    def configs(self) -> dict[str, ComponentConfig]:
        return {name: self._config(name, needs) for name, needs in (("b", ["a"]), ("a", []), ("c", []))}

    def _config(self, name: str, needs: list[str]) -> ComponentConfig:
        async def start() -> None:
            self.running.add(name)
            await asyncio.sleep(1)

        async def stop() -> None:
            await asyncio.sleep(0)
            self.running.discard(name)

        ready = ReadinessCondition("port", lambda: asyncio.sleep(0.5, True))
        return ComponentConfig(start_func=start, stop_func=stop, dependencies=needs, readiness=[ready])

    def check(self) -> None:
        """What runs is what is usable, and nothing is on its way."""
        states = {record.component_id: record.state for record in self.registry.all_instances()}
        assert all(state in USABLE or state in ENDED for state in states.values()), states
        assert self.running == {name for name, state in states.items() if state in USABLE}
        assert not any(self.coordinator.in_flight(name) for name in "abc")


@pytest.mark.parametrize("places", [None, 1])
def test_a_caller_cancelled_at_any_point_leaves_nothing_that_nobody_owns(
    new_inline_registry: Make, places: int | None
) -> None:
    async def scenario() -> bool:
        system = System(new_inline_registry(), places)
        caller = asyncio.ensure_future(system.coordinator.start_components(system.configs()))
        asyncio.get_running_loop().arm(caller.cancel)  # type: ignore[attr-defined]
        async with asyncio.timeout(1000):
            await asyncio.wait([caller])
        await system.registry.flush()
        system.check()
        # And everything can be started afterwards.
        assert set((await system.coordinator.start_components(system.configs())).values()) == {UP}
        assert system.running == {"a", "b", "c"}
        await system.coordinator.close()
        return caller.cancelled()

    assert at_every_step(scenario) > 50


def test_a_start_that_is_forced_at_any_point_comes_up_once(new_inline_registry: Make) -> None:
    async def scenario() -> bool:
        system = System(new_inline_registry())
        forced: list[asyncio.Future[StartResult]] = []
        caller = asyncio.ensure_future(system.coordinator.start_components(system.configs()))
        asyncio.get_running_loop().arm(  # type: ignore[attr-defined]
            lambda: forced.append(asyncio.ensure_future(system.coordinator.start_component("b", force=True)))
        )
        async with asyncio.timeout(1000):
            assert set((await caller).values()) == {UP}
            assert set(await asyncio.gather(*forced)) <= {UP}
        await system.registry.flush()
        system.check()
        states = [entry.state for entry in await system.registry.get_history("b", 100)]
        assert states.count(READY) == states.count(STARTING) == 1
        await system.coordinator.close()
        return bool(forced)

    assert at_every_step(scenario) > 50


def test_a_start_that_is_stopped_at_any_point_runs_no_more(new_inline_registry: Make) -> None:
    async def scenario() -> bool:
        system = System(new_inline_registry())
        stops: list[asyncio.Future[Any]] = []
        caller = asyncio.ensure_future(system.coordinator.start_components(system.configs()))
        asyncio.get_running_loop().arm(  # type: ignore[attr-defined]
            lambda: stops.append(asyncio.ensure_future(system.coordinator.stop_components()))
        )
        async with asyncio.timeout(1000):
            results = await caller
        interrupted = bool(stops)
        await (stops[0] if stops else system.coordinator.stop_components())
        await system.registry.flush()
        system.check()
        assert results.keys() == {"a", "b", "c"}
        assert system.running == set()
        await system.coordinator.close()
        return interrupted

    assert at_every_step(scenario) > 50


def test_a_coordinator_that_is_closed_at_any_point_leaves_nothing_behind(new_inline_registry: Make) -> None:
    async def scenario() -> bool:
        system = System(new_inline_registry())
        closes: list[asyncio.Future[None]] = []
        caller = asyncio.ensure_future(system.coordinator.start_components(system.configs()))
        asyncio.get_running_loop().arm(  # type: ignore[attr-defined]
            lambda: closes.append(asyncio.ensure_future(system.coordinator.close()))
        )
        async with asyncio.timeout(1000):
            results = await caller
        await asyncio.gather(*closes)
        await system.registry.flush()
        system.check()
        assert results.keys() == {"a", "b", "c"}
        await system.coordinator.close()
        return bool(closes)

    assert at_every_step(scenario) > 50


# Dependencies that come and go.


def test_a_dependency_that_fails_at_any_point_is_usable_when_the_start_function_is_called_or_it_is_not_called(
    new_inline_registry: Make,
) -> None:
    async def scenario() -> bool:
        registry = new_inline_registry()
        coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
        failed, called_while_usable = [], []

        def usable() -> bool:
            record = registry.find("a")
            return record is not None and record.usable

        def fail() -> None:
            record = registry.find("a")
            assert record is not None
            failed.append(registry.observe("a", record.instance_uuid, FAILED, "exited with code 1"))

        async def start() -> None:
            called_while_usable.append(usable())

        await coordinator.start_component("a", start_func=functools.partial(asyncio.sleep, 0))
        caller = asyncio.ensure_future(
            coordinator.start_components({"b": ComponentConfig(start_func=start, dependencies=["a"])})
        )
        asyncio.get_running_loop().arm(fail)  # type: ignore[attr-defined]
        results = await caller

        assert all(called_while_usable)
        assert results["b"].success == bool(called_while_usable)
        await coordinator.close()
        return bool(failed)

    assert at_every_step(scenario) > 10


@virtual_time
async def test_a_dependency_that_is_restarted_between_check_and_start_is_waited_for_again(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    states: list[ComponentState | None] = []
    restarts: list[asyncio.Future[StartResult]] = []

    async def hermes() -> None:
        await asyncio.sleep(5)

    async def ergon() -> None:
        record = inline_registry.find("hermes")
        states.append(record.state if record else None)

    def restart(change: Change) -> None:
        # The dependency has been checked, and the start function is called next.
        if change.component_id == "ergon" and change.state is STARTING and not restarts:
            restarts.append(asyncio.ensure_future(coordinator.restart_component("hermes")))
            record = inline_registry.find("hermes")
            assert record is not None
            inline_registry.observe("hermes", record.instance_uuid, ComponentState.STOPPING, "restarting")

    await coordinator.start_component("hermes", hermes)
    inline_registry.feed.add_listener(restart)
    began = current_clock().monotonic()

    assert await coordinator.start_component("ergon", ergon, ["hermes"]) == UP

    assert states == [READY]
    assert current_clock().monotonic() - began == pytest.approx(5)
    assert await restarts[0] == UP


@virtual_time
async def test_a_dependency_lost_while_waiting_for_a_place_is_waited_for_when_it_comes_back(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock(), max_concurrent=1)
    seen: list[bool] = []

    async def takes_ten() -> None:
        await asyncio.sleep(10)

    async def ergon() -> None:
        record = inline_registry.find("hermes")
        seen.append(record is not None and record.usable)

    await coordinator.start_component("hermes", takes_ten)
    blocking = asyncio.ensure_future(coordinator.start_component("slow", takes_ten))
    await asyncio.sleep(1)
    starting = asyncio.ensure_future(coordinator.start_component("ergon", ergon, ["hermes"]))
    await asyncio.sleep(1)
    restarting = asyncio.ensure_future(coordinator.restart_component("hermes"))

    assert await starting == UP
    assert seen == [True]
    assert await restarting == await blocking == UP


# Restarting.


async def ready_pair(registry: ComponentRegistry) -> tuple[EnhancedStartUpCoordinator, list[str]]:
    """hermes registered by itself and ready, ergon started, which needs it; and the calls of ergon's functions."""
    calls: list[str] = []
    hermes = ComponentRegistration(component_id="hermes")
    await registry.register(hermes)
    await registry.make_ready("hermes", hermes.instance_uuid)

    async def start() -> None:
        calls.append("start")

    async def stop() -> None:
        calls.append("stop")

    coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
    await coordinator.register_component_handler("ergon", start, ["hermes"], stop_func=stop)
    await coordinator.start_component("ergon")
    return coordinator, calls


@virtual_time
async def test_a_restart_is_refused_before_anything_is_stopped_when_a_dependency_is_down(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator, calls = await ready_pair(inline_registry)
    hermes, ergon = inline_registry.find("hermes"), inline_registry.find("ergon")
    assert hermes is not None
    inline_registry.observe("hermes", hermes.instance_uuid, FAILED, "exited")

    with pytest.raises(DependencyError, match=r"hermes failed \(exited\)"):
        await coordinator.restart_component("ergon")

    assert calls == ["start"]
    assert inline_registry.find("ergon") == ergon
    # It runs: nothing is wrong with it, and nobody needs to start it.
    assert coordinator.last_error("ergon") is None
    assert coordinator.blocked_by("hermes") == []


@virtual_time
async def test_a_restart_waits_with_the_stop_until_a_dependency_on_its_way_is_there(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator, calls = await ready_pair(inline_registry)
    hermes = inline_registry.find("hermes")
    assert hermes is not None
    inline_registry.observe("hermes", hermes.instance_uuid, FAILED, "exited")
    again = ComponentRegistration(component_id="hermes")
    await inline_registry.register(again)
    restarting = asyncio.ensure_future(coordinator.restart_component("ergon"))
    await asyncio.sleep(10)
    assert calls == ["start"]

    await inline_registry.make_ready("hermes", again.instance_uuid)

    assert await restarting == UP
    assert calls == ["start", "stop", "start"]


@virtual_time
async def test_a_restart_that_is_cancelled_before_the_stop_leaves_what_runs_alone(
    inline_registry: ComponentRegistry,
) -> None:
    coordinator, calls = await ready_pair(inline_registry)
    hermes = inline_registry.find("hermes")
    assert hermes is not None
    inline_registry.observe("hermes", hermes.instance_uuid, FAILED, "exited")
    await inline_registry.register(ComponentRegistration(component_id="hermes"))
    restarting = asyncio.ensure_future(coordinator.restart_component("ergon"))
    await asyncio.sleep(10)

    restarting.cancel()
    await asyncio.wait([restarting])

    record = inline_registry.find("ergon")
    assert record is not None
    assert (record.state, calls) == (READY, ["start"])


@virtual_time
async def test_while_a_start_goes_on_the_last_failure_is_not_told(inline_registry: ComponentRegistry) -> None:
    async def fail() -> None:
        raise RuntimeError("boom")

    async def takes_ten() -> None:
        await asyncio.sleep(10)

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    await coordinator.start_components({"hermes": {"start_func": fail}})
    assert coordinator.last_error("hermes") == "hermes: RuntimeError: boom"
    starting = asyncio.ensure_future(coordinator.start_component("hermes", takes_ten))
    await asyncio.sleep(5)

    assert coordinator.last_error("hermes") is None
    assert coordinator.explain("hermes").last_error is None
    await starting


@pytest.mark.parametrize("failing", [0, 7, 19])
@virtual_time
async def test_one_of_twenty_that_fails_takes_only_its_dependents_with_it(
    inline_registry: ComponentRegistry, failing: int
) -> None:
    """Four chains of five."""

    async def start(number: int) -> bool:
        return number != failing

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    configs = {
        f"c{n}": ComponentConfig(start_func=functools.partial(start, n), dependencies=[f"c{n - 4}"] if n >= 4 else [])
        for n in range(20)
    }

    results = await coordinator.start_components(configs)

    behind = {f"c{n}" for n in range(failing, 20, 4)}
    assert results.keys() == configs.keys()
    assert {name for name, result in results.items() if not result.success} == behind
    assert results[f"c{failing}"].error == f"c{failing}: the start function returned False"
    for name in behind - {f"c{failing}"}:
        assert f"c{failing} failed" in (results[name].error or "")


# Admission.


class Room:
    """A condition of admission: whether the machine has room."""

    def __init__(self) -> None:
        self.free = False
        self.began: list[str] = []
        self.condition = ReadinessCondition("room", self.ask, interval=1.0)

    async def ask(self) -> bool:
        if not self.free:
            raise CheckFailedError("memory_free_min: 2.0 GiB free of 4.0 wanted")
        return True

    def begin(self, name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def start() -> None:
            self.began.append(name)

        return start


@virtual_time
async def test_a_start_waits_for_room_and_says_so(inline_registry: ComponentRegistry) -> None:
    room = Room()
    async with EnhancedStartUpCoordinator(inline_registry, clock=current_clock()) as coordinator:
        await coordinator.register_component_handler("big", room.begin("big"), admission=[room.condition])
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(coordinator.start_component("big"))
            await asyncio.sleep(10)
            why = coordinator.explain("big")
            assert (why.state, why.phase) == (STARTING, "memory_free_min: 2.0 GiB free of 4.0 wanted")
            assert room.began == []
            room.free = True

        assert starting.result() == UP
        assert room.began == ["big"]


@virtual_time
async def test_a_start_without_room_fails_by_its_timeout_for_that_reason(inline_registry: ComponentRegistry) -> None:
    room = Room()
    async with EnhancedStartUpCoordinator(inline_registry, clock=current_clock()) as coordinator:
        config = ComponentConfig(start_func=room.begin("big"), admission=[room.condition], timeout=30)
        results = await coordinator.start_components({"big": config})

        assert results["big"].error == (
            "big: not ready after 30 s (waiting for memory_free_min: 2.0 GiB free of 4.0 wanted)"
        )
        assert room.began == []
        record = inline_registry.find("big")
        assert record is not None
        assert record.state is FAILED


@virtual_time
async def test_who_waits_for_room_takes_no_place_from_others(inline_registry: ComponentRegistry) -> None:
    room = Room()
    async with EnhancedStartUpCoordinator(inline_registry, clock=current_clock(), max_concurrent=1) as coordinator:
        big = ComponentConfig(start_func=room.begin("big"), admission=[room.condition], timeout=5)
        small = ComponentConfig(start_func=room.begin("small"))

        results = await coordinator.start_components({"big": big, "small": small})

        assert (results["big"].success, results["small"]) == (False, UP)
        assert room.began == ["small"]


@virtual_time
async def test_a_stop_while_it_waits_for_room_starts_nothing(inline_registry: ComponentRegistry) -> None:
    room = Room()
    async with EnhancedStartUpCoordinator(inline_registry, clock=current_clock()) as coordinator:
        await coordinator.register_component_handler("big", room.begin("big"), admission=[room.condition])
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(outcome(coordinator.start_component("big")))
            await asyncio.sleep(3)
            await coordinator.stop_component("big")
            room.free = True
        await asyncio.sleep(10)

        assert isinstance(starting.result(), ComponentError)
        assert room.began == []
        record = inline_registry.find("big")
        assert record is not None
        assert record.state is ComponentState.STOPPED


@virtual_time
async def test_a_condition_with_a_deadline_of_its_own_ends_the_start(inline_registry: ComponentRegistry) -> None:
    room = Room()
    impatient = ReadinessCondition("room", room.ask, interval=1.0, timeout=2.0)
    async with EnhancedStartUpCoordinator(inline_registry, clock=current_clock()) as coordinator:
        config = ComponentConfig(start_func=room.begin("big"), admission=[impatient])
        results = await coordinator.start_components({"big": config})

        assert results["big"].error is not None
        assert "room not met after 2 s: memory_free_min: 2.0 GiB free of 4.0 wanted" in results["big"].error


async def outcome(call: Coroutine[Any, Any, object]) -> object:
    try:
        return await call
    except TektonError as error:
        return error
