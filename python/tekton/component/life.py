"""The life of a component, from its start to its end, and again.

Listen (health answers, its own routes say 503) -> register -> `on_start` hooks -> ready as soon as every `ready_when`
condition holds -> heartbeats, which tell when a condition no longer does -> on SIGTERM: not ready, STOPPING, requests
in progress are answered, `on_stop` hooks -> STOPPED. The control plane may be away at any time.
"""

import asyncio
import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.bus.bus import Bus
from tekton.clock import Clock
from tekton.component.agents import AgentWork
from tekton.component.auth import Auth, Callers
from tekton.component.boundary import Boundary, BoundedGateway
from tekton.component.definition import Definition
from tekton.component.exposition import ComponentMetrics
from tekton.component.gate import Gate
from tekton.component.hooks import call_hook
from tekton.component.listening import Listening
from tekton.component.membership import Membership
from tekton.component.process_metrics import ProcessMetrics
from tekton.component.readiness import name_of
from tekton.component.spans import ComponentSpans
from tekton.component.standard_routes import Version, standard_routes
from tekton.component.tools import offered
from tekton.component.topics import Topics, topic_routes
from tekton.core.lifecycle import new_instance_uuid
from tekton.core.tracing.tracer import why
from tekton.gateway.asgi import AsgiApp
from tekton.gateway.mounts import Mount
from tekton.gateway.router import CALLERS, Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import SOCKET, TopicSocket
from tekton.gateway.tracing import RequestSpans
from tekton.utils.component_client import CallHook, ControlPlane
from tekton.utils.tekton_config import (
    ComponentEnvironment,
    ComponentPlace,
    TektonConfig,
    component_environment,
    component_place,
)

_logger = logging.getLogger("tekton.component")

_AT_ONCE: Final = 0.2
_GOODBYE: Final = 1 / 3
"""Of the time to stop, for telling the control plane: one that does not answer must leave some to the requests."""

