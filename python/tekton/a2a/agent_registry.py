"""The agents that there are, what they can do, and which of them are to be asked first.

    agents = AgentRegistry()
    agents.register_agent("code_assistant", ["code_review"], {"model": "…"}, handler=review)
    agents.find_agents_by_capability("code_review")

Rules:

* An agent that is part of a component is as usable as that is. Its health is read when it is registered, and again when
  `component_changed` says so: whoever has the component registry calls that at each change of a component.
* Who is not usable is not found. Those found are in one order everywhere: usable before impaired, those to which there
  is a way before those to which there is none, less load before more, then by id.
* Every call is synchronous and happens in memory. `listen` hears of each change, with the revision that it made: what
  is to outlast the process is written by whoever listens, and registered anew after a start.

A registry is used on one event loop; agents may be registered before there is one.
"""

import logging
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from tekton.a2a.agent import Agent, AgentHandler, AgentHealth, Locality, Skill
from tekton.a2a.agent_index import AgentIndex, Rank
from tekton.core.observable import Observable
from tekton.utils.tekton_errors import AgentExistsError, AgentNotFoundError, AgentUnreachableError
from tekton.utils.tekton_ids import nearest_name

__all__ = ["AgentChange", "AgentRegistry"]

HealthOf = Callable[[str], AgentHealth]
"""The health that a component of that id gives to its agents."""

NEIGHBOURS: Final = 50
"""So many ids on either side of one that there is not are looked at for what was meant."""

Action = Literal["added", "replaced", "removed", "health"]

_NO_METADATA: Mapping[str, Any] = {}

_logger = logging.getLogger("tekton.agents")


class AgentChange(NamedTuple):
    """An agent came, went, has become another, or is of another health. *revision* is the version that this made."""

    action: Action
    agent: Agent
    health: AgentHealth
    revision: int


@dataclass(slots=True)
class _Entry:
    agent: Agent
    health: AgentHealth
    load: float = 0.0
    marked: AgentHealth = AgentHealth.USABLE
    reason: str = ""

    @property
    def rank(self) -> Rank:
        return Rank(self.health, self.agent.locality is Locality.NOWHERE, self.load, self.agent.agent_id)


