"""The ops port: what must be answered while the main port is flooded, on a listener with connections of its own.

It is for probes, load balancers and heartbeats, and meant for a network that only these can reach. What it serves is
served by the same gateway, under the same rules.
"""

import re
from collections.abc import Coroutine
from typing import Any

from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.gateway.rsgi import HttpProtocol

_OPEN = re.compile(r"/api/(?:health|ready|heartbeats|components/[^/]+/heartbeat)")


class OpsPort:
    """The part of *app*, a gateway, that the ops port serves."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        """Called by the server for each request."""
        if scope.proto != "http":
            return _refuse_socket(proto)
        if _OPEN.fullmatch(scope.path):
            served: Coroutine[Any, Any, None] = self._app.__rsgi__(scope, proto)
            return served
        return _refuse(scope.path, proto)


async def _refuse(path: str, proto: HttpProtocol) -> None:
    error = RouteNotFoundError(path)
    proto.response_bytes(status_of(error), headers_of(error), to_problem(error, path))


async def _refuse_socket(proto: Any) -> None:
    proto.close(404)
