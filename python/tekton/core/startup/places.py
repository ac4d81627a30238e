"""Places among the components that start at the same time.

Who waits for other components while holding a place lends it, so that those he waits for find one; when the wait is
over he gets a place back before any newcomer. Without that, starts that start other components could use up the
places and wait for ever.

Recovery has places of its own, for restarts. The start that one of those has begun finds it in its context, and lends
it while the machine has no room for the component (`lent`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar


class Places:
    """*limit* places (None: as many as anybody wants), given in the order in which they were asked for."""

    def __init__(self, limit: int | None) -> None:
        self._free = limit
        self._queue: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self) -> AsyncIterator["Place"]:
        """Wait for a place and hold it."""
        await self.acquire()
        place = Place(self)
        try:
            yield place
        finally:
            place.close()

    async def acquire(self, *, first: bool = False) -> None:
        """Wait for a place; *first*: before all who wait already."""
        if self._free is None:
            return
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            self._queue.appendleft(turn)
        else:
            self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # Handed over in the same moment.
                self.release()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def release(self) -> None:
        """Give a place to who is next."""
        if self._free is None:
            return
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Place:
    """A place that is held, and can be lent."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held = True
        self._closed = False
        self._waits = 0

    def lend(self) -> None:
        """Something that was begun in this place waits now; `take_back` or `give_up` follows."""
        self._waits += 1
        self._let_go()

    async def take_back(self) -> None:
        """The wait is over: return when the place is held again, unless somebody else still waits in it."""
        self._waits -= 1
        if not self._is_missed():
            return
        await self._places.acquire(first=True)
        if self._is_missed():
            self._held = True
        else:
            self._places.release()

    def give_up(self) -> None:
        """The wait is over, and who waited will do nothing more here."""
        self._waits -= 1

    def close(self) -> None:
        """The place is not needed any more."""
        self._closed = True
        self._let_go()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """The time in which what was begun in this place waits."""
        self.lend()
        try:
            yield
        except BaseException:
            self.give_up()
            raise
        await self.take_back()

    def _is_missed(self) -> bool:
        return not (self._held or self._closed or self._waits)

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._places.release()


_held: ContextVar[Place | None] = ContextVar("tekton_place", default=None)


def hold(place: Place) -> None:
    """From here on, the code of this context, and what it begins, is done in *place*."""
    _held.set(place)


def lent() -> AbstractAsyncContextManager[None]:
    """The time in which the place that the running code is done in, if any, is lent."""
    place = _held.get()
    return nullcontext() if place is None else place.lent()
