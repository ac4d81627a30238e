"""Where a component meets the world: what stands there may let requests wait or fail, and hold its own reports back.

Nothing stands there in ordinary life, and then it costs one comparison for each request. `tekton.testing.Faults` puts
an `Interceptor` there.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from tekton.component.auth import Callers
from tekton.gateway.app import Gateway
from tekton.gateway.errors import UnavailableError
from tekton.gateway.problems import headers_of, status_of, to_problem


class Interceptor(Protocol):
    """What may stand before a component."""

    async def pass_request(self) -> None:
        """Return when a request, or the opening of a socket, may go on. What it raises is the answer."""
        ...

    async def moving(self) -> None:
        """Return when the component may report to the control plane."""
        ...


class Boundary:
    """The boundary of one run of a component: after a restart nothing stands there."""

    def __init__(self) -> None:
        self.interceptor: Interceptor | None = None

    async def before_report(self) -> None:
        """Wait as a report has to."""
        if self.interceptor is not None:
            await self.interceptor.moving()


class BoundedGateway(Gateway):
    """A gateway inside *boundary* that lets *callers* in; *options* are those of `Gateway`."""

    def __init__(self, boundary: Boundary, callers: Callers, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, policy=callers, **options)
        self._boundary = boundary
        self._callers = callers
        self._cut_off: UnavailableError | None = None

    def cut_off(self, reason: str) -> None:
        """Answer nothing from now on: whoever still has a connection gets 503, and loses it."""
        self._cut_off = UnavailableError(reason)

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        """See `Gateway`."""
        if self._boundary.interceptor is None and self._cut_off is None and not self._callers.must_learn(scope):
            return super().__rsgi__(scope, proto)
        return self._pass(scope, proto)

    async def _pass(self, scope: Any, proto: Any) -> None:
        try:
            if self._boundary.interceptor is not None:
                await self._boundary.interceptor.pass_request()
            if self._cut_off is not None:
                raise self._cut_off
            await self._callers.learn(scope)
        except Exception as error:
            _refuse(scope, proto, error)
        else:
            await super().__rsgi__(scope, proto)


def _refuse(scope: Any, proto: Any, error: Exception) -> None:
    if scope.proto == "http":
        headers = [*headers_of(error), ("connection", "close")]
        proto.response_bytes(status_of(error), headers, to_problem(error, scope.path))
    else:
        proto.close(status_of(error))
