"""ASGI applications below a prefix: what other frameworks have made, on our port.

HTTP with bodies that stream in both directions, WebSockets, lifespan. Reading the request waits for the application,
sending the answer for the client. `scope["root_path"]` is the prefix; `scope["path"]` has it in front. An application
is given canonical paths and the ordinary methods only: what the policy has allowed is what it serves.

What the server cannot do: WebSocket subprotocols and close codes. What it does badly: an answer that breaks off in the
middle ends like a complete one, unless it has announced its length.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from tekton.background import BackgroundGroup
from tekton.gateway.asgi import ASGI, AsgiApp, AsgiMessage, Lifespan
from tekton.gateway.errors import MethodNotAllowedError, UnavailableError
from tekton.gateway.paths import check_canonical
from tekton.gateway.piped_body import PipedBody
from tekton.gateway.router import METHODS, Route, Router
from tekton.gateway.rsgi import HeaderList, Headers, HttpProtocol, Scope, SocketProtocol, SocketTransport
from tekton.gateway.streams import Streams

FIRST_PIECE = 0.02
"""Seconds that the body of an answer may take to begin before the headers go ahead of it, as a stream's should."""

FAREWELL = 1.0
"""Seconds that a stream or socket has to end by itself when the server stops."""

_logger = logging.getLogger("tekton.gateway")


async def _not_routed(_: object) -> None:
    raise AssertionError("a mount is not reached through the router")


class Mount:
    """*app* below *prefix* (`/admin`; `/` for everything that is not a route). `start` and `stop` are its lifespan."""

    def __init__(self, prefix: str, app: AsgiApp, *, permission: str = "public") -> None:
        if not prefix.startswith("/") or "{" in prefix:
            raise ValueError(f"{prefix!r} is not a prefix to mount at")
        self.prefix = prefix.rstrip("/")
        self.route = Route("GET", prefix.rstrip("/") or "/", _not_routed, "A mounted application", permission)
        self._app = app
        self._state: dict[str, Any] = {}
        self._lifespan = Lifespan(app, self._state, prefix)

    def __contains__(self, path: str) -> bool:
        return path.startswith(f"{self.prefix}/") or path == self.prefix

    async def start(self) -> None:
        """Let the application start up. Raises ComponentError when it fails to."""
        await self._lifespan.start()

    async def stop(self) -> None:
        """Let the application shut down."""
        await self._lifespan.stop()

    async def serve(self, scope: Scope, proto: HttpProtocol, headers: Headers, streams: Streams) -> int:
        """Answer one request; returns the status. Raises what the application raises before it has begun to answer."""
        exchange = _Exchange(scope, proto, headers, streams)
        asgi = {**self._scope("http", scope, headers), "method": scope.method}
        try:
            await _until_closing(self._app(asgi, exchange.receive, exchange.send), streams, exchange.is_stream)
        except Exception:
            if not exchange.begun:
                raise
            if not exchange.left:
                _logger.exception("%s %s broke off", scope.method, scope.path)
        finally:
            exchange.close()
        if not exchange.begun:
            raise RuntimeError(f"the application mounted at {self.prefix or '/'} did not answer")
        return exchange.status

    async def serve_socket(self, scope: Scope, proto: SocketProtocol, headers: Headers, streams: Streams) -> None:
        """Serve one WebSocket. Raises UnavailableError when no more are taken."""
        with streams.open():
            socket = _Socket(proto)
            asgi = {**self._scope("websocket", scope, headers), "subprotocols": _subprotocols(headers)}
            try:
                await _until_closing(self._app(asgi, socket.receive, socket.send), streams, lambda: True)
            except Exception:
                if not socket.left:
                    _logger.exception("the socket at %s failed", scope.path)
            finally:
                socket.close()

    def _scope(self, kind: str, scope: Scope, headers: Headers) -> dict[str, Any]:
        scheme = scope.scheme if kind == "http" else scope.scheme.replace("http", "ws")
        return {
            "type": kind,
            "asgi": ASGI,
            "http_version": "1.1",
            "scheme": scheme,
            "path": scope.path,
            "raw_path": quote(scope.path).encode(),
            "query_string": scope.query_string.encode(),
            "root_path": self.prefix,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in _pairs(headers)],
            "client": _address(scope.client),
            "server": _address(scope.server),
            "state": self._state.copy(),
        }


