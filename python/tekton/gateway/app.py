"""The gateway: one RSGI application that turns the route table into an HTTP interface.

A request passes, in this order: the frame checks of `ingress`, the router, the authorisation policy, the decoding
of query and body, the handler. Whatever any of them raises is answered as a problem document; only what is not a
TektonError is a 500, and logged.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from tekton.gateway.auth import LocalPolicy, Policy
from tekton.gateway.bodies import BodyReader
from tekton.gateway.connection import Connection, SocketHandler
from tekton.gateway.decoding import decode_body, decode_query
from tekton.gateway.errors import MethodNotAllowedError, RouteNotFoundError, UnavailableError
from tekton.gateway.ingress import Ingress
from tekton.gateway.mounts import Mount, Mounts
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route, Router
from tekton.gateway.rsgi import HeaderList, HttpProtocol, Scope, SocketProtocol
from tekton.gateway.sockets import SOCKET
from tekton.gateway.sse import EventStream, send_stream
from tekton.gateway.streams import Streams
from tekton.utils.tekton_errors import TektonError

__all__ = ["EventStream", "Gateway", "Request", "Response", "Route"]

_logger = logging.getLogger("tekton.gateway")

_NOTHING = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
_JSON = [("content-type", "application/json"), *_NOTHING]


class Gateway:
    """Serves *routes*, *websocket* at `/ws`, and below their prefixes the ASGI applications *mounts*.

    A route wins over a mount. *socket* is the route that `/ws` is, for the policy and the document.
    *allowed_hosts* are names under which this server is reached beside those of the loopback interface,
    *allowed_origins* web origins whose pages may change things. *policy* decides who may use which route;
    without one, only the Unix socket may do everything. A body must arrive within *body_timeout* seconds.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        policy: Policy | None = None,
        websocket: SocketHandler | None = None,
        socket: Route = SOCKET,
        mounts: Sequence[Mount] = (),
        body_timeout: float = 15.0,
        max_streams: int = 512,
    ) -> None:
        self.router = Router([*routes, socket] if websocket else routes)
        self.streams = Streams(max_streams)
        self._ingress = Ingress(allowed_hosts, allowed_origins)
        self._policy: Policy = policy or LocalPolicy()
        self._websocket = websocket
        self._socket = socket
        self._mounts = Mounts(mounts) if mounts else None
        self._bodies = BodyReader(body_timeout)

    @property
    def draining(self) -> bool:
        """True from the moment on which the server is asked to stop."""
        return self.streams.closing.is_set()

    async def drain(self) -> None:
        """Take no more streams and sockets, end those that are open, return when all have ended."""
        await self.streams.close()

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        """The entry point that the server calls with a `Scope` and an `HttpProtocol` or `SocketProtocol`."""
        # Not a coroutine itself: one that only awaits another costs as much as a header check.
        return self._serve_request(scope, proto) if scope.proto == "http" else self._serve_socket(scope, proto)

    async def _serve_request(self, scope: Scope, proto: HttpProtocol) -> None:
        method, path, query = scope.method, scope.path, scope.query_string
        try:
            headers = scope.headers
            self._ingress.check(scope, headers, method, path, query)
            if self._mounts is not None and (mount := self._mounts.find(self.router, path)) is not None:
                self._policy(Request(scope, proto, headers, method, path), mount.route)
                await mount.serve(scope, proto, headers, self.streams)
                return
            route, params = self.router.match(method, path)
            request = Request(scope, proto, headers, method, path)
            request.params = params
            self._policy(request, route)
            if query or route.query is not None:
                request.query = decode_query(route.query, query)
            if route.decoder is not None:
                body = await self._bodies.read(proto, headers, route.max_body)
                request.body = decode_body(route.decoder, body or route.no_body)
            else:
                await self._bodies.discard(proto, headers, route.max_body)
            result = await route.handler(request)
            if isinstance(result, Struct):
                proto.response_bytes(route.status, _JSON, encode(result))
            elif isinstance(result, EventStream):
                await self._stream(request, result, proto)
            else:
                _answer(route, result, proto)
        except asyncio.CancelledError:
            # The server ends and waits no longer. Without this the client would be told of a defect.
            _refuse(method, path, UnavailableError("the server has stopped; whether this was done is not known"), proto)
            raise
        except Exception as error:
            _refuse(method, path, error, proto)

    async def _stream(self, request: Request, stream: EventStream, proto: HttpProtocol) -> None:
        if request.method == "HEAD":
            proto.response_bytes(200, [("content-type", "text/event-stream")], b"")
        else:
            await send_stream(stream, proto, self.streams)

    async def _serve_socket(self, scope: Scope, proto: SocketProtocol) -> None:
        try:
            request, handler = self._admit_socket(scope)
            if isinstance(handler, Mount):
                await handler.serve_socket(scope, proto, request.headers, self.streams)
                return
        except TektonError as error:
            proto.close(status_of(error))
            return
        with self.streams.open():
            try:
                connection = Connection(await proto.accept(), partial(self._policy, request), self.streams.closing)
            except RuntimeError:  # granian's RSGIProtocolError: the client left during the handshake
                return
            try:
                await handler(connection)
            except Exception:
                _logger.exception("the socket of %s failed", request.client or "a local process")
            finally:
                connection.release()

    def _admit_socket(self, scope: Scope) -> tuple[Request, SocketHandler | Mount]:
        headers, method, path, query = scope.headers, scope.method, scope.path, scope.query_string
        self._ingress.check(scope, headers, method, path, query, upgrade=True)
        request = Request(scope, None, headers, method, path)
        self.streams.check()
        if self._websocket is None or path != self._socket.path:
            mount = None if self._mounts is None else self._mounts.find(self.router, path)
            if mount is None:
                raise RouteNotFoundError(path)
            self._policy(request, mount.route)
            return request, mount
        self._policy(request, self._socket)
        request.query = decode_query(self._socket.query, query)
        return request, self._websocket


def _answer(route: Route, result: Any, proto: HttpProtocol) -> None:
    if isinstance(result, Response):
        proto.response_bytes(result.status, _headers(result), result.body)
    elif isinstance(result, bytes):
        proto.response_bytes(route.status, _JSON, result)
    elif result is None:
        proto.response_bytes(204, _NOTHING, b"")
    else:
        proto.response_bytes(route.status, _JSON, encode(result))


def _refuse(method: str, path: str, error: Exception, proto: HttpProtocol) -> None:
    if not isinstance(error, TektonError):
        _logger.error("%s %s failed", method, path, exc_info=error)
    if method == "OPTIONS" and isinstance(error, MethodNotAllowedError):
        proto.response_bytes(204, [("allow", ", ".join(error.allowed)), *_NOTHING], b"")
    else:
        proto.response_bytes(status_of(error), headers_of(error), to_problem(error, path))


def _headers(response: Response) -> HeaderList:
    media_type = [("content-type", response.media_type)] if response.body else []
    return [*media_type, *response.headers, *_NOTHING]
