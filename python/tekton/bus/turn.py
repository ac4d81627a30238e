"""Publishers take turns: so much is published in one turn of the event loop, the rest comes in the next.

Publishing in memory never waits for anybody, so who publishes in a loop would not let anybody read, and many who
publish at the same time would be ahead of everybody: all that listen would pass for slow.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from tekton.bus.envelope import Envelope

MOST = 256
MOST_SIZE = 256 * 1024


class Turn:
    """What was published, by everybody, since a turn began: at most MOST messages of MOST_SIZE bytes, one in any case.

    A turn ends when somebody has no room in it. Who has to wait comes next, in the order in which they came.
    """

    __slots__ = ("_ending", "_messages", "_size", "_waiting")

    def __init__(self) -> None:
        self._messages = 0
        self._size = 0
        self._waiting: deque[tuple[asyncio.Future[None], int, int]] = deque()
        self._ending = False

    def has_room(self, messages: int, size: int = 0) -> bool:
        """Can *messages*, of *size* bytes in all, be published at once? Then they count as published."""
        if self._ending or not self._fits(messages, size):
            return False
        self._messages += messages
        self._size += size
        return True

    def add(self, size: int) -> None:
        """What there was room for has *size* bytes more than was said: there is less for others."""
        self._size += size

    async def wait(self, messages: int, size: int) -> None:
        """Wait for the turn in which *messages*, of *size* bytes in all, can be published, and count them."""
        loop = asyncio.get_running_loop()
        if self._ending:
            await self.reserve(messages, size)
            return
        # Who is the first to wait begins the next turn: a future would cost one turn of the loop more.
        self._ending = True
        try:
            await asyncio.sleep(0)
        except BaseException:
            self._begin(loop)
            raise
        self._begin(loop, messages, size)

    def reserve(self, messages: int, size: int) -> "asyncio.Future[None]":
        """A future that is done in the turn in which *messages*, of *size* bytes, can be published: they count then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((future, messages, size))
        if not self._ending:
            self._ending = True
            loop.call_soon(self._begin, loop)
        return future

    def _fits(self, messages: int, size: int) -> bool:
        return not self._messages or (self._messages + messages <= MOST and self._size + size <= MOST_SIZE)

    def _begin(self, loop: asyncio.AbstractEventLoop, messages: int = 0, size: int = 0) -> None:
        """Begin a turn, *messages* of *size* bytes being published in it already."""
        self._messages, self._size = messages, size
        while self._waiting and self._fits(*self._waiting[0][1:]):
            future, messages, size = self._waiting.popleft()
            if not future.done():
                self._messages += messages
                self._size += size
                future.set_result(None)
        self._ending = bool(self._waiting)
        if self._ending:
            loop.call_soon(self._begin, loop)


def parts(envelopes: Sequence[Envelope]) -> Iterator[tuple[Sequence[Envelope], int]]:
    """*envelopes* in parts that fit into a turn, each at least one of them, with their bytes."""
    start = size = 0
    for place, envelope in enumerate(envelopes):
        one = envelope.size
        if place > start and (place - start >= MOST or size + one > MOST_SIZE):
            yield envelopes[start:place], size
            start, size = place, 0
        size += one
    if envelopes:
        yield envelopes[start:], size
