"""The connections of an HTTP client: opened when needed, kept open for a moment, used again.

    async with pool.exchange("GET", "http://localhost:8001/api/health", {}, None) as response:
        print(response.status, [piece async for piece in response.pieces()])

An idle connection may be closed by the server just when it is used. What is idempotent is then sent again, once, on a
new connection; of anything else nobody can say whether it has arrived.
"""

import asyncio
import contextlib
import functools
import socket as sockets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from tekton.utils.http_wire import MAX_HEAD_BYTES, Connection, Head, render
from tekton.utils.retries import IDEMPOTENT

if TYPE_CHECKING:
    import ssl

_UNQUOTED = "/?&=%:@!$'()*+,;~[]"


class NoConnectionError(Exception):
    """No connection came about: the cause (`__cause__`) says why. Nothing was sent."""


class InvalidAddressError(ValueError):
    """A URL that leads nowhere."""


class Origin(NamedTuple):
    """Whom a connection leads to."""

    host: str
    port: int
    secure: bool

    @property
    def authority(self) -> str:
        """The host as it stands in a URL, with the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _usual_port(self.secure) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer, and the connection on which its body comes."""

    head: Head
    connection: Connection

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names are in lower case."""
        return self.head.headers

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives; once."""
        return self.connection.pieces()


class ConnectionPool:
    """All connections of a client. With *socket* they all lead to that Unix socket, whatever the URL says.

    *keep_alive* is how many seconds an idle connection is kept.
    """

    def __init__(self, socket: str | None, keep_alive: float) -> None:
        self._socket = socket
        self._keep_alive = keep_alive
        self._idle: dict[Origin, dict[Connection, asyncio.TimerHandle]] = {}
        self._busy: set[Connection] = set()

    @property
    def bound(self) -> bool:
        """True when all connections lead to one Unix socket."""
        return self._socket is not None

    @contextlib.asynccontextmanager
    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, connect_timeout: float = 3.0
    ) -> AsyncIterator[Response]:
        """Send a request; the answer is read inside. A body that is not read to its end costs the connection.

        *connect_timeout* is for each address of the host. Raises NoConnectionError, EOFError and OSError for
        connections that end, InvalidAddressError, MalformedAnswerError, and ValueError for headers that are none.
        """
        origin, target = _parse(url)
        request = render(method, target, origin.authority, headers, body)
        response = await self._ask_again(origin, method, request)
        if response is None:
            response = await self._ask(await self._open(origin, connect_timeout), method, request)
        try:
            yield response
        finally:
            self._give_back(origin, response.connection)

    async def _ask_again(self, origin: Origin, method: str, request: bytes) -> Response | None:
        """The answer on a connection that was kept; None when there is none, or it has ended meanwhile."""
        connection = self._kept(origin)
        if connection is None:
            return None
        try:
            return await self._ask(connection, method, request)
        except (EOFError, ConnectionError):
            if method not in IDEMPOTENT:
                raise
            return None

    async def _ask(self, connection: Connection, method: str, request: bytes) -> Response:
        self._busy.add(connection)
        try:
            return Response(await connection.ask(method, request), connection)
        except BaseException:
            self._drop(connection)
            raise

    async def _open(self, origin: Origin, timeout: float) -> Connection:
        try:
            if self._socket is not None:
                async with asyncio.timeout(timeout):
                    return Connection(*await asyncio.open_unix_connection(self._socket, limit=MAX_HEAD_BYTES))
            return await _connect(origin, timeout)
        except (OSError, UnicodeError) as error:  # UnicodeError: what can be no name of a host
            raise NoConnectionError from error

    def _kept(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, {})
        while idle:
            connection, timer = idle.popitem()
            timer.cancel()
            if connection.reusable:
                return connection
            connection.abort()
        return None

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        if connection not in self._busy or not connection.reusable:
            self._drop(connection)
            return
        self._busy.discard(connection)
        expiry = asyncio.get_running_loop().call_later(self._keep_alive, self._expire, origin, connection)
        self._idle.setdefault(origin, {})[connection] = expiry

    def _expire(self, origin: Origin, connection: Connection) -> None:
        del self._idle[origin][connection]
        connection.abort()

    def _drop(self, connection: Connection) -> None:
        self._busy.discard(connection)
        connection.abort()

    def close(self) -> None:
        """Close all connections; exchanges in progress fail."""
        for timer in (timer for idle in self._idle.values() for timer in idle.values()):
            timer.cancel()
        for connection in (*self._busy, *(one for idle in self._idle.values() for one in idle)):
            connection.abort()
        self._idle.clear()
        self._busy.clear()


async def _connect(origin: Origin, timeout: float) -> Connection:
    """A connection to the first address of the host that takes one; else the first refusal is raised."""
    refusal: OSError | None = None
    for address in await _addresses(origin):
        try:
            async with asyncio.timeout(timeout):
                return Connection(
                    *await asyncio.open_connection(
                        address,
                        origin.port,
                        limit=MAX_HEAD_BYTES,
                        ssl=_trust() if origin.secure else None,
                        server_hostname=origin.host if origin.secure else None,
                    )
                )
        except OSError as error:
            refusal = refusal or error
    raise refusal or OSError(f"{origin.host} has no address")


async def _addresses(origin: Origin) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=sockets.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@functools.cache
def _trust() -> "ssl.SSLContext":
    import ssl

    return ssl.create_default_context()


def _parse(url: str) -> tuple[Origin, str]:
    """Whom *url* leads to, and what is asked for there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidAddressError(str(error)) from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise InvalidAddressError("this is no HTTP address")
    secure = parts.scheme == "https"
    target = quote(parts.path or "/", safe=_UNQUOTED) + (
        f"?{quote(parts.query, safe=_UNQUOTED)}" if parts.query else ""
    )
    return Origin(host, port or _usual_port(secure), secure), target


def _usual_port(secure: bool) -> int:
    return 443 if secure else 80
