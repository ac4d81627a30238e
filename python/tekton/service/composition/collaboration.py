"""The agents, their tasks and conversations, and the two ways to them: the API and Agent2Agent."""

from dataclasses import dataclass

from tekton.auth.keys import KeyRing
from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.tracing import Tracer
from tekton.service.agent_calls import AgentCalls
from tekton.service.agents import Agents
from tekton.service.component_agents import ComponentAgents
from tekton.service.conversations import Conversations
from tekton.service.edge.a2a.edge import A2aEdge
from tekton.service.remote_agents import remote_agents
from tekton.service.security import Security
from tekton.service.tasks import Tasks
from tekton.service.work import Work
from tekton.utils.remote_agents import RemoteAgents
from tekton.utils.tekton_config import TektonConfig


@dataclass(frozen=True, slots=True)
class Collaboration:
    """See the module. Agents are in components (`component_agents`) or elsewhere (`remote_agents`)."""

    agents: Agents
    component_agents: ComponentAgents
    remote_agents: RemoteAgents
    conversations: Conversations
    tasks: Tasks
    a2a: A2aEdge


def collaboration(
    config: TektonConfig,
    registry: ComponentRegistry,
    security: Security,
    work: Work,
    clock: Clock,
    *,
    card_ring: KeyRing | None,
    tracer: Tracer,
) -> Collaboration:
    """The agents over *registry* and *work*; *card_ring* signs their cards, *tracer* makes spans of calls.

    Raises ConfigurationError for keys of remote ones that cannot be used."""
    agents = Agents(registry)
    components = ComponentAgents(registry, agents.registry, security, config, work.tasks, clock=clock)
    remote = remote_agents(agents, registry, config, clock)
    conversations = Conversations(work, clock)
    calls = AgentCalls(components, remote, tracer=tracer)
    tasks = Tasks(work, agents, conversations, registry, remote=calls, config=config, clock=clock)
    a2a = A2aEdge(
        tasks,
        agents,
        conversations,
        work,
        security.policy,
        components=registry,
        config=config,
        card_ring=card_ring,
        clock=clock,
    )
    return Collaboration(agents, components, remote, conversations, tasks, a2a)