class AgentRegistry(Observable[AgentChange]):
    """Agents by id, capability and tag. Without *health* all of them are usable."""

    def __init__(self, *, health: HealthOf | None = None) -> None:
        super().__init__(_logger)
        self._health = health
        self._entries: dict[str, _Entry] = {}
        self._ids: list[str] = []
        self._capabilities = AgentIndex()
        self._tags = AgentIndex()
        self._components: dict[str, set[str]] = {}

    def register_agent(
        self,
        agent_id: str,
        capabilities: Iterable[str],
        metadata: Mapping[str, Any] | None = None,
        *,
        handler: AgentHandler | None = None,
        endpoint: str | None = None,
        version: str = "0.0.0",
        skills: Iterable[Skill] = (),
        tags: Iterable[str] = (),
        component_id: str | None = None,
        replace: bool = False,
    ) -> Agent:
        """Register an agent; returns it. The arguments are the fields of `Agent`, which checks them.

        Raises InvalidIdError, InvalidAgentError, and AgentExistsError unless it may *replace* the one that there is.
        """
        agent = Agent(
            agent_id,
            capabilities if isinstance(capabilities, str) else tuple(capabilities),  # type: ignore[arg-type] # refused
            _NO_METADATA if metadata is None else metadata,
            version,
            tuple(skills),
            tags if isinstance(tags, str) else tuple(tags),  # type: ignore[arg-type] # refused
            endpoint,
            component_id,
            handler,
        )
        return self.add(agent, replace=replace)

    def add(self, agent: Agent, *, replace: bool = False) -> Agent:
        """Register *agent*. Raises AgentExistsError unless it may *replace* the one that there is.

        O(its names * log agents). Replacing one keeps its load, and what `mark` has said.
        """
        known = self._entries.get(agent.agent_id)
        if known is not None and not replace:
            raise AgentExistsError(agent.agent_id)
        entry = _Entry(agent, AgentHealth.USABLE)
        if known is not None:
            entry.load, entry.marked, entry.reason = known.load, known.marked, known.reason
        entry.health = self._health_of(entry)
        if known is None:
            insort(self._ids, agent.agent_id)
        else:
            self._take_out(known)
        self._put_in(entry)
        self._changed("added" if known is None else "replaced", entry)
        return agent

    def bind(self, agent_id: str, handler: AgentHandler | None) -> Agent:
        """Have *handler* do the work of an agent from now on, or nobody in this process; returns the agent as it is.

        Raises AgentNotFoundError, and InvalidAgentError for what cannot be called.
        """
        return self.add(replace(self.get_agent(agent_id), handler=handler), replace=True)

    def unregister_agent(self, agent_id: str) -> Agent:
        """Forget an agent; returns what it was. Raises AgentNotFoundError."""
        entry = self._entry(agent_id)
        self._take_out(entry)
        del self._ids[bisect_left(self._ids, agent_id)]
        self._changed("removed", entry)
        return entry.agent

    def get_agent(self, agent_id: str) -> Agent:
        """The agent of that id, usable or not. Raises AgentNotFoundError, which may name the one that was meant."""
        return self._entry(agent_id).agent

    def find_agent(self, agent_id: str) -> Agent | None:
        """The agent of that id, or None."""
        entry = self._entries.get(agent_id)
        return None if entry is None else entry.agent

    def reach(self, agent_id: str) -> Agent:
        """The agent of that id, if it is usable and there is a way to it.

        Raises AgentNotFoundError, and AgentUnreachableError, which says what is in the way.
        """
        entry = self._entry(agent_id)
        if entry.agent.locality is Locality.NOWHERE:
            raise AgentUnreachableError(agent_id, "it has neither a handler nor an endpoint")
        if entry.health is AgentHealth.UNUSABLE:
            component = f"its component {entry.agent.component_id} is not usable"
            raise AgentUnreachableError(agent_id, entry.reason or component)
        return entry.agent

    def find_agents_by_capability(self, capability: str) -> tuple[Agent, ...]:
        """The agents with *capability* that are not unusable, the ones to ask first at the front.

        One lookup, when nothing has changed among them since somebody asked; O(those that have it) else.
        """
        return self._capabilities.usable(capability)

    def find_agents_by_tag(self, tag: str) -> tuple[Agent, ...]:
        """The agents with *tag*, their own or one of their skills; as `find_agents_by_capability`."""
        return self._tags.usable(tag)

    def candidates(self, capabilities: Iterable[str], tags: Iterable[str]) -> list[Agent]:
        """Agents, unusable ones too, among which all are that have these capabilities and tags. In order.

        Those of the rarest of the names; without names all there are.
        """
        names = [(self._capabilities, name) for name in capabilities] + [(self._tags, name) for name in tags]
        if not names:
            return [entry.agent for entry in sorted(self._entries.values(), key=lambda entry: entry.rank)]
        index, name = min(names, key=lambda one: one[0].count(one[1]))
        return index.all(name)

    def capabilities(self) -> list[str]:
        """All that some agent, usable or not, can do, in order."""
        return self._capabilities.names()

    def agents(self) -> list[Agent]:
        """All agents, usable or not, by id."""
        return [self._entries[agent_id].agent for agent_id in self._ids]

    def health(self, agent_id: str) -> AgentHealth:
        """What can be expected of an agent. Raises AgentNotFoundError."""
        return self._entry(agent_id).health

    def mark(self, agent_id: str, health: AgentHealth, reason: str = "") -> None:
        """Say that an agent is no better than *health*, and why; USABLE takes that back. Its component may be worse.

        For whoever asks it over a network. Raises AgentNotFoundError.
        """
        entry = self._entry(agent_id)
        entry.marked, entry.reason = health, reason
        self._weigh(entry)

    def reason(self, agent_id: str) -> str:
        """Why an agent is not usable, as `mark` has said; empty else. Raises AgentNotFoundError."""
        return self._entry(agent_id).reason

    def load(self, agent_id: str) -> float:
        """How much an agent has to do, as `set_load` has said; 0 else. Raises AgentNotFoundError."""
        return self._entry(agent_id).load

    def set_load(self, agent_id: str, load: float) -> None:
        """Say how much an agent has to do: a number that is not negative, and means the same for all.

        No change that listeners hear of. Raises AgentNotFoundError, and ValueError for what is no such number.
        """
        if not 0 <= load < math.inf:
            raise ValueError(f"{load} is no load")
        entry = self._entry(agent_id)
        if load != entry.load:
            self._take_out(entry)
            entry.load = load
            self._put_in(entry)

    def component_changed(self, component_id: str) -> None:
        """Read the health of the agents of a component anew. O(1) for one that has none."""
        for agent_id in sorted(self._components.get(component_id, ())):
            self._weigh(self._entries[agent_id])

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._ids))

    def _entry(self, agent_id: str) -> _Entry:
        entry = self._entries.get(agent_id)
        if entry is None:
            place = bisect_left(self._ids, agent_id)
            neighbours = self._ids[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]
            raise AgentNotFoundError(agent_id, nearest_name(agent_id[:128], neighbours))
        return entry

    def _health_of(self, entry: _Entry) -> AgentHealth:
        component_id = entry.agent.component_id
        if self._health is None or component_id is None:
            return entry.marked
        return max(entry.marked, AgentHealth(self._health(component_id)))

    def _weigh(self, entry: _Entry) -> None:
        health = self._health_of(entry)
        if health is not entry.health:
            self._take_out(entry)
            entry.health = health
            self._put_in(entry)
            self._changed("health", entry)

    def _put_in(self, entry: _Entry) -> None:
        agent, rank = entry.agent, entry.rank
        self._entries[agent.agent_id] = entry
        self._capabilities.add(agent, agent.capabilities, rank)
        self._tags.add(agent, agent.all_tags, rank)
        if agent.component_id is not None:
            self._components.setdefault(agent.component_id, set()).add(agent.agent_id)

    def _take_out(self, entry: _Entry) -> None:
        agent, rank = entry.agent, entry.rank
        del self._entries[agent.agent_id]
        self._capabilities.remove(agent, agent.capabilities, rank)
        self._tags.remove(agent, agent.all_tags, rank)
        if agent.component_id is not None:
            others = self._components[agent.component_id]
            others.discard(agent.agent_id)
            if not others:
                del self._components[agent.component_id]

    def _changed(self, action: Action, entry: _Entry) -> None:
        self._tell(AgentChange(action, entry.agent, entry.health, self.version + 1), entry.agent.agent_id)
