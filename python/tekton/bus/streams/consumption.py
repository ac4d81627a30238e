"""Who works through a stream, as he sees it: an iteration over deliveries."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Protocol, Self

from tekton.bus.bus import Delivery, check_delay
from tekton.bus.streams.consumer import Handed
from tekton.bus.turn import Turn


class Counter(Protocol):
    """Where deliveries are handed out, and where is said what became of them."""

    @property
    def lost(self) -> int:
        """How many messages the limits of the stream have dropped before they were done, at most."""
        ...

    async def enter(self, holder: int) -> None:
        """*holder* begins. Raises what has happened to the stream or the consumer."""
        ...

    def take(self, holder: int, most: int) -> "list[Handed] | asyncio.Future[list[Handed]]":
        """What there is, *most* at most, or a future of it; nothing when *holder* has left."""
        ...

    def leave(self, holder: int, unseen: dict[int, int]) -> None:
        """*holder* has left. What he has not looked at (tags by sequence) counts as not handed out."""
        ...

    def acknowledge(self, sequence: int, tag: int) -> bool:
        """See Delivery, as for the others."""
        ...

    def fail(self, sequence: int, tag: int, delay: float | None, reason: str) -> bool: ...

    def release(self, sequence: int, tag: int) -> bool: ...

    def extend(self, sequence: int, tag: int) -> bool: ...

    async def reject(self, sequence: int, tag: int, reason: str) -> bool: ...


class StreamDelivery:
    """A Delivery. Who has said what became of it has it no more: what he says after that comes too late."""

    __slots__ = ("_counter", "_over", "_tag", "envelope")

    def __init__(self, counter: Counter, handed: Handed) -> None:
        self.envelope = handed.envelope
        self._counter = counter
        self._tag = handed.tag
        self._over = False

    async def ack(self) -> bool:
        """See Delivery. Waits for nothing."""
        return self._ends() and self._counter.acknowledge(self.envelope.sequence, self._tag)

    async def nack(self, delay: float | None = None, *, reason: str = "") -> bool:
        """See Delivery. Waits for nothing."""
        check_delay(delay)
        return self._ends() and self._counter.fail(self.envelope.sequence, self._tag, delay, reason)

    async def release(self) -> bool:
        """See Delivery. Waits for nothing."""
        return self._ends() and self._counter.release(self.envelope.sequence, self._tag)

    async def in_progress(self) -> bool:
        """See Delivery. Waits for nothing."""
        return not self._over and self._counter.extend(self.envelope.sequence, self._tag)

    async def reject(self, reason: str) -> bool:
        """See Delivery. Back when the dead letter is on the disk; raises the storage errors."""
        return self._ends() and await self._counter.reject(self.envelope.sequence, self._tag, reason)

    def _ends(self) -> bool:
        over, self._over = self._over, True
        return not over


class StreamConsumption:
    """A Consumption. *holder* is a number that nobody else has who shares the consumer; *turn* is shared by all."""

    def __init__(self, stream: str, consumer: str, counter: Counter, holder: int, turn: Turn) -> None:
        self.stream = stream
        self.consumer = consumer
        self._counter = counter
        self._holder = holder
        self._turn = turn
        self._entered = self._closed = False
        self._given: deque[Handed] = deque()

    @property
    def lost(self) -> int:
        """See Consumption."""
        return self._counter.lost

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        # One at a time: what waits here would wait for its ack_wait, too, and nobody else could have it.
        while await self._fetch(1):
            yield StreamDelivery(self._counter, self._given.popleft())

    async def batches(self, most: int = 64) -> AsyncGenerator[list[Delivery], None]:
        """See Consumption."""
        while await self._fetch(max(1, most)):
            count = min(max(1, most), len(self._given))
            yield [StreamDelivery(self._counter, self._given.popleft()) for _ in range(count)]

    async def close(self) -> None:
        """See Consumption."""
        if not self._closed:
            self._closed = True
            # Who has iterated to here has not seen these.
            self._counter.leave(self._holder, {one.envelope.sequence: one.tag for one in self._given})
            self._given.clear()

    async def _enter(self) -> None:
        if not self._entered:
            await self._counter.enter(self._holder)
            self._entered = True

    async def _fetch(self, most: int) -> bool:
        """See to it that there is something to give; False when nothing will come any more."""
        if not self._given and not self._closed:
            await self._enter()
            await self._take(most)
        return bool(self._given)

    async def _take(self, most: int) -> None:
        taken = self._counter.take(self._holder, most)
        if isinstance(taken, list):
            self._given.extend(taken)
            size = sum(one.envelope.size for one in taken)
            if not self._turn.has_room(len(taken), size):
                await self._turn.wait(len(taken), size)
            return
        try:
            self._given.extend(await taken)
        except asyncio.CancelledError:
            if taken.done() and not taken.cancelled() and taken.exception() is None:
                # It was on its way here: it is for whoever iterates next, or is given back.
                self._given.extend(taken.result())
            raise
