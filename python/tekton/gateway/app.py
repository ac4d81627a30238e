"""The gateway: one RSGI application that turns the route table into an HTTP interface.

A request passes, in this order: the rate of its address, the frame checks of `ingress`, the router, the load, the
authorisation policy, the rate and the share of its principal, the decoding of query and body, the handler. Whatever any
of them raises is answered as a problem document; only what is not a TektonError is a 500, and logged.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from msgspec import Struct

from tekton.auth.principal import Principal
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.idempotency import IdempotencyKeys
from tekton.gateway.admission import Admission, Place
from tekton.gateway.auth import AccessPolicy, Policy
from tekton.gateway.bodies import BodyReader
from tekton.gateway.connection import Connection, SocketHandler
from tekton.gateway.cors import Cors
from tekton.gateway.decoding import decode_body, decode_query
from tekton.gateway.dialects import Dialect, dialect_of
from tekton.gateway.errors import MethodNotAllowedError, RouteNotFoundError, UnavailableError
from tekton.gateway.idempotency import KEY, handle_once
from tekton.gateway.ingress import Ingress
from tekton.gateway.long_body import LongBody, send_long
from tekton.gateway.mounts import Mount, Mounts
from tekton.gateway.observers import Ended, Observer
from tekton.gateway.pages import page_headers
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.gateway.proxies import TrustedProxies
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.request_ids import HEADER, Named, sent_id
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
    *allowed_origins* web origins whose pages may change things and read the answers, *trusted_proxies* networks of
    reverse proxies that are believed in whom they pass on. *policy* decides who may use which route;
    without one, only the Unix socket may do everything. *admission* holds callers to their rates and shares; without it
    nobody is. *keys* are the idempotency keys; without them the header means nothing. *observers* are told of all
    requests and sockets, and how long they took on *clock*. A body must arrive within *body_timeout* seconds.
    *dialects* answer with errors of their own form below their prefixes.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Sequence[str] = (),
        trusted_proxies: Sequence[str] = (),
        policy: Policy | None = None,
        admission: Admission | None = None,
        keys: IdempotencyKeys | None = None,
        websocket: SocketHandler | None = None,
        socket: Route = SOCKET,
        mounts: Sequence[Mount] = (),
        dialects: Sequence[Dialect] = (),
        observers: Sequence[Observer] = (),
        clock: Clock = SYSTEM_CLOCK,
        body_timeout: float = 15.0,
        max_streams: int = 512,
    ) -> None:
        self.router = Router([*routes, socket] if websocket else routes)
        self.streams = Streams(max_streams)
        self._ingress = Ingress(allowed_hosts, allowed_origins)
        self._cors = Cors(allowed_origins) if allowed_origins else None
        self._proxies = TrustedProxies(trusted_proxies) if trusted_proxies else None
        self._policy: Policy = policy or AccessPolicy()
        self._admission = admission
        self._keys = keys
        self._websocket = websocket
        self._socket = socket
        self._mounts = Mounts(mounts) if mounts else None
        self._dialects = tuple(dialects)
        self._observers = tuple(observers)
        self._monotonic = clock.monotonic
        self._time = clock.time
        self._bodies = BodyReader(body_timeout, clock)

    @property
    def draining(self) -> bool:
        """True from the moment on which the server is asked to stop."""
        return self.streams.closing.is_set()

    def review(self) -> None:
        """End the streams and sockets of those who may no longer have them."""
        self.streams.review()

    async def drain(self) -> None:
        """Take no more streams and sockets, end those that are open, return when all have ended."""
        await self.streams.close()

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        """The entry point that the server calls with a `Scope` and an `HttpProtocol` or `SocketProtocol`."""
        # Not a coroutine itself: one that only awaits another costs as much as a header check.
        return self._serve_request(scope, proto) if scope.proto == "http" else self._serve_socket(scope, proto)

    async def _serve_request(self, scope: Scope, proto: HttpProtocol) -> None:
        method, path, query = scope.method, scope.path, scope.query_string
        request = Request(scope, proto, scope.headers, method, path)
        route: Route | None = None
        place: Place = None
        status, streamed = 0, False
        started = self._monotonic() if self._observers else 0.0
        try:
            scope, proto, request = self._receive(scope, proto, request)
            self._check(scope, request, query)
            if self._mounts is not None and (mount := self._mounts.find(self.router, method, path)) is not None:
                route = mount.route
                self._policy(request, route)
                self._begin(request, route)
                status = await mount.serve(scope, proto, request.headers, self.streams)
                return
            route, request.params = self.router.match(method, path)
            place = self._let_in(request, route)
            if self._observers:
                self._begin(request, route)
            request.query = decode_query(route.query, query) if query or route.query is not None else None
            coming = self._bodies.read(proto, request.headers, route.max_body, route.takes)
            body = b"" if coming is None else await coming
            request.body = body or None
            if route.decoder is not None:
                request.body = decode_body(route.decoder, body or route.no_body, unique_keys=route.unique_keys)
            result = await _handle(request, route, body, self._keys)
            proto = _named(proto, request)
            if isinstance(result, EventStream | LongBody):
                self._leave(place)
                place = None  # a stream has a share of another kind
                status = 200
                streamed = await self._stream(request, route, result, proto)
            else:
                status = _answer(route, result, proto)
        except asyncio.CancelledError:
            # The server ends and waits no longer. Without this the client would be told of a defect.
            unknown = UnavailableError("the server has stopped; whether this was done is not known")
            status = self._refuse(method, path, unknown, _named(proto, request))
            raise
        except Exception as error:
            status = self._refuse(method, path, error, _named(proto, request))
        finally:
            self._leave(place)
            if self._observers:
                self._end(Ended(method, path, request, route, status, self._monotonic() - started, streamed))

    def _refuse(self, method: str, path: str, error: Exception, proto: HttpProtocol) -> int:
        """Answer with what *error* is to the client; returns the status."""
        if not isinstance(error, TektonError):
            _logger.error("%s %s failed", method, path, exc_info=error)
        if method == "OPTIONS" and isinstance(error, MethodNotAllowedError):
            status = 204
            proto.response_bytes(status, [("allow", ", ".join(error.allowed)), *_NOTHING], b"")
        elif (dialect := dialect_of(self._dialects, path)) is not None:
            answer = dialect.refuse(path, error)
            status = answer.status
            proto.response_bytes(status, _headers(answer), answer.body)
        else:
            status = status_of(error)
            proto.response_bytes(status, headers_of(error), to_problem(error, path))
        return status

    def _begin(self, request: Request, route: Route) -> None:
        for observer in self._observers:
            observer.began(request, route)

    def _end(self, ended: Ended) -> None:
        for observer in self._observers:
            observer.ended(ended)

    def _let_in(self, request: Request, route: Route) -> Place:
        """Say who makes the request, and let it in; what is returned goes to `_leave`. Raises the GatewayErrors."""
        admission = self._admission
        if admission is not None and admission.load.pressure > 0:
            admission.shed(route.priority, request.client)
        self._policy(request, route)
        return None if admission is None else admission.enter(request, route)

    def _leave(self, place: Place) -> None:
        if self._admission is not None and place is not None:
            self._admission.leave(place)

    def _receive(self, scope: Scope, proto: HttpProtocol, request: Request) -> tuple[Scope, HttpProtocol, Request]:
        """The exchange as a proxy that we trust has got it, answered as a page that we allow must be answered."""
        headers = request.headers
        if self._admission is not None:
            self._admission.load.arrive(scope)
        if self._cors is not None and "origin" in headers:
            proto = self._cors.dress(proto, request.method, headers)
        if HEADER in headers and (sent := sent_id(headers)) is not None:
            proto = Named(proto, sent)
        if self._proxies is not None:
            scope, headers = self._proxies.reveal(scope, headers)
            request = Request(scope, proto, headers, request.method, request.path)
        return scope, proto, request

    def _check(self, scope: Scope, request: Request, query: str) -> None:
        if self._admission is not None:
            self._admission.arrive(request.client)
        self._ingress.check(scope, request, query)

    async def _stream(
        self, request: Request, route: Route, stream: EventStream | LongBody, proto: HttpProtocol
    ) -> bool:
        """Send *stream* to its end, or say that there is one; returns whether it was sent."""
        if request.method == "HEAD":
            proto.response_bytes(200, [("content-type", stream.media_type)], b"")
            return False
        with self._streaming(request):
            if isinstance(stream, LongBody):
                await send_long(stream, proto, self.streams)
                return True
            allowed, left = partial(self._is_allowed, request, route), partial(self._left, request)
            await send_stream(stream, proto, self.streams, allowed, left)
        return True

    def _streaming(self, request: Request) -> AbstractContextManager[None]:
        """Be one of the streams of who makes the request. Raises RateLimitedError."""
        return nullcontext() if self._admission is None else self._admission.streaming(request)

    async def _serve_socket(self, scope: Scope, proto: SocketProtocol) -> None:
        request = Request(scope, None, scope.headers, scope.method, scope.path)
        route: Route | None = None
        status = 101
        started = self._monotonic()
        try:
            request, route, handler = self._admit_socket(scope, request)
            with self._streaming(request):
                self._begin(request, route)
                if isinstance(handler, Mount):
                    await handler.serve_socket(scope, proto, request.headers, self.streams)
                else:
                    await self._converse(request, handler, proto)
        except TektonError as error:
            status = status_of(error)
            proto.close(status)
        finally:
            if self._observers:
                seconds = self._monotonic() - started
                self._end(Ended(request.method, request.path, request, route, status, seconds, status == 101))

    async def _converse(self, request: Request, handler: SocketHandler, proto: SocketProtocol) -> None:
        allowed = partial(self._is_allowed, request, self._socket)
        with self.streams.open(allowed) as ending:
            try:
                connection = Connection(
                    await proto.accept(),
                    partial(self._permit, request),
                    ending,
                    allowed,
                    left=partial(self._left, request),
                    identify=partial(self._identify, request),
                    reviews=self._reviews,
                    address=request.client,
                )
            except RuntimeError:  # granian's RSGIProtocolError: the client left during the handshake
                return
            try:
                await handler(connection)
            except Exception:
                _logger.exception("the socket of %s failed", request.client or "a local process")
            finally:
                connection.release()

    def _permit(self, request: Request, route: Route, component_id: str | None) -> None:
        """What a socket may do is asked each time: since it was opened, the peer may have lost the right to."""
        request.params = {} if component_id is None else {"component_id": component_id}
        self._policy(request, route)

    def _identify(self, request: Request) -> Principal:
        self._policy(request, self._socket)
        return request.principal

    def _reviews(self) -> int:
        return self.streams.reviews

    def _is_allowed(self, request: Request, route: Route) -> bool:
        try:
            self._policy(request, route)
        except TektonError:
            return False
        return True

    def _left(self, request: Request) -> float:
        ends = request.principal.expires_at
        return math.inf if ends is None else ends - self._time()

    def _admit_socket(self, scope: Scope, request: Request) -> tuple[Request, Route, SocketHandler | Mount]:
        query = scope.query_string
        if self._proxies is not None:
            scope, headers = self._proxies.reveal(scope, request.headers)
            request = Request(scope, None, headers, request.method, request.path)
        if self._admission is not None:
            self._admission.arrive(request.client)
            self._admission.shed("look", request.client)
        self._ingress.check(scope, request, query, upgrade=True)
        if request.method != "GET":  # RFC 6455, 4.2.1; the server below upgrades whatever asks for it
            raise MethodNotAllowedError(request.method, ["GET"])
        self.streams.check()
        if self._websocket is None or request.path != self._socket.path:
            mount = None if self._mounts is None else self._mounts.find(self.router, request.method, request.path)
            if mount is None:
                raise RouteNotFoundError(request.path)
            self._policy(request, mount.route)
            return request, mount.route, mount
        self._policy(request, self._socket)
        request.query = decode_query(self._socket.query, query)
        return request, self._socket, self._websocket


def _handle(request: Request, route: Route, body: bytes, keys: IdempotencyKeys | None) -> Awaitable[Any]:
    """Call the handler, if the request has a key: once. What changes something is done on behalf of who asks for it."""
    if route.keyed and keys is not None and KEY in request.headers:
        return handle_once(keys, request, route, body)
    if route.attributed:
        request.act()
    return route.handler(request)


def _named(proto: HttpProtocol, request: Request | None) -> HttpProtocol:
    return proto if request is None or request.given_id is None else Named(proto, request.given_id)


def _answer(route: Route, result: Any, proto: HttpProtocol) -> int:
    """Answer with *result*; returns the status."""
    status = route.status
    if isinstance(result, Struct):
        proto.response_bytes(status, _JSON, encode(result))
    elif isinstance(result, Response):
        status = result.status
        proto.response_bytes(status, _headers(result), result.body)
    elif isinstance(result, bytes):
        proto.response_bytes(status, _JSON, result)
    elif result is None:
        status = 204
        proto.response_bytes(status, _NOTHING, b"")
    else:
        proto.response_bytes(status, _JSON, encode(result))
    return status


def _headers(response: Response) -> HeaderList:
    media_type = [("content-type", response.media_type)] if response.body else []
    kept = any(name == "cache-control" for name, _ in response.headers)
    rest = _NOTHING[1:] if kept else _NOTHING
    return [*media_type, *response.headers, *page_headers(response.media_type, response.headers), *rest]
