"""One who consumes a stream by way of a bus client.

The control plane sends as many deliveries as it was given credit for (`bus_demand`), so that a bounded number waits
here, and not for long: when whoever reads is busy with one that takes longer, the others are given back (`bus_unread`),
and were never handed out. What becomes of them (`ack`, `nack`, …) is told in batches.

Who loses the connection has given back what he had; deliveries that wait here are dropped then. What somebody has in
his hands is not handed out a second time when it comes again to us; what becomes of it is told on the new connection,
and counts unless somebody else has it by then.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from weakref import WeakValueDictionary

from tekton.bus.bus import MAX_REASON, ConsumerSettings, Delivery, check_delay
from tekton.bus.envelope import Envelope
from tekton.utils.bus_demand import Demand
from tekton.utils.bus_exchange import Exchange
from tekton.utils.bus_frames import Frame, consuming, operation
from tekton.utils.bus_settlements import MOST, Settlements
from tekton.utils.bus_unread import Unread

__all__ = ["ClientConsumption", "ClientDelivery"]

_WORKING: Final = "working"
_RELEASE: Final = "release"
LAST_WORDS: Final = 2.0
"""Seconds for which who leaves waits until it is known what became of his deliveries."""
_MOST_WANTED: Final = 2048
"""Deliveries that are asked for at a time: half of what one `credit` may give, so that it can make up for those, too,
that were on their way when credit was taken back."""


class ClientDelivery:
    """See `tekton.bus.bus.Delivery`."""

    __slots__ = ("__weakref__", "_consumption", "connection", "envelope")

    def __init__(self, consumption: "ClientConsumption", envelope: Envelope, connection: int) -> None:
        self.envelope = envelope
        self.connection = connection
        self._consumption = consumption

    async def ack(self) -> bool:
        """It is done. False when that came too late, or nobody answered."""
        return await self._consumption.settle(self, "ack")

    async def nack(self, delay: float | None = None, *, reason: str = "") -> bool:
        """See Delivery. 1000 characters of the *reason* count."""
        check_delay(delay)
        return await self._consumption.settle(self, "nack", delay=delay, reason=reason[:MAX_REASON] or None)

    async def release(self) -> bool:
        """Nobody has begun with it: to be handed out again at once, uncounted."""
        return await self._consumption.settle(self, _RELEASE)

    async def in_progress(self) -> bool:
        """It takes longer."""
        return await self._consumption.settle(self, _WORKING)

    async def reject(self, reason: str) -> bool:
        """It will never be done. 1000 characters of the *reason* count.

        False too when the dead letter could not be written: then it stays with the consumer, and comes again.
        """
        return await self._consumption.settle(self, "reject", reason=reason[:MAX_REASON])


class ClientConsumption:
    """See `tekton.bus.bus.Consumption`. Entering it returns when the control plane has it.

    What becomes of a delivery is answered within *timeout* seconds, else it counts as too late.
    """

    def __init__(
        self, exchange: Exchange, stream: str, consumer: str, settings: ConsumerSettings | None, timeout: float
    ) -> None:
        self.stream = stream
        self.consumer = consumer
        self.lost = 0
        self._told_lost = 0
        self._settings = settings
        self._timeout = timeout
        self._exchange = exchange
        self._settlements = Settlements(exchange.send)
        self._waiting = Unread(self._give_back)
        self._held: WeakValueDictionary[int, ClientDelivery] = WeakValueDictionary()
        self._demand = Demand()
        self._clock = asyncio.get_running_loop().time
        self._connections = 0
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._closed = self._ended = False
        self._error: Exception | None = None
        exchange.join(self)

    async def __aenter__(self) -> Self:
        try:
            await self._begun.wait()
        except BaseException:
            # Who does not get in does not leave either, and would be handed work.
            self._end(None)
            raise
        if self._error is not None:
            raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Consume no more, and give back what was not acknowledged. Twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._give_back(self._waiting.take_all())
        self._news.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._settlements.settled()
        finally:
            self._end(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        if not await self._wait(1):
            raise StopAsyncIteration
        [delivery] = self._hand_out(1)
        return delivery

    async def batches(self, most: int = 64) -> AsyncGenerator[list[Delivery], None]:
        """Lists of at most *most* deliveries, and of 2048, never empty, in order."""
        most = max(1, most)
        while await self._wait(most):
            yield self._hand_out(min(most, len(self._waiting)))

    async def settle(self, delivery: ClientDelivery, op: str, **details: float | str | None) -> bool:
        """Tell what became of a delivery; whether that counts."""
        sequence = delivery.envelope.sequence
        if self._ended or self._held.get(sequence) is not delivery:
            return False
        try:
            async with asyncio.timeout(self._timeout):
                return await self._settlements.tell(sequence, op, **details)
        except TimeoutError:
            return False
        finally:
            # Who has said that he is done has it no more: it may come to him again.
            if op != _WORKING and self._held.get(sequence) is delivery:
                del self._held[sequence]

    # See `Party`.

    def begin(self) -> None:
        self._connections += 1
        self._told_lost = 0
        number = self._exchange.number(self)
        self._exchange.send(consuming(number, self.stream, self.consumer, self._settings, self._demand.begin()))
        self._settlements.begin(number)

    def break_off(self) -> None:
        self._settlements.break_off()
        self._waiting.close()

    def deliver(self, envelopes: Sequence[Envelope], size: int) -> None:
        del size
        self._demand.came(len(envelopes))
        fresh = [envelope for envelope in envelopes if not self._has_in_hand(envelope.sequence)]
        if self._closed:
            self._give_back(fresh)
        else:
            self._waiting.put(fresh)
            self._news.set()
            self._ask()

    def told(self, frame: Frame) -> None:
        if frame.t == "subscribed":
            self._waiting.ack_wait = frame.ack_wait
            self._begun.set()
        elif frame.t == "gap":
            # Each connection is told of all of them.
            self._told_lost += frame.lost
            self.lost = max(self.lost, self._told_lost)
        elif frame.t == "acked":
            self._settlements.answer(frame.sequences, counts=True)
            self._settlements.answer(frame.late, counts=False)
            for sequence in frame.late:
                # At once: the next frame may bring it again.
                self._held.pop(sequence, None)

    def fail(self, error: Exception | None) -> None:
        if error is not None and self._begun.is_set():
            # It may be one word of ours that was refused: what nobody reads any more must not go on over there.
            self._exchange.send(operation("unsub", self._settlements.number))
        self._end(error)

    def _has_in_hand(self, sequence: int) -> bool:
        """Whether a delivery that was given back with an earlier connection is the same one, and goes on."""
        held = self._held.get(sequence)
        if held is None or held.connection == self._connections:
            return False
        held.connection = self._connections
        return True

    async def _wait(self, most: int) -> bool:
        """Return when a delivery waits; False when none ever will. Raises what ended it."""
        self._waiting.look()
        self._demand.asked(self._clock(), min(most, _MOST_WANTED))
        self._ask()
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._closed:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def _hand_out(self, count: int) -> list[Delivery]:
        deliveries = [ClientDelivery(self, envelope, self._connections) for envelope in self._waiting.take(count)]
        self._held.update((delivery.envelope.sequence, delivery) for delivery in deliveries)
        self._demand.took(self._clock())
        return list(deliveries)

    def _ask(self) -> None:
        if self._settlements.number and (more := self._demand.more(len(self._waiting))):
            self._exchange.send(operation("credit", self._settlements.number, more=more))

    def _give_back(self, envelopes: list[Envelope]) -> None:
        """Nobody has begun with these, and nobody will soon."""
        less = self._demand.pause()
        sequences = [envelope.sequence for envelope in envelopes]
        for first in range(0, len(sequences), MOST):
            self._settlements.say(sequences[first : first + MOST], _RELEASE, less=less or None)
            less = 0

    def _end(self, error: Exception | None) -> None:
        self._closed = self._ended = True
        self._error = error
        self._exchange.leave(self)
        self._exchange.release(self._settlements.number)
        self._settlements.number = 0
        self._settlements.give_up()
        self._waiting.close()
        self._news.set()
        self._begun.set()
