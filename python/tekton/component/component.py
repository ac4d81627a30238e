"""A component in a few lines: its routes, served on one port, and its place in the control plane.

    app = Component("greeter", capabilities=["greet"], depends_on=["hermes"])

    @app.get("/api/greet/{name}")
    async def greet(request):
        return {"text": f"Hello, {request.params['name']}."}

    app.run()

Beside what it defines it serves its health, its description and its metrics (`standard_routes`), its tools, what its
agents are told, and the events that it publishes. What becomes of it from its start to its end is in `life`.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tekton.bus.bus import Bus
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.component.agents import AgentWork
from tekton.component.auth import Auth
from tekton.component.boundary import Boundary
from tekton.component.definition import Definition
from tekton.component.life import Circumstances, Life
from tekton.component.process import run_until_signalled
from tekton.core.lifecycle import ComponentRegistration, check_registration
from tekton.core.metrics.metrics import MetricsManager
from tekton.core.tracing.tracer import Tracer
from tekton.utils.component_client import CallHook, ControlPlane, Discovery
from tekton.utils.tekton_config import ComponentPlace
from tekton.utils.tekton_errors import TektonError
from tekton.utils.tekton_logging import configure_logging

_logger = logging.getLogger("tekton.component")


class Component(Definition):
    """A served, registered component.

    * *component_id*: under which others find it. *capabilities*: what it can do, by which it is found as well.
    * *depends_on*: ids of components without which it is not READY.
    * *name*, *version*, *component_type*, *metadata* (a JSON object, 64 KiB at most): what is shown of it; *name* is
      the id unless it is given.
    * *host*, *port*: where it listens. The port is *port*, else PORT, else the configured port of *component_id*, else
      any free one. *endpoint*: the base URL under which others reach it, when that is not host and port.
    * *max_instances* of it may run at once.
    * *forget_after*: seconds after which an instance that has ended leaves the registry (default: it stays; so does
      what a supervisor runs).
    * *allowed_hosts*: names under which it may be addressed beside its own and those of the loopback interface.
      *allowed_origins*: web origins whose pages may change things.
    * *auth*: who may call without a token: callers on this machine ("auto"), nobody (True), everybody (False); see
      `tekton.component.auth`.
    * *control_plane*: where it registers (default: where the environment says, else on this machine). Without
      *register* it only serves.
    * *call_hook* sees its calls to other components. *bus* is used instead of that of the control plane.
    * *stop_timeout*: seconds that requests, tasks and hooks have to end when it stops; then they are cut off.
    * *clock*: another one in tests. They come between it and the world at its `boundary`.

    Numbers that are put into `metrics` go with the heartbeats.

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
        registration = ComponentRegistration(
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
        check_registration(registration)
        super().__init__(registration)
        self._life = Life(
            self,
            Circumstances(
                place=ComponentPlace(host, endpoint, tuple(allowed_hosts), max_instances, forget_after),
                port=port,
                allowed_origins=list(allowed_origins),
                auth=auth,
                control_plane=control_plane,
                registers=register,
                call_hook=call_hook,
                bus=bus,
                stop_timeout=stop_timeout,
                clock=clock,
            ),
        )

    @property
    def port(self) -> int | None:
        """The port on which it listens; None while it does not."""
        return self._life.port

    @property
    def boundary(self) -> Boundary:
        """Where its present run meets the world."""
        return self._life.boundary

    @property
    def agent_work(self) -> AgentWork:
        """The tasks that its agents work on."""
        return self._life.agent_work

    @property
    def meter(self) -> MetricsManager:
        """The metrics at `/metrics`: to declare some of its own, and to record them."""
        return self._life.measured.manager

    @property
    def discovery(self) -> Discovery:
        """How it finds and calls other components. Raises RuntimeError when it is not started, or not registered."""
        if (discovery := self._life.membership.discovery) is None:
            raise RuntimeError(f"{self.component_id} has no control plane: it is not started, or does not register")
        return discovery

    @property
    def bus(self) -> Bus:
        """The bus that its handlers listen to: that of its control plane, unless another one was given.

        Raises RuntimeError when it is not started, or has no control plane.
        """
        if (bus := self._life.membership.bus) is None:
            raise RuntimeError(f"{self.component_id} has no bus: it is not started, or has no control plane")
        return bus

    @property
    def tracer(self) -> Tracer:
        """What makes its spans. In a request or a tool, `tekton.core.tracing.span` is all that one needs."""
        return self._life.spans.tracer

    async def publish(self, topic: str, data: object) -> int:
        """Publish *data* (a JSON value or a struct): `memory.updated` at `/events/memory/updated` and on `/ws`.

        Returns the number of the event. Raises InvalidIdError, ValueError for more than 1 MiB and for topics that begin
        with `tekton`, TypeError for what has no JSON form. Nothing waits for those who watch.
        """
        return await self._life.topics.publish(topic, data)

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
        await self._life.start()

    async def wait_ready(self) -> None:
        """Return once it is ready."""
        await self._life.wait_ready()

    async def stop(self, *, failure: str | None = None) -> None:
        """Leave the control plane, finish what is in progress, run the `on_stop` hooks. Stopping twice does nothing.

        *failure* is told as the reason of the end. What has not ended after the stop timeout is cut off; what hooks
        raise is logged.
        """
        await self._life.stop(failure)

    async def crash(self) -> None:
        """End as by `kill -9`: nobody is told, no hook runs, who has a connection gets 503 and loses it. For tests.

        It is missed when its lease runs out, and can be started again, as another instance. Raises RuntimeError when it
        does not run.
        """
        await self._life.crash()


def _several(argument: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{argument} is a list: {argument}=[{values!r}]")
    return tuple(values)
