"""Tests of tekton.testing.memory_system: what a test of a component can rely on."""

import asyncio

import pytest

from tekton.core.recovery import RestartPolicy
from tekton.testing import InjectedFault, InMemorySystem, virtual_time
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    DependencyError,
    InvalidIdError,
    NoUsableInstanceError,
    TransportError,
)

UP = ["registering", "initializing", "starting", "ready"]


async def answer(name: str) -> str:
    return f"Hello, {name}."


def states(system: InMemorySystem, component_id: str) -> list[str]:
    return [transition.state for transition in system.history(component_id)]


@virtual_time
async def test_components_start_in_the_order_of_their_dependencies() -> None:
    order: list[str] = []

    async def started(name: str) -> None:
        await asyncio.sleep(1)
        order.append(name)

    async with InMemorySystem() as system:
        system.add("greeter", answer, needs=["hermes"], on_start=lambda: started("greeter"))
        system.add("hermes", on_start=lambda: started("hermes"))
        results = await system.up()

        assert order == ["hermes", "greeter"]
        assert all(result.success for result in results.values())
        assert states(system, "greeter") == UP
        assert system.now == 2


@virtual_time
async def test_a_decorated_function_is_a_component_of_its_name() -> None:
    async with InMemorySystem() as system:

        @system.component(capabilities=["greet"])
        async def greeter(name: str) -> str:
            return await answer(name)

        await system.up()

        assert await system.call("greeter", name="Ada") == "Hello, Ada."
        assert [record.component_id for record in system.registry.by_capability("greet")] == ["greeter"]


@virtual_time
async def test_what_a_function_raises_is_what_its_caller_gets() -> None:
    async def fail() -> None:
        raise LookupError("nothing there")

    async with InMemorySystem() as system:
        system.add("greeter", fail)
        await system.up()

        with pytest.raises(LookupError, match="nothing there"):
            await system.call("greeter")


@virtual_time
async def test_a_start_that_fails_is_told() -> None:
    async def fail() -> None:
        raise RuntimeError("no model")

    async with InMemorySystem() as system:
        system.add("rhetor", on_start=fail)
        system.add("greeter", answer, needs=["rhetor"])

        results = await system.up("rhetor")
        with pytest.raises(DependencyError):
            await system.start("greeter")

        assert "no model" in str(results["rhetor"].error)
        assert system.state("rhetor") == "failed"


@virtual_time
async def test_a_killed_component_is_failed_with_the_reason_and_comes_back() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        await system.up()
        first = await system.until("greeter", "ready")
        await system.faults.kill("greeter", "exit 1")
        with pytest.raises(NoUsableInstanceError):
            await system.call("greeter", "Ada")
        second = await system.until("greeter", "ready")

        assert states(system, "greeter") == [*UP, "failed", *UP]
        assert system.history("greeter")[4].reason == "exit 1"
        assert second.instance_uuid != first.instance_uuid
        assert system.restarts("greeter").attempt == 1
        assert await system.call("greeter", "Ada") == "Hello, Ada."


@virtual_time
async def test_who_is_killed_while_it_starts_is_failed_and_started_again() -> None:
    async with InMemorySystem() as system:
        system.add("rhetor", on_start=lambda: asyncio.sleep(20))
        async with asyncio.TaskGroup() as group:
            start = group.create_task(system.up())
            await asyncio.sleep(5)
            await system.faults.kill("rhetor", "killed by signal 9")
        await system.until("rhetor", "ready")

        assert "killed by signal 9" in str(start.result()["rhetor"].error)
        assert system.now > 25


@virtual_time
async def test_a_kill_cuts_off_what_is_being_answered() -> None:
    async def think() -> None:
        await asyncio.sleep(100)

    async with InMemorySystem() as system:
        system.add("greeter", think)
        await system.up()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(_error_of(system.call("greeter")))
            await asyncio.sleep(1)
            await system.faults.kill("greeter")

        assert isinstance(call.result(), TransportError)


async def _error_of(call: object) -> BaseException | None:
    try:
        await call  # type: ignore[misc]
    except Exception as error:
        return error
    return None


@virtual_time
async def test_a_paused_component_is_failed_when_its_lease_runs_out_and_its_successor_runs() -> None:
    async with InMemorySystem(heartbeat_timeout=30) as system:
        system.add("greeter", answer)
        await system.up()
        await asyncio.sleep(5)
        system.faults.pause("greeter")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await system.call("greeter", "Ada")
        failed = await system.until("greeter", "failed")
        await system.until("greeter", "ready")

        assert failed.reason == "no heartbeat for 30 s"
        assert await system.call("greeter", "Ada") == "Hello, Ada."


