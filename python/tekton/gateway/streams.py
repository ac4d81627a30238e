"""The long-lived connections (event streams and sockets): how many there may be, and how they are told to end."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tekton.gateway.errors import UnavailableError

Allowed = Callable[[], bool]
"""Whether who opened a stream may still have it."""


_SOON: Final = 1.0

Left = Callable[[], float]
"""Seconds for which what he has shown is still valid."""


def always() -> bool:
    """Everybody may."""
    return True


def forever() -> float:
    """As long as he likes."""
    return math.inf


def next_look(ping: float, left: float) -> float:
    """In how many seconds to look again whether somebody may have a stream that is pinged every *ping* seconds.

    When his credential ends, after *left* seconds, and no later than at the next ping: it may have become shorter.
    """
    return min(ping, left if left > 0 else _SOON)


class Streams:
    """Counts what is open, refuses what would be too many, and ends what must end.

    A stream runs inside `open()` and ends soon after the event that it is given is set: for a shutdown, or because
    `review` has found that who opened it may no longer have it. One that ends by itself is like a request in progress:
    a shutdown lets it go on until `cut`. Each keeps a connection permit of the server, so *limit* must stay well below
    those: the rest is for requests.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[asyncio.Event, Allowed] = {}
        self._finite: dict[asyncio.Event, Allowed] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self.closing = asyncio.Event()
        self.reviews = 0
        """How often `review` was asked for: whoever remembers what somebody may has to look again."""

    def __len__(self) -> int:
        return len(self._open) + len(self._finite)

    @contextmanager
    def open(self, allowed: Allowed = always, *, finite: bool = False) -> Iterator[asyncio.Event]:
        """Be one of the streams for the length of the block; a *finite* one ends by itself.

        Raises UnavailableError when no more are taken.
        """
        self.check()
        ending = asyncio.Event()
        kind = self._finite if finite else self._open
        kind[ending] = allowed
        self._note()
        try:
            yield ending
        finally:
            del kind[ending]
            self._note()

    def _note(self) -> None:
        if self._open:
            self._none_left.clear()
        else:
            self._none_left.set()

    def check(self) -> None:
        """Raise UnavailableError when `open` would."""
        if self.closing.is_set():
            raise UnavailableError("the server is stopping")
        if len(self) >= self._limit:
            raise UnavailableError(f"there are {self._limit} open streams already")

    def review(self) -> None:
        """End the streams of those who may no longer have them."""
        self.reviews += 1
        for ending, allowed in (*self._open.items(), *self._finite.items()):
            if not allowed():
                ending.set()

    async def close(self) -> None:
        """Tell every stream that does not end by itself to end, and wait until all of those have."""
        self.closing.set()
        for ending in self._open:
            ending.set()
        await self._none_left.wait()

    def cut(self) -> None:
        """Tell those to end, too, that have not ended by themselves. Returns at once."""
        for ending in self._finite:
            ending.set()
