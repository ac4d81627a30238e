"""What stands before everything that a component serves of its own: closed while it starts and stops, and it counts."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tekton.clock import Clock
from tekton.component.exposition import RequestCounts
from tekton.gateway.asgi import AsgiApp, AsgiReceive, AsgiScope, AsgiSend
from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import Route


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
                return await route.handler(request)

        handler: Callable[[Request], Awaitable[Any]] = handle
        return replace(route, handler=handler)

    def before_app(self, app: AsgiApp) -> AsgiApp:
        """*app*, behind the gate, through which its lifespan may pass at any time."""

        async def serve(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
            if scope["type"] != "lifespan":
                self._check()
            await app(scope, receive, send)

        return serve

    def _check(self) -> None:
        if self.closed is not None:
            raise UnavailableError(f"{self._component_id} is {self.closed}")
