"""The long-lived connections (event streams and sockets): how many there may be, and how they are told to end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tekton.gateway.errors import UnavailableError


class Streams:
    """Counts what is open, refuses what would be too many, and ends all of it for a shutdown.

    A stream runs inside `open()` and ends soon after `closing` is set. Each keeps a connection permit of the
    server, so *limit* must stay well below those: the rest is for requests.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._none_left = asyncio.Event()
        self._none_left.set()
        self.closing = asyncio.Event()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def open(self) -> Iterator[None]:
        """Be one of the streams for the length of the block. Raises UnavailableError when no more are taken."""
        self.check()
        self._count += 1
        self._none_left.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none_left.set()

    def check(self) -> None:
        """Raise UnavailableError when `open` would."""
        if self.closing.is_set():
            raise UnavailableError("the server is stopping")
        if self._count >= self._limit:
            raise UnavailableError(f"there are {self._limit} open streams already")

    async def close(self) -> None:
        """Tell every stream to end and wait until all have."""
        self.closing.set()
        await self._none_left.wait()
