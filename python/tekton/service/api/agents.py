"""Agents: who there is, what they can do, and remote ones, which are registered here."""

from collections.abc import AsyncGenerator, Iterable
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from tekton.a2a import discovery
from tekton.a2a.agent import Agent, AgentHealth, Locality
from tekton.a2a.versions import InvalidVersionError
from tekton.gateway.errors import InvalidParameterError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.service.api.paging import Item, page_of
from tekton.service.system import System
from tekton.utils.remote_agents import Credential
from tekton.utils.tekton_errors import (
    AgentLimitError,
    AgentNotFoundError,
    AgentOfferedError,
    AgentUnreachableError,
    ConfigurationError,
    InvalidAgentError,
    InvalidIdError,
    StorageError,
)

READ: Final = "agents:read"
MANAGE: Final = "agents:manage"
MAX_AGENT: Final = 128 * 1024

_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Names = Annotated[list[str], msgspec.Meta(max_length=256)]

HEALTH: Final = {health.name.lower(): health for health in AgentHealth}
"""The health of agents by the words for it."""


class SkillView(msgspec.Struct, frozen=True):
    """Something that an agent says it can do: a skill of its card."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent. `health`: `usable`, `impaired` (asked only where nobody else can be), `unusable`.

    `reason` says why it is not usable, where it is not. One of a component has its `component_id`, a remote one the
    `url` at which it is reached.
    """

    agent_id: str
    description: str
    version: str
    capabilities: tuple[str, ...]
    tags: tuple[str, ...]
    skills: list[SkillView]
    health: Literal["usable", "impaired", "unusable"]
    reason: str | None
    locality: Locality
    component_id: str | None
    url: str | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, agent: Agent, health: AgentHealth, reason: str | None = None) -> Self:
        """What is shown of *agent*."""
        return cls(
            agent_id=agent.agent_id,
            description=agent.description,
            version=agent.version,
            capabilities=agent.capabilities,
            tags=agent.tags,
            skills=[SkillView(one.skill_id, one.name, one.description, one.tags) for one in agent.skills],
            health=health.name.lower(),  # type: ignore[arg-type] # one of the three
            reason=reason,
            locality=agent.locality,
            component_id=agent.component_id,
            url=agent.endpoint if agent.component_id is None else None,
            metadata={name: value for name, value in agent.metadata.items() if name != "description"},
        )


class AgentPage(msgspec.Struct, frozen=True):
    """One page of a list. `cursor` continues it; null: that was all."""

    items: list[AgentView]
    cursor: str | None


class AgentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which agents: with a capability, a tag, of a version, at a place, of a health, with `query` in id or description.

    `version` is a range, as in `>=1.2, <2`.
    """

    capability: _Name | None = None
    tag: _Name | None = None
    version: _Name | None = None
    locality: Locality | None = None
    health: Literal["usable", "impaired", "unusable"] | None = None
    query: _Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    cursor: _Name | None = None


class CredentialOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lets us in at an agent; it is never shown again.

    In the header `Authorization` it is sent as a bearer token, in any other as it is. It goes to the host of the `url`,
    and to those in `hosts`.
    """

    secret: Annotated[str, msgspec.Meta(min_length=1, max_length=8000)]
    header: Annotated[str, msgspec.Meta(max_length=64)] = "Authorization"
    hosts: Annotated[list[_Name], msgspec.Meta(max_length=16)] = []


class AgentOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A remote agent, which is reached at `url`. Without `capabilities` the card at that URL says what it can do.

    Without `credential` it stays what it was, as long as the agent is at the same host; null: none is needed.
    """

    capabilities: _Names | None = None
    description: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    version: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    tags: _Names | None = None
    metadata: dict[str, Any] | None = None
    url: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    credential: CredentialOrder | msgspec.UnsetType | None = msgspec.UNSET


class Agents:
    """Handlers over the agents."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, request: Request) -> Response:
        query: AgentQuery = request.query
        wanted, registry = _wanted(query), self._system.agents.registry
        names = (wanted.capabilities, wanted.tags)
        found = registry.candidates(*names) if any(names) else registry.agents()
        after = query.cursor or ""
        page = sorted(
            (one for one in found if one.agent_id > after and wanted.fits(one) and self._fits(query, one)),
            key=lambda agent: agent.agent_id,
        )
        return await page_of(self._views(page), query.limit)

    async def _views(self, agents: Iterable[Agent]) -> AsyncGenerator[Item, None]:
        for agent in agents:
            yield agent.agent_id, encode(self._view(agent))

    async def get(self, request: Request) -> AgentView:
        return self._view(self._system.agents.registry.get_agent(request.params["agent_id"]))

    async def put(self, request: Request) -> Response:
        order: AgentOrder = request.body
        agent_id = request.params["agent_id"]
        registered = await self._system.agents.register(agent_id, _described(order), _credential(agent_id, order))
        return Response.json(self._view(registered.agent), status=201 if registered.new else 200)

    async def delete(self, request: Request) -> AgentView:
        agent_id = request.params["agent_id"]
        view = self._view(self._system.agents.registry.get_agent(agent_id))
        await self._system.agents.unregister(agent_id)
        return view

    def _view(self, agent: Agent) -> AgentView:
        agents = self._system.agents
        trouble = agents.trouble(agent.agent_id)
        if trouble and agent.component_id and (busy := self._system.component_agents.at_work(agent.component_id)):
            trouble = f"{trouble}; at work then: {', '.join(busy)}"
        return AgentView.of(agent, agents.registry.health(agent.agent_id), trouble)

    def _fits(self, query: AgentQuery, agent: Agent) -> bool:
        text = f"{agent.agent_id}\n{agent.description}".lower()
        health = self._system.agents.registry.health(agent.agent_id)
        return (query.health is None or HEALTH[query.health] is health) and (query.query or "").lower() in text


def _wanted(query: AgentQuery) -> discovery.AgentQuery:
    try:
        return discovery.AgentQuery(
            (query.capability,) if query.capability else (),
            (query.tag,) if query.tag else (),
            query.version,
            frozenset(Locality) if query.locality is None else frozenset({query.locality}),
        )
    except InvalidVersionError as error:
        raise InvalidParameterError("version", str(error)) from None


def _credential(agent_id: str, order: AgentOrder) -> Credential | msgspec.UnsetType | None:
    given = order.credential
    if given is None or isinstance(given, msgspec.UnsetType):
        return given
    try:
        return Credential(given.secret, given.header, tuple(given.hosts))
    except ValueError as error:
        raise InvalidAgentError(agent_id, "/credential", str(error)) from None


def _described(order: AgentOrder) -> dict[str, Any]:
    """The same as members of `Agent.describe`."""
    said = {"capabilities": order.capabilities, "version": order.version, "tags": order.tags, "endpoint": order.url}
    described = {name: value for name, value in said.items() if value is not None}
    metadata = dict(order.metadata or {})
    if order.description is not None:
        metadata["description"] = order.description
    return described | ({"metadata": metadata} if metadata else {})


def routes(system: System) -> list[Route]:
    """The routes under /api/agents."""
    api = Agents(system)
    one = "/api/agents/{agent_id}"
    return [
        Route(
            "GET",
            "/api/agents",
            api.list,
            "The agents, usable or not",
            READ,
            query=AgentQuery,
            response=AgentPage,
        ),
        Route("GET", one, api.get, "One agent", READ, response=AgentView, errors=(AgentNotFoundError,)),
        Route(
            "PUT",
            one,
            api.put,
            "Register a remote agent, or change it",
            MANAGE,
            body=AgentOrder,
            response=AgentView,
            also=(201,),
            max_body=MAX_AGENT,
            errors=(
                InvalidIdError,
                InvalidAgentError,
                AgentOfferedError,
                AgentLimitError,
                AgentUnreachableError,
                ConfigurationError,
                StorageError,
            ),
        ),
        Route(
            "DELETE",
            one,
            api.delete,
            "Forget a remote agent",
            MANAGE,
            response=AgentView,
            errors=(AgentNotFoundError, AgentOfferedError, StorageError),
        ),
    ]
