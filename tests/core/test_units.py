"""Tests of tekton.core.units: which instances belong to which replica."""

import asyncio
import random

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import Dependency, EnhancedStartUpCoordinator
from tekton.core.units import Units, component_of, unit_name
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import ComponentError

READY, FAILED, STOPPED = ComponentState.READY, ComponentState.FAILED, ComponentState.STOPPED


async def succeed() -> None:
    await asyncio.sleep(0)


def three(name: str = "worker") -> ComponentRegistration:
    return ComponentRegistration(component_id=name, max_instances=3)


@pytest.mark.parametrize(("replica", "name"), [(0, "worker"), (1, "worker.1"), (12, "worker.12")])
def test_the_name_of_a_unit_says_whose_it_is(replica: int, name: str) -> None:
    assert unit_name("worker", replica) == name
    assert component_of(name) == "worker"


async def test_an_instance_belongs_to_who_claimed_it_and_else_to_replica_0(inline_registry: ComponentRegistry) -> None:
    units = Units(inline_registry)
    units.add("worker")
    units.add("worker.1")
    claimed, unclaimed = three(), three()
    units.claim("worker.1", claimed.instance_uuid)
    for one in (claimed, unclaimed):
        await inline_registry.register(one)

    assert units.of("worker") == ("worker", "worker.1")
    found = {unit: [record.instance_uuid for record in units.instances(unit)] for unit in units.of("worker")}
    assert found == {"worker": [unclaimed.instance_uuid], "worker.1": [claimed.instance_uuid]}
    assert units.unit_of("worker", claimed.instance_uuid) == "worker.1"


async def test_the_instances_of_a_unit_that_is_gone_are_those_of_replica_0(inline_registry: ComponentRegistry) -> None:
    units = Units(inline_registry)
    units.add("worker.1")
    one = three()
    units.claim("worker.1", one.instance_uuid)
    await inline_registry.register(one)

    units.discard("worker.1")

    assert units.of("worker") == ("worker",)
    assert units.instances("worker.1") == []
    assert units.find("worker.1") is None
    assert units.unit_of("worker", one.instance_uuid) == "worker"


