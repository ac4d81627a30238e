"""Tests of tekton.core.graceful_degradation: who is called, who stands in, and what the caller gets."""

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tekton.core.degradation.deadline import time_left
from tekton.core.graceful_degradation import (
    BreakerState,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    FallbackCycleError,
    GracefulDegradationManager,
    NoFallbackAvailableError,
    Retries,
    ServiceChange,
)
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError, InvalidIdError

PATIENCE = 20


class World:
    """Components that answer with their model, or do what is said of them."""

    def __init__(self, clock: ManualClock | None = None, **options: Any) -> None:
        self.manager = GracefulDegradationManager(clock=clock or ManualClock(), **options)
        self.asked: list[str] = []
        self._arrivals = asyncio.Semaphore(0)
        self.behaviour: dict[str, Callable[[], Any]] = {}
        self.changes: list[ServiceChange] = []
        self.manager.add_listener(self.changes.append, direct=True)

    async def ask(self, prompt: str, *, model: str = "rhetor") -> str:
        self.asked.append(model)
        self._arrivals.release()
        behave = self.behaviour.get(model)
        answer = behave() if behave else None
        if asyncio.iscoroutine(answer):
            await answer
        return f"{model}: {prompt}"

    async def until_asked(self, times: int = 1) -> None:
        """Wait until so many more have been asked."""
        for _ in range(times):
            await self._arrivals.acquire()

    def stand_in(self, *components: str, primary: str = "rhetor", capability: str = "llm") -> None:
        for component in components:
            self.manager.register_fallback(capability, primary, component, {"model": component})

    def fails(self, *components: str, error: BaseException | None = None) -> None:
        def fail() -> None:
            raise error or ConnectionError("gone")

        self.behaviour |= dict.fromkeys(components, fail)

    def hangs(self, *components: str) -> None:
        self.behaviour |= dict.fromkeys(components, lambda: asyncio.Event().wait())

    async def call(self, component: str = "rhetor", **options: Any) -> Any:
        return await self.manager.execute_with_fallback("llm", component, self.ask, ("hi",), **options)


async def test_a_component_that_works_is_called_and_nobody_else() -> None:
    world = World()
    world.stand_in("local")

    assert await world.call() == "rhetor: hi"

    assert world.asked == ["rhetor"]


async def test_fallbacks_are_tried_in_turn_with_their_parameters() -> None:
    world = World()
    world.stand_in("local", "remote", "paper")
    world.fails("rhetor", "local")

    assert await world.call() == "remote: hi"

    assert world.asked == ["rhetor", "local", "remote"]


async def test_parameters_are_put_on_top_of_the_arguments_of_the_call() -> None:
    manager = GracefulDegradationManager()
    seen: list[dict[str, object]] = []

    def generate(**kwargs: object) -> None:
        seen.append(kwargs)
        if "model" not in kwargs:
            raise ConnectionError

    manager.register_fallback("llm", "rhetor", "local", {"model": "llama3", "max_tokens": 50})
    kwargs = {"max_tokens": 100, "seed": 1}
    await manager.execute_with_fallback("llm", "rhetor", generate, kwargs=kwargs)

    assert seen == [kwargs, {"max_tokens": 50, "seed": 1, "model": "llama3"}]
    assert kwargs == {"max_tokens": 100, "seed": 1}


async def test_a_fallback_may_have_a_function_of_its_own() -> None:
    world = World()
    world.fails("rhetor")
    world.manager.register_fallback(
        "llm", "rhetor", "canned", {"lead": "sorry, "}, function=lambda text, lead: lead + text
    )

    assert await world.call() == "sorry, hi"


async def test_a_lower_priority_is_tried_earlier() -> None:
    world = World()
    world.fails("rhetor")
    world.manager.register_fallback("llm", "rhetor", "late", {"model": "late"}, priority=9)
    world.manager.register_fallback("llm", "rhetor", "early", {"model": "early"}, priority=1)

    assert await world.call() == "early: hi"
    assert [one.component for one in world.manager.fallbacks("llm", "rhetor")] == ["early", "late"]


