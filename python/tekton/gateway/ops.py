"""Ports that serve a part of the gateway, on listeners with connections of their own, under the same rules.

The ops port has what must be answered while the main port is flooded: it is for probes, load balancers and heartbeats.
The metrics port has the metrics, for Prometheus. Both are meant for networks that only these can reach.
"""

import re
from collections.abc import Coroutine
from typing import Any, Final

from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.gateway.rsgi import HttpProtocol

OPS: Final = re.compile(r"/api/(?:health|ready|heartbeats|components/[^/]+/heartbeat)")
METRICS: Final = re.compile(r"/metrics")


class PartialPort:
    """The part of *app*, a gateway, whose paths match *served*."""

    def __init__(self, app: Any, served: re.Pattern[str]) -> None:
        self._app = app
        self._served = served

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        """Called by the server for each request."""
        if scope.proto != "http":
            return _refuse_socket(proto)
        if self._served.fullmatch(scope.path):
            served: Coroutine[Any, Any, None] = self._app.__rsgi__(scope, proto)
            return served
        return _refuse(scope.path, proto)


async def _refuse(path: str, proto: HttpProtocol) -> None:
    error = RouteNotFoundError(path)
    proto.response_bytes(status_of(error), headers_of(error), to_problem(error, path))


async def _refuse_socket(proto: Any) -> None:
    proto.close(404)
