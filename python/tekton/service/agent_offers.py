"""Which agents components say to be, as they are in the registry of agents.

An agent is there as long as an instance that offers it is registered; how usable it is follows from the state of the
component. Where two components offer the same, the first one has it, and the other one gets it when that is gone. An
agent that was registered otherwise is nobody else's.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentChange, AgentRegistry
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRecord
from tekton.core.offered_agents import OfferedAgent
from tekton.utils.tekton_errors import TektonError

__all__ = ["AgentOffers"]

_logger = logging.getLogger("tekton.agents")


class _Offer(NamedTuple):
    agent: OfferedAgent
    endpoint: str | None


class AgentOffers:
    """Has the agents of *components* in *registry*, from `start` to `stop`."""

    def __init__(self, components: ComponentRegistry, registry: AgentRegistry) -> None:
        self._components = components
        self._registry = registry
        self._offers: dict[str, dict[str, _Offer]] = {}
        self._claims: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._unlisten: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to follow what is offered. Starting twice does nothing more."""
        if self._unlisten:
            return
        self._unlisten = [self._components.feed.add_listener(self._on_change), self._registry.listen(self._on_agent)]
        for record in self._components.all_instances():
            if record.offered_agents:
                self._consider(record.component_id)

    def stop(self) -> None:
        """Follow no more. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, []
        for end in unlisten:
            end()

    def records(self) -> Iterable[ComponentRecord]:
        """The instances of the components that offer agents."""
        return [record for component_id in self._offers for record in self._components.instances(component_id)]

    def instances(self, component_id: str, agent_id: str) -> list[ComponentRecord]:
        """Those that offer an agent, whether or not they can be used now."""
        return [
            record
            for record in self._components.instances(component_id)
            if any(offered.agent_id == agent_id for offered in record.offered_agents)
        ]

    def _on_change(self, change: Change) -> None:
        if change.record.offered_agents or change.component_id in self._offers:
            self._consider(change.component_id)

    def _on_agent(self, change: AgentChange) -> None:
        if change.action == "removed":
            for component_id in tuple(self._claims.get(change.agent.agent_id, ())):
                self._put(component_id, change.agent.agent_id)

    def _consider(self, component_id: str) -> None:
        before = self._offers.pop(component_id, {})
        now: dict[str, _Offer] = {}
        for record in self._components.instances(component_id):
            for offered in record.offered_agents:
                now.setdefault(offered.agent_id, _Offer(offered, record.endpoint))
        if now:
            self._offers[component_id] = now
        for agent_id in before.keys() - now.keys():
            self._withdraw(component_id, agent_id)
        for agent_id, offer in now.items():
            if before.get(agent_id) != offer:
                self._claims[agent_id][component_id] = None
                self._put(component_id, agent_id)

    def _put(self, component_id: str, agent_id: str) -> None:
        known = self._registry.find_agent(agent_id)
        if known is not None and known.component_id != component_id:
            _logger.warning("%s offers the agent %s, which is somebody else's", component_id, agent_id)
            return
        try:
            agent = _agent(component_id, self._offers[component_id][agent_id])
        except TektonError as error:
            _logger.warning("%s offers the agent %s, which cannot be used: %s", component_id, agent_id, error)
            return
        if agent != known:
            self._registry.add(agent, replace=True)

    def _withdraw(self, component_id: str, agent_id: str) -> None:
        claims = self._claims[agent_id]
        claims.pop(component_id, None)
        if not claims:
            del self._claims[agent_id]
        known = self._registry.find_agent(agent_id)
        if known is not None and known.component_id == component_id:
            self._registry.unregister_agent(agent_id)


def _agent(component_id: str, offer: _Offer) -> Agent:
    offered = offer.agent
    described = {"description": offered.description} if offered.description else {}
    return Agent(
        offered.agent_id,
        offered.capabilities,
        {**offered.metadata, **described},
        offered.version,
        tags=offered.tags,
        endpoint=offer.endpoint,
        component_id=component_id,
    )
