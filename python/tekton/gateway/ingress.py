"""What is checked before a request is routed, because the server does not: Host, Origin, number and size of headers.

Measured with Granian 2.8.7, which accepts a missing or doubled Host, any Origin, and 100 header fields. How long a
head may be as a whole is the server's limit (`server.MAX_HEAD_BYTES`); it holds also for what does not show here, the
values that are not ASCII.
"""

import re
from collections.abc import Iterable, Sequence

from tekton.gateway.cors import normalised
from tekton.gateway.errors import (
    ForeignOriginError,
    HeadersTooLargeError,
    MalformedRequestError,
    MisdirectedRequestError,
    TargetTooLongError,
    TooManyHeadersError,
)
from tekton.gateway.request import Request
from tekton.gateway.rsgi import Scope

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAX_HEADERS = 64
"""Field lines, not names."""

MAX_HEADER_BYTES = 16_384
"""Of all names and values together; a name that is there several times counts once."""

MAX_TARGET = 8192

_ANY_HOST = frozenset({"/api/health", "/api/ready"})
"""Probes use addresses, so these answer under any Host."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_REMEMBERED_HOSTS = 256


class Ingress:
    """The checks that need no route. *hosts* are names without port, beside those of the loopback interface."""

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._names = frozenset(_as_in_header(name) for name in (*LOCAL_HOSTS, *hosts))
        self._origins = frozenset(map(normalised, origins))
        self._good_hosts: set[str] = set()

    def check(self, scope: Scope, request: Request, query: str, *, upgrade: bool = False) -> None:
        """Raise the GatewayError for the first thing that is wrong with the frame of *request*, as *scope* has it.

        *upgrade*: a WebSocket, which a browser opens across origins without asking, so that Origin counts.
        """
        headers = request.headers
        hosts = headers.get_all("host")
        if len(hosts) != 1 or hosts[0] not in self._good_hosts or scope.authority is not None:
            self._check_host(hosts, scope.authority, request.path)
        values = headers.values()
        count = len(headers)
        if count > MAX_HEADERS or len(values) > MAX_HEADERS:
            raise TooManyHeadersError(MAX_HEADERS)
        if len("".join(values)) + len(request.names) - (count - 1) > MAX_HEADER_BYTES:
            raise HeadersTooLargeError(MAX_HEADER_BYTES)
        if len(request.path) + len(query) > MAX_TARGET:
            raise TargetTooLongError(MAX_TARGET)
        if "origin" in headers and (upgrade or request.method not in _SAFE):
            self._check_origin(headers.get_all("origin"), scope.scheme, hosts)

    def _check_host(self, hosts: Sequence[str], authority: str | None, path: str) -> None:
        if len(hosts) != 1:
            raise MalformedRequestError("exactly one Host header is required")
        if authority is not None and authority != hosts[0]:
            raise MalformedRequestError("the request target and the Host header name different hosts")
        if _name(hosts[0]) in self._names:
            if len(self._good_hosts) < _REMEMBERED_HOSTS:
                self._good_hosts.add(hosts[0])
        elif path not in _ANY_HOST:
            raise MisdirectedRequestError(hosts[0])

    def _check_origin(self, origins: Sequence[str], scheme: str, hosts: Sequence[str]) -> None:
        origin = origins[0].lower() if len(origins) == 1 else "null"
        if origin != f"{scheme}://{hosts[0].lower()}" and origin not in self._origins:
            raise ForeignOriginError(origin[:256])


def _as_in_header(name: str) -> str:
    bare = name.strip("[]").lower()
    return f"[{bare}]" if ":" in bare else bare


_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def _name(host: str) -> str | None:
    """The name in a Host header, without the port; None when it is not one."""
    found = _HOST.fullmatch(host)
    return found[1].lower() if found else None
