"""When sockets may bring more: at once, or, while the registry has precedence, in turns.

A request needs three or four turns of the event loop, and in each of them all that sockets have brought would come
before it. So while the registry makes a change durable, whoever has brought a frame waits for his turn to bring the
next: so many bytes have theirs in a tick, and each of them in a turn of the event loop of its own. What is not read
meanwhile waits at the client.
"""

import asyncio
from collections import deque
from typing import Final

from tekton.core.precedence import Precedence

TICK: Final = 0.001
"""Seconds. The timers of uvloop know no less."""
IN_A_TICK: Final = 16 * 1024
"""Bytes. What is more comes off the next ticks. Ticks that the event loop did not come to are not made up for: it has
enough to do then."""
SHARE: Final = 8
"""Of so many that wait when precedence ends one goes on in a turn of the event loop."""
LEAST: Final = 4 * 1024
"""Bytes that a frame counts as at least, for what it costs whatever is in it."""


class Turns:
    """The turns of all sockets of a port, which let *precedence* go first."""

    __slots__ = ("_left", "_next", "_precedence", "_waiting")

    def __init__(self, precedence: Precedence) -> None:
        self._precedence = precedence
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._next: asyncio.Handle | None = None
        self._left = 0

    async def wait(self, size: int) -> None:
        """Back when who has brought *size* bytes may bring more: at once, unless precedence is taken."""
        if not self._precedence.taken:
            self._left = 0
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((turn, max(size, LEAST)))
        if self._next is None:
            self._next = loop.call_later(TICK, self._tick, loop)
        await turn

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = min(self._left, 0) + IN_A_TICK
        self._go_on(loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        free = not self._precedence.taken
        if free:
            # One at a time would take long: whoever comes now does not wait, and fills the turns of the loop.
            for _ in range(1 + len(self._waiting) // SHARE):
                self._give_one()
            self._left = 0
        elif self._left > 0:
            self._give_one()
        if not self._waiting:
            self._next = None
        elif free or self._left > 0:
            self._next = loop.call_soon(self._go_on, loop)
        else:
            self._next = loop.call_later(TICK, self._tick, loop)

    def _give_one(self) -> None:
        """A turn for who has waited longest, and still does."""
        while self._waiting:
            turn, size = self._waiting.popleft()
            if not turn.done():
                self._left -= size
                turn.set_result(None)
                return