async def test_when_all_fail_the_error_has_every_cause() -> None:
    world = World()
    world.stand_in("local", "remote")
    world.fails("rhetor", "local")
    world.manager.breaker("remote").trip()

    with pytest.raises(NoFallbackAvailableError) as failed:
        await world.call()

    assert list(failed.value.causes) == ["rhetor", "local", "remote"]
    assert isinstance(failed.value.causes["rhetor"], ConnectionError)
    assert isinstance(failed.value.causes["remote"], CircuitOpenError)
    assert failed.value.reasons["local"] == "local: ConnectionError: gone"
    assert failed.value.capability == "llm"
    assert failed.value.__cause__ is failed.value.causes["remote"]


async def test_without_a_fallback_the_cause_is_that_of_the_component() -> None:
    world = World()
    world.fails("rhetor")

    with pytest.raises(NoFallbackAvailableError, match="nothing provides llm: rhetor: ConnectionError: gone"):
        await world.call()


async def test_an_error_about_the_request_is_raised_as_it_is_and_nobody_else_is_asked() -> None:
    world = World()
    world.stand_in("local")
    world.fails("rhetor", error=ComponentNotFoundError("ghost"))

    for _ in range(20):
        with pytest.raises(ComponentNotFoundError):
            await world.call()

    assert set(world.asked) == {"rhetor"}
    assert world.manager.breaker("rhetor").state is BreakerState.CLOSED


async def test_an_open_breaker_sends_calls_to_the_fallback_without_asking() -> None:
    world = World()
    world.stand_in("local")
    world.manager.register_circuit_breaker("rhetor", failure_threshold=3)
    world.fails("rhetor")

    for _ in range(10):
        assert await world.call() == "local: hi"

    assert world.asked.count("rhetor") == 3


async def test_each_fallback_is_behind_a_breaker_of_its_own() -> None:
    world = World()
    world.stand_in("local", "remote")
    world.fails("rhetor", "local")

    for _ in range(20):
        await world.call()

    assert world.asked.count("local") == 5
    assert world.manager.breaker("local").state is BreakerState.OPEN
    assert world.manager.breaker("remote").state is BreakerState.CLOSED


async def test_of_1000_callers_at_the_half_open_moment_exactly_two_reach_the_component() -> None:
    clock = ManualClock()
    world = World(clock)
    world.stand_in("local")
    world.manager.register_circuit_breaker("rhetor", failure_threshold=5, reset_timeout=60, half_open_requests=2)
    world.fails("rhetor")
    for _ in range(5):
        await world.call()
    world.asked.clear()
    world.behaviour.clear()
    release = asyncio.Event()
    world.behaviour["rhetor"] = release.wait

    clock.advance(60)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.call()) for _ in range(1000)]
        await world.until_asked(5 + 5 + 1000)
        release.set()

    answers = [task.result() for task in tasks]
    assert (answers.count("rhetor: hi"), answers.count("local: hi")) == (2, 998)
    assert world.manager.breaker("rhetor").state is BreakerState.CLOSED


@virtual_time
async def test_the_whole_call_has_one_deadline() -> None:
    world = World(current_clock())
    world.stand_in("local", "remote")
    world.hangs("rhetor", "local", "remote")
    began = current_clock().monotonic()

    with pytest.raises(NoFallbackAvailableError) as failed:
        await world.call(timeout=12.0)

    assert current_clock().monotonic() - began == 12.0
    assert world.asked == ["rhetor", "local", "remote"]
    assert all(isinstance(cause, CallTimeoutError) for cause in failed.value.causes.values())
    assert failed.value.reasons == {name: f"{name}: no answer within 4 s" for name in world.asked}


@virtual_time
async def test_a_call_timeout_leaves_time_for_the_fallbacks() -> None:
    world = World(current_clock())
    world.stand_in("local")
    world.hangs("rhetor")
    world.manager.register_limits("rhetor", call_timeout=2.0)
    began = current_clock().monotonic()

    assert await world.call(timeout=10.0) == "local: hi"

    assert current_clock().monotonic() - began == 2.0


