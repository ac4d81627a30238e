"""The agents that there are, and in which order they are to be asked."""

import asyncio
import logging

import pytest

from tekton.a2a.agent import AgentHealth, Locality
from tekton.a2a.agent_registry import AgentChange, AgentRegistry
from tekton.utils.tekton_errors import (
    AgentExistsError,
    AgentNotFoundError,
    AgentUnreachableError,
    InvalidAgentError,
    InvalidIdError,
)


async def work() -> None:
    """Do nothing."""


def registry_of(*agent_ids: str) -> AgentRegistry:
    """A registry of agents that can review, and are here."""
    registry = AgentRegistry()
    for agent_id in agent_ids:
        registry.register_agent(agent_id, ["review"], handler=work)
    return registry


def found(registry: AgentRegistry, capability: str = "review") -> list[str]:
    return [agent.agent_id for agent in registry.find_agents_by_capability(capability)]


class TestRegistration:
    def test_an_agent_is_found_by_its_id_and_by_each_of_its_capabilities(self) -> None:
        registry = AgentRegistry()

        agent = registry.register_agent(agent_id="a", capabilities=["review", "write"], metadata={"model": "m"})

        assert registry.get_agent("a") is agent is registry.find_agent("a")
        assert registry.find_agents_by_capability("review") == registry.find_agents_by_capability("write") == (agent,)
        assert (registry.find_agents_by_capability("paint"), registry.find_agent("b")) == ((), None)
        assert ("a" in registry, len(registry), list(registry)) == (True, 1, ["a"])
        assert (registry.agents(), registry.capabilities()) == ([agent], ["review", "write"])

    def test_a_second_agent_of_the_same_id_is_refused_and_the_first_stays(self) -> None:
        registry = registry_of("a")
        first, version = registry.get_agent("a"), registry.version

        with pytest.raises(AgentExistsError, match="there is an agent a already"):
            registry.register_agent("a", ["write"])

        assert (registry.get_agent("a"), registry.version) == (first, version)
        assert found(registry, "write") == []

    def test_an_agent_that_is_replaced_is_found_by_its_new_capabilities_only(self) -> None:
        registry = registry_of("a", "b")

        registry.register_agent("a", ["write"], replace=True)

        assert (found(registry), found(registry, "write")) == (["b"], ["a"])

    @pytest.mark.parametrize("capabilities", ["review", ["Review it"]])
    def test_an_agent_that_is_refused_changes_nothing(self, capabilities: list[str]) -> None:
        registry = AgentRegistry()

        with pytest.raises((InvalidAgentError, InvalidIdError)):
            registry.register_agent("a", capabilities)

        assert (len(registry), registry.version) == (0, 0)

    def test_an_agent_that_is_unregistered_is_not_found(self) -> None:
        registry = registry_of("a", "b")
        before = registry.find_agents_by_capability("review")

        gone = registry.unregister_agent("a")

        assert (gone.agent_id, found(registry), len(before)) == ("a", ["b"], 2)
        with pytest.raises(AgentNotFoundError):
            registry.get_agent("a")

    def test_an_agent_that_there_is_not_is_told_with_the_nearest(self) -> None:
        with pytest.raises(AgentNotFoundError) as caught:
            registry_of("code_assistant").get_agent("code_asistant")

        assert (caught.value.nearest, caught.value.hint) == ("code_assistant", "did you mean 'code_assistant'?")

    def test_the_same_answer_is_given_out_until_something_changes(self) -> None:
        registry = registry_of("b", "a")
        first = registry.find_agents_by_capability("review")
        registry.register_agent("painter", ["paint"])

        assert registry.find_agents_by_capability("review") is first

        registry.register_agent("c", ["review"], handler=work)
        assert found(registry) == ["a", "b", "c"]


class TestReach:
    def test_an_agent_without_a_way_to_it_is_found_last(self) -> None:
        registry = AgentRegistry()
        registry.register_agent("a", ["review"])
        registry.register_agent("b", ["review"], endpoint="https://agents.example/b")

        assert found(registry) == ["b", "a"]
        with pytest.raises(AgentUnreachableError, match="agent a cannot be reached: it has neither"):
            registry.reach("a")

    def test_a_handler_that_is_bound_later_makes_it_reachable(self) -> None:
        registry = AgentRegistry()
        registry.register_agent("a", ["review"], {"model": "m"})

        agent = registry.bind("a", work)

        assert registry.reach("a") is agent
        assert (agent.handler, agent.locality, agent.metadata) == (work, Locality.LOCAL, {"model": "m"})

    def test_a_handler_can_be_taken_away(self) -> None:
        registry = registry_of("a")

        registry.bind("a", None)

        with pytest.raises(AgentUnreachableError):
            registry.reach("a")

    def test_nothing_is_bound_to_an_agent_that_there_is_not(self) -> None:
        with pytest.raises(AgentNotFoundError):
            AgentRegistry().bind("a", work)


