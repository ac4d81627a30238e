"""Tickets: what a page shows in a query where it cannot send a header, which is when it opens a socket or events.

A ticket stands for the credential of who has asked for it: once, and for half a minute. So it may be seen where queries
are seen. What it opens lasts no longer than that credential would have let it. Tickets are in memory alone, by their
digest: those of a control plane that was started again open nothing.
"""

import secrets
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from tekton.auth.principal import Principal
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.gateway.errors import RateLimitedError
from tekton.gateway.rates import TokenBuckets
from tekton.gateway.request import Request

LIFE: Final = 30.0
"""Seconds for which a ticket can be used."""
BURST: Final = 16
"""Tickets that one principal may have at once; after that one a second."""
MOST: Final = 4096
"""Tickets that nobody has used yet, of all together."""

_PREFIX: Final = "tt_"
_MARK: Final = "ticket="


class Standing(NamedTuple):
    """What a ticket stands for: what was *shown*, or, where nothing was, *principal*, who came by the Unix socket."""

    shown: str | None
    principal: Principal


class NewTicket(NamedTuple):
    """A ticket, and the *id* by which others may know it."""

    id: str
    text: str


class _Kept(NamedTuple):
    standing: Standing
    until: float


class Tickets:
    """Gives out tickets, and takes each of them once."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._monotonic = clock.monotonic
        self._kept: dict[bytes, _Kept] = {}
        self._rates = TokenBuckets(1.0, BURST, MOST)

    def __len__(self) -> int:
        return len(self._kept)

    def issue(self, request: Request) -> NewTicket:
        """A ticket for who makes *request*, as its principal was proved. Raises RateLimitedError."""
        now = self._monotonic()
        self._forget(now)
        oldest = next(iter(self._kept.values()), None)
        wait = self._rates.take(request.principal.subject, now)
        if oldest is not None and len(self._kept) >= MOST:
            wait = max(wait, oldest.until - now)
        if wait:
            raise RateLimitedError("too many tickets", wait)
        text = f"{_PREFIX}{secrets.token_urlsafe(32)}"
        digest = _digest(text)
        standing = Standing(request.headers.get("authorization"), request.principal)
        self._kept[digest] = _Kept(standing, now + LIFE)
        return NewTicket(digest.hex()[:16], text)

    def redeem(self, text: str) -> Standing | None:
        """What the ticket *text* stands for; None for one that was used, has expired or never was."""
        kept = self._kept.pop(_digest(text), None)
        return kept.standing if kept is not None and self._monotonic() < kept.until else None

    def _forget(self, now: float) -> None:
        while self._kept and next(iter(self._kept.values())).until <= now:
            del self._kept[next(iter(self._kept))]


def shown_ticket(query: str) -> str | None:
    """The ticket in a *query*; None where there is none, and an empty one where nobody can say which."""
    if _MARK not in query:
        return None
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=64).get("ticket")
    except ValueError:
        return ""
    return None if found is None else found[0] if len(found) == 1 else ""


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