@virtual_time
async def test_a_component_that_hangs_opens_its_breaker() -> None:
    world = World(current_clock())
    world.hangs("rhetor")

    for _ in range(6):
        with pytest.raises(NoFallbackAvailableError):
            await world.call(timeout=1.0)

    assert len(world.asked) == 5
    assert world.manager.breaker("rhetor").state is BreakerState.OPEN


@virtual_time
async def test_a_component_that_hangs_leaves_its_fallbacks_an_equal_share_of_the_time() -> None:
    world = World(current_clock())
    world.stand_in("local", "remote")
    world.hangs("rhetor", "local")
    began = current_clock().monotonic()

    assert await world.call(timeout=12.0) == "remote: hi"

    assert current_clock().monotonic() - began == 8.0
    assert world.manager.breaker("rhetor").failures == world.manager.breaker("local").failures == 1


@virtual_time
async def test_what_one_does_not_use_of_its_share_is_left_for_the_next() -> None:
    world = World(current_clock())
    world.stand_in("local")
    world.fails("rhetor")
    world.hangs("local")
    began = current_clock().monotonic()

    with pytest.raises(NoFallbackAvailableError):
        await world.call(timeout=12.0)

    assert current_clock().monotonic() - began == 12.0


@virtual_time
async def test_a_component_that_had_little_time_because_its_caller_had_little_has_not_failed() -> None:
    world = World(current_clock())
    world.hangs("rhetor")

    async def caller() -> None:
        await world.call(timeout=10.0)

    for timeout, failures in ((4.9, 0), (5.0, 1)):
        with pytest.raises(NoFallbackAvailableError):
            await world.manager.execute_with_fallback("agent", "ergon", caller, timeout=timeout)
        await asyncio.sleep(0)
        assert world.manager.breaker("rhetor").failures == failures


@virtual_time
async def test_the_deadline_is_known_to_what_is_called_and_holds_for_calls_on_the_way() -> None:
    world = World(current_clock())
    left: list[float | None] = []

    async def inner() -> None:
        left.append(time_left())
        await asyncio.Event().wait()

    async def outer() -> None:
        await asyncio.sleep(4)
        await world.manager.execute_with_fallback("memory", "engram", inner, timeout=60.0)

    began = current_clock().monotonic()
    with pytest.raises(NoFallbackAvailableError):
        await world.manager.execute_with_fallback("llm", "rhetor", outer, timeout=10.0)

    assert left == [6.0]
    assert current_clock().monotonic() - began == 10.0


async def test_a_caller_who_gives_up_says_nothing_about_the_component() -> None:
    world = World()
    world.hangs("rhetor")

    for _ in range(10):
        task = asyncio.create_task(world.call())
        await world.until_asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert world.manager.breaker("rhetor").state is BreakerState.CLOSED


async def test_plain_functions_are_called_too_in_a_thread() -> None:
    manager = GracefulDegradationManager()

    assert await manager.execute_with_fallback("llm", "rhetor", threading.current_thread) is not threading.main_thread()


async def test_async_functions_are_called_on_the_loop() -> None:
    async def thread() -> threading.Thread:
        return threading.current_thread()

    manager = GracefulDegradationManager()

    assert await manager.execute_with_fallback("llm", "rhetor", thread) is threading.current_thread()


@virtual_time
async def test_without_a_timeout_a_call_has_that_of_the_manager_or_none() -> None:
    left = []

    async def ask() -> None:
        left.append(time_left())

    await GracefulDegradationManager().execute_with_fallback("llm", "rhetor", ask)
    await GracefulDegradationManager(default_timeout=5.0).execute_with_fallback("llm", "rhetor", ask)
    endless = GracefulDegradationManager(default_timeout=None)
    await endless.execute_with_fallback("llm", "rhetor", ask)
    endless.register_limits("rhetor", call_timeout=3.0)
    with pytest.raises(NoFallbackAvailableError, match="no answer within 3 s"):
        await endless.execute_with_fallback("llm", "rhetor", asyncio.Event().wait)

    assert left == [60.0, 5.0, None]


