"""The agents in a registration: what is accepted of them, and that nothing is shared with who said it."""

from typing import Any

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, check_registration
from tekton.core.offered_agents import MAX_AGENTS, MAX_AGENTS_BYTES, OfferedAgent
from tekton.utils.tekton_errors import InvalidIdError, InvalidRegistrationError


def registration(*agents: OfferedAgent, **fields: Any) -> ComponentRegistration:
    return ComponentRegistration(component_id="shop", agents=agents, **fields)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"items": value}
    return value


def test_a_registration_without_agents_says_nothing_of_them() -> None:
    plain = check_registration(ComponentRegistration(component_id="shop"))
    empty = check_registration(registration())

    assert b"agents" not in msgspec.json.encode(plain)
    assert b"agents" not in msgspec.json.encode(empty)


def test_agents_are_kept_as_they_were_said() -> None:
    said = {"agent_id": "reviewer", "capabilities": ("code_review",), "version": "1.4", "tags": ("python",)}
    decoded = msgspec.convert({"component_id": "shop", "agents": [said]}, ComponentRegistration)

    kept = check_registration(decoded)

    assert msgspec.to_builtins(kept)["agents"] == (said,)


def test_what_is_kept_is_shared_with_nobody() -> None:
    metadata = {"model": "small"}
    kept = check_registration(registration(OfferedAgent(agent_id="reviewer", metadata=metadata)))

    metadata["model"] = "large"

    assert kept.agents == (OfferedAgent(agent_id="reviewer", metadata={"model": "small"}),)


@pytest.mark.parametrize(
    ("agents", "field"),
    [
        ([OfferedAgent(agent_id="The Reviewer")], "/agents/0/agent_id"),
        ([OfferedAgent(agent_id="a.b")], "/agents/0/agent_id"),
        ([OfferedAgent(agent_id="a"), OfferedAgent(agent_id="a")], "/agents/1/agent_id"),
        ([OfferedAgent(agent_id="a", capabilities=("No Name",))], "/agents/0/capabilities/0"),
        ([OfferedAgent(agent_id="a", tags=tuple(f"t{number}" for number in range(257)))], "/agents/0/tags"),
        ([OfferedAgent(agent_id="a", version="new")], "/agents/0/version"),
        ([OfferedAgent(agent_id="a", version="01.0.0")], "/agents/0/version"),
        ([OfferedAgent(agent_id="a", description="x" * 2001)], "/agents/0/description"),
        ([OfferedAgent(agent_id="a", metadata={"x": object()})], "/agents"),
        ([OfferedAgent(agent_id="a", metadata=nested(70))], "/agents"),
        ([OfferedAgent(agent_id="a", metadata={"x": "x" * MAX_AGENTS_BYTES})], "/agents"),
        ([OfferedAgent(agent_id=f"a{number}") for number in range(MAX_AGENTS + 1)], "/agents"),
        ([OfferedAgent(agent_id="a", capabilities=(1,))], "/agents/0/capabilities/0"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_kept_is_refused_where_it_is(agents: list[OfferedAgent], field: str) -> None:
    with pytest.raises((InvalidRegistrationError, InvalidIdError)) as caught:
        check_registration(registration(*agents))

    assert caught.value.field == field


async def test_agents_said_anew_hold_at_once(registry: ComponentRegistry) -> None:
    said = registration(OfferedAgent(agent_id="a"))
    await registry.register(said)
    await registry.register(msgspec.structs.replace(said, agents=(OfferedAgent(agent_id="b"),)))
    record = registry.find("shop")

    assert record is not None
    assert [agent.agent_id for agent in record.offered_agents] == ["b"]
