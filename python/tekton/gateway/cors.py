"""Cross-origin requests: what a browser must be told before pages of other origins may read our answers.

Nothing is told unless origins are allowed, and then only pages of these are: by their own name, never by `*`. Cookies
are not allowed for: a page sends a token of its own. That a page of an origin that is not allowed can change nothing is
the concern of `ingress`.
"""

from collections.abc import Iterable

from tekton.gateway.dressed import DressedExchange
from tekton.gateway.rsgi import HeaderList, Headers, HttpProtocol

ALLOWED_HEADERS = "authorization, content-type, idempotency-key, last-event-id, x-request-id"
EXPOSED_HEADERS = "allow, idempotency-replayed, location, retry-after, www-authenticate, x-request-id"
PREFLIGHT_LIFETIME = 600
"""Seconds for which a browser need not ask again."""


def normalised(origin: str) -> str:
    """*origin* as origins are compared."""
    return origin.lower().rstrip("/")


class Cors:
    """Answers pages of *origins*, such as `https://ops.example`."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(map(normalised, origins))

    def dress(self, proto: HttpProtocol, method: str, headers: Headers) -> HttpProtocol:
        """*proto*, or one whose answers tell the browser that this page may have them."""
        origins = headers.get_all("origin")
        if len(origins) != 1 or origins[0].lower() not in self._origins:
            return proto
        return _Dressed(proto, origins[0], preflight=method == "OPTIONS" and "access-control-request-method" in headers)


class _Dressed(DressedExchange):
    """An exchange with a page of an allowed origin."""

    def __init__(self, proto: HttpProtocol, origin: str, *, preflight: bool) -> None:
        super().__init__(proto)
        self._preflight = preflight
        self._told = [
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED_HEADERS),
            ("vary", "origin"),
        ]

    def dressed(self, headers: HeaderList) -> HeaderList:
        given = dict(headers)
        if "access-control-allow-origin" in given:  # a mounted application sees to this itself
            return headers
        return [*headers, *self._told, *(_permissions(given["allow"]) if self._preflight and "allow" in given else ())]


def _permissions(methods: str) -> HeaderList:
    return [
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", ALLOWED_HEADERS),
        ("access-control-max-age", str(PREFLIGHT_LIFETIME)),
    ]