class TestHealth:
    def registry(self, states: dict[str, AgentHealth]) -> AgentRegistry:
        """A registry of one agent for each component of *states*, of its name."""
        registry = AgentRegistry(health=states.__getitem__)
        for component_id in states:
            registry.register_agent(component_id, ["review"], handler=work, component_id=component_id)
        return registry

    def test_usable_ones_come_before_impaired_ones_and_unusable_ones_not_at_all(self) -> None:
        registry = self.registry({"a": AgentHealth.UNUSABLE, "b": AgentHealth.IMPAIRED, "c": AgentHealth.USABLE})

        assert found(registry) == ["c", "b"]
        assert [agent.agent_id for agent in registry.agents()] == ["a", "b", "c"]

    def test_a_change_of_the_component_is_seen_when_it_is_told(self) -> None:
        states = {"a": AgentHealth.USABLE, "b": AgentHealth.USABLE}
        registry = self.registry(states)

        states["a"] = AgentHealth.UNUSABLE
        registry.component_changed("a")

        assert (found(registry), registry.health("a")) == (["b"], AgentHealth.UNUSABLE)
        with pytest.raises(AgentUnreachableError, match="its component a is not usable"):
            registry.reach("a")
        states["a"] = AgentHealth.USABLE
        registry.component_changed("a")
        assert found(registry) == ["a", "b"]

    def test_a_change_that_changes_no_health_is_no_change(self) -> None:
        registry = self.registry({"a": AgentHealth.USABLE})
        version = registry.version

        registry.component_changed("a")
        registry.component_changed("other")

        assert registry.version == version

    def test_an_agent_that_has_left_its_component_no_longer_follows_it(self) -> None:
        states = {"a": AgentHealth.USABLE}
        registry = self.registry(states)
        registry.register_agent("a", ["review"], handler=work, replace=True)

        states["a"] = AgentHealth.UNUSABLE
        registry.component_changed("a")

        assert found(registry) == ["a"]

    def test_an_agent_without_a_component_is_usable(self) -> None:
        registry = AgentRegistry(health=lambda _: AgentHealth.UNUSABLE)
        registry.register_agent("a", ["review"], handler=work)

        assert (found(registry), registry.health("a")) == (["a"], AgentHealth.USABLE)

    def test_a_health_that_cannot_be_read_changes_nothing(self) -> None:
        states = {"a": AgentHealth.USABLE}
        registry = self.registry(states)
        states.clear()

        with pytest.raises(KeyError):
            registry.component_changed("a")
        with pytest.raises(KeyError):
            registry.register_agent("a", ["write"], component_id="a", replace=True)

        assert (found(registry), found(registry, "write")) == (["a"], [])


class TestMarks:
    def test_who_is_marked_as_unusable_is_not_found_and_the_reason_is_known(self) -> None:
        registry = registry_of("a", "b")
        changes: list[AgentChange] = []
        registry.listen(changes.append)

        registry.mark("a", AgentHealth.UNUSABLE, "its card is gone")

        assert (found(registry), registry.reason("a")) == (["b"], "its card is gone")
        assert [(change.action, change.health) for change in changes] == [("health", AgentHealth.UNUSABLE)]
        with pytest.raises(AgentUnreachableError, match="its card is gone"):
            registry.reach("a")

    def test_who_is_impaired_is_asked_last(self) -> None:
        registry = registry_of("a", "b")

        registry.mark("a", AgentHealth.IMPAIRED, "it is slow")

        assert found(registry) == ["b", "a"]

    def test_a_mark_is_taken_back(self) -> None:
        registry = registry_of("a", "b")
        registry.mark("a", AgentHealth.UNUSABLE, "gone")

        registry.mark("a", AgentHealth.USABLE)

        assert (found(registry), registry.reason("a")) == (["a", "b"], "")

    def test_a_mark_outlasts_a_replacement(self) -> None:
        registry = registry_of("a")
        registry.mark("a", AgentHealth.UNUSABLE, "gone")

        registry.register_agent("a", ["review"], handler=work, replace=True)

        assert (found(registry), registry.reason("a")) == ([], "gone")

    def test_of_mark_and_component_the_worse_counts(self) -> None:
        health = AgentHealth.IMPAIRED
        registry = AgentRegistry(health=lambda _: health)
        registry.register_agent("a", ["review"], component_id="a", handler=work)
        seen = [registry.health("a")]
        registry.mark("a", AgentHealth.UNUSABLE, "gone")
        seen.append(registry.health("a"))
        registry.mark("a", AgentHealth.USABLE)
        seen.append(registry.health("a"))

        assert seen == [AgentHealth.IMPAIRED, AgentHealth.UNUSABLE, AgentHealth.IMPAIRED]

    def test_nobody_is_marked_whom_there_is_not(self) -> None:
        with pytest.raises(AgentNotFoundError):
            registry_of("a").mark("b", AgentHealth.UNUSABLE, "gone")


