"""Who listens: a reader of a cursor, its own or one that it shares with the other members of a queue group."""

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from tekton.bus.cursor import Cursor, leave
from tekton.bus.envelope import Envelope


class LiveSubscription:
    """A `Subscription` of this process. Reading what is there never waits; several tasks may read one.

    What nobody has read when it is closed is gone, or goes to the other members of its queue group.
    """

    __slots__ = ("_closed", "_cursor", "_waiting", "began", "gap", "lost", "pattern")

    def __init__(self, pattern: str, cursor: Cursor, began: int | None) -> None:
        self.pattern = pattern
        self.began = began
        self.lost = 0
        self.gap = 0
        self._cursor = cursor
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Envelope:
        while not self._closed:
            envelope = self._cursor.take_one()
            if envelope is not None:
                self._tell_gap()
                return envelope
            future = self._sleep()
            try:
                await future
            except BaseException:
                self._give_up(future)
                raise
            self._waiting.remove(future)
        raise StopAsyncIteration

    async def batches(self) -> AsyncGenerator[list[Envelope], None]:
        """Lists, never empty, in order: all that waits, of a queue group a share of it."""
        cursor = self._cursor
        channel, take, sleeping, waiting = cursor.channel, cursor.take, cursor.sleeping, self._waiting
        create_future = asyncio.get_running_loop().create_future
        while not self._closed:
            end = channel.end
            batch = take()
            if batch:
                if cursor.gap or self.gap:
                    self._tell_gap()
                yield batch
                # All of it was taken, so there is no need to look again where nothing has come since. Of what a queue
                # group has, another member may have left some.
                if end != channel.end or cursor.group is not None or self._closed:
                    continue
            # As _sleep, without the call: who is woken for each message comes by here for each.
            future = create_future()
            sleeping[future] = None
            waiting.append(future)
            try:
                await future
            except BaseException:
                self._give_up(future)
                raise
            waiting.remove(future)

    async def close(self) -> None:
        """Listen no more. Twice does nothing."""
        if self._closed:
            return
        self._closed = True
        for future in self._waiting:
            self._cursor.sleeping.pop(future, None)
            if not future.done():
                future.set_result(None)
        leave(self._cursor)

    def _tell_gap(self) -> None:
        cursor = self._cursor
        self.gap = cursor.gap
        if cursor.gap:
            self.lost += cursor.gap
            cursor.gap = 0

    def _sleep(self) -> "asyncio.Future[None]":
        """A future that is done when there is something to read."""
        future = asyncio.get_running_loop().create_future()
        self._cursor.sleeping[future] = None
        self._waiting.append(future)
        return future

    def _give_up(self, future: "asyncio.Future[None]") -> None:
        self._waiting.remove(future)
        self._cursor.sleeping.pop(future, None)
        self._cursor.pass_on()