@virtual_time
async def test_an_error_about_the_request_is_not_tried_again() -> None:
    world = World(current_clock())
    world.manager.register_retries("rhetor")
    world.fails("rhetor", error=ComponentNotFoundError("ghost"))

    with pytest.raises(ComponentNotFoundError):
        await world.call()

    assert world.asked == ["rhetor"]


async def test_an_object_with_an_async_call_is_awaited_and_its_failure_counts() -> None:
    class Ask:
        async def __call__(self, word: str) -> str:
            if word == "fail":
                raise ConnectionError
            return word

    manager = GracefulDegradationManager()

    assert await manager.execute_with_fallback("llm", "rhetor", Ask(), ("hi",)) == "hi"
    with pytest.raises(NoFallbackAvailableError):
        await manager.execute_with_fallback("llm", "rhetor", Ask(), ("fail",))
    assert manager.breaker("rhetor").failures == 1


async def test_a_function_that_leaves_the_program_has_failed() -> None:
    manager = GracefulDegradationManager()

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(NoFallbackAvailableError) as failed:
        await manager.execute_with_fallback("llm", "rhetor", leave)

    assert isinstance(failed.value.causes["rhetor"], ComponentError)
    assert failed.value.reasons == {"rhetor": "rhetor: SystemExit: 3"}


async def test_a_call_that_finds_no_place_goes_to_the_fallback_and_does_not_count() -> None:
    world = World()
    world.stand_in("local")
    world.manager.register_limits("rhetor", max_concurrent=1)
    release = asyncio.Event()
    world.behaviour["rhetor"] = release.wait

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        first = group.create_task(world.call())
        await world.until_asked()
        assert [await world.call() for _ in range(10)] == ["local: hi"] * 10
        release.set()

    assert first.result() == "rhetor: hi"
    assert world.manager.breaker("rhetor").failures == 0


@virtual_time
async def test_a_call_that_waits_for_a_place_until_its_deadline_was_not_made() -> None:
    world = World(current_clock())
    world.manager.register_limits("rhetor", max_concurrent=1, max_waiting=5)
    world.hangs("rhetor")

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(_ignored(world.call(timeout=100.0)), None))
        await asyncio.sleep(1)
        with pytest.raises(NoFallbackAvailableError) as failed:
            await world.call(timeout=10.0)

    cause = failed.value.causes["rhetor"]
    assert isinstance(cause, BulkheadFullError)
    assert (cause.component_id, cause.limit) == ("rhetor", 1)
    assert world.asked == ["rhetor"]


async def _ignored(call: Any) -> None:
    with pytest.raises(NoFallbackAvailableError):
        await call


async def test_a_thread_that_outlives_its_call_keeps_its_place() -> None:
    manager = GracefulDegradationManager()
    manager.register_limits("rhetor", max_concurrent=1)
    release = threading.Event()
    hung = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        loop.call_soon_threadsafe(hung.set)
        release.wait(PATIENCE)

    task = asyncio.create_task(manager.execute_with_fallback("llm", "rhetor", hang))
    async with asyncio.timeout(PATIENCE):
        await hung.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(NoFallbackAvailableError, match="1 calls run already"):
            await manager.execute_with_fallback("llm", "rhetor", int)
        release.set()
        while True:
            try:
                assert await manager.execute_with_fallback("llm", "rhetor", int) == 0
                break
            except NoFallbackAvailableError:
                await asyncio.sleep(0)


@virtual_time
async def test_a_failed_call_is_tried_again_before_the_fallbacks_if_that_was_asked_for() -> None:
    world = World(current_clock())
    world.stand_in("local")
    world.manager.register_retries("rhetor", Retries(attempts=3, rng=random.Random(1)))
    world.fails("rhetor")

    assert await world.call() == "local: hi"

    assert world.asked == ["rhetor", "rhetor", "rhetor", "local"]


@virtual_time
async def test_what_an_open_breaker_refuses_is_not_tried_again() -> None:
    world = World(current_clock())
    world.manager.register_retries("rhetor")
    world.manager.breaker("rhetor").trip()
    began = current_clock().monotonic()

    with pytest.raises(NoFallbackAvailableError):
        await world.call()

    assert current_clock().monotonic() == began


