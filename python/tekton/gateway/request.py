"""What a handler is given and what it may answer with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tekton.auth.principal import NOBODY, Principal
from tekton.core.attribution import Attribution, act_for
from tekton.core.tracing.tracer import OpenSpan
from tekton.gateway.request_ids import sent_id
from tekton.gateway.rsgi import Headers, HttpProtocol, Scope
from tekton.utils.random_uuid import random_uuid

Peer = Literal["socket", "local", "remote"]
"""At our Unix socket; on this machine; elsewhere."""

LOOPBACK = ("127.", "[::1]:", "[::ffff:127.")
"""How `address:port` of a caller on this machine begins."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [\t\x20-\x7e\x80-\U0010ffff]*")

encode = msgspec.json.Encoder().encode


class Request:
    """One request, checked: `params` are the path's, `query` and `body` are decoded as the route says.

    `client` is `address:port` of the peer, empty when it came through a Unix socket; `names` are those of its headers,
    one a line. `principal` is who makes it, as the policy has found; for a public route that is nobody. `given_id` is
    the id that was given to it here, if that was necessary; `span` what is recorded of it in its trace, if anything is;
    `ticket` what the ticket in its query stands for, once that was taken.
    """

    __slots__ = (
        "_proto", "_scope", "body", "client", "given_id", "headers", "method", "names", "params", "path", "principal",
        "query", "span", "ticket",
    )  # fmt: skip

    def __init__(self, scope: Scope, proto: HttpProtocol | None, headers: Headers, method: str, path: str) -> None:
        self._scope = scope
        self._proto = proto
        # What the server makes anew each time it is asked for, and several ask.
        self.client = scope.client
        self.headers = headers
        self.names = "\n".join(headers.keys())
        self.given_id: str | None = None
        self.method = method
        self.path = path
        self.principal: Principal = NOBODY
        self.params: dict[str, str] = {}
        self.query: Any = None
        self.body: Any = None
        self.span: OpenSpan | None = None
        self.ticket: Any = None

    @property
    def query_string(self) -> str:
        """The query as it was sent, without the question mark."""
        return self._scope.query_string

    @property
    def origin(self) -> str:
        """Under which scheme, name and port the caller knows this server: `https://host:port`."""
        return f"{self._scope.scheme}://{self.headers.get('host') or 'localhost'}"

    @property
    def peer(self) -> Peer:
        """Where the caller is. What a proxy passes on (`Forwarded`, `X-Forwarded-…`) is never local."""
        if (self.client and not self.client.startswith(LOOPBACK)) or "forwarded" in self.names:
            return "remote"
        return "local" if self.client else "socket"

    @property
    def peer_is_local(self) -> bool:
        """True for a peer on this machine that speaks for itself (a proxy never does)."""
        return self.peer != "remote"

    @property
    def id(self) -> str:
        """The id that it has brought along; else one that it is given now."""
        sent = sent_id(self.headers)
        if sent is not None:
            return sent
        if self.given_id is None:
            self.given_id = random_uuid()
        return self.given_id

    def attribution(self, name: str | None = None) -> Attribution:
        """On whose behalf the request is made, for the audit log, which calls it *name*, or by its id."""
        return Attribution(self.principal.subject, self.principal.via, self.client, name or self.id)

    def act(self) -> None:
        """What the running task does from now on, it does on behalf of who makes the request."""
        act_for(self.attribution)

    async def disconnected(self) -> None:
        """Return when the client has closed the connection. Only one caller may wait at a time."""
        if self._proto is None:
            raise RuntimeError("a socket tells by itself when it ends")
        await self._proto.client_disconnect()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is more than a value: another status, other headers, or a body that is not JSON.

    Raises ValueError for what is no final status, or no header: the server would drop the header, and for some statuses
    end the process.
    """

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    media_type: str = "application/json"

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"{self.status!r} is not the status of an answer")
        for header in (("content-type", self.media_type), *self.headers):
            if _HEADER.fullmatch("%s: %s" % tuple(header)) is None:  # noqa: UP031 - any pair will do
                raise ValueError(f"{header!r} is not a header")

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> "Response":
        """*value* (a Struct, or anything that has a JSON form) as the body."""
        return cls(status, encode(value), headers)