class Mounts:
    """The applications of a gateway; the longest prefix wins."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.prefix))

    def find(self, router: Router, method: str, path: str) -> Mount | None:
        """The application that serves *path*; None when a route does, or nobody.

        Raises MalformedRequestError for a path that is not canonical, MethodNotAllowedError for `TRACE` or `get`.
        """
        mount = next((mount for mount in self._mounts if path in mount), None)
        if mount is None or router.has(path):
            return None
        check_canonical(path)
        if method not in METHODS:
            raise MethodNotAllowedError(method, METHODS)
        return mount


class _Exchange:
    """One HTTP request and its answer, as ASGI sees them."""

    def __init__(self, scope: Scope, proto: HttpProtocol, headers: Headers, streams: Streams) -> None:
        self._proto = proto
        self._streams = streams
        self._head = scope.method == "HEAD"
        self._body = aiter(proto) if _has_body(headers) else None
        self._whole = False
        self._done = asyncio.Event()
        self._start: tuple[int, HeaderList] | None = None
        self._stream: PipedBody | None = None
        self._early: asyncio.TimerHandle | None = None
        self.begun = False
        self.left = False

    @property
    def status(self) -> int:
        """That of the answer, once it has `begun`."""
        assert self._start is not None
        return self._start[0]

    def is_stream(self) -> bool:
        return self._stream is not None

    async def receive(self) -> AsgiMessage:
        if not self._whole:
            return await self._receive_body()
        if not self._done.is_set():
            await self._left()
        return {"type": "http.disconnect"}

    async def send(self, message: AsgiMessage) -> None:
        match message["type"]:
            case "http.response.start":
                self._start = _status(message["status"]), _header_list(message.get("headers", ()))
                if not self._head:
                    self._early = asyncio.get_running_loop().call_later(FIRST_PIECE, self._begin_early)
            case "http.response.body":
                await self._send_body(message.get("body", b""), more=message.get("more_body", False))

    def close(self) -> None:
        self._done.set()
        self._not_early()
        if self._stream is not None:
            self._stream.close()

    def _not_early(self) -> None:
        if self._early is not None:
            self._early.cancel()

    def _begin_early(self) -> None:
        with suppress(UnavailableError):  # which the first piece of the body will raise again
            self._begin_stream()

    def _begin_stream(self) -> PipedBody:
        assert self._start is not None
        if self._stream is None:
            self._stream = PipedBody(self._proto, *self._start, self._streams)
            self.begun = True
        return self._stream

    async def _receive_body(self) -> AsgiMessage:
        chunk = await self._piece()
        if chunk:
            return {"type": "http.request", "body": chunk, "more_body": True}
        self._whole = True
        # An empty piece is the end; with another one behind it, the body has broken off.
        if await self._piece() is not None:
            self._done.set()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _piece(self) -> bytes | None:
        """The next piece of the body; None behind the last."""
        if self._body is None:
            return None
        try:
            # Not `anext` with a default: the server's awaitables do not survive it.
            return await self._body.__anext__()
        except StopAsyncIteration:
            return None

    async def _left(self) -> None:
        group = BackgroundGroup("mounted")
        try:
            gone = group.spawn(_client_leaves(self._proto), "client")
            done = group.spawn(self._done.wait(), "done")
            await asyncio.wait((gone, done), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await group.stop()

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._start is None:
            raise RuntimeError("the body was sent before the start of the answer")
        self._not_early()
        if self._head or (self._stream is None and not more):
            if not self.begun:
                self.begun = True
                self._answer(bytes(body))
            self._done.set()
            return
        try:
            await self._begin_stream().send(bytes(body))
        except OSError:
            self.left = True
            raise
        if not more:
            self.close()

    def _answer(self, body: bytes) -> None:
        assert self._start is not None
        status, headers = self._start
        if self._head:
            body = b""
        else:
            # What the application says may be wrong, and then the rest would be taken for the next answer.
            headers = [header for header in headers if header[0] != "content-length"]
        self._proto.response_bytes(status, headers, body)


class _Socket:
    """One WebSocket, as ASGI sees it."""

    def __init__(self, proto: SocketProtocol) -> None:
        self._proto = proto
        self._transport: SocketTransport | None = None
        self._asked = False
        self._ended = False
        self.left = False

    async def receive(self) -> AsgiMessage:
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        if self._transport is None:
            return {"type": "websocket.disconnect", "code": 1006}
        try:
            message = await self._transport.receive()
        except RuntimeError:  # granian's RSGIProtocolClosed
            return {"type": "websocket.disconnect", "code": 1006}
        if message.kind == 0:
            return {"type": "websocket.disconnect", "code": 1005}
        return {"type": "websocket.receive", ("text" if isinstance(message.data, str) else "bytes"): message.data}

    async def send(self, message: AsgiMessage) -> None:
        match message["type"]:
            case "websocket.accept":
                self._transport = await self._proto.accept()
            case "websocket.send":
                await self._send(message.get("text"), message.get("bytes"))
            case "websocket.close":
                self.close()

    async def _send(self, text: str | None, data: bytes | None) -> None:
        if self._transport is None:
            raise OSError("the socket is closed")
        try:
            if text is not None:
                await self._transport.send_str(text)
            else:
                await self._transport.send_bytes(data or b"")
        except RuntimeError as error:  # granian's RSGIProtocolClosed
            self.left = True
            raise OSError("the client has gone") from error

    def close(self) -> None:
        """End the socket, or refuse it when it was never accepted."""
        if self._ended:
            return
        self._ended = True
        if self._transport is None:
            self._proto.close(403)
        else:
            self._transport = None  # the server closes what nobody has any more


async def _until_closing(work: Awaitable[None], streams: Streams, is_stream: Callable[[], bool]) -> None:
    """Do *work*; what streams is told to end, and then made to, when the server stops."""
    group = BackgroundGroup("mounted")
    task = group.spawn(_outcome(work), "request")
    closing = group.spawn(streams.closing.wait(), "closing")
    try:
        await asyncio.wait((task, closing), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait((task,), timeout=FAREWELL if is_stream() else None)
        if task.done() and (error := task.result()) is not None:
            raise error
    finally:
        await group.stop()


async def _outcome(work: Awaitable[None]) -> Exception | None:
    """What *work* fails with: a value, so that whoever asked for it reports it, and nobody else."""
    try:
        await work
    except Exception as error:
        return error
    return None


async def _client_leaves(proto: HttpProtocol) -> None:
    # A future of the server's cannot be a task by itself.
    await proto.client_disconnect()


def _has_body(headers: Headers) -> bool:
    length = headers.get("content-length")
    return length != "0" and (length is not None or "transfer-encoding" in headers)


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    names = headers.keys()
    return [(name, value) for name in names for value in headers.get_all(name)]


def _status(status: int) -> int:
    if not 200 <= status <= 599:
        # The server ends the process over some of these.
        raise RuntimeError(f"the application answered with the status {status!r}")
    return status


def _header_list(headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
    pairs = [(bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")) for name, value in headers]
    return [(name, value) for name, value in pairs if name not in ("transfer-encoding", "connection")]


def _subprotocols(headers: Headers) -> list[str]:
    named = ",".join(headers.get_all("sec-websocket-protocol"))
    return [name.strip() for name in named.split(",") if name.strip()]


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else None
