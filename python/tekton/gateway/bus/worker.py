"""One who consumes on a socket: hands on as many deliveries as there is credit for, and settles them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

from tekton.bus.batches import parts
from tekton.bus.bus import Consumption, Delivery
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.publisher import Send
from tekton.gateway.frames import acked, gap
from tekton.gateway.operations import Ack, Nack, Reject, Release, Settling, Working
from tekton.utils.tekton_errors import TektonError

AT_ONCE: Final = 64
"""Deliveries that are handed out together."""
MAX_HELD: Final = 8192
"""Deliveries of which one who consumes has said nothing, and may yet. Of older ones it is too late."""


class Worker:
    """Consumes for the socket's subscription *number*, which has so much *credit*.

    *check* is shown what is to be handed on, and answers what the client may read of it. It raises when that is not for
    the client (any more).
    """

    def __init__(
        self,
        number: int,
        consumption: Consumption,
        credit: int,
        check: Callable[[Sequence[Envelope]], Sequence[Envelope]],
    ) -> None:
        self._number = number
        self._consumption = consumption
        self._credit = credit
        self._check = check
        self._granted = asyncio.Event()
        self._lost = 0
        self._held: dict[int, Delivery] = {}

    def grant(self, more: int) -> None:
        """So many more deliveries may come."""
        self._credit = min(self._credit + more, MAX_HELD)
        self._granted.set()

    async def run(self, send: Send) -> None:
        """Send what is handed out, until the consumption ends. Raises what ends it."""
        while True:
            while self._credit <= 0:
                self._granted.clear()
                await self._granted.wait()
            # No more than may be sent: what is handed out is nobody else's any more.
            async with aclosing(self._consumption.batches(min(self._credit, AT_ONCE))) as batches:
                deliveries = await anext(batches, None)
            if deliveries is None:
                return
            # Some of the credit may have been taken back meanwhile.
            deliveries = await self._within_credit(deliveries)
            try:
                envelopes = self._check([delivery.envelope for delivery in deliveries])
            except TektonError:  # he may not have them: nobody has seen any
                await _release(deliveries)
                raise
            self._credit -= len(deliveries)
            for delivery in deliveries:
                self._hold(delivery)
            await self._tell_lost(send)
            for part in parts(envelopes):
                await send(*[envelope.frame(self._number) for envelope in part])

    async def _within_credit(self, deliveries: list[Delivery]) -> list[Delivery]:
        """So many of *deliveries* as may come; nobody has seen the others."""
        most = max(0, self._credit)
        await _release(deliveries[most:])
        return deliveries[:most]

    async def _tell_lost(self, send: Send) -> None:
        lost = self._consumption.lost
        if lost > self._lost:
            self._lost, more = lost, lost - self._lost
            await send(gap(self._number, more))

    def _hold(self, delivery: Delivery) -> None:
        # One that comes again takes the place of the one before.
        self._held.pop(delivery.envelope.sequence, None)
        self._held[delivery.envelope.sequence] = delivery
        if len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]

    async def settle(self, operation: Settling) -> str:
        """Say of deliveries what the client has said; the answer."""
        if isinstance(operation, Release):
            self._credit -= operation.less
        counted: list[int] = []
        late: list[int] = []
        for sequence, done in zip(operation.sequences, await self._settle_all(operation), strict=True):
            (counted if done else late).append(sequence)
        return acked(self._number, counted, late)

    async def _settle_all(self, operation: Settling) -> list[bool]:
        keep = isinstance(operation, Working)
        held = self._held
        deliveries = [held.get(one) if keep else held.pop(one, None) for one in operation.sequences]
        if not isinstance(operation, Reject):
            return [delivery is not None and await _settle(delivery, operation) for delivery in deliveries]
        chosen = [delivery for delivery in deliveries if delivery is not None]
        rejected: list[bool] = []
        # Dead letters are stored, some with one commit; all at once might be more than there is room for.
        for start in range(0, len(chosen), AT_ONCE):
            some = chosen[start : start + AT_ONCE]
            rejected += await asyncio.gather(*(_reject(one, operation.reason) for one in some))
        answers = iter(rejected)
        return [delivery is not None and next(answers) for delivery in deliveries]


async def _release(deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        await delivery.release()


async def _reject(delivery: Delivery, reason: str) -> bool:
    try:
        return await delivery.reject(reason)
    except TektonError:  # its dead letter was not written, and it stays; what was said of the others counts
        return False


async def _settle(delivery: Delivery, operation: Ack | Nack | Release | Working) -> bool:
    match operation:
        case Ack():
            return await delivery.ack()
        case Nack():
            return await delivery.nack(operation.delay, reason=operation.reason)
        case Release():
            return await delivery.release()
        case Working():
            return await delivery.in_progress()
