"""How much one caller may ask for, and what is refused to all when there is too much of it.

* A rate: so many requests a second from each address elsewhere, whatever they show, and from each principal.
* A share: so many requests at once, and so many streams, for each principal, or address of those who show nothing.
* Load (`load`): when requests wait too long, what matters least is refused.
* Room: large bodies have so many bytes together, from their announcement to the answer.

Who comes through the Unix socket without showing anything is the owner, and has no limit of his own. All programs of
this machine share an address; so there it counts only for the share of those who show nothing. Of IPv6 addresses a
network of 64 bits counts as one: whoever has one of them has all of them.
"""

import ipaddress
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.gateway.errors import OverloadedError, RateLimitedError
from tekton.gateway.load import Load, Priority
from tekton.gateway.rates import TokenBuckets
from tekton.gateway.request import LOOPBACK, Request
from tekton.gateway.router import Route
from tekton.gateway.rsgi import Headers

_SHARE_RETRY: Final = 1.0
_SHED_RETRY: Final = (1.0, 4.0)
_IPV6_PREFIX: Final = 64

SMALL_BODY: Final = 65_536
"""Bytes. So many for each connection are no danger."""

BODY_ROOM: Final = 16 * 1024 * 1024
"""Bytes of larger bodies that may be on their way or be worked on, all of them together. One always fits."""

Place = tuple[str | None, int] | None
"""What a request takes up: a share of that name, and so many bytes of `BODY_ROOM`; or nothing."""


Limited = Literal["address", "principal", "requests", "streams"]
"""Which limit of one caller was reached: the rate of his address, his rate, his requests or his streams at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one caller may have: *rate* requests a second (None: any number), *burst* at once after a pause.

    At most *requests* are under way at a time, and *streams* are open.
    """

    rate: float | None = 1000.0
    burst: int = 5000
    requests: int = 512
    streams: int = 256


class Shares:
    """How many of something each name has, at most *limit*."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def enter(self, name: str) -> bool:
        """Have one more; False, and no more, when that would be too many."""
        held = self._held.get(name, 0)
        if held >= self._limit:
            return False
        self._held[name] = held + 1
        return True

    def leave(self, name: str) -> None:
        """Have one less."""
        held = self._held[name]
        if held > 1:
            self._held[name] = held - 1
        else:
            del self._held[name]


class Admission:
    """Lets requests in, within *limits*. `arrive` comes first, `enter` when it is known who asks."""

    def __init__(self, limits: Limits, clock: Clock = SYSTEM_CLOCK, load: Load | None = None) -> None:
        self.load = load or Load(clock)
        self.shed_requests: Counter[Priority | Literal["bodies"]] = Counter()
        """How many requests were refused under load, by priority, or for want of room for their bodies."""
        self.limited: Counter[Limited] = Counter()
        """How many requests were refused because of who made them."""
        self._random = random.Random()
        self._room = 0
        self._limits = limits
        self._monotonic = clock.monotonic
        self._addresses = None if limits.rate is None else TokenBuckets(limits.rate, limits.burst)
        self._principals = None if limits.rate is None else TokenBuckets(limits.rate, limits.burst)
        self._requests = Shares(limits.requests)
        self._streams = Shares(limits.streams)

    def arrive(self, client: str) -> None:
        """A request of *client* has come. Raises RateLimitedError."""
        if self._addresses is None or not client or client.startswith(LOOPBACK):
            return
        address = address_of(client)
        if wait := self._addresses.take(address, self._monotonic()):
            self.limited["address"] += 1
            raise RateLimitedError(f"more than {self._limits.rate:g} requests a second from {address}", wait)

    def shed(self, priority: Priority, client: str) -> None:
        """Raise OverloadedError when a request of that priority must not be served now."""
        if not client:
            priority = "change" if priority == "look" else "vital"
        if self.load.sheds(priority):
            self.shed_requests[priority] += 1
            raise OverloadedError(self._in_a_while())

    def enter(self, request: Request, route: Route) -> Place:
        """Let the request in; what it takes up is given back with `leave`.

        Raises RateLimitedError, or OverloadedError when there are too many large bodies.
        """
        name = self._counted(request)
        room = 0 if route.max_body <= SMALL_BODY else _announced(request.headers, route.max_body)
        if room > SMALL_BODY:
            if self._room and self._room + room > BODY_ROOM:
                self.shed_requests["bodies"] += 1
                raise OverloadedError(self._in_a_while())
            self._room += room
        else:
            room = 0
        if route.vital or name is None:
            return (None, room) if room else None
        if not self._requests.enter(name):
            self._room -= room
            self.limited["requests"] += 1
            raise RateLimitedError(f"{name} has {self._limits.requests} requests under way", _SHARE_RETRY)
        return name, room

    def leave(self, place: Place) -> None:
        """A request that was let in has been answered."""
        if place is None:
            return
        name, room = place
        self._room -= room
        if name is not None:
            self._requests.leave(name)

    def _counted(self, request: Request) -> str | None:
        """The name under which the request counts, None for none. Takes it off the rate of its principal."""
        via = request.principal.via
        if via == "none":
            return address_of(request.client) if request.client else None
        if via == "socket":
            return None
        name = request.principal.subject
        if self._principals is not None and (wait := self._principals.take(name, self._monotonic())):
            self.limited["principal"] += 1
            raise RateLimitedError(f"more than {self._limits.rate:g} requests a second from {name}", wait)
        return name

    def _in_a_while(self) -> float:
        return round(self._random.uniform(*_SHED_RETRY), 3)

    @contextmanager
    def streaming(self, request: Request) -> Iterator[None]:
        """Count a stream or socket of who makes the request, for the length of the block. Raises RateLimitedError."""
        names = self._streamers(request)
        held: list[str] = []
        try:
            for name in names:
                if not self._streams.enter(name):
                    self.limited["streams"] += 1
                    raise RateLimitedError(f"{name} has {self._limits.streams} open streams", _SHARE_RETRY)
                held.append(name)
            yield
        finally:
            for name in held:
                self._streams.leave(name)

    def _streamers(self, request: Request) -> list[str]:
        principal, client = request.principal, request.client
        shown = [] if principal.via in ("none", "socket") else [principal.subject]
        counts = bool(client) and (not shown or not client.startswith(LOOPBACK))
        return [*shown, f"address {address_of(client)}"] if counts else shown


def _announced(headers: Headers, limit: int) -> int:
    """Bytes that the body may have: as announced, else *limit*."""
    length = headers.get("content-length")
    if length is None:
        return limit if "transfer-encoding" in headers else 0
    return min(int(length), limit)


@lru_cache(maxsize=4096)
def address_of(client: str) -> str:
    """The address in `address:port`, or the network that counts as one."""
    host = client.rpartition(":")[0]
    if not host.startswith("["):
        return host
    try:
        address = ipaddress.IPv6Address(host.strip("[]"))
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False))
