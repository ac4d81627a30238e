"""What stands before everything that a component serves of its own: closed while it starts and stops, and it counts.

A caller who says how long he will wait (`TIMEOUT_HEADER`) gives that time to the calls that are made for him, too.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tekton.clock import Clock
from tekton.component.exposition import RequestCounts
from tekton.core.degradation.deadline import within
from tekton.gateway.asgi import AsgiApp, AsgiReceive, AsgiScope, AsgiSend
from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.utils.calls import TIMEOUT_HEADER, patience

_HEADER = TIMEOUT_HEADER.lower()


class Gate:
    """The gate of *component_id*. `closed` says why it is closed; None: it is open."""

    def __init__(self, component_id: str, clock: Clock) -> None:
        self._component_id = component_id
        self._clock = clock
        self.closed: str | None = "starting"
        self.requests = RequestCounts()

    def before(self, route: Route) -> Route:
        """*route*, behind the gate."""

        async def handle(request: Request) -> Any:
            self._check()
            with self.requests.measure(route, self._clock):
                if (seconds := patience(request.headers.get(_HEADER))) is None:
                    return await route.handler(request)
                with within(seconds, ends=True):
                    return await route.handler(request)

        handler: Callable[[Request], Awaitable[Any]] = handle
        return replace(route, handler=handler)

    def before_app(self, app: AsgiApp) -> AsgiApp:
        """*app*, behind the gate, through which its lifespan may pass at any time."""

        async def serve(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
            if scope["type"] != "lifespan":
                self._check()
            with within(_patience_of(scope), ends=True):
                await app(scope, receive, send)

        return serve

    def _check(self) -> None:
        if self.closed is not None:
            raise UnavailableError(f"{self._component_id} is {self.closed}")


def _patience_of(scope: AsgiScope) -> float | None:
    told = (value for name, value in scope.get("headers", ()) if name == _HEADER.encode())
    return patience(next(told, b"").decode("latin-1"))
