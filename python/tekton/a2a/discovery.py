"""Who can do it: agents by what they can, which words describe them, their version, and where they are.

discovery = AgentDiscovery(agents)
discovery.find(AgentQuery(capabilities=("code_review",), version=">=1.2, <2"))
discovery.choose(AgentQuery(tags=("python",), prefer=("fast",)))
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tekton.a2a.agent import Agent, AgentHealth, Locality
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.versions import VersionRange
from tekton.utils.tekton_errors import NoAgentAvailableError

__all__ = ["AgentDiscovery", "AgentQuery"]

_EVERYWHERE = frozenset(Locality)


@dataclass(frozen=True, slots=True)
class AgentQuery:
    """What is wanted: an agent that has all of the *capabilities* and *tags*, in one of the *localities*.

    *version* is a range (`tekton.a2a.versions`). Those of *prefer*, tags too, are no condition: among those whose
    health is the same, who has more of them comes first. Raises InvalidVersionError, a ValueError, for a range that is
    none.
    """

    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    version: str | None = None
    localities: frozenset[Locality] = _EVERYWHERE
    prefer: tuple[str, ...] = ()
    unusable: bool = False
    """Whether those that are not usable are wanted too; they come last."""
    _range: VersionRange | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if any(isinstance(names, str) for names in (self.capabilities, self.tags, self.prefer)):
            raise TypeError("capabilities and tags are tuples of names")
        object.__setattr__(self, "_range", None if self.version is None else VersionRange(self.version))

    def fits(self, agent: Agent) -> bool:
        """True when *agent* is as wanted, its health left out."""
        return (
            agent.locality in self.localities
            and set(self.capabilities) <= set(agent.capabilities)
            and agent.all_tags.issuperset(self.tags)
            and (self._range is None or agent.parsed_version in self._range)
        )

    def __str__(self) -> str:
        parts = [*self.capabilities, *(f"tag {tag}" for tag in self.tags)]
        if self.version is not None:
            parts.append(f"version {self.version}")
        if self.localities != _EVERYWHERE:
            parts.append(" or ".join(sorted(self.localities)))
        return ", ".join(parts) or "anything"


class AgentDiscovery:
    """Answers queries from *registry*."""

    def __init__(self, registry: AgentRegistry) -> None:
        self._registry = registry

    def find(self, query: AgentQuery) -> list[Agent]:
        """The agents that are as wanted, the ones to ask first at the front.

        Usable before impaired, then those with more of what is preferred, then as everywhere (`agent_registry`).
        O(agents with the rarest of the names), in order of them; O(agents * log agents) without a name.
        """
        found = [agent for agent in self._candidates(query) if query.fits(agent) and self._is_wanted(query, agent)]
        if query.prefer:
            wanted = set(query.prefer)
            found.sort(key=lambda agent: (self._health(agent), -len(wanted & agent.all_tags)))
        return found

    def choose(self, query: AgentQuery) -> Agent:
        """The agent to ask first. Raises NoAgentAvailableError, which names those that are not usable."""
        found = self.find(query)
        if found and self._health(found[0]) is not AgentHealth.UNUSABLE:
            return found[0]
        fitting = [agent.agent_id for agent in self._candidates(query) if query.fits(agent)]
        raise NoAgentAvailableError(str(query), fitting)

    def _candidates(self, query: AgentQuery) -> Iterable[Agent]:
        return self._registry.candidates(query.capabilities, query.tags)

    def _is_wanted(self, query: AgentQuery, agent: Agent) -> bool:
        return query.unusable or self._health(agent) is not AgentHealth.UNUSABLE

    def _health(self, agent: Agent) -> AgentHealth:
        return self._registry.health(agent.agent_id)