@virtual_time
async def test_three_managers_on_top_of_one_another_retry_in_one_layer() -> None:
    managers = [GracefulDegradationManager(clock=current_clock(), classify=lambda _: True) for _ in range(3)]
    for number, manager in enumerate(managers):
        manager.register_retries("below", Retries(rng=random.Random(number)))
        manager.register_circuit_breaker("below", failure_threshold=None)
    bottom = 0

    async def ask() -> None:
        nonlocal bottom
        bottom += 1
        raise ConnectionError

    async def call(depth: int) -> Any:
        function, args = (ask, ()) if depth == 2 else (call, (depth + 1,))
        return await managers[depth].execute_with_fallback("llm", "below", function, args)

    for _ in range(200):
        with pytest.raises(NoFallbackAvailableError):
            await call(0)

    assert 200 < bottom <= 1.1 * 200 + 10


@pytest.mark.parametrize("names", [("rhetor", "rhetor"), ("local", "rhetor"), ("paper", "rhetor")])
async def test_a_fallback_that_leads_back_is_refused(names: tuple[str, str]) -> None:
    world = World()
    world.stand_in("local")
    world.stand_in("paper", primary="local")

    with pytest.raises(FallbackCycleError) as refused:
        world.manager.register_fallback("llm", *names)

    assert refused.value.cycle[0] == refused.value.cycle[-1] == names[0]
    assert set(refused.value.cycle) >= set(names)


async def test_a_stand_in_that_calls_whom_it_stands_in_for_is_stopped() -> None:
    world = World()
    world.fails("rhetor")
    rounds = 0

    async def ask_rhetor_after_all(prompt: str) -> Any:
        nonlocal rounds
        rounds += 1
        return await world.call()

    world.manager.register_fallback("llm", "rhetor", "stubborn", function=ask_rhetor_after_all)

    with pytest.raises(NoFallbackAvailableError) as failed:
        await world.call()

    assert rounds == 1
    inner = failed.value.causes["stubborn"]
    assert isinstance(inner, NoFallbackAvailableError)
    cycles = [cause.cycle for cause in inner.causes.values() if isinstance(cause, FallbackCycleError)]
    assert cycles == [["rhetor", "stubborn", "rhetor"], ["stubborn", "stubborn"]]


async def test_a_circle_through_another_capability_is_stopped() -> None:
    manager = GracefulDegradationManager()
    asked: list[str] = []

    async def fail(name: str) -> None:
        asked.append(name)
        raise ConnectionError

    async def llm() -> Any:
        return await manager.execute_with_fallback("llm", "rhetor", fail, ("rhetor",))

    async def memory(_: str) -> Any:
        return await manager.execute_with_fallback("memory", "engram", fail, ("engram",))

    async def back(_: str) -> Any:
        return await llm()

    manager.register_fallback("llm", "rhetor", "local", function=memory)
    manager.register_fallback("memory", "engram", "archive", function=back)

    with pytest.raises(NoFallbackAvailableError):
        await llm()

    assert asked == ["rhetor", "engram"]


async def test_a_component_that_cannot_be_used_is_passed_over() -> None:
    usable = {"local"}
    world = World(usable=lambda name: name in usable)
    world.stand_in("local")

    assert await world.call() == "local: hi"
    assert world.asked == ["local"]
    usable.clear()
    with pytest.raises(NoFallbackAvailableError, match="rhetor: cannot be used now"):
        await world.call()


async def test_it_says_who_serves_a_capability_since_when_and_why() -> None:
    clock = ManualClock(wall=1_000.0)
    world = World(clock)
    world.stand_in("local")
    world.manager.register_circuit_breaker("rhetor", failure_threshold=2)
    (status,) = world.manager.status()
    assert (status.served_by, status.degraded) == ("rhetor", False)

    world.fails("rhetor")
    await world.call()
    assert world.changes == []
    await world.call()
    clock.advance(30)

    (status,) = world.manager.status()
    assert (status.capability, status.component, status.served_by, status.degraded) == ("llm", "rhetor", "local", True)
    assert (status.since, status.seconds) == (1_000.0, 30.0)
    assert status.reason == "rhetor: 2 failures in a row, the last one: ConnectionError: gone"