class TestLoad:
    def test_who_has_less_to_do_comes_first(self) -> None:
        registry = registry_of("a", "b", "c")
        version = registry.version

        registry.set_load("a", 2)
        registry.set_load("b", 1)

        assert found(registry) == ["c", "b", "a"]
        assert (registry.load("a"), registry.version) == (2, version)

    def test_load_survives_that_the_agent_is_replaced(self) -> None:
        registry = registry_of("a", "b")
        registry.set_load("a", 1)

        registry.register_agent("a", ["review"], handler=work, replace=True)

        assert found(registry) == ["b", "a"]

    @pytest.mark.parametrize("load", [-1.0, float("nan"), float("inf")])
    def test_what_is_no_load_is_refused(self, load: float) -> None:
        registry = registry_of("a")

        with pytest.raises(ValueError, match="is no load"):
            registry.set_load("a", load)

        assert registry.load("a") == 0


class TestChanges:
    def test_listeners_hear_of_each_change_with_its_revision(self) -> None:
        states = {"ergon": AgentHealth.USABLE}
        registry = AgentRegistry(health=states.__getitem__)
        heard: list[AgentChange] = []
        stop = registry.listen(heard.append)

        first = registry.register_agent("a", ["review"], component_id="ergon")
        second = registry.bind("a", work)
        states["ergon"] = AgentHealth.IMPAIRED
        registry.component_changed("ergon")
        registry.unregister_agent("a")
        stop()
        stop()
        registry.register_agent("b", [])

        assert heard == [
            ("added", first, AgentHealth.USABLE, 1),
            ("replaced", second, AgentHealth.USABLE, 2),
            ("health", second, AgentHealth.IMPAIRED, 3),
            ("removed", second, AgentHealth.IMPAIRED, 4),
        ]
        assert registry.version == 5

    def test_a_listener_that_fails_does_not_keep_others_from_hearing(self, caplog: pytest.LogCaptureFixture) -> None:
        registry = AgentRegistry()
        heard: list[AgentChange] = []

        def fail(change: AgentChange) -> None:
            raise RuntimeError("no")

        registry.listen(fail)
        registry.listen(heard.append)
        with caplog.at_level(logging.ERROR, "tekton.agents"):
            registry.register_agent("a", [])

        assert len(heard) == 1
        assert [record.name for record in caplog.records] == ["tekton.agents"]

    async def test_whoever_waits_for_a_change_is_woken_by_it(self) -> None:
        registry = registry_of("a")
        assert await registry.changed(since=0) == 1

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = group.create_task(registry.changed(since=1))
            await asyncio.sleep(0)
            assert not waiting.done()
            registry.unregister_agent("a")

        assert waiting.result() == 2


def test_candidates_are_those_with_the_rarest_of_the_names() -> None:
    registry = registry_of("a", "b")
    registry.register_agent("c", ["review", "write"], tags=["fast"], handler=work)

    def ids(capabilities: list[str], tags: list[str]) -> list[str]:
        return [agent.agent_id for agent in registry.candidates(capabilities, tags)]

    assert ids([], []) == ids(["review"], []) == ["a", "b", "c"]
    assert ids(["review", "write"], []) == ids(["review"], ["fast"]) == ["c"]
    assert ids(["review", "paint"], []) == []
    assert [agent.agent_id for agent in registry.find_agents_by_tag("fast")] == ["c"]
