"""What a handler is given and what it may answer with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tekton.gateway.rsgi import Headers, HttpProtocol, Scope

Peer = Literal["socket", "local", "remote"]
"""At our Unix socket; on this machine; elsewhere."""

_LOOPBACK = ("127.", "[::1]:", "[::ffff:127.")

encode = msgspec.json.Encoder().encode


class Request:
    """One request, checked: `params` are the path's, `query` and `body` are decoded as the route says.

    `owner` is True when the policy has found that the caller owns the control plane.
    """

    __slots__ = ("_proto", "_scope", "body", "headers", "method", "owner", "params", "path", "query")

    def __init__(self, scope: Scope, proto: HttpProtocol | None, headers: Headers, method: str, path: str) -> None:
        self._scope = scope
        self._proto = proto
        self.headers = headers
        self.method = method
        self.path = path
        self.owner = False
        self.params: dict[str, str] = {}
        self.query: Any = None
        self.body: Any = None

    @property
    def query_string(self) -> str:
        """The query as it was sent, without the question mark."""
        return self._scope.query_string

    @property
    def client(self) -> str:
        """`address:port` of the peer; empty when it came through a Unix socket."""
        return self._scope.client

    @property
    def peer(self) -> Peer:
        """Where the caller is. What a proxy passes on (`Forwarded`, `X-Forwarded-…`) is never local."""
        client = self._scope.client
        if (client and not client.startswith(_LOOPBACK)) or "forwarded" in "\n".join(self.headers.keys()):
            return "remote"
        return "local" if client else "socket"

    @property
    def through_socket(self) -> bool:
        """True when the request came through a Unix socket, and nobody forwarded it there."""
        return self.peer == "socket"

    @property
    def peer_is_local(self) -> bool:
        """True for a peer on this machine that speaks for itself (a proxy never does)."""
        return self.peer != "remote"

    async def disconnected(self) -> None:
        """Return when the client has closed the connection. Only one caller may wait at a time."""
        if self._proto is None:
            raise RuntimeError("a socket tells by itself when it ends")
        await self._proto.client_disconnect()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is more than a value: another status, other headers, or a body that is not JSON."""

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    media_type: str = "application/json"

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> "Response":
        """*value* (a Struct, or anything that has a JSON form) as the body."""
        return cls(status, encode(value), headers)
