"""Whom a task leads to."""

import asyncio

import pytest

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.planner import Planners
from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, Created
from tekton.a2a.task_graph import Subtask, checked_plan
from tekton.a2a.task_routes import TaskRoutes
from tekton.a2a.task_types import TaskTypes
from tekton.testing import virtual_time
from tekton.utils.tekton_errors import AgentNotFoundError, AgentUnreachableError, NoAgentAvailableError


def task(task_type: str = "review", agent_id: str = "") -> Task:
    return Task("t", Created(task_type, {}, 1.0, Budget(), "t", agent_id=agent_id), 0.0, 0.0)


class Routed:
    def __init__(self, *, remote: bool = False) -> None:
        self.registry = AgentRegistry()
        self.planners = Planners()
        self.routes = TaskRoutes(self.registry, TaskTypes(), self.planners, remote=remote)

    def names(self, wanted: Task) -> list[str]:
        return [agent.agent_id for agent in self.routes.route(wanted)]


def test_an_agent_that_is_named_is_the_only_one() -> None:
    routed = Routed()
    routed.registry.register_agent("a", ["review"])
    routed.registry.register_agent("b", [])

    assert routed.names(task(agent_id="b")) == ["b"]
    with pytest.raises(AgentNotFoundError):
        routed.routes.route(task(agent_id="c"))


def test_a_declared_plan_leads_to_the_agents_of_its_parts() -> None:
    routed = Routed()
    for name in ("review", "write"):
        routed.registry.register_agent(f"{name}er", [name])
    parts = [Subtask("w", "write"), Subtask("r", "review"), Subtask("x", "write", {}, (), "reviewer")]

    routed.planners.declare("feature", parts)

    assert routed.names(task("feature")) == ["writeer", "reviewer"]
    assert routed.routes.is_planned(task("feature"))
    assert not routed.routes.is_planned(task("feature", "reviewer"))


def test_all_to_whom_there_is_no_way_are_named() -> None:
    routed = Routed()
    routed.registry.register_agent("a", ["review"])
    routed.registry.register_agent("b", ["review"])
    routed.registry.register_agent("far", ["review"], endpoint="https://agents.example/far")

    with pytest.raises(AgentUnreachableError) as caught:
        routed.routes.reachable(task())

    assert caught.value.agent_id == "far"
    assert caught.value.reason == "it is at an endpoint, and nothing here calls those, nor is there a way to a, b"


def test_an_agent_without_handler_and_endpoint_is_named() -> None:
    routed = Routed()
    routed.registry.register_agent("a", ["review"])

    with pytest.raises(AgentUnreachableError, match="agent a cannot be reached: it has neither a handler nor an endp"):
        routed.routes.reachable(task())


def test_agents_at_endpoints_are_asked_where_that_is_possible() -> None:
    routed = Routed(remote=True)
    routed.registry.register_agent("far", ["review"], endpoint="https://agents.example/far")

    assert [agent.agent_id for agent in routed.routes.reachable(task())] == ["far"]


def planned(*parts: Subtask) -> Task:
    return Task("t", Created("feature", {}, 1.0, Budget(), "t"), 0.0, 0.0, plan=tuple(checked_plan(parts)))


def usable(routed: Routed) -> None:
    routed.registry.register_agent("a", ["review"], handler=list)


@pytest.mark.parametrize("dependencies", [(), ("first",)])
def test_a_part_that_nobody_knows_is_told_before_anything_begins(dependencies: tuple[str, ...]) -> None:
    routed = Routed()
    usable(routed)
    first = Subtask("first", "review")

    with pytest.raises(NoAgentAvailableError, match="no agent is available for painting"):
        routed.routes.check(planned(first, Subtask("p", "painting", {}, dependencies)))
    with pytest.raises(AgentNotFoundError):
        routed.routes.check(planned(first, Subtask("p", "review", {}, dependencies, "nobody")))
    routed.routes.check(planned(first, Subtask("p", "review", {}, dependencies)))


def test_the_parts_of_a_declared_plan_are_looked_at() -> None:
    routed = Routed()
    routed.planners.declare("feature", [Subtask("p", "painting")])

    with pytest.raises(NoAgentAvailableError):
        routed.routes.check(task("feature"))


def test_what_a_planner_will_say_is_not_known() -> None:
    routed = Routed()
    routed.planners.register("feature", lambda _: [])

    routed.routes.check(task("feature"))
    routed.routes.check(planned(Subtask("p", "feature")))


def test_a_part_that_waits_for_others_may_be_done_by_who_is_not_usable_yet() -> None:
    routed = Routed()
    usable(routed)
    routed.registry.register_agent("down", ["paint"], handler=list)
    routed.registry.mark("down", AgentHealth.UNUSABLE)

    for kind in ("paint", "code_optimization"):
        with pytest.raises(NoAgentAvailableError):
            routed.routes.check(planned(Subtask("p", kind)))
        routed.routes.check(planned(Subtask("first", "review"), Subtask("p", kind, {}, ["first"])))


