"""A subscription of a bus client: to what is published, or to what a stream has.

When the connection was lost it goes on behind the last message that came. What a stream has is complete: nothing is
missed or repeated. Of what is only published, the control plane remembers the last while; who comes back later, or to a
control plane that was started again, finds a gap of unknown size (`gap` is -1). A member of a queue group goes on with
what comes: the others had the rest. What has come to him before he closed it is for nobody else, and can be read still.

Nobody waits for a reader. Of what is only published so much waits here as the `Limits` say. Of a stream, the rest stays
where it is: the subscription ends, and goes on when room is there again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tekton.bus.bus import Limits
from tekton.bus.envelope import Envelope
from tekton.utils.bus_exchange import Exchange
from tekton.utils.bus_frames import Frame, operation
from tekton.utils.bus_mailbox import UNKNOWN, Mailbox
from tekton.utils.tekton_errors import CursorExpiredError, SlowConsumerError

__all__ = ["ClientSubscription", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is subscribed to: what matches *pattern*, or what of it *stream* has."""

    pattern: str
    queue: str | None = None
    stream: str | None = None
    since: int | None = None
    at: float | None = None

    def members(self, position: int | None) -> dict[str, Any]:
        """The members of the operation that goes on behind *position*."""
        at = self.at if position is None else None
        return {"subject": self.pattern, "queue": self.queue, "stream": self.stream, "since": position, "at": at}


class ClientSubscription:
    """See `tekton.bus.bus.Subscription`. Entering it returns when the control plane has it."""

    def __init__(self, exchange: Exchange, wanted: Wanted, limits: Limits) -> None:
        self.pattern = wanted.pattern
        self.gap = 0
        self.began: int | None = None
        self._exchange = exchange
        self._wanted = wanted
        self._limits = limits
        self._mailbox = Mailbox(limits)
        self._position = wanted.since
        self._number = 0
        self._begun = asyncio.Event()
        self._stood = False
        self._paused = False
        exchange.join(self)

    async def __aenter__(self) -> Self:
        try:
            await self._begun.wait()
        except BaseException:
            # Who does not get in does not leave either.
            await self.close()
            raise
        if (error := self._mailbox.error) is not None and not self._stood:
            raise error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def lost(self) -> int:
        """How many were passed over, in all: known at once, and not only with the message behind the gap."""
        return self._mailbox.passed

    async def close(self) -> None:
        """Listen no more. Twice does nothing."""
        self._end(None, keep=self._wanted.queue is not None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Envelope:
        if not await self._mailbox.wait():
            raise StopAsyncIteration
        gap, envelope = self._mailbox.take()
        self._tell(gap)
        return envelope

    async def batches(self) -> AsyncGenerator[list[Envelope], None]:
        """Lists, never empty, in order; a gap is only before the first of a list."""
        while await self._mailbox.wait():
            gap, batch = self._mailbox.take_all()
            self._tell(gap)
            yield batch

    # See `Party`.

    def begin(self) -> None:
        if self._paused:
            return
        self._number = self._exchange.number(self)
        policy = None if self._wanted.stream else self._limits.policy
        members = self._wanted.members(self._position)
        self._exchange.send(operation("sub", self._number, **members, policy=policy, batch=True))

    def break_off(self) -> None:
        self._number = 0

    def deliver(self, envelopes: Sequence[Envelope], size: int) -> None:
        self._note(envelopes[-1].sequence)
        each = size // len(envelopes)
        if self._wanted.stream:
            for envelope in envelopes:
                self._mailbox.add(envelope, each)
            if self._mailbox.full:
                self._pause()
        elif not all(self._mailbox.put(envelope, each) for envelope in envelopes):
            self._end(SlowConsumerError(self.pattern, len(self._mailbox)))

    def told(self, frame: Frame) -> None:
        match frame.t:
            case "subscribed" if self._position is None:
                if self._wanted.stream is None:
                    self._note(frame.sequence)
                self._stand()
            case "subscribed" if self._position == frame.sequence:
                self._stand()
            case "gap":
                self._mailbox.skip(frame.lost)
            case "reset" if self._stood:
                self._lose_position(frame.sequence)
            case "reset":
                where = f"the stream {self._wanted.stream}" if self._wanted.stream else "the control plane"
                self._end(CursorExpiredError(f"{where} does not know the position {self._position}, or not any more"))

    def fail(self, error: Exception | None) -> None:
        if isinstance(error, CursorExpiredError) and self._stood and self._wanted.stream is None:
            self._lose_position(None)
            self.begin()
        else:
            self._end(error)

    def _stand(self) -> None:
        if self._wanted.queue is not None:
            # Where it begins is for the first time only: else all behind it would come again.
            self._position = None
        elif not self._stood:
            self.began = self._position
        self._stood = True
        self._begun.set()

    def _note(self, position: int) -> None:
        # What comes to a queue group while we are away is for the others.
        if self._wanted.queue is None:
            self._position = position

    def _lose_position(self, position: int | None) -> None:
        before, self._position = self._position, position
        missed = UNKNOWN
        # The numbers of a stream have no gaps; one that was made anew begins at 1.
        if self._wanted.stream is not None and before is not None and position is not None and position > before:
            missed = position - before
        self._mailbox.skip(missed)

    def _pause(self) -> None:
        self._paused = True
        self._exchange.release(self._number)

    def _tell(self, gap: int) -> None:
        """Something is about to be read."""
        self.gap = gap
        if self._paused and self._mailbox.half_empty:
            self._paused = False
            if self._exchange.connected:
                self.begin()

    def _end(self, error: Exception | None, *, keep: bool = False) -> None:
        self._exchange.leave(self)
        self._exchange.release(self._number)
        self._mailbox.close(error, keep=keep)
        self._begun.set()
