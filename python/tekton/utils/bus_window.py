"""How much may be under way at a time. Who comes first is let in first."""

import asyncio
from collections import deque

__all__ = ["Window"]


class Window:
    """At most *most* at a time, together of *size*; one alone may be as large as it likes."""

    def __init__(self, most: int, size: int) -> None:
        self._most = most
        self._limit = size
        self._inside = 0
        self._size = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int) -> None:
        """Wait for room, and take it. Cancelled, nothing is taken."""
        if not self._waiting and self._has_room(size):
            self._take(size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_in()
            else:
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """Give back the room that something of that size has taken."""
        self._inside -= 1
        self._size -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._has_room(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._take(size)
                turn.set_result(None)

    def _take(self, size: int) -> None:
        self._inside += 1
        self._size += size

    def _has_room(self, size: int) -> bool:
        return not self._inside or (self._inside < self._most and self._size + size <= self._limit)
