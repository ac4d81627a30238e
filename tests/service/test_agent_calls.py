"""Who asks an agent that is not in this process."""

from typing import Any, cast

import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.task_steps import TaskContext
from tekton.service.agent_calls import AgentCalls
from tekton.utils.tekton_errors import AgentUnreachableError

OFFERED = Agent("reviewer", ("review",), endpoint="http://127.0.0.1:1", component_id="shop")
REMOTE = Agent("translator", ("translate",), endpoint="https://agents.example")
CONTEXT = cast(TaskContext, object())


class Asked:
    """Asks agents, and remembers which."""

    def __init__(self) -> None:
        self.agents: list[str] = []

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        assert context is CONTEXT
        self.agents.append(agent.agent_id)
        return f"{agent.agent_id} was asked"


async def test_an_agent_of_a_component_is_asked_there_and_any_other_at_its_endpoint() -> None:
    calls = AgentCalls()
    calls.components, calls.remote = components, remote = Asked(), Asked()

    assert await calls(OFFERED, CONTEXT) == "reviewer was asked"
    assert await calls(REMOTE, CONTEXT) == "translator was asked"
    assert (components.agents, remote.agents) == (["reviewer"], ["translator"])


@pytest.mark.parametrize("agent", [OFFERED, REMOTE])
async def test_an_agent_that_nobody_asks_is_unreachable(agent: Agent) -> None:
    with pytest.raises(AgentUnreachableError):
        await AgentCalls()(agent, CONTEXT)
