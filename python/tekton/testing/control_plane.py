"""A control plane for tests of components: the real registry and HTTP interface, in memory, on a free port.

    async with InMemoryControlPlane() as plane, Component("greeter", control_plane=plane.address) as greeter:
        await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)
        token = await plane.token("ada", "operator", audience="greeter")

It supervises nothing, and what it knows is gone when it ends.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self, cast

from tekton.auth.keys import KeyRing
from tekton.auth.terms import AUDIENCE
from tekton.bus.live import LiveBus
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams
from tekton.bus.telling import Telling
from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.forgetting import Forgetting
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.history.store import MemoryTelemetryStore
from tekton.core.lifecycle import ComponentRecord
from tekton.gateway.app import Gateway
from tekton.gateway.bus.access import BusAccess
from tekton.gateway.bus.port import BusPort
from tekton.gateway.component_topic import component_topic
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import TopicSocket
from tekton.gateway.topics import OwnedTopic, ScopedTopic, Topic, TopicTable
from tekton.service.agent_calls import AgentCalls
from tekton.service.agents import Agents
from tekton.service.api import (
    agents,
    auth,
    capabilities,
    components,
    conversations,
    degradation,
    events,
    heartbeats,
    messages,
    policy,
    reports,
    streams,
    task_types,
    tasks,
    tools,
    traces,
)
from tekton.service.component_agents import ComponentAgents
from tekton.service.component_credentials import ComponentCredentials
from tekton.service.conversations import Conversations
from tekton.service.degradation import Degradation
from tekton.service.edge.a2a.edge import A2aEdge
from tekton.service.messaging import Messaging
from tekton.service.security import Security
from tekton.service.system import System
from tekton.service.task_topics import task_topics
from tekton.service.tasks import Tasks
from tekton.service.tools import ComponentTools
from tekton.service.tracing import Tracing
from tekton.service.views import ComponentView, InstanceView, show, show_instance
from tekton.service.work import MemoryStore, Work
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_config import FallbackSpec, RoleSpec, TektonConfig
from tekton.utils.tekton_errors import ComponentNotFoundError


class InMemoryControlPlane:
    """What components talk to: registration, discovery, heartbeats, the socket, tokens, who may do what, tools, agents,
    tasks, conversations, Agent2Agent, spans.

    It asks for a heartbeat every *interval* seconds; after *timeout* seconds without one a component has failed.
    *roles* are those beside the ones that are built in, as `security.json` has them, *fallbacks* those of
    `components.json`. Keys sign its tokens, or the *jwt_secret*. *work* keeps tasks and conversations where they are to
    outlast it; whoever has opened it stops it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        interval: float = 10.0,
        timeout: float = 30.0,
        roles: Mapping[str, RoleSpec] | None = None,
        jwt_secret: str | None = None,
        fallbacks: Mapping[str, Sequence[FallbackSpec]] | None = None,
        work: Work | None = None,
        max_streams: int = 512,
    ) -> None:
        self.registry = ComponentRegistry()
        self.monitor = HeartbeatMonitor(self.registry, interval=interval, startup_timeout=timeout)
        self.forgetting = Forgetting(self.registry)
        self.degradation = _degradation(self.registry, fallbacks or {})
        self.tracing = Tracing(MemoryTelemetryStore())
        self.overview = _Overview(self)
        self.security = _security(self.registry, roles or {}, jwt_secret)
        self.tools = _tools(self.registry, self.security)
        self.work = Work(MemoryStore()) if work is None else work
        self.agents = Agents(self.registry)
        self.agent_calls = AgentCalls(tracer=self.tracing.tracer)
        self.component_agents = _component_agents(self)
        self.agent_calls.components = self.component_agents
        self.conversations = Conversations(self.work)
        self.tasks = _tasks(self)
        self.a2a = _a2a(self)
        self._timeout = timeout
        # The routes ask of a system no more than what is here.
        system = cast(System, self)
        routes = [route for api in _APIS for route in api.routes(system)] + self.a2a.routes()
        topics: dict[str, Topic | ScopedTopic | OwnedTopic] = {
            "components": component_topic(events.change_source(system)),
            "call_settings": Topic("components:read", self.degradation.topic.open),
            **task_topics(self.tasks),
        }
        live = LiveBus(SYSTEM_CLOCK)
        self._streams = Streams(MemoryStreamStore(), SYSTEM_CLOCK, Telling(live).tell)
        self.messaging = _messaging(live, self._streams)
        self.bus = self.messaging.bus
        access = BusAccess(owner_of=self.tasks.owner_of)
        self.bus_port = BusPort(self.bus, self._streams.stream_of, lambda: live.sequence, live.answered, access)
        socket = TopicSocket(TopicTable(topics), self.monitor.beat, self.bus_port)
        gateway = Gateway(
            routes,
            websocket=socket,
            policy=self.security.policy,
            keys=self.registry.idempotency_keys,
            max_streams=max_streams,
            dialects=[self.a2a],
        )
        self.security.on_loss(gateway.review)
        self._server = GatewayServer(gateway, "127.0.0.1", port)

    @property
    def address(self) -> ControlPlane:
        """Where it is reached."""
        return ControlPlane(f"http://127.0.0.1:{self._server.port}")

    def address_of(self, credential: str) -> ControlPlane:
        """Where it is reached by who shows *credential*, such as a token of `token`."""
        return ControlPlane(self.address.url, credential=credential)

    async def token(self, subject: str, *roles: str, audience: str = AUDIENCE, expires_in: float = 600.0) -> str:
        """A token for *subject*, to whom *roles* are bound from now on. *audience* is the component that accepts it.

        Raises ValueError for what no token can state.
        """
        await self.security.bind(subject, roles)
        return (await self.security.issue(subject, roles, expires_in, audience=audience)).text

    async def revoke(self, subject: str) -> None:
        """Accept none of the tokens that *subject* has, here and at the components that are connected."""
        await self.security.revoke_issued(subject, "revoked by a test")

    def knows(self, component_id: str) -> bool:
        """True for a component that is registered."""
        return self.registry.find(component_id) is not None

    def runs(self, component_id: str) -> bool:
        """False: no processes are started here."""
        del component_id
        return False

    def nearest(self, component_id: str) -> str | None:
        """The registered id that looks most like *component_id*."""
        return self.registry.nearest(component_id)

    def record(self, component_id: str) -> ComponentRecord:
        """What is known of a component. Raises ComponentNotFoundError."""
        record = self.registry.find(component_id)
        if record is None:
            raise ComponentNotFoundError(component_id)
        return record

    async def __aenter__(self) -> Self:
        await self.monitor.start_monitoring(self._timeout)
        self.forgetting.start()
        self.degradation.start()
        self.tools.start()
        self.agents.start()
        self.component_agents.start()
        self.tasks.resume(patience=0.0)
        self.a2a.start()
        self.tracing.start()
        await self._streams.start()
        await self._server.start()
        self.tools.keep_from(self._server.port)
        self.component_agents.keep_from(self._server.port)
        self.a2a.keep_from(self._server.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.tasks.stop()
        await self._server.stop()
        await self.a2a.stop()
        await self.component_agents.stop()
        self.agents.stop()
        await self._streams.stop()
        await self.tracing.stop()
        await self.tools.stop()
        self.degradation.stop()
        await self.forgetting.stop()
        await self.monitor.stop_monitoring()
        await self.registry.close()


_APIS = (
    components,
    heartbeats,
    capabilities,
    degradation,
    events,
    messages,
    auth,
    policy,
    streams,
    tools,
    agents,
    tasks,
    task_types,
    reports,
    conversations,
    traces,
)


def _degradation(registry: ComponentRegistry, fallbacks: Mapping[str, Sequence[FallbackSpec]]) -> Degradation:
    # It asks of a configuration no more than what is here.
    config = SimpleNamespace(fallbacks=fallbacks, auto_recover=False)
    return Degradation(registry, config=lambda: cast(TektonConfig, config), specs=dict)


def _security(registry: ComponentRegistry, roles: Mapping[str, RoleSpec], jwt_secret: str | None) -> Security:
    """The real one. Its owner's credential is known to nobody."""
    # Security asks of a configuration no more than what is here.
    config = SimpleNamespace(roles=roles, principals={}, token_expiry=3600.0, enable_auth="auto")
    nowhere = Path("/nonexistent")
    return Security(
        cast(TektonConfig, config),
        registry.documents,
        KeyRing.generate(SYSTEM_CLOCK.time()) if jwt_secret is None else KeyRing.of_secret(jwt_secret),
        credential=secrets.token_urlsafe(32),
        components=ComponentCredentials(nowhere, "", SYSTEM_CLOCK.time),
        clock=SYSTEM_CLOCK,
        report=lambda _address, _reason: None,
    )


def _messaging(live: LiveBus, streams: Streams) -> Messaging:
    # It asks of a configuration no more than what is here.
    config = SimpleNamespace(enable_streams=True, streams_size="1GiB")
    return Messaging(cast(TektonConfig, config), live, streams, SYSTEM_CLOCK)


def _tools(registry: ComponentRegistry, security: Security) -> ComponentTools:
    return ComponentTools(registry, security, _on_this_machine())


def _component_agents(plane: InMemoryControlPlane) -> ComponentAgents:
    registry = plane.agents.registry
    return ComponentAgents(plane.registry, registry, plane.security, _on_this_machine(), plane.work.tasks)


def _on_this_machine() -> TektonConfig:
    # Those who call components and webhooks ask of a configuration no more than what is here.
    config = SimpleNamespace(
        host="127.0.0.1",
        port=0,
        ops_port=None,
        metrics_port=None,
        callback_networks=(),
        tls_client_ca=None,
        agent_lease=30.0,
    )
    return cast(TektonConfig, config)


def _tasks(plane: InMemoryControlPlane) -> Tasks:
    # It asks of a configuration no more than what is here.
    config = SimpleNamespace(
        max_open_tasks=10_000,
        max_open_tasks_per_owner=1_000,
        max_open_size="1G",
        max_open_size_per_owner="256M",
        task_age=604_800.0,
        task_limit=100_000,
        conversation_age=None,
        max_conversations_per_owner=200_000,
        max_messages_per_conversation=1_000_000,
        max_conversation_size="256M",
    )
    return Tasks(
        plane.work,
        plane.agents,
        plane.conversations,
        plane.registry,
        remote=plane.agent_calls,
        config=cast(TektonConfig, config),
    )


def _a2a(plane: InMemoryControlPlane) -> A2aEdge:
    return A2aEdge(
        plane.tasks,
        plane.agents,
        plane.conversations,
        plane.work,
        plane.security.policy,
        components=plane.registry,
        config=_on_this_machine(),
        card_ring=KeyRing.generate(SYSTEM_CLOCK.time()),
    )


class _Overview:
    """The components as the API shows them, of which there is no more to say than what is registered."""

    def __init__(self, plane: InMemoryControlPlane) -> None:
        self._plane = plane

    async def refresh(self) -> None:
        """No processes are looked at."""

    def view(self, component_id: str) -> ComponentView:
        """Raises ComponentNotFoundError."""
        record = self._plane.record(component_id)
        return show(record, forget_in=self._plane.forgetting.due_in(record))

    def instance_view(self, record: ComponentRecord) -> InstanceView:
        return show_instance(record)
