"""A control plane for tests of components: the real registry and HTTP interface, in memory, on a free port.

    async with InMemoryControlPlane() as plane, Component("greeter", control_plane=plane.address) as greeter:
        await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)

It supervises nothing, and what it knows is gone when it ends.
"""

from types import TracebackType
from typing import Self, cast

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import ComponentRecord
from tekton.gateway.app import Gateway
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import ComponentSocket
from tekton.service.api import capabilities, components, events, heartbeats
from tekton.service.system import System
from tekton.service.views import ComponentView, InstanceView, show, show_instance
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_errors import ComponentNotFoundError


class InMemoryControlPlane:
    """What components talk to: registration, discovery, heartbeats and the socket.

    It asks for a heartbeat every *interval* seconds; after *timeout* seconds without one a component has failed.
    """

    def __init__(self, *, port: int = 0, interval: float = 10.0, timeout: float = 30.0) -> None:
        self.registry = ComponentRegistry()
        self.monitor = HeartbeatMonitor(self.registry, interval=interval, startup_timeout=timeout)
        self.overview = _Overview(self)
        self._timeout = timeout
        # The routes ask of a system no more than what is here.
        system = cast(System, self)
        routes = [route for api in (components, heartbeats, capabilities, events) for route in api.routes(system)]
        socket = ComponentSocket(events.change_source(system), self.monitor.beat)
        self._server = GatewayServer(Gateway(routes, websocket=socket), "127.0.0.1", port)

    @property
    def address(self) -> ControlPlane:
        """Where it is reached."""
        return ControlPlane(f"http://127.0.0.1:{self._server.port}")

    def knows(self, component_id: str) -> bool:
        """True for a component that is registered."""
        return self.registry.find(component_id) is not None

    def runs(self, component_id: str) -> bool:
        """False: no processes are started here."""
        del component_id
        return False

    has_credential = runs

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
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()
        await self.monitor.stop_monitoring()
        await self.registry.close()


class _Overview:
    """The components as the API shows them, of which there is no more to say than what is registered."""

    def __init__(self, plane: InMemoryControlPlane) -> None:
        self._plane = plane

    async def refresh(self) -> None:
        """No processes are looked at."""

    def view(self, component_id: str) -> ComponentView:
        """Raises ComponentNotFoundError."""
        return show(self._plane.record(component_id))

    def instance_view(self, record: ComponentRecord) -> InstanceView:
        return show_instance(record)