@virtual_time
async def test_a_pause_shorter_than_the_lease_harms_nobody() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        await system.up()
        system.faults.pause("greeter")
        async with asyncio.TaskGroup() as group:
            call = group.create_task(system.call("greeter", "Ada"))
            await asyncio.sleep(15)
            system.faults.resume("greeter")

        assert call.result() == "Hello, Ada."
        assert states(system, "greeter") == UP


@virtual_time
async def test_a_slow_component_takes_longer_and_heals() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        await system.up()
        system.faults.slow("greeter", 2.5)
        before = system.now
        await system.call("greeter", "Ada")
        slow = system.now - before
        system.faults.heal("greeter")
        await system.call("greeter", "Ada")

        assert (slow, system.now - before) == (2.5, 2.5)


@virtual_time
async def test_a_share_of_the_answers_are_errors_and_the_seed_says_which() -> None:
    async def outcomes(seed: int) -> list[bool]:
        async with InMemorySystem(seed=seed) as system:
            system.add("greeter", answer)
            await system.up()
            system.faults.errors("greeter", 0.25)
            return [await _error_of(system.call("greeter", "Ada")) is not None for _ in range(400)]

    first = await outcomes(1)

    assert first == await outcomes(1)
    assert 60 < sum(first) < 140


@virtual_time
async def test_an_error_rate_of_one_leaves_no_answer() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        await system.up()
        system.faults.errors("greeter", 1)

        with pytest.raises(InjectedFault, match="greeter fails because the test says so"):
            await system.call("greeter", "Ada")


@virtual_time
async def test_whoever_crashes_again_and_again_is_given_up() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer, restart=RestartPolicy(max=2))
        await system.up()
        for _ in range(2):
            await system.faults.kill("greeter")
            await system.until("greeter", "ready")
        await system.faults.kill("greeter")
        await asyncio.sleep(3600)

        assert system.state("greeter") == "failed"
        assert system.restarts("greeter").gave_up


@virtual_time
async def test_until_tells_what_happened_instead() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        await system.up()

        with pytest.raises(AssertionError, match=r"was not failed within 60 s:\n.*registering"):
            await system.until("greeter", "failed", timeout=60)
        with pytest.raises(ValueError, match="asleep"):
            await system.until("greeter", "asleep")


@virtual_time
async def test_what_is_stopped_stays_stopped() -> None:
    said: list[str] = []

    async def say_goodbye() -> None:
        said.append("goodbye")

    async with InMemorySystem() as system:
        system.add("greeter", answer, on_stop=say_goodbye)
        await system.up()
        await system.stop("greeter")
        await asyncio.sleep(3600)

        assert (system.state("greeter"), said) == ("stopped", ["goodbye"])


@virtual_time
async def test_components_outlive_a_control_plane_and_the_dead_are_found() -> None:
    async with InMemorySystem() as system:
        system.add("greeter", answer)
        system.add("hermes")
        await system.up()
        alive = await system.until("greeter", "ready")
        async with asyncio.TaskGroup() as group:
            restart = group.create_task(system.restart_control_plane(away=300))
            await asyncio.sleep(100)
            await system.faults.kill("hermes")
            await restart
            await system.until("hermes", "failed")
            await system.until("hermes", "ready")
        await asyncio.sleep(3600)

        assert (await system.until("greeter", "ready")).instance_uuid == alive.instance_uuid
        assert states(system, "greeter") == UP
        assert "lost" in [transition.reason for transition in system.history("hermes")]


@virtual_time
async def test_mistakes_are_refused() -> None:
    async with InMemorySystem() as system:
        system.add("greeter")
        await system.up()

        with pytest.raises(ValueError, match="already"):
            system.add("greeter")
        with pytest.raises(InvalidIdError):
            system.add("Not An Id")
        with pytest.raises(ComponentNotFoundError):
            await system.until("nobody", "ready")
        with pytest.raises(ComponentError, match="without a function"):
            await system.call("greeter")
        with pytest.raises(ValueError, match="between 0 and 1"):
            system.faults.errors("greeter", 2)
        with pytest.raises(ValueError, match="at once"):
            system.faults.slow("greeter", -1)
        await system.stop("greeter")
        with pytest.raises(RuntimeError, match="does not run"):
            await system.faults.kill("greeter")
