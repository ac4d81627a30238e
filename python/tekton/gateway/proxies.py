"""Requests that a reverse proxy passes on: whom they come from, and what was asked for.

Only what a trusted proxy says is believed. Proxies append, and a client can send what it likes: so the list of
addresses is read from its end, and the first address that is no trusted proxy is the client. What is left of that is
hearsay.

Whatever is believed, such a request is never local (`Request.peer`): the headers stay where they are.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tekton.gateway.errors import MalformedRequestError
from tekton.gateway.rsgi import Headers, Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 32
"""Proxies in a row. A longer list is refused."""

_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"\\]*)"|([^\s",;=]+))\s*')
_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy says of whom it got the request from; None for what it does not say."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """Addresses of proxies whose word counts: *networks* such as `10.0.0.0/8` or `127.0.0.1`.

    Raises ValueError for what is no network.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def reveal(self, scope: Scope, headers: Headers) -> tuple[Scope, Headers]:
        """*scope* and *headers* as the first proxy that is trusted saw them.

        Unchanged when the request comes from elsewhere, or has not been passed on. Raises MalformedRequestError for a
        trusted proxy that cannot be understood.
        """
        if not self._trusts(scope.client.rpartition(":")[0]):
            return scope, headers
        hop = self._origin(_hops(headers))
        if hop is None:
            return scope, headers
        seen = _ForwardedScope(scope, f"{hop.client}:0" if hop.client else scope.client, hop.scheme or scope.scheme)
        return seen, _ForwardedHeaders(headers, hop.host) if hop.host else headers

    def _origin(self, hops: Iterable[_Hop]) -> _Hop | None:
        """Of *hops*, nearest first, the first whose client is no trusted proxy; else the last."""
        last = None
        for last in hops:
            if last.client is None or not self._trusts(last.client):
                break
        return last

    def _trusts(self, host: str) -> bool:
        address = _parsed(host)
        return address is not None and any(address in network for network in self._networks)


class _ForwardedScope:
    """A scope with another client and scheme."""

    __slots__ = ("_scope", "client", "scheme")

    def __init__(self, scope: Scope, client: str, scheme: str) -> None:
        self._scope = scope
        self.client = client
        self.scheme = scheme

    @property
    def proto(self) -> str:
        return self._scope.proto

    @property
    def method(self) -> str:
        return self._scope.method

    @property
    def path(self) -> str:
        return self._scope.path

    @property
    def query_string(self) -> str:
        return self._scope.query_string

    @property
    def server(self) -> str:
        return self._scope.server

    @property
    def authority(self) -> str | None:
        return None  # that of the request between the proxy and us

    @property
    def headers(self) -> Headers:
        return self._scope.headers


class _ForwardedHeaders:
    """Headers with another Host."""

    __slots__ = ("_headers", "_host")

    def __init__(self, headers: Headers, host: str) -> None:
        self._headers = headers
        self._host = host

    def __contains__(self, name: str) -> bool:
        return name == "host" or name in self._headers

    def __len__(self) -> int:
        return len(self._headers)

    def keys(self) -> list[str]:
        return self._headers.keys()

    def values(self) -> list[str]:
        return self._headers.values()

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._host if name == "host" else self._headers.get(name, default)

    def get_all(self, name: str) -> Sequence[str]:
        return [self._host] if name == "host" else self._headers.get_all(name)


def _hops(headers: Headers) -> Iterator[_Hop]:
    """What the proxies say, the nearest one first. What lies further away may be anything, and is not read."""
    older = [name for name in headers.keys() if name.startswith("x-forwarded-")]  # noqa: SIM118 - no mapping
    if "forwarded" in headers:
        if older:
            # A proxy that sets one of them passes the other on as the client sent it. We cannot know which it sets.
            raise MalformedRequestError("both Forwarded and X-Forwarded headers")
        yield from (_element(text) for text in reversed(_items(headers, "forwarded")))
    elif older:
        # These do not say which proxy saw which scheme and host: it is the nearest one that says.
        scheme, host = _last(headers, "x-forwarded-proto"), _last(headers, "x-forwarded-host")
        clients = _items(headers, "x-forwarded-for")
        for client in reversed(clients):
            yield _Hop(_client(client), _scheme(scheme), host)
        if not clients and (scheme or host):
            yield _Hop(None, _scheme(scheme), host)


def _items(headers: Headers, name: str) -> list[str]:
    items = [item.strip() for item in ",".join(headers.get_all(name)).split(",")]
    if len(items) > MAX_HOPS:
        raise MalformedRequestError(f"passed on by more than {MAX_HOPS} proxies")
    return [item for item in items if item]


def _last(headers: Headers, name: str) -> str | None:
    items = _items(headers, name)
    return items[-1] if items else None


def _element(text: str) -> _Hop:
    pairs: dict[str, str] = {}
    for part in text.split(";"):
        found = _PAIR.fullmatch(part)
        if found is None or found[1].lower() in pairs:
            raise MalformedRequestError("the Forwarded header is malformed")
        pairs[found[1].lower()] = found[2] if found[2] is not None else found[3]
    return _Hop(_client(pairs["for"]) if "for" in pairs else None, _scheme(pairs.get("proto")), pairs.get("host"))


def _client(text: str) -> str | None:
    """The address in a node of `Forwarded` or `X-Forwarded-For`, without the port; None for a name that hides it."""
    bare = text.strip('"')
    host = bare[1:].partition("]")[0] if bare.startswith("[") else bare
    if host.count(":") == 1:
        host = host.partition(":")[0]
    address = _parsed(host)
    if address is not None:
        return f"[{address}]" if address.version == 6 else str(address)
    if bare.lower() == "unknown" or bare.startswith("_"):
        return None
    raise MalformedRequestError("the address that the proxy names is none")


def _scheme(text: str | None) -> str | None:
    if text is not None and text.lower() not in _SCHEMES:
        raise MalformedRequestError("the scheme that the proxy names is none")
    return None if text is None else text.lower()


def _parsed(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
