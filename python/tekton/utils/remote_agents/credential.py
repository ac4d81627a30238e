"""What lets us in at an agent of somebody else. It is ours alone: what a caller has shown to us is never passed on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tekton.utils.strict_urls import parse_url

__all__ = ["Credential"]

MOST: Final = 8000

_VISIBLE = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_RESERVED: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept", "accept-encoding", "cookie"}
)


@dataclass(frozen=True, slots=True)
class Credential:
    """A *secret*, sent in *header*: as a bearer token in `Authorization`, as it is in any other.

    It goes to the host at which the agent was registered, and to those in *hosts*: a card may name others, which get
    nothing. Raises ValueError for what no header can carry.
    """

    secret: str = field(repr=False)
    header: str = "Authorization"
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.secret) <= MOST or _VISIBLE.fullmatch(self.secret) is None:
            raise ValueError(f"a credential has 1 to {MOST} visible ASCII characters")
        if not _HEADER.fullmatch(self.header) or self.header.lower() in _RESERVED:
            raise ValueError(f"{self.header[:64]!r} is no header for a credential")

    def headers(self, url: str, registered: str) -> dict[str, str]:
        """The headers for a request to *url* of an agent that was *registered* at another; none for a stranger."""
        host, home = parse_url(url), parse_url(registered)
        if host.host != home.host and host.host not in self.hosts:
            return {}
        if home.scheme == "https" and host.scheme != "https":
            return {}
        bearer = self.header.lower() == "authorization"
        return {self.header: f"Bearer {self.secret}" if bearer else self.secret}

    def to_json(self) -> dict[str, Any]:
        """It as JSON values, secret included: for a file that nobody else may read."""
        return {"secret": self.secret, "header": self.header, "hosts": list(self.hosts)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The credential that `to_json` has written. Raises ValueError, KeyError."""
        return cls(document["secret"], document.get("header", "Authorization"), tuple(document.get("hosts", ())))
