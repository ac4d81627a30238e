"""Tests of tekton.core.dependents: what happens to those that depend on who can no longer be used."""

import asyncio
import random
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependents import DependentPolicy, Dependents
from tekton.core.lifecycle import USABLE, Change, ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.testing import current_clock, virtual_time

READY, DEGRADED, FAILED, STOPPED = (
    ComponentState.READY,
    ComponentState.DEGRADED,
    ComponentState.FAILED,
    ComponentState.STOPPED,
)
PROMPT = RestartPolicy(backoff=(1.0, 1.0))


async def _nothing() -> None:
    return


class Plant:
    """Components that start at once, and count how often. What fails is restarted a second later."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
        self.recovery = Recovery(
            registry, self.coordinator, rng=random.Random(1), clock=current_clock(), default=PROMPT
        )
        self.dependents = Dependents(registry, self.recovery)
        self.starts: dict[str, int] = {}
        self.broken: set[str] = set()

    async def add(self, name: str, needs: Iterable[str] = (), policy: DependentPolicy = "keep") -> None:
        async def start() -> bool:
            self.starts[name] = self.starts.get(name, 0) + 1
            return name not in self.broken

        await self.coordinator.register_component_handler(name, start, needs, stop_func=_nothing)
        self.dependents.set_policy(name, policy, needs)

    async def __aenter__(self) -> Self:
        self.dependents.start()
        await self.recovery.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dependents.stop()
        await self.recovery.stop()
        await self.coordinator.close()

    async def start(self) -> None:
        results = await self.coordinator.start_components()
        assert all(result.success for result in results.values()), results

    def record(self, name: str) -> ComponentRecord:
        record = self.registry.find(name)
        assert record is not None
        return record

    def told(self, name: str) -> tuple[ComponentState, str | None]:
        return self.record(name).state, self.record(name).reason

    def fail(self, name: str) -> None:
        assert self.registry.observe(name, self.record(name).instance_uuid, FAILED, "exit 1")


async def chain(plant: Plant, policy: DependentPolicy) -> None:
    """hermes <- engram <- rhetor, of which engram and rhetor have the policy."""
    await plant.add("hermes")
    await plant.add("engram", ["hermes"], policy)
    await plant.add("rhetor", ["engram"], policy)
    await plant.start()


@virtual_time
async def test_by_default_nothing_happens(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "keep")

        plant.fail("hermes")
        await asyncio.sleep(10)

        assert plant.told("engram") == (READY, None)
        assert plant.starts == {"hermes": 2, "engram": 1, "rhetor": 1}


# Degrade.


@virtual_time
async def test_who_degrades_is_ready_again_when_the_dependency_is_back(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")

        plant.fail("hermes")
        without = plant.told("engram")
        await asyncio.sleep(10)

        assert without == (DEGRADED, "dependency: hermes failed")
        assert plant.told("engram") == (READY, "its dependencies can be used again")
        # Who is degraded can be used.
        assert plant.told("rhetor") == (READY, None)
        assert plant.starts == {"hermes": 2, "engram": 1, "rhetor": 1}


@virtual_time
async def test_it_stays_degraded_as_long_as_one_dependency_is_missing(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        for name in ("a", "b"):
            await plant.add(name)
        await plant.add("x", ["a", "b"], "degrade")
        await plant.start()
        plant.broken.add("b")

        plant.fail("a")
        plant.fail("b")
        await asyncio.sleep(3)

        assert plant.told("a")[0] is READY
        assert plant.told("x") == (DEGRADED, "dependency: a failed")
        plant.broken.clear()
        await asyncio.sleep(100)
        assert plant.told("x")[0] is READY


@virtual_time
async def test_a_dependency_that_is_stopped_or_removed_is_missed_too(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")

        await plant.coordinator.stop_component("hermes")
        stopped = plant.told("engram")
        await inline_registry.deregister("hermes", plant.record("hermes").instance_uuid)
        await plant.coordinator.start_component("hermes")

        assert stopped[0] is DEGRADED
        assert plant.told("engram")[0] is READY


@virtual_time
async def test_who_comes_up_while_a_dependency_is_missing_is_degraded(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")
        await plant.coordinator.stop_component("hermes")

        await inline_registry.make_ready("engram", plant.record("engram").instance_uuid)

        assert plant.told("engram") == (DEGRADED, "dependency: hermes stopped")


@virtual_time
async def test_what_has_changed_meanwhile_is_noticed_at_the_start(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")
        await plant.coordinator.stop_component("hermes")
        assert plant.told("engram")[0] is DEGRADED

        plant.dependents.stop()
        await plant.coordinator.start_component("hermes")
        assert plant.told("engram")[0] is DEGRADED
        plant.dependents.start()

        assert plant.told("engram")[0] is READY


@virtual_time
async def test_what_somebody_else_has_degraded_is_left_alone(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")
        engram = plant.record("engram").instance_uuid
        inline_registry.observe("engram", engram, DEGRADED, "the mail server is away")

        plant.fail("hermes")
        await asyncio.sleep(10)

        assert plant.told("engram") == (DEGRADED, "the mail server is away")


# Restart.


@virtual_time
async def test_who_restarts_does_so_once_the_dependency_is_back(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "restart")

        plant.fail("hermes")
        meanwhile = plant.told("engram")
        await asyncio.sleep(10)

        assert meanwhile == (READY, None)
        # And so it goes on down the chain, once each.
        assert plant.starts == {"hermes": 2, "engram": 2, "rhetor": 2}
        assert plant.told("rhetor")[0] is READY


@virtual_time
async def test_that_is_no_failure_of_its_own(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "restart")

        for _ in range(3):
            plant.fail("hermes")
            await asyncio.sleep(10)

        assert plant.starts["engram"] == 4
        assert (plant.recovery.status("engram").attempt, plant.recovery.restarts("engram")) == (0, 0)
        assert plant.recovery.restarts("hermes") == 3


@virtual_time
async def test_it_waits_for_all_of_its_dependencies(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        for name in ("a", "b"):
            await plant.add(name)
        await plant.add("x", ["a", "b"], "restart")
        await plant.start()
        await plant.coordinator.stop_component("b")

        plant.fail("a")
        await asyncio.sleep(10)
        assert plant.starts["x"] == 1
        await plant.coordinator.start_component("b")
        await asyncio.sleep(1)

        assert plant.starts["x"] == 2


@virtual_time
async def test_who_has_failed_meanwhile_is_left_to_recovery(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "restart")

        plant.fail("hermes")
        plant.fail("engram")
        await asyncio.sleep(20)

        assert plant.told("engram")[0] is READY
        assert plant.starts["engram"] == 2


@virtual_time
async def test_who_was_stopped_stays_stopped(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "restart")

        plant.fail("hermes")
        await plant.coordinator.stop_component("engram")
        await asyncio.sleep(20)

        assert plant.told("engram")[0] is STOPPED
        assert plant.starts["engram"] == 1


@virtual_time
async def test_a_dependency_that_flaps_restarts_it_at_most_once_per_return(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await plant.add("hermes")
        await plant.add("engram", ["hermes"], "restart")
        await plant.start()

        for _ in range(4):
            plant.fail("hermes")
            await plant.registry.wait_until("hermes", lambda record: record is not None and record.usable)
        await asyncio.sleep(100)

        assert plant.told("engram")[0] is READY
        assert 2 <= plant.starts["engram"] <= plant.starts["hermes"] == 5


@virtual_time
async def test_while_recovery_is_stopped_nobody_is_restarted(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "restart")
        await plant.recovery.stop()

        plant.fail("hermes")
        await plant.coordinator.restart_component("hermes")
        await asyncio.sleep(10)

        assert plant.starts["engram"] == 1


# Instances and policies.


@virtual_time
async def test_another_instance_of_the_dependency_is_as_good(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        instances = [ComponentRegistration(component_id="pool", max_instances=2) for _ in range(2)]
        for one in instances:
            await inline_registry.register(one)
            await inline_registry.make_ready("pool", one.instance_uuid)
        await plant.add("x", ["pool"], "degrade")
        await plant.start()

        for one in instances:
            assert plant.told("x") == (READY, None)
            inline_registry.observe("pool", one.instance_uuid, FAILED, "exit 1")

        assert plant.told("x") == (DEGRADED, "dependency: pool failed")


@virtual_time
async def test_a_policy_can_be_replaced_and_forgotten(inline_registry: ComponentRegistry) -> None:
    async with Plant(inline_registry) as plant:
        await chain(plant, "degrade")
        plant.dependents.set_policy("engram", "degrade", ["elsewhere", "rhetor"])
        plant.dependents.set_policy("engram", "keep", ["hermes"])
        plant.dependents.forget("engram")
        plant.dependents.forget("nobody")

        plant.fail("hermes")

        assert plant.told("engram") == (READY, None)
        assert plant.dependents._of == {"engram": {"rhetor"}}


@pytest.mark.parametrize("seed", range(20))
@virtual_time
async def test_whatever_fails_everybody_is_ready_in_the_end_and_nobody_restarts_for_ever(
    inline_registry: ComponentRegistry, seed: int
) -> None:
    rng = random.Random(seed)
    names = [f"c{number}" for number in range(8)]
    losses = dict.fromkeys(names, 0)

    def note(change: Change) -> None:
        if change.previous in USABLE and not change.record.usable:
            losses[change.component_id] += 1

    async with Plant(inline_registry) as plant:
        needs = {name: rng.sample(names[:number], min(number, rng.randrange(3))) for number, name in enumerate(names)}
        for name in names:
            await plant.add(name, needs[name], rng.choice(["keep", "degrade", "restart"]))
        await plant.start()
        inline_registry.feed.add_listener(note)
        for _ in range(40):
            name = rng.choice(names)
            if plant.record(name).usable:
                plant.fail(name)
            await asyncio.sleep(rng.choice([0, 0.5, 1, 5, 200]))
        await asyncio.sleep(10_000)

        assert {name: plant.told(name)[0] for name in names} == dict.fromkeys(names, READY)
        for name in names:
            # Each loss of its own is one more start; a start whose dependency is lost meanwhile may be tried again.
            assert plant.starts[name] <= 1 + losses[name] + sum(losses[need] for need in needs[name])
