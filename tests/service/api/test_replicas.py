"""Draining instances, and what is refused about them and about numbers of replicas."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.gateway.request import Request
from tekton.service.api.replicas import Drain, Drained, DrainQuery, Instances, Scale
from tekton.service.system import System
from tekton.utils.tekton_config import ComponentSpec
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError, StaleInstanceError


class World:
    """Two usable instances of `worker`, and a system that supervises `worker` with port 9000."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        spec = ComponentSpec(name="worker", command=["x"], port=9000)
        self.api = Instances(
            cast(
                System,
                SimpleNamespace(
                    registry=registry,
                    coordinator=EnhancedStartUpCoordinator(registry),
                    knows=lambda name: registry.find(name) is not None,
                    nearest=lambda _: None,
                    runs=lambda name: name == "worker",
                    supervisor=SimpleNamespace(specs={"worker": spec}),
                    lineup=SimpleNamespace(ports=lambda _: {9002: "web"}),
                ),
            )
        )

    async def register(self, name: str = "worker") -> list[str]:
        instances = [ComponentRegistration(component_id=name, max_instances=2) for _ in range(2)]
        for one in instances:
            await self.registry.register(one)
            await self.registry.make_ready(name, one.instance_uuid)
        return [one.instance_uuid for one in instances]

    def request(self, name: str = "worker", *, body: msgspec.Struct | None = None, query: Any = None) -> Request:
        return cast(Request, SimpleNamespace(params={"component_id": name}, body=body, query=query))

    def serving(self) -> dict[str, bool]:
        return {record.instance_uuid: record.serving for record in self.registry.instances("worker")}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ComponentRegistry() as registry:
        yield World(registry)


async def test_all_usable_instances_are_drained_and_given_back(world: World) -> None:
    first, second = await world.register()

    drained = await world.api.drain(world.request(body=Drain()))
    assert world.serving() == {first: False, second: False}
    given_back = await world.api.undo(world.request(query=DrainQuery()))

    assert isinstance(drained, Drained)
    assert (drained.serving, set(drained.instances)) == (False, {first, second})
    assert (given_back.serving, set(given_back.instances)) == (True, {first, second})
    assert world.serving() == {first: True, second: True}


async def test_one_instance_is_drained_alone(world: World) -> None:
    first, second = await world.register()
    await world.api.drain(world.request(body=Drain(instance_uuid=second)))
    assert world.serving() == {first: True, second: False}


async def test_an_instance_that_is_gone_is_not_drained(world: World) -> None:
    await world.register()
    with pytest.raises(StaleInstanceError):
        await world.api.drain(world.request(body=Drain(instance_uuid="00000000-0000-4000-8000-000000000000")))


async def test_what_cannot_be_used_has_no_traffic_to_take_away(world: World) -> None:
    for instance in await world.register():
        world.registry.observe("worker", instance, ComponentState.FAILED, "exit 1")
    with pytest.raises(ComponentError, match="none of it can be used"):
        await world.api.drain(world.request(body=Drain()))


async def test_who_is_unknown_is_not_drained(world: World) -> None:
    with pytest.raises(ComponentNotFoundError):
        await world.api.drain(world.request("worke", body=Drain()))


async def test_a_component_that_runs_itself_is_not_scaled(world: World) -> None:
    await world.register("other")
    with pytest.raises(ComponentError, match="Tekton does not run its process"):
        await world.api.scale(world.request("other", body=Scale(2)))


async def test_replicas_are_not_given_the_port_of_somebody_else(world: World) -> None:
    await world.register()
    with pytest.raises(ComponentError, match="port 9002 of replica 2 is already that of web"):
        await world.api.scale(world.request(body=Scale(3)))
