"""A component in a few lines: its routes, served on one port, and its place in the control plane.

    app = Component("greeter", capabilities=["greet"], depends_on=["hermes"])

    @app.get("/api/greet/{name}")
    async def greet(request):
        return {"text": f"Hello, {request.params['name']}."}

    app.run()

Beside what it defines it serves its health, its description and its metrics (`standard_routes`), its tools, what its
agents are told, and the events that it publishes.

The life of a component: listen (health answers, its own routes say 503) -> register -> `on_start` hooks -> ready as
soon as every `ready_when` condition holds -> heartbeats, which tell when a condition no longer does -> on SIGTERM: not
ready, STOPPING, requests in progress are answered, `on_stop` hooks -> STOPPED. The control plane may be away at any
time.
"""

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.bus.bus import Bus
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.component.agents import AgentTable, AgentWork
from tekton.component.auth import Auth, Callers
from tekton.component.boundary import Boundary, BoundedGateway
from tekton.component.exposition import ComponentMetrics
from tekton.component.gate import Gate
from tekton.component.handlers import MessageTable
from tekton.component.hooks import call_hook
from tekton.component.listening import Listening
from tekton.component.process import run_until_signalled
from tekton.component.process_metrics import ProcessMetrics
from tekton.component.readiness import Condition, Conditions, name_of
from tekton.component.routes import RouteTable
from tekton.component.spans import ComponentSpans
from tekton.component.standard_routes import Version, standard_routes
from tekton.component.tools import offered, tool_routes
from tekton.component.topics import Topics, topic_routes
from tekton.core.lifecycle import ComponentRegistration, check_registration, new_instance_uuid
from tekton.core.metrics.metrics import MetricsManager
from tekton.core.tracing.tracer import Tracer, why
from tekton.gateway.mounts import Mount
from tekton.gateway.router import CALLERS, Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import SOCKET, TopicSocket
from tekton.gateway.tracing import RequestSpans
from tekton.utils.bus_client import BusClient
from tekton.utils.call_tokens import CallTokens
from tekton.utils.component_client import CallHook, ControlPlane, Discovery
from tekton.utils.remote_auth import RemoteAuth
from tekton.utils.tekton_config import (
    ComponentEnvironment,
    ComponentPlace,
    TektonConfig,
    component_environment,
    component_place,
)
from tekton.utils.tekton_errors import TektonError
from tekton.utils.tekton_logging import configure_logging
from tekton.utils.tekton_registration import Registration

_logger = logging.getLogger("tekton.component")

_HookT = TypeVar("_HookT", bound=Callable[[], object])
_ConditionT = TypeVar("_ConditionT", bound=Condition)

_AT_ONCE = 0.2

_SOCKET = replace(SOCKET, permission=CALLERS, summary="The WebSocket: the events of topics")