_SOCKET: Final = replace(SOCKET, permission=CALLERS, summary="The WebSocket: the events of topics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where and how a component is to live. See `Component`, which is given each of them."""

    place: ComponentPlace
    port: int | None
    allowed_origins: list[str]
    auth: Auth
    control_plane: ControlPlane | None
    registers: bool
    call_hook: CallHook | None
    bus: Bus | None
    stop_timeout: float
    clock: Clock


class Life:
    """The life of *definition*."""

    def __init__(self, definition: Definition, given: Circumstances) -> None:
        component_id, clock = definition.component_id, given.clock
        self.boundary = Boundary()
        self.topics = Topics(clock)
        self.callers = Callers(component_id, given.auth, clock)
        self.membership = Membership(component_id, bus=given.bus, call_hook=given.call_hook, clock=clock)
        self.spans = ComponentSpans(component_id, clock)
        self.agent_work = AgentWork(definition, clock, self.spans.tracer)
        self._definition = definition
        self._given = given
        self._gate = Gate(component_id, clock)
        self.measured = ComponentMetrics(self._gate.requests, lambda: definition.metrics, clock)
        self._mounts: list[Mount] = []
        self._ready = asyncio.Event()
        self._readiness = BackgroundTask(f"readiness of {component_id}")
        self._server: GatewayServer | None = None
        self._gateway: BoundedGateway | None = None
        self._listening = Listening(component_id, definition, self.spans.tracer, clock, self.membership.complain)

    @property
    def port(self) -> int | None:
        """The port on which the component listens; None while it does not."""
        return self._server.port if self._server else None

    async def start(self) -> None:
        """See `Component.start`."""
        definition = self._definition
        if self._server is not None:
            raise RuntimeError(f"{definition.component_id} is started already")
        began = self._given.clock.monotonic()
        environment = component_environment()
        supervised = environment.instance_uuid is not None
        own = self._given.place
        place = own if supervised else component_place(definition.component_id).over(own)
        self._identify(environment, place)
        await self._listen(environment, place)
        try:
            await self._join(environment)
            await self._call_start_hooks(environment, began)
        except BaseException as error:
            # In a task of its own: this one may be in the course of being cancelled.
            ending = self.stop(f"start failed: {error!r}")
            await BackgroundGroup(definition.component_id).spawn(ending, "stop")
            raise
        self._gate.closed = None
        self._readiness.start(self._attend_readiness(began))

    async def wait_ready(self) -> None:
        """Return once the component is ready."""
        await self._ready.wait()

    async def stop(self, failure: str | None) -> None:
        """See `Component.stop`."""
        server, self._server = self._server, None
        if server is not None:
            await self._end(server, self._given.stop_timeout, self._definition.hooks.stop, failure)

    async def crash(self) -> None:
        """See `Component.crash`."""
        component_id = self._definition.component_id
        server, self._server = self._server, None
        if server is None:
            raise RuntimeError(f"{component_id} does not run")
        await self.membership.abandon()
        await self.agent_work.abandon()
        if self._gateway is not None:
            self._gateway.cut_off(f"{component_id} was killed")
        await self._end(server, _AT_ONCE, [], None)

    # The start

    def _identify(self, environment: ComponentEnvironment, place: ComponentPlace) -> None:
        definition = self._definition
        given = environment.instance_uuid is not None
        definition.registration = msgspec.structs.replace(
            definition.registration,
            component_id=(given and environment.component_id) or definition.component_id,
            instance_uuid=environment.instance_uuid or new_instance_uuid(),
            max_instances=place.max_instances or 1,
            forget_after=place.forget_after,
        )

    async def _listen(self, environment: ComponentEnvironment, place: ComponentPlace) -> None:
        definition, given = self._definition, self._given
        host = place.host or "127.0.0.1"
        address = _bracketed(platform.node() if host in ("0.0.0.0", "::") else host)
        self.topics = Topics(given.clock)
        self.boundary = Boundary()
        self.callers = Callers(definition.component_id, given.auth, given.clock)
        self._mounts = definition.mounts(self._behind_gate)
        self._gateway = gateway = BoundedGateway(
            self.boundary,
            self.callers,
            self._all_routes(),
            allowed_hosts=[address, *place.names],
            allowed_origins=given.allowed_origins,
            websocket=TopicSocket(self.topics),
            socket=_SOCKET,
            mounts=self._mounts,
            observers=[RequestSpans(self.spans.tracer)],
        )
        server = GatewayServer(gateway, host, self._choose_port(environment))
        await server.start()
        self._server = server
        definition.registration = msgspec.structs.replace(
            definition.registration,
            endpoint=place.url or f"http://{address}:{server.port}",
            tools=offered(definition.tools) or msgspec.UNSET,
            agents=self.agent_work.offered() or msgspec.UNSET,
        )

    def _choose_port(self, environment: ComponentEnvironment) -> int:
        if self._given.port is not None:
            return self._given.port
        return environment.port or TektonConfig.load().ports.get(self._definition.component_id, 0)

    def _all_routes(self) -> list[Route]:
        definition = self._definition
        defined = [*definition.own_routes(), *self.agent_work.routes(), *topic_routes(self.topics)]
        own = [*map(self._gate.before, defined), self.measured.route()]
        registration = definition.registration
        version = Version(registration.component_id, registration.version, platform.python_version(), os.getpid())
        return [*standard_routes(version, self._unready_reason, own, self.callers.lets_in), *own]

    def _behind_gate(self, app: AsgiApp, permission: str) -> AsgiApp:
        return self._gate.before_app(self.callers.before_app(app, permission))

    async def _join(self, environment: ComponentEnvironment) -> None:
        given, registration = self._given, self._definition.registration
        instance = str(registration.instance_uuid)
        plane = given.control_plane
        needs_bus = self._listening.wanted and given.bus is None
        if plane is None and (given.registers or given.auth is True or needs_bus):
            plane = await ControlPlane.locate()
        if plane is None:
            return
        self.membership.open(
            plane, registration.component_id, self.callers, at_once=given.auth is True, changed=self._review
        )
        self.spans.start(plane, instance, environment)
        if given.registers:
            self.membership.register(
                registration,
                plane,
                self.callers,
                supervised=environment.instance_uuid is not None,
                metrics=self._metrics(ProcessMetrics()),
                before_report=self.boundary.before_report,
            )
            self.agent_work.open(plane, instance)

    def _review(self) -> None:
        if self._gateway is not None:
            self._gateway.review()

    def _metrics(self, process: ProcessMetrics) -> Callable[[], dict[str, float]]:
        requests, definition = self._gate.requests, self._definition
        return lambda: {**process.read(), "requests_total": float(requests.total), **definition.metrics}

    async def _call_start_hooks(self, environment: ComponentEnvironment, began: float) -> None:
        # Not entered: what a hook leaves running belongs to no trace.
        starting = self.spans.tracer.begin("start component", parent=environment.trace)
        starting.began(began)
        try:
            for mount in self._mounts:
                await mount.start()
            for hook in self._definition.hooks.start:
                starting.event(name_of(hook))
                await call_hook(hook)
        except BaseException as error:
            starting.fail(why(error))
            raise
        finally:
            starting.end()

    # Readiness

    async def _attend_readiness(self, began: float) -> None:
        definition = self._definition
        await definition.conditions.met(str(definition.endpoint))
        await self._listen_to_bus()
        self._ready.set()
        self.membership.mark_ready()
        elapsed = self._given.clock.monotonic() - began
        _logger.info("%s is ready after %.2f s on %s", definition.component_id, elapsed, definition.endpoint)
        if self.membership.registered or self._listening.wanted:
            await definition.conditions.watch(self._take_traffic)

    async def _take_traffic(self, serving: bool, reason: str) -> None:
        """Whether it is ready has changed."""
        self.membership.set_serving(serving, reason)
        if serving:
            await self._listen_to_bus()
        elif self._listening.wanted:
            await self._listening.pause(self._given.stop_timeout)

    async def _listen_to_bus(self) -> None:
        if self._listening.wanted:
            bus = self.membership.bus
            assert bus is not None
            await self._listening.start(bus)

    async def _unready_reason(self) -> str | None:
        reason = self._gate.closed or await self._definition.conditions.failing()
        # Who finds it ready expects to find its tools and agents, too. A control plane that is away is not waited for.
        return reason or ("registering" if self.membership.registering else None)

    # The end

    async def _end(
        self, server: GatewayServer, patience: float, hooks: Sequence[Callable[[], object]], failure: str | None
    ) -> None:
        component_id = self._definition.component_id
        self._gate.closed = "stopping"
        self._ready.clear()
        try:
            async with asyncio.timeout(patience):
                await self._wind_down(server, patience, hooks, failure)
        except TimeoutError:
            _logger.warning("%s has not wound down after %g s; it ends anyway", component_id, patience)
        finally:
            # Whatever went wrong: nobody else could give the port back.
            await server.stop(_AT_ONCE / 2)
            await self.membership.withdraw()
            await self._listening.stop(0.0)
            await self.agent_work.abandon()
            await self.membership.close()
            await self._definition.tools.close()
            await self.spans.stop(at_once=patience == _AT_ONCE)
            self._gate.closed = "starting"
        _logger.info("%s stopped", component_id)

    async def _wind_down(
        self, server: GatewayServer, patience: float, hooks: Sequence[Callable[[], object]], failure: str | None
    ) -> None:
        broken = await self._take_leave(patience * _GOODBYE, failure)
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
                _logger.exception("%s: %s failed", self._definition.component_id, name_of(hook))
        if broken is not None:
            raise broken

    async def _take_leave(self, patience: float, failure: str | None) -> Exception | None:
        """Say that it ends; what had gone wrong before, which keeps nobody from being answered."""
        broken: Exception | None = None
        try:
            await self._readiness.stop()
        except Exception as error:
            broken = error
        try:
            async with asyncio.timeout(patience):
                await self.membership.leave(failure)
        except TimeoutError:
            _logger.info(
                "%s: the control plane does not answer; nobody is told that it stops", self._definition.component_id
            )
        except Exception as error:
            broken = broken or error
        return broken


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
