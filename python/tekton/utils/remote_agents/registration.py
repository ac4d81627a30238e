"""What whoever registers an agent that is somewhere else says of it; its card says the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tekton.a2a.agent import Agent
from tekton.utils.remote_agents.card import AgentCard

__all__ = ["RemoteAgent"]


@dataclass(frozen=True, slots=True)
class RemoteAgent:
    """An agent at *url*: that of its card, if it ends in `.json`, or the one below which its card is.

    What is empty is taken from the card, and follows it when that changes.
    """

    agent_id: str
    url: str
    capabilities: tuple[str, ...] = ()
    description: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def described_by(self, card: AgentCard | None) -> Agent:
        """The agent as it and *card* say that it is. Raises InvalidIdError, InvalidAgentError."""
        told: dict[str, Any] = {}
        if card is not None:
            told = {"name": card.name, "description": card.description}
        if self.description:
            told["description"] = self.description
        return Agent(
            self.agent_id,
            self.capabilities or (() if card is None else card.capabilities),
            {**told, **self.metadata},
            self.version or ("0.0.0" if card is None else card.version),
            () if card is None else card.skills,
            self.tags,
            self.url,
        )

    @classmethod
    def of(cls, agent: Agent) -> "RemoteAgent":
        """What was said of an *agent* that stands in the registry already: all of it. Its card only adds its skills."""
        return cls(
            agent.agent_id,
            agent.endpoint or "",
            agent.capabilities,
            agent.description,
            agent.version,
            agent.tags,
            agent.metadata,
        )