async def test_listeners_hear_of_the_degradation_and_of_the_end_of_it() -> None:
    clock = ManualClock()
    world = World(clock)
    world.stand_in("local", "remote")
    world.manager.register_circuit_breaker("rhetor", failure_threshold=1, half_open_requests=1)
    world.fails("rhetor", "local")
    for _ in range(5):
        await world.call()
    world.manager.breaker("remote").trip()
    world.manager.breaker("remote").reset()
    world.behaviour.clear()
    clock.advance(60)
    await world.call()

    assert [(change.previous, change.served_by, change.restored) for change in world.changes] == [
        ("rhetor", "local", False),
        ("local", "remote", False),
        ("remote", None, False),
        (None, "remote", False),
        ("remote", "rhetor", True),
    ]


async def test_a_capability_without_traffic_is_restored_by_good_health() -> None:
    clock = ManualClock()
    world = World(clock)
    world.stand_in("local")
    world.manager.register_circuit_breaker("rhetor", failure_threshold=1, half_open_requests=2)
    world.fails("rhetor")
    await world.call()

    for _ in range(14):
        clock.advance(5)
        world.manager.breaker("rhetor").probed(True)

    assert [change.restored for change in world.changes] == [False, True]


async def test_a_component_that_is_lost_and_found_changes_who_serves() -> None:
    usable = {"rhetor", "local"}
    world = World(usable=lambda name: name in usable)
    world.stand_in("local")

    usable.discard("rhetor")
    world.manager.review("rhetor has failed")
    usable.add("rhetor")
    world.manager.review("rhetor is ready")

    assert [(change.served_by, change.reason) for change in world.changes] == [
        ("local", "rhetor has failed"),
        ("rhetor", "rhetor is ready"),
    ]


async def test_what_is_removed_is_not_called_and_not_shown() -> None:
    world = World()
    world.stand_in("local")
    world.fails("rhetor")

    world.manager.remove_fallback("llm", "rhetor")

    with pytest.raises(NoFallbackAvailableError):
        await world.call()
    assert world.manager.status() == []


def test_a_breaker_is_kept_when_the_settings_are_the_same_and_replaced_when_not() -> None:
    manager = GracefulDegradationManager()
    first = manager.register_circuit_breaker("rhetor", 3, 30, 1, failure_rate=0.5)
    first.trip()

    assert manager.register_circuit_breaker("rhetor", 3, 30, 1, failure_rate=0.5) is first
    second = manager.register_circuit_breaker("rhetor", 4, 30, 1)

    assert second is manager.breaker("rhetor")
    assert second.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (("text generation", "rhetor", "local"), "/capability"),
        (("llm", "Rhetor", "local"), "/primary_component"),
        (("llm", "rhetor", "local.llm"), "/fallback_component"),
    ],
)
def test_names_that_are_none_are_refused(names: tuple[str, str, str], field: str) -> None:
    with pytest.raises(InvalidIdError) as refused:
        GracefulDegradationManager().register_fallback(*names)

    assert refused.value.field == field


def test_a_breaker_is_for_a_component() -> None:
    with pytest.raises(InvalidIdError, match="component"):
        GracefulDegradationManager().register_circuit_breaker("Rhetor")


def test_without_settings_a_breaker_is_that_of_the_specification() -> None:
    settings = GracefulDegradationManager().register_circuit_breaker("rhetor").settings

    assert (settings.failure_threshold, settings.reset_timeout, settings.half_open_requests) == (5, 60, 2)
    assert settings.failure_rate is None


async def test_the_classification_of_the_manager_holds_for_its_breakers() -> None:
    world = World(classify=lambda error: isinstance(error, ConnectionError))
    world.stand_in("local")
    world.fails("rhetor", error=ValueError("no JSON"))

    with pytest.raises(ValueError, match="no JSON"):
        await world.call()

    assert world.manager.breaker("rhetor").failures == 0
