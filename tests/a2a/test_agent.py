"""An agent is a value that is checked when it is made."""

from typing import Any

import pytest

from tekton.a2a.agent import Agent, Locality, Skill
from tekton.utils.tekton_errors import InvalidAgentError, InvalidIdError


async def work() -> None:
    """Do nothing."""


def test_its_metadata_are_a_copy() -> None:
    metadata = {"model": "m", "more": [1]}
    agent = Agent("a", ("review",), metadata)

    metadata["more"].append(2)  # type: ignore[attr-defined]

    assert agent.metadata == {"model": "m", "more": [1]}


def test_a_capability_that_is_given_twice_counts_once() -> None:
    assert Agent("a", ("review", "write", "review")).capabilities == ("review", "write")


def test_its_tags_are_its_own_and_those_of_its_skills() -> None:
    agent = Agent("a", (), tags=("fast",), skills=(Skill("review", "Review", tags=("python", "rust")),))

    assert agent.all_tags == {"fast", "python", "rust"}


@pytest.mark.parametrize(
    ("reached", "locality"),
    [
        ({}, Locality.NOWHERE),
        ({"endpoint": "https://agents.example/a"}, Locality.REMOTE),
        ({"handler": work}, Locality.LOCAL),
        ({"handler": work, "endpoint": "https://agents.example/a"}, Locality.LOCAL),
    ],
)
def test_a_handler_is_nearer_than_an_endpoint(reached: dict[str, Any], locality: Locality) -> None:
    assert Agent("a", (), **reached).locality is locality


@pytest.mark.parametrize("description", [{"description": "Reviews code"}, {}, {"description": 7}])
def test_its_description_is_what_its_metadata_say_if_that_is_a_text(description: dict[str, Any]) -> None:
    said = description.get("description")

    assert Agent("a", (), description).description == (said if isinstance(said, str) else "")


def test_an_agent_comes_back_from_its_description_but_for_the_handler() -> None:
    agent = Agent(
        "a",
        ("review.code",),
        {"description": "d"},
        "1.4.0",
        (Skill("review", "Review", "Looks at code", ("python",)),),
        ("fast",),
        "https://agents.example/a",
        "ergon",
    )

    assert Agent.from_description(agent.describe()) == agent


def test_a_description_leaves_out_what_there_is_not() -> None:
    assert Agent("a", ("review",), handler=work).describe() == {
        "agent_id": "a",
        "capabilities": ["review"],
        "version": "0.0.0",
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"capabilities": "review"}, "/capabilities"),
        ({"capabilities": [f"c{number}" for number in range(257)]}, "/capabilities"),
        ({"tags": "fast"}, "/tags"),
        ({"metadata": {"a": float("nan")}}, "/metadata"),
        ({"metadata": {"a": "x" * 65_536}}, "/metadata"),
        ({"version": "latest"}, "/version"),
        ({"endpoint": "file:///etc/passwd"}, "/endpoint"),
        ({"handler": "work"}, "/handler"),
        ({"skills": [Skill("a", "x" * 2001)]}, "/skills/0"),
        ({"skills": [Skill("a", "A")] * 257}, "/skills"),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_its_place(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidAgentError) as caught:
        Agent(**{"agent_id": "a", "capabilities": (), **fields})

    assert (caught.value.agent_id, caught.value.field) == ("a", field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"agent_id": "Code Assistant"}, "/agent_id"),
        ({"capabilities": ("Review!",)}, "/capabilities"),
        ({"tags": ("Very Fast",)}, "/tags"),
        ({"component_id": "a.b"}, "/component_id"),
        ({"skills": [Skill("No Id", "A")]}, "/skills/0/id"),
        ({"skills": [Skill("a", "A", tags=("No Tag",))]}, "/skills/0/tags"),
    ],
)
def test_names_follow_the_rule_for_names(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidIdError) as caught:
        Agent(**{"agent_id": "a", "capabilities": (), **fields})

    assert caught.value.field == field
