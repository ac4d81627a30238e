"""When a request is sent again, and after how long.

A request may be sent again when the server has certainly not seen it, or when seeing it twice does no harm: by its
method, or because it has an `Idempotency-Key`, by which the server knows it again. Delays have full jitter (a random
time up to a limit that doubles), so that callers who failed together do not come back together. A budget keeps retries
a small part of all requests: when most fail, sending them again only adds to the load. For the same reason one layer
alone retries: what runs inside an attempt that may be made again (`one_layer`) finds every budget empty.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that do the same however often they arrive (RFC 9110, 9.2.2)."""

KEY_HEADER = "Idempotency-Key"

PASSING = frozenset({502, 503, 504})
"""Statuses that tell of the moment rather than of the request."""


_covered: ContextVar[bool] = ContextVar("tekton_retried", default=False)


@contextmanager
def one_layer() -> Iterator[None]:
    """An attempt that is made again by whoever makes it, so that nothing inside it has to be."""
    token = _covered.set(True)
    try:
        yield
    finally:
        _covered.reset(token)


def is_harmless(method: str, headers: Mapping[str, str] | None) -> bool:
    """True when a request with these headers may arrive twice. Who sends a key knows a server that heeds it."""
    return method in IDEMPOTENT or any(name.lower() == KEY_HEADER.lower() for name in headers or ())


@dataclass(slots=True)
class Retries:
    """How often and how fast. Shared by the requests of one client; not for several event loops.

    At most *attempts* for one request; *backoff* is the first and the largest limit of a delay, in seconds. Each
    request earns the *share* of a retry, of which at most *savings* are kept; so a tenth of the requests at most is
    retries, beside a few at once.
    """

    attempts: int = 3
    backoff: tuple[float, float] = (0.05, 2.0)
    share: float = 0.1
    savings: float = 10.0
    rng: random.Random = field(default_factory=random.Random, repr=False)
    _saved: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        self._saved = self.savings

    def earn(self) -> None:
        """A request is sent for the first time."""
        self._saved = min(self.savings, self._saved + self.share)

    def spend(self) -> bool:
        """Take one retry from the budget; False when it has none, or when an outer layer retries."""
        if self._saved < 1 or _covered.get():
            return False
        self._saved -= 1
        return True

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many *failures* (from 1) of one request."""
        shortest, longest = self.backoff
        return self.rng.uniform(0, min(longest, shortest * 2 ** (failures - 1)))
