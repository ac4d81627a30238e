"""Which agents have a name: a capability, or a tag; the ones to ask first at the front.

Each name has a list that is always in order, so that a change moves one place in it (O(log agents) to find, and one
move of memory). The tuple of those that may be asked is made when somebody asks, and kept until something changes: what
is asked again is one lookup, however many agents there are.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

from tekton.a2a.agent import Agent, AgentHealth

__all__ = ["AgentIndex", "Rank"]


class Rank(NamedTuple):
    """The place of an agent among others: no two have the same, as no two have the same id."""

    health: AgentHealth
    unreachable: bool
    load: float
    agent_id: str


class _Names:
    """The agents of one name, by rank."""

    __slots__ = ("answer", "ranks")

    def __init__(self) -> None:
        self.ranks: list[Rank] = []
        self.answer: tuple[Agent, ...] | None = None


class AgentIndex:
    """Agents by name. It takes what its owner says: who is in it under which rank."""

    __slots__ = ("_agents", "_names")

    def __init__(self) -> None:
        self._names: dict[str, _Names] = {}
        self._agents: dict[str, Agent] = {}

    def add(self, agent: Agent, names: Iterable[str], rank: Rank) -> None:
        """Have *agent* under *names*, under which it is not yet."""
        self._agents[agent.agent_id] = agent
        for name in names:
            entry = self._names.setdefault(name, _Names())
            insort(entry.ranks, rank)
            entry.answer = None

    def remove(self, agent: Agent, names: Iterable[str], rank: Rank) -> None:
        """Take *agent*, which is under *names* with that rank, out."""
        del self._agents[agent.agent_id]
        for name in names:
            entry = self._names[name]
            del entry.ranks[bisect_left(entry.ranks, rank)]
            entry.answer = None
            if not entry.ranks:
                del self._names[name]

    def usable(self, name: str) -> tuple[Agent, ...]:
        """Those under *name* that may be asked, the ones to ask first at the front. O(1) when nothing has changed."""
        entry = self._names.get(name)
        if entry is None:
            return ()
        if entry.answer is None:
            end = bisect_left(entry.ranks, AgentHealth.UNUSABLE, key=lambda rank: rank.health)
            entry.answer = tuple([self._agents[rank.agent_id] for rank in entry.ranks[:end]])
        return entry.answer

    def all(self, name: str) -> list[Agent]:
        """All under *name*, in the same order."""
        entry = self._names.get(name)
        return [] if entry is None else [self._agents[rank.agent_id] for rank in entry.ranks]

    def count(self, name: str) -> int:
        """How many there are under *name*."""
        entry = self._names.get(name)
        return 0 if entry is None else len(entry.ranks)

    def names(self) -> list[str]:
        """All names that somebody has, in order."""
        return sorted(self._names)
