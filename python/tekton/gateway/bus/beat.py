"""When what sockets publish is stored: at once, or, when they flood a stream, in step.

A commit costs the event loop, the writer and the disk nearly as much for one message as for a hundred, and the registry
needs all three. So in a flood, those who publish on without waiting for receipts wait for one another, for some
milliseconds, and what they bring is stored together. Who publishes one after the other is never held up.
"""

import asyncio
from typing import Final

BEAT: Final = 0.008
"""Seconds that something waits at most."""
ENOUGH: Final = 128
"""Messages with which nobody waits any longer."""
FLOOD: Final = 200
"""Messages in `LOOKED_AT` seconds that are one."""
LOOKED_AT: Final = 0.05


class Beat:
    """The stores of all sockets of a port."""

    __slots__ = ("_before", "_came", "_next", "_since", "_timer", "_waiting")

    def __init__(self) -> None:
        self._since = 0.0
        self._came = self._before = 0
        self._waiting = 0
        self._next: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, messages: int, *, pipelined: bool) -> None:
        """Back when *messages* may be stored. *pipelined*: they come from one who does not wait for receipts."""
        loop = asyncio.get_running_loop()
        self._count(messages, loop.time())
        if not pipelined or max(self._before, self._came) < FLOOD:
            return
        self._waiting += messages
        if self._waiting >= ENOUGH:
            self._begin()
            return
        if self._next is None:
            self._next = asyncio.Event()
            self._timer = loop.call_later(BEAT, self._begin)
        await self._next.wait()

    def _count(self, messages: int, now: float) -> None:
        since = now - self._since
        if since >= LOOKED_AT:
            self._before = self._came if since < 2 * LOOKED_AT else 0
            self._came, self._since = 0, now
        self._came += messages

    def _begin(self) -> None:
        self._waiting = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._next is not None:
            self._next.set()
        self._next = self._timer = None
