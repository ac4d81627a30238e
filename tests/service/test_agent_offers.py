"""Which agents there are because components say so: as long as they do, and each under one name."""

import pytest

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.component_health import health_of
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.offered_agents import OfferedAgent
from tekton.service.agent_offers import AgentOffers


class World:
    """A registry of components, the agents that they are, and what follows the one into the other."""

    def __init__(self, components: ComponentRegistry) -> None:
        self.components = components
        self.agents = AgentRegistry(health=lambda component_id: health_of(components.find(component_id)))
        self.offers = AgentOffers(components, self.agents)
        components.feed.add_listener(lambda change: self.agents.component_changed(change.component_id))
        self.offers.start()

    async def register(
        self, component_id: str, *agents: OfferedAgent | str, ready: bool = True, **fields: object
    ) -> ComponentRegistration:
        said = tuple(
            OfferedAgent(agent_id=one, capabilities=("review",)) if isinstance(one, str) else one for one in agents
        )
        registration = ComponentRegistration(
            component_id=component_id,
            endpoint=f"http://{component_id}.test:80",
            agents=said,
            **fields,  # type: ignore[arg-type]
        )
        await self.components.register(registration)
        if ready:
            await self.components.make_ready(component_id, registration.instance_uuid)
        return registration

    def who(self) -> dict[str, str | None]:
        return {agent_id: self.agents.get_agent(agent_id).component_id for agent_id in self.agents}


@pytest.fixture
def world(registry: ComponentRegistry) -> World:
    return World(registry)


async def test_an_agent_is_as_usable_as_its_component(world: World) -> None:
    said = await world.register("shop", "reviewer", ready=False)
    seen = [world.agents.health("reviewer")]
    await world.components.make_ready("shop", said.instance_uuid)
    seen.append(world.agents.health("reviewer"))
    await world.components.set_state("shop", said.instance_uuid, ComponentState.DEGRADED)
    seen.append(world.agents.health("reviewer"))
    await world.components.set_state("shop", said.instance_uuid, ComponentState.FAILED)
    seen.append(world.agents.health("reviewer"))

    assert seen == [AgentHealth.UNUSABLE, AgentHealth.USABLE, AgentHealth.IMPAIRED, AgentHealth.UNUSABLE]
    assert world.who() == {"reviewer": "shop"}


async def test_an_agent_is_what_its_component_says(world: World) -> None:
    offered = OfferedAgent(
        agent_id="reviewer",
        capabilities=("code_review",),
        description="Reviews.",
        version="1.2.0",
        tags=("python",),
        metadata={"model": "none"},
    )
    await world.register("shop", offered)
    agent = world.agents.get_agent("reviewer")

    assert (agent.capabilities, agent.version, agent.tags) == (("code_review",), "1.2.0", ("python",))
    assert (agent.description, agent.metadata["model"], agent.endpoint) == ("Reviews.", "none", "http://shop.test:80")


async def test_agents_go_with_their_component(world: World) -> None:
    said = await world.register("shop", "reviewer", "analyzer")
    await world.components.deregister("shop", said.instance_uuid)

    assert world.who() == {}


async def test_what_is_not_said_any_more_is_gone(world: World) -> None:
    said = await world.register("shop", "reviewer", "analyzer")
    again = ComponentRegistration(
        component_id="shop",
        endpoint=said.endpoint,
        instance_uuid=said.instance_uuid,
        agents=(OfferedAgent(agent_id="analyzer"),),
    )
    await world.components.register(again)

    assert world.who() == {"analyzer": "shop"}


async def test_who_was_there_first_has_the_name_until_it_is_gone(world: World) -> None:
    first = await world.register("shop", "reviewer")
    await world.register("thief", "reviewer")
    before = world.who()
    await world.components.deregister("shop", first.instance_uuid)

    assert (before, world.who()) == ({"reviewer": "shop"}, {"reviewer": "thief"})


async def test_an_agent_that_was_registered_otherwise_stays(world: World) -> None:
    world.agents.register_agent("reviewer", ["review"], endpoint="http://elsewhere.test")
    said = await world.register("shop", "reviewer")
    before = world.who()
    world.agents.unregister_agent("reviewer")
    after = world.who()
    await world.components.deregister("shop", said.instance_uuid)

    assert (before, after, world.who()) == ({"reviewer": None}, {"reviewer": "shop"}, {})


async def test_one_of_several_instances_is_enough(world: World) -> None:
    first = await world.register("shop", "reviewer", max_instances=2)
    await world.register("shop", "reviewer", max_instances=2)
    await world.components.deregister("shop", first.instance_uuid)

    assert world.who() == {"reviewer": "shop"}
    assert len(world.offers.instances("shop", "reviewer")) == 1


async def test_what_was_registered_before_the_start_is_there(registry: ComponentRegistry) -> None:
    before = World(registry)
    before.offers.stop()
    await before.register("shop", "reviewer")

    assert (before.who(), World(registry).who()) == ({}, {"reviewer": "shop"})
