"""The agents of the system: those that components offer, and remote ones, which somebody has registered here.

* A remote agent is a document of the registry: it outlasts the control plane, and each change of it is in the audit
  log, in the transaction that makes it. What this registry shows of it is what was committed.
* An agent that a component offers comes and goes with that (`component_agents`), and is changed by nobody else.
* An agent of a component is as usable as that is; a remote one, as its card is (`tekton.utils.remote_agents`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from tekton.a2a.agent import Agent, AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.component_health import health_of, trouble_of
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.documents import MAX_BODY_BYTES
from tekton.core.lifecycle import Change
from tekton.service.agent_credentials import AgentCredentials
from tekton.utils.remote_agents import Credential, RemoteAgent, RemoteAgents
from tekton.utils.strict_urls import InvalidUrlError, parse_url
from tekton.utils.tekton_errors import (
    AgentLimitError,
    AgentNotFoundError,
    AgentOfferedError,
    InvalidAgentError,
    TektonError,
)

KIND: Final = "agents"
MOST_REMOTE: Final = 10_000
"""Remote agents that may be registered."""

_logger = logging.getLogger("tekton.agents")


class Registered(NamedTuple):
    """A remote agent as it is now, and whether there was none of that id before."""

    agent: Agent
    new: bool


class Agents:
    """The registry of agents of a control plane. Follows the components from `start` to `stop`."""

    def __init__(self, components: ComponentRegistry, *, most: int = MOST_REMOTE) -> None:
        self.registry: Final = AgentRegistry(health=self._health)
        self._remote: RemoteAgents | None = None
        self._credentials = AgentCredentials()
        self._components = components
        self._documents = components.documents
        self._most = most
        self._changing = asyncio.Lock()
        self._unlisten: Callable[[], None] | None = None
        for agent_id, body in self._documents.all(KIND).items():
            self._take_up(agent_id, body)

    def attend(self, remote: RemoteAgents, credentials: AgentCredentials) -> None:
        """Have *remote* fetch the cards of remote agents, with *credentials*, and follow them."""
        self._remote, self._credentials = remote, credentials
        for agent_id, body in self._documents.all(KIND).items():
            self._take_up(agent_id, body)

    def start(self) -> None:
        """Begin to follow the components. Starting twice does nothing more."""
        if self._unlisten is None:
            self._unlisten = self._components.feed.add_listener(self._on_change)

    def stop(self) -> None:
        """Follow no more. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()

    def trouble(self, agent_id: str) -> str | None:
        """Why an agent is not usable; None where it is. Raises AgentNotFoundError."""
        if marked := self.registry.reason(agent_id):
            return marked
        component_id = self.registry.get_agent(agent_id).component_id
        return component_id and trouble_of(component_id, self._components.find(component_id))

    def is_registered(self, agent_id: str) -> bool:
        """Whether it is a remote agent that was registered here."""
        return agent_id in self._documents.all(KIND)

    async def register(
        self,
        agent_id: str,
        described: Mapping[str, Any],
        credential: Credential | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Registered:
        """Register a remote agent, or change it; durable on return.

        *described* are members of `Agent.describe`; what it does not say its card does, if it names an endpoint and no
        capabilities. *credential* lets us in there; unset, it is what it was, if the agent is at the host at which it
        was. Raises InvalidIdError, InvalidAgentError, AgentOfferedError, AgentLimitError, AgentUnreachableError,
        ConfigurationError without the extra that cards need, and the storage errors.
        """
        self._check_not_offered(agent_id)
        said, kept = dict(described), self._credential(agent_id, described, credential)
        if "capabilities" in said:
            agent = Agent.from_description({**said, "agent_id": agent_id})
            body = msgspec.json.encode(agent.describe())
        else:
            agent = await self._by_card(agent_id, said, kept)
            body = msgspec.json.encode(agent.describe() | {"said": said})
        if len(body) > MAX_BODY_BYTES:
            raise InvalidAgentError(agent_id, "", f"it takes {len(body)} bytes, and may take {MAX_BODY_BYTES}")
        async with self._changing:
            self._check_not_offered(agent_id)
            new = not self.is_registered(agent_id)
            if new and len(self._documents.all(KIND)) >= self._most:
                raise AgentLimitError(agent_id, self._most)
            await self._committed(agent_id, partial(self._put, agent, body, kept))
        return Registered(agent, new)

    async def unregister(self, agent_id: str) -> Agent:
        """Forget a remote agent; durable on return. Returns what it was.

        Raises AgentNotFoundError, AgentOfferedError, and the storage errors.
        """
        async with self._changing:
            agent = self.registry.get_agent(agent_id)
            self._check_not_offered(agent_id)
            if not self.is_registered(agent_id):
                raise AgentNotFoundError(agent_id)
            await self._committed(agent_id, partial(self._delete, agent_id))
        return agent

    async def _put(self, agent: Agent, body: bytes, credential: Credential | None) -> None:
        detail = f"{agent.endpoint or 'no endpoint'}: {', '.join(agent.capabilities)}"[:500]
        await self._documents.put(KIND, agent.agent_id, body, action="agent.register", detail=detail)
        await self._credentials.put(agent.agent_id, credential)

    async def _delete(self, agent_id: str) -> None:
        await self._documents.delete(KIND, agent_id, action="agent.unregister")
        await self._credentials.put(agent_id, None)

    async def _committed(self, agent_id: str, change: Callable[[], Awaitable[None]]) -> None:
        """Make *change*, and let be seen what is committed, whether or not who asked for it still waits."""
        try:
            await change()
        finally:
            body = self._documents.all(KIND).get(agent_id)
            if body is not None:
                self._take_up(agent_id, body)
            elif (known := self.registry.find_agent(agent_id)) is not None and known.component_id is None:
                self.registry.unregister_agent(agent_id)
                if self._remote is not None:
                    self._remote.forget(agent_id)

    def _take_up(self, agent_id: str, body: bytes) -> None:
        known = self.registry.find_agent(agent_id)
        if known is not None and known.component_id is not None:
            return
        try:
            described = msgspec.json.decode(body)
            said = described.pop("said", None)
            agent = Agent.from_description(described)
            if self._remote is None or agent.endpoint is None:
                self.registry.add(agent, replace=True)
            else:
                known_so_far = RemoteAgent.of(agent) if said is None else _said(agent_id, said)
                self._remote.restore(known_so_far, agent, self._credentials.get(agent_id))
        except (TektonError, TypeError, KeyError, msgspec.DecodeError) as error:
            _logger.error("the agent %s, as it was registered, cannot be used: %s", agent_id, error)

    async def _by_card(self, agent_id: str, said: Mapping[str, Any], credential: Credential | None) -> Agent:
        """The agent of which its card says what was not *said*."""
        if said.get("endpoint") is None or self._remote is None:
            raise InvalidAgentError(agent_id, "/capabilities", "there are none, and no card that says them")
        remote = _said(agent_id, said)
        return remote.described_by(await self._remote.look_up(remote, credential))

    def _credential(
        self, agent_id: str, described: Mapping[str, Any], given: Credential | msgspec.UnsetType | None
    ) -> Credential | None:
        if not isinstance(given, msgspec.UnsetType):
            return given
        known = self.registry.find_agent(agent_id)
        stays = known is not None and _host(known.endpoint) == _host(described.get("endpoint"))
        return self._credentials.get(agent_id) if stays else None

    def _check_not_offered(self, agent_id: str) -> None:
        known = self.registry.find_agent(agent_id)
        if known is not None and known.component_id is not None:
            raise AgentOfferedError(agent_id, known.component_id)

    def _health(self, component_id: str) -> AgentHealth:
        return health_of(self._components.find(component_id))

    def _on_change(self, change: Change) -> None:
        self.registry.component_changed(change.component_id)


def _said(agent_id: str, described: Mapping[str, Any]) -> RemoteAgent:
    """What was said of a remote agent, in members of `Agent.describe`."""
    return RemoteAgent(
        agent_id,
        described["endpoint"],
        tuple(described.get("capabilities", ())),
        version=described.get("version", ""),
        tags=tuple(described.get("tags", ())),
        metadata=described.get("metadata", {}),
    )


def _host(url: str | None) -> str | None:
    """The host of *url*; None where there is none."""
    try:
        return None if url is None else parse_url(url).host
    except InvalidUrlError:
        return None
