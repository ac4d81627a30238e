"""Has agents do tasks that are not in this process: those of components, and remote ones.

Where an agent is says who asks it: one that a component offers is asked there, any other at its endpoint. What the
first one does has spans of its own; of asking the other one there is a span here.
"""

from typing import Any

from tekton.a2a.agent import Agent
from tekton.a2a.task_routes import RemoteAgents
from tekton.a2a.task_steps import TaskContext
from tekton.core.tracing import Tracer
from tekton.utils.tekton_errors import AgentUnreachableError


class AgentCalls:
    """Implements `RemoteAgents` with two others: *components* asks agents that components offer, *remote* those at an
    endpoint of their own. *tracer* makes the spans."""

    def __init__(
        self,
        components: RemoteAgents | None = None,
        remote: RemoteAgents | None = None,
        *,
        tracer: Tracer | None = None,
    ) -> None:
        self.components = components
        self.remote = remote
        self._tracer = tracer

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        """Have *agent* do the task; returns its result. Raises AgentUnreachableError where nobody can ask it."""
        ask = self.remote if agent.component_id is None else self.components
        if ask is None:
            raise AgentUnreachableError(agent.agent_id, "nothing here asks such agents")
        if self._tracer is None or context.trace is None or agent.component_id is not None:
            return await ask(agent, context)
        with self._tracer.begin(f"call {agent.agent_id}", "client", context.trace, task=context.task_id):
            return await ask(agent, context)
