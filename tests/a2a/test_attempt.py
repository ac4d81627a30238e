"""Attempts of agents that are elsewhere: who is asked again when nothing is heard of one, and what that costs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.attempt import AGENT_LOST, told
from tekton.a2a.task_event import Budget, Leased
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_runner import PATIENCE
from tekton.a2a.task_steps import TaskContext
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.tekton_errors import NoAgentAvailableError, TaskFailedError, TaskRejectedError

Ask = Callable[[Agent, TaskContext], Any]


class Elsewhere:
    """Agents of the component shop, which do what the test says, in the order in which they are asked."""

    def __init__(self, *answers: Any, agents: str = "a", log: MemoryTaskLog | None = None) -> None:
        self.registry = AgentRegistry()
        for name in agents:
            self.add(name)
        self.answers = list(answers)
        self.asked: list[str] = []
        self.log = log or MemoryTaskLog()
        self.manager = TaskManager(self.registry, log=self.log, remote=self, clock=current_clock())

    def add(self, name: str) -> None:
        self.registry.register_agent(name, ["review"], endpoint="http://shop.test", component_id="shop")

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        self.asked.append(agent.agent_id)
        answer = self.answers.pop(0)
        if answer == "hangs":
            await asyncio.sleep(1e6)
        if answer in (AGENT_LOST, "agent_failed"):
            raise TaskFailedError(context.task_id, answer, "why not")
        if answer == "vanishes":
            self.registry.unregister_agent(agent.agent_id)
            raise TaskFailedError(context.task_id, AGENT_LOST, "it has ended")
        return answer


@virtual_time
async def test_an_agent_that_was_lost_is_asked_again() -> None:
    there = Elsewhere(AGENT_LOST, "done")

    assert await there.manager.execute_task(there.manager.create_task("review")) == "done"
    assert there.asked == ["a", "a"]


@virtual_time
async def test_an_agent_that_has_failed_is_not() -> None:
    there = Elsewhere("agent_failed", AGENT_LOST, "done", agents="ab")

    assert await there.manager.execute_task(there.manager.create_task("review")) == "done"
    assert there.asked == ["a", "b", "b"]


@virtual_time
async def test_agents_that_are_lost_again_and_again_use_up_the_budget() -> None:
    there = Elsewhere(*[AGENT_LOST] * 9)
    with pytest.raises(TaskFailedError) as caught:
        await there.manager.execute_task(there.manager.create_task("review", budget=Budget(attempts=3)))

    assert (caught.value.failed, there.asked) == ("task_budget", ["a", "a", "a"])


@virtual_time
async def test_a_task_waits_for_an_agent_that_is_started_again() -> None:
    there = Elsewhere("vanishes", "done")
    running = asyncio.get_running_loop().create_task(there.manager.execute_task(there.manager.create_task("review")))
    await asyncio.sleep(PATIENCE - 1)
    there.add("a")

    assert await running == "done"


@virtual_time
async def test_a_task_does_not_wait_for_ever() -> None:
    there = Elsewhere("vanishes")
    with pytest.raises((NoAgentAvailableError, TaskFailedError)) as caught:
        await there.manager.execute_task(there.manager.create_task("review"))

    assert getattr(caught.value, "failed", "") == "no_agent_available"


@virtual_time
async def test_who_had_the_task_when_we_ended_has_it_again() -> None:
    before = Elsewhere("hangs", agents="b")
    task = before.manager.create_task("review", budget=Budget(attempts=1))
    running = asyncio.get_running_loop().create_task(before.manager.execute_task(task))
    await asyncio.sleep(1)
    await before.manager.close()
    await asyncio.wait({running})
    after = Elsewhere("done", agents="ab", log=before.log)
    after.manager.resume()
    result = await after.manager.execute_task(task)
    await after.manager.close()

    leases = [event.change for event in before.log.read(task.task_id) if isinstance(event.change, Leased)]
    assert (result, after.asked) == ("done", ["b"])
    assert [(lease.agent_id, lease.goes_on) for lease in leases] == [("b", False), ("b", True)]
    assert running.exception() is not None


def test_what_an_agent_has_raised_is_told_with_its_code() -> None:
    assert told(TaskFailedError("t", "garbage", "what is this")) == ("garbage", "what is this")
    assert told(TaskRejectedError("t", "no"))[0] == "task_rejected"
    assert told(OSError("it broke")) == ("agent_failed", "OSError: it broke")
