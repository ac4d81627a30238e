"""What one socket publishes, in the order in which it came.

What no stream takes is delivered on the spot, unless something that came before it and is not for the disk alone still
waits. What a stream takes waits for the disk beside the socket's reader, so that all that comes while one commit runs
goes into the next; the reader stops when too much of it waits.

What is stored together is one batch of the disk at most, so that all of it is stored or nothing, and an error says what
is true of each frame. What the disk refuses takes what came behind it along: what one publishes stays in order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

from tekton.bus.bus import MAX_MESSAGE, Receipt
from tekton.bus.envelope import Envelope
from tekton.bus.streams.append_queue import MAX_BATCH, MAX_BATCH_BYTES
from tekton.gateway.bus.access import Caller
from tekton.gateway.bus.contents import check_contents
from tekton.gateway.bus.port import BusPort
from tekton.gateway.frames import error_frame, published, published_all
from tekton.gateway.operations import Pub
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import (
    InvalidSubjectError,
    MessageError,
    MessageExpiredError,
    MessageTooLargeError,
    PublishUnknownError,
    StorageUnknownError,
    StreamNotFoundError,
    TektonError,
    TooManyHopsError,
)

MAX_WAITING: Final = 256
"""Frames that may wait for the disk."""
MAX_WAITING_SIZE: Final = 4 * 1024 * 1024
"""The same in bytes of messages."""

_UNFIT = (MessageError, InvalidSubjectError, MessageTooLargeError, TooManyHopsError, MessageExpiredError)
"""What is the matter with a message. It shows before anything is stored, of a frame of any size."""
_OF_ONE = (*_UNFIT, StreamNotFoundError)
"""What is the matter with a message, or with its stream, and not with the bus."""


class Send(Protocol):
    """Sends frames, in order; back when they are on their way."""

    async def __call__(self, *frames: str | bytes) -> None: ...


Spawn = Callable[[Coroutine[Any, Any, None], str], object]


class _Parcel(NamedTuple):
    """What came in one frame. *number*: its id, if it has one."""

    number: int | None
    envelopes: Sequence[Envelope]
    size: int
    """Bytes of its messages."""
    single: bool
    streams: AbstractSet[str | None]
    """Those that it is for, None among them when some of it is for no stream."""
    again: bool = False
    """It could not be published together with others."""

    @property
    def live(self) -> bool:
        """Some of it is for no stream."""
        return None in self.streams

    @property
    def whole(self) -> bool:
        """It is one batch of the disk: all of it is stored, or nothing."""
        return len(self.envelopes) <= MAX_BATCH and self.size <= MAX_BATCH_BYTES

    def refusal(self, error: TektonError) -> str:
        """The answer when *error* came of publishing it. Some of it may be stored, then, if it is not `whole`."""
        if not self.whole and not isinstance(error, (*_UNFIT, StorageUnknownError)):
            error = PublishUnknownError(self.envelopes[0].message.message_id, 0.0)
        return error_frame(error, self.number)

    def receipt(self, receipts: Sequence[Receipt]) -> str | None:
        if self.number is None:
            return None
        return published(self.number, receipts[0]) if self.single else published_all(self.number, receipts)


class Publisher:
    """Publishes for one socket. *caller* tells whose it is, *send* sends receipts of what has waited for the disk.

    *end* ends the socket, where nobody knows what became of something.
    """

    def __init__(
        self, port: BusPort, caller: Callable[[], Caller], send: Send, spawn: Spawn, end: Callable[[str], None]
    ) -> None:
        self._port = port
        self._caller = caller
        self._send = send
        self._spawn = spawn
        self._end = end
        self._waiting: list[_Parcel] = []
        self._size = 0
        self._live = 0
        """How many parcels that are not for streams alone wait, or are being stored."""
        self._changed = asyncio.Event()
        self._running = False
        self._storing = False
        self._pipelined = False
        """Something came while something else was not answered yet."""

    async def publish(self, operation: Pub) -> str | None:
        """The receipt, if one is wanted and there is one at once. Raises the errors of messages and of the bus.

        A question (`BusPort.admit`) is refused when nobody is there to answer it.
        """
        data = bytes(operation.message)
        if len(data) > MAX_MESSAGE:
            raise MessageTooLargeError(len(data), MAX_MESSAGE)
        envelope = Envelope(operation.subject, Message.from_json(data), operation.reply)
        self._port.admit(self._caller(), envelope)
        check_contents(data, (envelope,))
        stream = self._port.stream_of(envelope.subject)
        if self._live or stream is not None:
            await self._wait(_Parcel(operation.id, [envelope], len(data), single=True, streams={stream}))
            return None
        receipt = await self._port.bus.publish(envelope.subject, envelope.message, reply=envelope.reply)
        return None if operation.id is None else published(operation.id, receipt)

    async def publish_batch(self, data: bytes) -> str | None:
        """As `publish`, for a batch."""
        number, envelopes = Envelope.unpack(data, max_message=MAX_MESSAGE)
        caller = self._caller()
        for envelope in envelopes:
            self._port.admit(caller, envelope)
        check_contents(data, envelopes)
        streams = self._streams_of(envelopes)
        parcel = _Parcel(number or None, envelopes, Envelope.measure(envelopes), single=False, streams=streams)
        if self._live or streams - {None}:
            await self._wait(parcel)
            return None
        return parcel.receipt(await self._port.bus.publish_many(envelopes))

    async def _wait(self, parcel: _Parcel) -> None:
        while len(self._waiting) >= MAX_WAITING or self._size >= MAX_WAITING_SIZE:
            self._changed.clear()
            await self._changed.wait()
        if self._waiting or self._storing:
            self._pipelined = True
        self._waiting.append(parcel)
        self._size += parcel.size
        self._live += parcel.live
        if not self._running:
            self._running = True
            self._spawn(self._run(), "publish")

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_others()
                await self._publish(self._take())
        except Exception:
            self._end("error")
            raise
        finally:
            self._running = self._storing = False

    def _take(self) -> list[_Parcel]:
        """All that waits; there is room for as much again."""
        parcels, self._waiting, self._size = self._waiting, [], 0
        self._changed.set()
        return parcels

    async def _wait_for_others(self) -> None:
        messages = sum(len(parcel.envelopes) for parcel in self._waiting)
        pipelined, self._pipelined = self._pipelined, False
        await self._port.beat.wait(messages, pipelined=pipelined)

    async def _publish(self, parcels: Sequence[_Parcel]) -> None:
        """Publish *parcels* and answer them, group by group, and one by one where something in a group cannot be."""
        left = deque(_groups(parcels))
        while left:
            group = left.popleft()
            self._storing = True
            try:
                answers = await self._store(group)
            except _OF_ONE as error:
                if len(group) > 1:
                    # Nothing of it was published, and the others can be.
                    left.extendleft([parcel._replace(again=True)] for parcel in reversed(group))
                    continue
                answers = [group[0].refusal(error)]
            except TektonError as error:
                behind = [*chain.from_iterable(left), *self._take()]
                left.clear()
                answers = [parcel.refusal(error) for parcel in group]
                answers += [error_frame(error, parcel.number) for parcel in behind]
                group = [*group, *behind]
            self._storing = False
            self._live -= sum(parcel.live for parcel in group)
            if answers:
                await self._send(*answers)

    async def _store(self, group: Sequence[_Parcel]) -> list[str]:
        """Publish *group* together; the receipts."""
        if group[0].again:
            self._check_streams(group[0])
        receipts = await self._port.bus.publish_many([one for parcel in group for one in parcel.envelopes])
        answers, start = [], 0
        for parcel in group:
            end = start + len(parcel.envelopes)
            answers.append(parcel.receipt(receipts[start:end]))
            start = end
        return [answer for answer in answers if answer is not None]

    def _check_streams(self, parcel: _Parcel) -> None:
        """Raise StreamNotFoundError if a stream that *parcel* is for is gone.

        No stream would take it, and what came behind it for no stream was told at once: it would come too late.
        """
        for gone in parcel.streams - self._streams_of(parcel.envelopes):
            if gone is not None:
                raise StreamNotFoundError(gone)

    def _streams_of(self, envelopes: Sequence[Envelope]) -> set[str | None]:
        return {self._port.stream_of(subject) for subject in {envelope.subject for envelope in envelopes}}


def _groups(parcels: Sequence[_Parcel]) -> Iterator[Sequence[_Parcel]]:
    """*parcels* in order, in groups of which each is one batch of the disk; what has more is a group of its own."""
    start = count = size = 0
    for place, parcel in enumerate(parcels):
        count, size = count + len(parcel.envelopes), size + parcel.size
        if place > start and (count > MAX_BATCH or size > MAX_BATCH_BYTES):
            yield parcels[start:place]
            start, count, size = place, len(parcel.envelopes), parcel.size
    yield parcels[start:]


def batch_number(data: bytes) -> int | None:
    """The id of a batch, None for one without, or for what is too short to have any. See `Envelope` for the layout."""
    return int.from_bytes(data[4:12], "little") or None
