"""From the type of a task to the agents that can do it."""

import pytest

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task_types import TaskTypes
from tekton.utils.tekton_errors import InvalidIdError, NoAgentAvailableError


def names(types: TaskTypes, task_type: str, registry: AgentRegistry) -> list[str]:
    return [agent.agent_id for agent in types.agents(task_type, registry)]


def test_a_capability_of_the_very_name_goes_before_what_was_declared() -> None:
    registry = AgentRegistry()
    registry.register_agent("exact", ["code_optimization"])
    registry.register_agent("declared", ["code_generation", "code_review"])

    assert names(TaskTypes(), "code_optimization", registry) == ["exact"]


def test_agents_with_more_of_the_declared_capabilities_come_first() -> None:
    registry = AgentRegistry()
    registry.register_agent("a", ["code_review"])
    registry.register_agent("b", ["code_generation"])
    registry.register_agent("c", ["code_generation", "code_review"])

    assert names(TaskTypes(), "code_optimization", registry) == ["c", "b", "a"]


def test_nobody_is_guessed_for_a_type_that_nobody_knows() -> None:
    registry = AgentRegistry()
    registry.register_agent("a", ["code_review"])

    with pytest.raises(NoAgentAvailableError, match="no agent is available for painting"):
        TaskTypes().agents("painting", registry)


def test_agents_that_are_not_usable_are_named() -> None:
    registry = AgentRegistry(health=lambda _: AgentHealth.UNUSABLE)
    registry.register_agent("a", ["code_review"], component_id="ergon")

    with pytest.raises(NoAgentAvailableError) as caught:
        TaskTypes().agents("code_optimization", registry)

    assert caught.value.unusable == ["a"]
    assert caught.value.wanted == "code_optimization or code_generation or code_review"


def test_a_type_can_be_declared_anew() -> None:
    types, registry = TaskTypes(), AgentRegistry()
    registry.register_agent("a", ["paint"])

    types.register_task_type("code_optimization", ["paint"])

    assert names(types, "code_optimization", registry) == ["a"]


def test_a_declaration_that_makes_no_sense_is_refused() -> None:
    types = TaskTypes()

    with pytest.raises(InvalidIdError):
        types.register_task_type("No Name", ["paint"])
    with pytest.raises(InvalidIdError):
        types.register_task_type("art", ["No Name"])
    with pytest.raises(TypeError):
        types.register_task_type("art", "paint")
    assert types.find("art").capabilities == ()


def test_what_was_declared_is_listed_and_forgotten() -> None:
    types = TaskTypes()
    types.register_task_type("painting", ["paint"])
    types.register_task_type("code_optimization", ["paint"])
    listed = [(one.name, one.capabilities) for one in types.all()]

    for name in ("painting", "code_optimization", "never_declared"):
        types.forget_task_type(name)

    assert listed == [("code_optimization", ("paint",)), ("painting", ("paint",))]
    assert [(one.name, one.capabilities) for one in types.all()] == [
        ("code_optimization", ("code_generation", "code_review"))
    ]
