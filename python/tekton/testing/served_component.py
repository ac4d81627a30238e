"""A `tekton.Component` that runs in this process, as `Faults` reach it.

Faults stand where the outside world meets the component: before its gateway, and before its requests to the control
plane. Its own code is not touched, and the standard routes (health, readiness) suffer as the others do.
"""

from random import Random

from tekton.component import Component
from tekton.gateway.app import Gateway
from tekton.gateway.errors import UnavailableError
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.gateway.rsgi import HttpProtocol, Scope, SocketProtocol
from tekton.testing.interference import InjectedFault, Interference
from tekton.utils.tekton_registration import Registration

_AT_ONCE = 0.2


class ServedComponent:
    """See the module. After a restart of the component it interferes with the new instance."""

    def __init__(self, component: Component, rng: Random) -> None:
        self._component = component
        self._interference = Interference(component.component_id, rng)
        self._obstructed: Gateway | None = None

    @property
    def interference(self) -> Interference:
        """What stands before the running instance. Raises RuntimeError when none runs."""
        gateway, presence = self._parts()
        if gateway is not self._obstructed:
            self._obstructed = gateway
            _obstruct(gateway, self._interference)
            if presence is not None:
                _hold_back(presence, self._interference)
        return self._interference

    async def kill(self, reason: str) -> None:  # noqa: ARG002 - nobody is told
        """See `Faults.kill`. A connection that is open is answered with 503, and closed."""
        gateway, presence = self._parts()
        component, self._component._presence = self._component, None
        if presence is not None:
            await presence._task.stop()
            await presence._client.close()
        _bury(gateway, component.component_id)
        self._interference.resume()
        # It has no time for hooks, nor for requests that are being answered.
        hooks, component._stoppers = component._stoppers, []
        patience, component._stop_timeout = component._stop_timeout, _AT_ONCE
        try:
            await component.stop()
        finally:
            component._stoppers, component._stop_timeout = hooks, patience

    def _parts(self) -> tuple[Gateway, Registration | None]:
        server = self._component._server
        if server is None:
            raise RuntimeError(f"{self._component.component_id} does not run")
        return server._app, self._component._presence


def _obstruct(gateway: Gateway, interference: Interference) -> None:
    serve_request, serve_socket = gateway._serve_request, gateway._serve_socket

    async def request(scope: Scope, proto: HttpProtocol) -> None:
        try:
            await interference.pass_request()
        except InjectedFault as fault:
            _refuse(scope, proto, fault)
        else:
            await serve_request(scope, proto)

    async def socket(scope: Scope, proto: SocketProtocol) -> None:
        try:
            await interference.pass_request()
        except InjectedFault as fault:
            proto.close(status_of(fault))
        else:
            await serve_socket(scope, proto)

    _replace(gateway, request, socket)


def _bury(gateway: Gateway, component_id: str) -> None:
    dead = UnavailableError(f"{component_id} was killed")

    async def request(scope: Scope, proto: HttpProtocol) -> None:
        _refuse(scope, proto, dead)

    async def socket(_: Scope, proto: SocketProtocol) -> None:
        proto.close(status_of(dead))

    _replace(gateway, request, socket)


def _replace(gateway: Gateway, request: object, socket: object) -> None:
    # The class has no seam for this, on purpose: nothing but a test comes between a server and its application.
    gateway._serve_request, gateway._serve_socket = request, socket  # type: ignore[method-assign, assignment]


def _hold_back(presence: Registration, interference: Interference) -> None:
    """Let what the component tells the control plane wait while it is paused."""
    reconcile = presence._reconcile

    async def paused() -> None:
        await interference.moving()
        await reconcile()

    presence._reconcile = paused  # type: ignore[method-assign]


def _refuse(scope: Scope, proto: HttpProtocol, error: Exception) -> None:
    headers = [*headers_of(error), ("connection", "close")]
    proto.response_bytes(status_of(error), headers, to_problem(error, scope.path))
