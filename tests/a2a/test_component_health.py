"""Agents are as usable as their component."""

import msgspec
import pytest

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.component_health import health_of, trouble_of
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState

HEALTH = {ComponentState.READY: AgentHealth.USABLE, ComponentState.DEGRADED: AgentHealth.IMPAIRED}


@pytest.mark.parametrize("state", ComponentState)
async def test_each_state_of_a_component_has_its_health(registry: ComponentRegistry, state: ComponentState) -> None:
    await registry.register(ComponentRegistration(component_id="ergon"))
    found = registry.find("ergon")
    assert found is not None

    record = msgspec.structs.replace(found, state=state)

    assert health_of(record) is HEALTH.get(state, AgentHealth.UNUSABLE)


def test_a_component_that_is_not_there_is_not_usable() -> None:
    assert health_of(None) is AgentHealth.UNUSABLE


async def test_what_is_the_trouble_with_a_component_is_said_in_a_sentence(registry: ComponentRegistry) -> None:
    await registry.register(ComponentRegistration(component_id="ergon"))
    found = registry.find("ergon")
    assert found is not None

    ready = msgspec.structs.replace(found, state=ComponentState.READY)
    failed = msgspec.structs.replace(found, state=ComponentState.FAILED, reason="exit code 1")

    assert trouble_of("ergon", None) == "its component ergon is not registered"
    assert trouble_of("ergon", ready) is None
    assert trouble_of("ergon", msgspec.structs.replace(ready, serving=False)) == "its component ergon takes no traffic"
    assert trouble_of("ergon", failed) == "its component ergon is failed: exit code 1"


async def test_agents_follow_a_component_from_its_start_to_its_stop(registry: ComponentRegistry) -> None:
    registration = ComponentRegistration(component_id="ergon")
    agents = AgentRegistry(health=lambda component_id: health_of(registry.find(component_id)))
    agents.register_agent("reviewer", ["review"], component_id="ergon")
    assert agents.health("reviewer") is AgentHealth.UNUSABLE

    await registry.register(registration)
    record = await registry.make_ready("ergon", registration.instance_uuid)
    agents.component_changed("ergon")
    assert agents.health("reviewer") is AgentHealth.USABLE

    assert health_of(msgspec.structs.replace(record, serving=False)) is AgentHealth.IMPAIRED
