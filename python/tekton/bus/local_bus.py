"""The bus of this process: live subjects in memory, streams where there are any.

    bus = LocalBus(clock)                                       # live subjects alone

    live = LiveBus(clock)
    bus = LocalBus(clock, Streams(store, clock, Telling(live).tell), live)

What a stream takes is stored first, and told to who listens in the order of the commits; everything else is told at
once. Of both not more than so much is told in one turn of the event loop (`turn.py`).
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import compress
from operator import not_

from tekton.bus.admission import admit, check, hops_of
from tekton.bus.asides import Asides
from tekton.bus.bus import (
    DEFAULT_LIMITS,
    MAX_HOPS,
    RESERVED,
    ConsumerSettings,
    Consumption,
    Limits,
    Receipt,
    StreamInfo,
    StreamSettings,
    Subscription,
)
from tekton.bus.dead_letters import CIRCLES, circle_letter
from tekton.bus.envelope import Envelope
from tekton.bus.inbox import Inbox
from tekton.bus.keeper import Keeper
from tekton.bus.live import LiveBus
from tekton.bus.outgoing import all_caused, patience
from tekton.bus.receipts import Receipts
from tekton.bus.turn import MOST, MOST_SIZE, parts
from tekton.clock import Clock
from tekton.mcp.course import caused, due
from tekton.mcp.message import Message
from tekton.mcp.tool_context import AnswerQuestion, Tell
from tekton.utils.tekton_errors import (
    BusError,
    NoRespondersError,
    ReplyTimeoutError,
    StorageError,
    StreamNotFoundError,
    TooManyHopsError,
)

_logger = logging.getLogger("tekton.bus")


class LocalBus:
    """A `Bus` without a wire. All on one event loop."""

    def __init__(self, clock: Clock, streams: Keeper | None = None, live: LiveBus | None = None) -> None:
        """*live* is what *streams* tells what it has stored; default: one of its own."""
        self.live = live or LiveBus(clock)
        self._clock = clock
        self._streams = streams
        self._inbox = Inbox(RESERVED)
        self.live.tap(self._inbox.pattern, self._inbox.receive)
        self._turn = self.live.turn

    async def publish(self, subject: str, message: Message, *, reply: str | None = None) -> Receipt:
        """As `Bus.publish`."""
        self.live.route(subject)
        message = caused(message)
        size = len(message.to_json())
        now = self._clock.time()
        try:
            check(message, reply, size, now)
        except TooManyHopsError as error:
            await self._bury(subject, message, error)
            raise
        if self._streams is not None and self._streams.stream_of(subject) is not None:
            [receipt] = await self._streams.append([Envelope(subject, message, reply)])
            return receipt
        if not self._turn.has_room(1, size):
            await self._turn.wait(1, size)
        return Receipt(self.live.send(subject, message, reply, size, now))

    async def publish_many(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """As `Bus.publish_many`. What streams take is stored before the rest is told."""
        envelopes = all_caused(envelopes)
        if self._streams is not None:
            self.live.check(envelope.subject for envelope in envelopes)
            stored = [self._streams.stream_of(envelope.subject) is not None for envelope in envelopes]
            if any(stored):
                await self._look_at(envelopes)
                return await self._store_and_tell(self._streams, envelopes, stored)
        count = len(envelopes)
        if count > MOST:
            await self._look_at(envelopes)
            return await self._tell(envelopes)
        room = self._turn.has_room(count)
        if not room:
            await self._turn.wait(count, Envelope.measure(envelopes))
        live = self.live
        try:
            placed, size, alike = admit(envelopes, live.sequence + 1, self._clock.time())
        except TooManyHopsError as error:
            await self._bury_first(envelopes, error)
            raise
        if size > MOST_SIZE and count > 1:
            return await self._tell(envelopes)
        if room:
            self._turn.add(size)
        live.take(placed, size, alike)
        return Receipts(live.sequence + 1 - count, count)

    def subscribe(
        self, pattern: str, *, queue: str | None = None, limits: Limits = DEFAULT_LIMITS, since: int | None = None
    ) -> Subscription:
        """As `Bus.subscribe`."""
        return self.live.subscribe(pattern, queue=queue, limits=limits, since=since)

    def replay(
        self, stream: str, *, since: int | None = None, at: float | None = None, pattern: str = ">"
    ) -> Subscription:
        """As `Bus.replay`."""
        return self._of(stream).replay(stream, since=since, at=at, pattern=pattern)

    def consume(
        self, stream: str, consumer: str, settings: ConsumerSettings | None = None, *, owner: str = ""
    ) -> Consumption:
        """As `Bus.consume`. One that is made by this belongs to *owner*; without, it is everybody's."""
        return self._of(stream).consume(stream, consumer, settings, owner)

    def settings_of(self, stream: str, consumer: str) -> ConsumerSettings | None:
        """As `SharedBus.settings_of`."""
        return None if self._streams is None else self._streams.settings_of(stream, consumer)

    def owner_of(self, stream: str, consumer: str) -> str:
        """To whom a consumer belongs; empty for one that is everybody's, or is not there."""
        return "" if self._streams is None else self._streams.owner_of(stream, consumer)

    async def request(
        self,
        subject: str,
        message: Message,
        *,
        timeout: float,
        tell: Tell | None = None,
        answer: AnswerQuestion | None = None,
    ) -> Message:
        """As `Bus.request`. That a stream takes the subject is no answer; a message without anybody is not stored."""
        now = self._clock.time()
        wait = patience(message, timeout, now)
        if not self.live.answered(subject) and not self._inbox.listens(subject):
            raise NoRespondersError(subject)
        asides = Asides(self, tell, answer)
        message = due(asides.announced(message), now + wait)
        with self._inbox.ask(asides.hear if asides.hears else None) as question:
            scope = asyncio.timeout(wait)
            try:
                # What they clean up comes after the answer, and is no part of the time in which it has to come.
                async with asides, scope:
                    await self.publish(subject, message, reply=question.reply)
                    return await question.answer
            except TimeoutError:
                if scope.expired():
                    raise ReplyTimeoutError(subject, wait) from None
                raise

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """As `Bus.create_stream`. Raises BusError where there are no streams at all."""
        if self._streams is None:
            raise BusError("this bus keeps nothing: it has no streams")
        return await self._streams.create_stream(name, settings)

    async def delete_stream(self, name: str) -> None:
        """As `Bus.delete_stream`."""
        await self._of(name).delete_stream(name)

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:
        """As `Bus.streams`."""
        return [] if self._streams is None else await self._streams.streams(consumers=consumers)

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """As `Bus.delete_consumer`."""
        await self._of(stream).delete_consumer(stream, consumer)

    def _of(self, stream: str) -> Keeper:
        if self._streams is None:
            raise StreamNotFoundError(stream)
        return self._streams

    async def _look_at(self, envelopes: Sequence[Envelope]) -> None:
        """Raise if something of it may not be published."""
        try:
            admit(envelopes, 0, self._clock.time())
        except TooManyHopsError as error:
            await self._bury_first(envelopes, error)
            raise

    async def _store_and_tell(
        self, streams: Keeper, envelopes: Sequence[Envelope], stored: Sequence[bool]
    ) -> list[Receipt]:
        kept = iter(await streams.append(list(compress(envelopes, stored))))
        others = iter(await self._tell(list(compress(envelopes, map(not_, stored)))))
        return [next(kept if one else others) for one in stored]

    async def _tell(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """Publish what was looked at already, in several turns if it is much."""
        self.live.check(envelope.subject for envelope in envelopes)
        receipts: list[Receipt] = []
        for part, size in parts(envelopes):
            if not self._turn.has_room(len(part), size):
                await self._turn.wait(len(part), size)
            receipts += Receipts(self.live.sequence + 1, len(part))
            self.live.deliver(part)
        return receipts

    async def _bury_first(self, envelopes: Sequence[Envelope], error: TooManyHopsError) -> None:
        guilty = next(one for one in envelopes if hops_of(one.message, one.reply) > MAX_HOPS)
        await self._bury(guilty.subject, guilty.message, error)

    async def _bury(self, subject: str, message: Message, error: TooManyHopsError) -> None:
        """Store it as a dead letter, so that somebody can see who went in circles."""
        if self._streams is None or self._streams.stream_of(CIRCLES) is None:
            return
        try:
            await self._streams.append([circle_letter(Envelope(subject, message), str(error))])
        except (BusError, StorageError):
            _logger.exception("a message that went in circles was not kept")