def test_a_part_to_whose_agents_there_is_no_way_is_told() -> None:
    routed = Routed()
    routed.registry.register_agent("a", ["review"])

    with pytest.raises(AgentUnreachableError):
        routed.routes.check(planned(Subtask("p", "review")))


def meant(routed: Routed, wanted: str) -> str | None:
    with pytest.raises(NoAgentAvailableError) as caught:
        routed.routes.check(task(wanted))
    return caught.value.nearest


def test_what_was_perhaps_meant_is_a_capability_or_a_type() -> None:
    routed = Routed()
    usable(routed)
    routed.planners.register("feature", lambda _: [])

    assert meant(routed, "reveiw") == "review"
    assert meant(routed, "feture") == "feature"
    assert meant(routed, "code_optimisation") == "code_optimization"
    assert meant(routed, "painting") is None


def test_nothing_else_is_meant_where_it_is_known_who_could_do_it() -> None:
    routed = Routed()
    usable(routed)
    routed.registry.register_agent("down", ["reviews"], handler=list)
    routed.registry.mark("down", AgentHealth.UNUSABLE)

    assert meant(routed, "reviews") is None
    assert meant(routed, "code_optimization") is None


def test_parts_that_are_done_are_not_looked_at() -> None:
    wanted = planned(Subtask("p", "painting"))

    Routed().routes.check(wanted, {wanted.plan[0].task_id})


@virtual_time
async def test_it_waits_for_agents_while_it_is_to_be_patient() -> None:
    routed = Routed()
    now = asyncio.get_running_loop().time
    with pytest.raises(NoAgentAvailableError):
        await routed.routes.reachable_soon(task())
    routed.routes.be_patient(30.0)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(routed.routes.reachable_soon(task()))
        await asyncio.sleep(10)
        routed.registry.register_agent("other", ["write"], handler=list)
        await asyncio.sleep(10)
        routed.registry.register_agent("a", ["review"], handler=list)

    assert [agent.agent_id for agent in waiting.result()] == ["a"]
    routed.registry.unregister_agent("a")
    began = now()
    with pytest.raises(NoAgentAvailableError):
        await routed.routes.reachable_soon(task())
    assert now() - began == pytest.approx(10.0)


@virtual_time
@pytest.mark.parametrize(("taken_up", "seconds"), [(False, 0.0), (True, 30.0)])
async def test_where_all_have_failed_only_a_task_that_was_taken_up_waits_for_others(
    taken_up: bool, seconds: float
) -> None:
    routed = Routed()
    routed.registry.register_agent("a", ["review"], handler=list)
    routed.routes.be_patient(30.0)
    began = asyncio.get_running_loop().time()

    assert await routed.routes.reachable_soon(task(), {"a"}, taken_up=taken_up) == ()
    assert asyncio.get_running_loop().time() - began == pytest.approx(seconds)


class TestAllSoon:
    @virtual_time
    async def test_at_other_times_it_is_who_is_there(self) -> None:
        routed = Routed()
        routed.registry.register_agent("a", ["review"], handler=list)
        routed.registry.register_agent("b", ["review"], handler=list)
        routed.registry.mark("b", AgentHealth.UNUSABLE)

        for taken_up in (True, False):
            assert [one.agent_id for one in await routed.routes.all_soon(task(), taken_up=taken_up)] == ["a"]
        with pytest.raises(NoAgentAvailableError):
            await routed.routes.all_soon(task("painting"), taken_up=True)

    @virtual_time
    async def test_after_a_start_all_that_are_known_are_waited_for(self) -> None:
        routed = Routed()
        routed.registry.register_agent("a", ["review"], handler=list)
        routed.registry.register_agent("b", ["review"], handler=list)
        routed.registry.mark("b", AgentHealth.UNUSABLE)
        routed.routes.be_patient(30)
        loop = asyncio.get_running_loop()
        loop.call_later(5, routed.registry.mark, "b", AgentHealth.USABLE)
        began = loop.time()

        of_new = await routed.routes.all_soon(task(), taken_up=False)
        of_taken_up = await routed.routes.all_soon(task(), taken_up=True)

        assert (len(of_new), len(of_taken_up), loop.time() - began) == (1, 2, pytest.approx(5))

    @virtual_time
    async def test_who_does_not_come_back_is_not_waited_for_for_ever(self) -> None:
        routed = Routed()
        routed.registry.register_agent("a", ["review"], handler=list)
        routed.registry.register_agent("b", ["review"], handler=list)
        routed.registry.mark("b", AgentHealth.UNUSABLE)
        routed.routes.be_patient(30)

        assert [one.agent_id for one in await routed.routes.all_soon(task(), taken_up=True)] == ["a"]