class Replicas:
    """A component of three replicas, all of which the coordinator starts."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
        self.starts: list[str] = []
        self.stops: list[str] = []
        self.broken: set[str] = set()

    async def add(self, *needs: str | Dependency, drain: float = 0.0) -> None:
        for replica in range(3):
            await self.add_unit(unit_name("worker", replica), *needs, drain=drain)

    async def add_unit(self, unit: str, *needs: str | Dependency, drain: float = 0.0) -> None:
        async def start() -> None:
            self.starts.append(unit)
            await asyncio.sleep(1)
            if unit in self.broken:
                raise RuntimeError("broken")

        async def stop() -> None:
            self.stops.append(unit)

        await self.coordinator.register_component_handler(
            unit, start, needs, stop_func=stop, registration=three, supervised=True, drain=drain
        )

    def record(self, unit: str) -> ComponentRecord:
        record = self.coordinator.units.find(unit)
        assert record is not None
        return record

    def crash(self, unit: str) -> None:
        record = self.record(unit)
        assert self.registry.observe(record.component_id, record.instance_uuid, FAILED, "exit 1")

    def states(self) -> dict[str, ComponentState]:
        return {unit: self.record(unit).state for unit in self.coordinator.units.of("worker")}


@virtual_time
async def test_every_replica_is_an_instance_of_its_component(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    results = await system.coordinator.start_components({"worker": {}})

    assert list(results) == ["worker", "worker.1", "worker.2"]
    assert [record.state for record in inline_registry.instances("worker")] == [READY] * 3
    assert len({system.record(unit).instance_uuid for unit in results}) == 3


@virtual_time
async def test_a_dependency_is_met_by_one_usable_replica(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    system.broken = {"worker", "worker.2"}
    await system.coordinator.register_component_handler("api", succeed, ["worker"])

    results = await system.coordinator.start_components()

    assert {name: result.success for name, result in results.items()} == {
        "worker": False,
        "worker.1": True,
        "worker.2": False,
        "api": True,
    }


@virtual_time
async def test_a_dependency_fails_when_no_replica_can_be_used(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    system.broken = {"worker", "worker.1", "worker.2"}
    await system.coordinator.register_component_handler("api", succeed, ["worker"])

    results = await system.coordinator.start_components()

    assert results["api"].error == "api cannot start: worker failed (RuntimeError: broken)"


@virtual_time
async def test_dependents_are_stopped_before_any_replica(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    await system.add_unit("api", "worker")
    await system.coordinator.register_component_handler(
        "api", succeed, ["worker"], stop_func=lambda: system.stops.append("api")
    )
    await system.coordinator.start_components()

    await system.coordinator.stop_components(["worker", "api"])

    assert system.stops[0] == "api"
    assert sorted(system.stops[1:]) == ["worker", "worker.1", "worker.2"]


@virtual_time
async def test_a_replica_that_fails_is_replaced_and_the_others_are_left_alone(
    inline_registry: ComponentRegistry,
) -> None:
    system = Replicas(inline_registry)
    await system.add()
    recovery = Recovery(inline_registry, system.coordinator, clock=current_clock(), rng=random.Random(1))
    async with recovery:
        await system.coordinator.start_components()
        before = {unit: system.record(unit).instance_uuid for unit in system.states()}
        system.crash("worker.1")
        await asyncio.sleep(10)

    after = {unit: system.record(unit).instance_uuid for unit in system.states()}
    assert set(system.states().values()) == {READY}
    assert [unit for unit in after if after[unit] != before[unit]] == ["worker.1"]
    assert [recovery.restarts(unit) for unit in after] == [0, 1, 0]
    assert len(inline_registry.instances("worker")) == 3


@virtual_time
async def test_a_crash_loop_of_one_replica_gives_up_that_one_alone(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    recovery = Recovery(inline_registry, system.coordinator, clock=current_clock(), rng=random.Random(1))
    for unit in ("worker", "worker.1", "worker.2"):
        recovery.set_policy(unit, RestartPolicy(max=2))
    async with recovery:
        await system.coordinator.start_components()
        system.broken.add("worker.2")
        system.crash("worker.2")
        await asyncio.sleep(100)
        assert recovery.status("worker.2").gave_up
        system.crash("worker")
        await asyncio.sleep(10)

    assert system.states() == {"worker": READY, "worker.1": READY, "worker.2": FAILED}
    assert [recovery.status(unit).gave_up for unit in system.states()] == [False, False, True]
    # Its failure stays visible: the registration of another replica does not replace it.
    assert len(inline_registry.instances("worker")) == 3


@virtual_time
async def test_one_replica_is_stopped_and_started_by_its_own_name(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    await system.coordinator.start_components()

    await system.coordinator.stop_component("worker.1")

    assert system.states() == {"worker": READY, "worker.1": STOPPED, "worker.2": READY}
    await system.coordinator.start_component("worker.1")
    assert set(system.states().values()) == {READY}


@virtual_time
async def test_the_error_of_a_replica_names_it(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    system.broken.add("worker.1")
    with pytest.raises(ComponentError, match=r"^worker\.1: RuntimeError: broken$"):
        await system.coordinator.start_component("worker.1")


@virtual_time
async def test_those_who_depend_on_a_replicated_component_are_told_of_it_once(
    inline_registry: ComponentRegistry,
) -> None:
    system = Replicas(inline_registry)
    await system.add("db")
    await system.coordinator.register_component_handler("db", succeed)
    assert system.coordinator.explain("db").dependents == ("worker",)


@virtual_time
async def test_what_is_told_of_a_component_is_about_its_best_replica(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add()
    system.broken = {"worker"}
    await system.coordinator.start_components()

    states = {name: system.coordinator.explain(name).state for name in ("worker", "worker.1")}
    assert states == {"worker": READY, "worker.1": READY}
    assert system.record("worker").state is FAILED


@virtual_time
async def test_a_circle_through_a_replicated_component_is_refused(inline_registry: ComponentRegistry) -> None:
    system = Replicas(inline_registry)
    await system.add("api")
    await system.coordinator.register_component_handler("api", succeed, ["worker"])

    results = await system.coordinator.start_components()

    assert "dependency cycle api -> worker -> api" in (results["api"].error or "")
    assert not any(result.success for result in results.values())
    assert system.starts == []