class Component(RouteTable, MessageTable, AgentTable):
    """A served, registered component.

    *port* is where it listens: else PORT, else the configured port of *component_id*, else any free one. *endpoint*
    is the base URL under which others reach it, when that is not host and port. *max_instances* of it may run at once.
    An instance that has ended leaves the registry after *forget_after* seconds (default: it stays; so does what a
    supervisor runs).
    *allowed_hosts* are names under which it may be addressed beside its own and those of the loopback interface,
    *allowed_origins* web origins whose pages may change things. *auth* says who may call without a token: callers on
    this machine ("auto"), nobody (True), everybody (False); see `tekton.component.auth`. Without *register* it only
    serves. *call_hook* sees its calls to other components. *bus* is used instead of that of the control plane. Numbers
    put into `metrics` go with the heartbeats. Tests come between it and the world at its `boundary`.

    Under a supervisor, id and instance are those that the supervisor gave. Without one, what the environment says of it
    (ENGRAM_HOST, ENGRAM_URL and so on, see `ComponentPlace`) wins over *host*, *endpoint*, *allowed_hosts*,
    *max_instances* and *forget_after*. Raises InvalidRegistrationError, and
    TypeError for one string where several are expected.
    """

    def __init__(
        self,
        component_id: str,
        *,
        capabilities: Sequence[str] = (),
        depends_on: Sequence[str] = (),
        name: str = "",
        version: str = "0.0.0",
        component_type: str = "service",
        metadata: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        endpoint: str | None = None,
        max_instances: int = 1,
        forget_after: float | None = None,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        auth: Auth = "auto",
        control_plane: ControlPlane | None = None,
        register: bool = True,
        call_hook: CallHook | None = None,
        bus: Bus | None = None,
        stop_timeout: float = 7.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__()
        MessageTable.__init__(self)
        AgentTable.__init__(self)
        self.registration = ComponentRegistration(
            component_id=component_id,
            component_name=name or component_id,
            component_type=component_type,
            version=version,
            capabilities=_several("capabilities", capabilities),
            dependencies=_several("depends_on", depends_on),
            endpoint=endpoint,
            max_instances=max_instances,
            forget_after=forget_after,
            metadata=dict(metadata or {}),
        )
        check_registration(self.registration)
        self.metrics: dict[str, float] = {}
        self.boundary = Boundary()
        self._port = port
        self._own_place = ComponentPlace(host, endpoint, tuple(allowed_hosts), max_instances, forget_after)
        self._allowed_origins = list(allowed_origins)
        self._auth: Auth = auth
        self._callers = Callers(component_id, auth, clock)
        self._control_plane = control_plane
        self._plane: ControlPlane | None = None
        self._registers = register
        self._call_hook = call_hook
        self._stop_timeout = stop_timeout
        self._clock = clock
        self._starters: list[Callable[[], object]] = []
        self._stoppers: list[Callable[[], object]] = []
        self._conditions = Conditions(component_id)
        self._gate = Gate(component_id, clock)
        self._measured = ComponentMetrics(self._gate.requests, lambda: self.metrics, clock)
        self._topics = Topics(clock)
        self._mounts: list[Mount] = []
        self._ready = asyncio.Event()
        self._readiness = BackgroundTask(f"readiness of {component_id}")
        self._server: GatewayServer | None = None
        self._gateway: BoundedGateway | None = None
        self._presence: Registration | None = None
        self._discovery: Discovery | None = None
        self._reviewing = BackgroundTask(f"callers of {component_id}")
        self.agent_work = AgentWork(self, clock)
        """The tasks that its agents work on."""
        self._spans = ComponentSpans(component_id, clock)
        self._bus = bus
        self._client: BusClient | None = None
        self._listening = Listening(component_id, self, self._spans.tracer, clock, self._complain)

    @property
    def component_id(self) -> str:
        """The id of the component."""
        return self.registration.component_id

    @property
    def port(self) -> int | None:
        """The port on which it listens; None while it does not."""
        return self._server.port if self._server else None

    @property
    def endpoint(self) -> str | None:
        """The base URL under which others reach it; None when it has never served."""
        return self.registration.endpoint

    @property
    def meter(self) -> MetricsManager:
        """The metrics at `/metrics`: to declare some of its own, and to record them."""
        return self._measured.manager

    @property
    def discovery(self) -> Discovery:
        """How it finds and calls other components. Raises RuntimeError when it is not started, or not registered."""
        if self._discovery is None:
            raise RuntimeError(f"{self.component_id} has no control plane: it is not started, or does not register")
        return self._discovery

    @property
    def bus(self) -> Bus:
        """The bus that its handlers listen to: that of its control plane, unless another one was given.

        Raises RuntimeError when it is not started, or has no control plane.
        """
        if self._bus is not None:
            return self._bus
        if self._client is None:
            if self._plane is None:
                raise RuntimeError(f"{self.component_id} has no bus: it is not started, or has no control plane")
            self._client = BusClient(self._plane, clock=self._clock)
        return self._client

    @property
    def tracer(self) -> Tracer:
        """What makes its spans. In a request or a tool, `tekton.core.tracing.span` is all that one needs."""
        return self._spans.tracer

    async def publish(self, topic: str, data: object) -> int:
        """Publish *data* (a JSON value or a struct): `memory.updated` at `/events/memory/updated` and on `/ws`.

        Returns the number of the event. Raises InvalidIdError, ValueError for more than 1 MiB and for topics that begin
        with `tekton`, TypeError for what has no JSON form. Nothing waits for those who watch.
        """
        return await self._topics.publish(topic, data)

    def on_start(self, hook: _HookT) -> _HookT:
        """Call the decorated function before the component becomes ready. What it raises ends the start.

        Here, in `on_stop` and in `ready_when` a plain function runs in a thread.
        """
        self._starters.append(hook)
        return hook

    def on_stop(self, hook: _HookT) -> _HookT:
        """Call the decorated function when the component has stopped serving; the one defined last comes first."""
        self._stoppers.append(hook)
        return hook

    def ready_when(self, condition: _ConditionT) -> _ConditionT:
        """The component is ready while the decorated function returns True.

        Until it does for the first time the component is not READY. Later on `/api/ready` tells, with 503 for False,
        and the control plane gives its address to nobody until it holds again.
        """
        self._conditions.add(condition)
        return condition

    def run(self, *, log_level: str = "info") -> None:
        """Serve until SIGTERM or SIGINT, then stop in good order. Raises SystemExit(1) when it cannot start.

        Logs to standard error unless logging is configured already.
        """
        if not logging.getLogger().handlers:
            configure_logging(log_level)
        try:
            run_until_signalled(self)
        except TektonError as error:
            _logger.critical("%s: %s", self.component_id, error)
            sys.exit(1)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, register and run the `on_start` hooks; readiness follows behind (`wait_ready`).

        Raises PortInUseError, ConfigurationError, and what a hook raises; then nothing is left running. Raises
        RuntimeError when it is started already.
        """
        if self._server is not None:
            raise RuntimeError(f"{self.component_id} is started already")
        began = self._clock.monotonic()
        environment = component_environment()
        supervised = environment.instance_uuid is not None
        place = self._own_place if supervised else component_place(self.component_id).over(self._own_place)
        self._identify(environment, place)
        await self._listen(environment, place)
        try:
            await self._join(environment, began)
        except BaseException as error:
            # In a task of its own: this one may be in the course of being cancelled.
            await BackgroundGroup(self.component_id).spawn(self.stop(failure=f"start failed: {error!r}"), "stop")
            raise
        self._gate.closed = None
        self._readiness.start(self._attend_readiness(began))

    async def wait_ready(self) -> None:
        """Return once it is ready."""
        await self._ready.wait()

    async def stop(self, *, failure: str | None = None) -> None:
        """Leave the control plane, finish what is in progress, run the `on_stop` hooks. Stopping twice does nothing.

        *failure* is told as the reason of the end. What has not ended after the stop timeout is cut off; what hooks
        raise is logged.
        """
        server, self._server = self._server, None
        if server is not None:
            await self._end(server, self._stop_timeout, self._stoppers, failure)

    async def crash(self) -> None:
        """End as by `kill -9`: nobody is told, no hook runs, who has a connection gets 503 and loses it. For tests.

        It is missed when its lease runs out, and can be started again, as another instance. Raises RuntimeError when it
        does not run.
        """
        server, self._server = self._server, None
        if server is None:
            raise RuntimeError(f"{self.component_id} does not run")
        presence, self._presence = self._presence, None
        if presence is not None:
            await presence.abandon()
        await self.agent_work.abandon()
        if self._gateway is not None:
            self._gateway.cut_off(f"{self.component_id} was killed")
        await self._end(server, _AT_ONCE, [], None)

    async def _end(
        self, server: GatewayServer, patience: float, hooks: Sequence[Callable[[], object]], failure: str | None
    ) -> None:
        self._gate.closed = "stopping"
        self._ready.clear()
        try:
            async with asyncio.timeout(patience):
                await self._wind_down(server, patience, hooks, failure)
        except TimeoutError:
            _logger.warning("%s has not wound down after %g s; it ends anyway", self.component_id, patience)
        finally:
            presence, self._presence = self._presence, None
            if presence is not None:
                await presence.close()
            await self._listening.stop(0.0)
            await self.agent_work.abandon()
            client, self._client = self._client, None
            if client is not None:
                await client.close()
            self._plane = None
            discovery, self._discovery = self._discovery, None
            if discovery is not None:
                await discovery.stop()
            await self._reviewing.stop()
            await self.tools.close()
            await self._spans.stop(at_once=patience == _AT_ONCE)
            if self._callers.remote is not None:
                await self._callers.remote.stop()
            self._gate.closed = "starting"
        _logger.info("%s stopped", self.component_id)

    async def _wind_down(
        self, server: GatewayServer, patience: float, hooks: Sequence[Callable[[], object]], failure: str | None
    ) -> None:
        await self._readiness.stop()
        if self._presence is not None:
            await self._presence.leave(failure)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listening.stop(patience / 2))
            group.create_task(self.agent_work.close(patience / 2))
            group.create_task(server.stop(timeout=patience / 2))
        for mount in reversed(self._mounts):
            await mount.stop()
        for hook in reversed(hooks):
            try:
                await call_hook(hook)
            except Exception:
                _logger.exception("%s: %s failed", self.component_id, name_of(hook))

    def _identify(self, environment: ComponentEnvironment, place: ComponentPlace) -> None:
        given = environment.instance_uuid is not None
        self.registration = msgspec.structs.replace(
            self.registration,
            component_id=(given and environment.component_id) or self.component_id,
            instance_uuid=environment.instance_uuid or new_instance_uuid(),
            max_instances=place.max_instances or 1,
            forget_after=place.forget_after,
        )

    async def _listen(self, environment: ComponentEnvironment, place: ComponentPlace) -> None:
        host = place.host or "127.0.0.1"
        address = _bracketed(platform.node() if host in ("0.0.0.0", "::") else host)
        self._topics = Topics(self._clock)
        self.boundary = Boundary()
        self._callers = callers = Callers(self.component_id, self._auth, self._clock)
        self._mounts = [
            Mount(prefix, self._gate.before_app(callers.before_app(app, permission)), permission=permission)
            for prefix, app, permission in self._mounted
        ]
        self._gateway = gateway = BoundedGateway(
            self.boundary,
            callers,
            self._all_routes(),
            allowed_hosts=[address, *place.names],
            allowed_origins=self._allowed_origins,
            websocket=TopicSocket(self._topics),
            socket=_SOCKET,
            mounts=self._mounts,
            observers=[RequestSpans(self.tracer)],
        )
        server = GatewayServer(gateway, host, self._choose_port(environment))
        await server.start()
        self._server = server
        endpoint = place.url or f"http://{address}:{server.port}"
        self.registration = msgspec.structs.replace(
            self.registration,
            endpoint=endpoint,
            tools=offered(self.tools) or msgspec.UNSET,
            agents=self.agent_work.offered() or msgspec.UNSET,
        )

    def _choose_port(self, environment: ComponentEnvironment) -> int:
        if self._port is not None:
            return self._port
        return environment.port or TektonConfig.load().ports.get(self.component_id, 0)

    async def _join(self, environment: ComponentEnvironment, began: float) -> None:
        plane = self._control_plane
        if plane is None and (self._registers or self._auth is True or self._needs_bus):
            plane = await ControlPlane.locate()
        self._plane = plane
        if plane is not None:
            self._verify_by(plane)
            self._spans.start(plane, str(self.registration.instance_uuid), environment)
        if self._registers:
            assert plane is not None
            tokens = CallTokens(plane, self.component_id)
            self._discovery = Discovery(plane, hook=self._call_hook, tokens=tokens, withheld=self._callers.has_seen)
            self._discovery.open()
            self._presence = Registration(
                self.registration,
                plane,
                supervised=environment.instance_uuid is not None,
                metrics=self._read_metrics(ProcessMetrics()),
                before_report=self.boundary.before_report,
            )
            self._presence.start()
            self.agent_work.open(plane, str(self.registration.instance_uuid))
        # Not entered: what a hook leaves running belongs to no trace.
        starting = self.tracer.begin("start component", parent=environment.trace)
        starting.began(began)
        try:
            for mount in self._mounts:
                await mount.start()
            for hook in self._starters:
                starting.event(name_of(hook))
                await call_hook(hook)
        except BaseException as error:
            starting.fail(why(error))
            raise
        finally:
            starting.end()

    def _verify_by(self, plane: ControlPlane) -> None:
        """Accept the tokens of *plane*. It is asked when the first one is shown, or at once if all must show one."""
        self._callers.remote = RemoteAuth(plane, self.component_id, clock=self._clock)
        if self._auth is True:
            self._callers.remote.start()
        self._reviewing.start(self._review(self._callers.remote))

    async def _review(self, remote: RemoteAuth) -> None:
        while True:
            await remote.wait_changed()
            if self._gateway is not None:
                self._gateway.review()

    async def _attend_readiness(self, began: float) -> None:
        await self._conditions.met(str(self.endpoint))
        if self._listening.wanted:
            await self._listening.start(self.bus)
        self._ready.set()
        if self._presence is not None:
            self._presence.mark_ready()
        elapsed = self._clock.monotonic() - began
        _logger.info("%s is ready after %.2f s on %s", self.component_id, elapsed, self.endpoint)
        if self._presence is not None or self._listening.wanted:
            await self._conditions.watch(self._take_traffic)

    async def _take_traffic(self, serving: bool, reason: str) -> None:
        """Whether it is ready has changed."""
        if self._presence is not None:
            self._presence.set_serving(serving, reason)
        if not self._listening.wanted:
            return
        if serving:
            await self._listening.start(self.bus)
        else:
            await self._listening.pause(self._stop_timeout)

    def _complain(self, reason: str) -> None:
        """Some handler does not get its messages."""
        if self._presence is not None:
            self._presence.set_impaired(reason)

    @property
    def _needs_bus(self) -> bool:
        return self._listening.wanted and self._bus is None

    async def _unready_reason(self) -> str | None:
        if self._gate.closed is not None:
            return self._gate.closed
        # Who finds it ready expects to find its tools and agents, too. A control plane that is away is not waited for.
        if self._presence is not None and not self._presence.tried:
            return "registering"
        return await self._conditions.failing()

    def _all_routes(self) -> list[Route]:
        defined = [
            *self._routes,
            *tool_routes(self.tools, self._tool_permissions),
            *self.agent_work.routes(),
            *topic_routes(self._topics),
        ]
        own = [self._gate.before(route) for route in defined]
        own.append(self._measured.route())
        version = Version(self.component_id, self.registration.version, platform.python_version(), os.getpid())
        return [*standard_routes(version, self._unready_reason, own, self._callers.lets_in), *own]

    def _read_metrics(self, process: ProcessMetrics) -> Callable[[], dict[str, float]]:
        return lambda: {**process.read(), "requests_total": float(self._gate.requests.total), **self.metrics}


def _several(argument: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{argument} is a list: {argument}=[{values!r}]")
    return tuple(values)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
