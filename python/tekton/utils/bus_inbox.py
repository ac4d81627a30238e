"""Requests of a bus client, and the one private subscription that all answers to them come to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tekton.bus.envelope import Envelope
from tekton.bus.inbox import Inbox
from tekton.mcp.message import Message
from tekton.utils.bus_exchange import Exchange
from tekton.utils.bus_frames import Frame, operation
from tekton.utils.tekton_errors import (
    CursorExpiredError,
    MessageExpiredError,
    PublishUnknownError,
    ReplyTimeoutError,
    TransportError,
)

__all__ = ["ClientInbox", "nobody_asked"]

_TOGETHER: Final = 1.0
"""Seconds before its deadline from which on a request that is refused as too late has only waited too long. Earlier
than that, the clocks differ."""


class ClientInbox:
    """The inbox of *owner*, and the subscription to it. `ended`: there is none any more, and another one is needed."""

    def __init__(self, exchange: Exchange, owner: str) -> None:
        self.ended = False
        self._exchange = exchange
        self._inbox = Inbox(owner)
        self._answers: dict[asyncio.Future[Message], None] = {}
        self._position: int | None = None
        exchange.join(self)

    async def request(
        self,
        subject: str,
        message: Message,
        timeout: float,
        beside: Callable[[Envelope], object] | None = None,
        *,
        spent: float = 0.0,
    ) -> Message:
        """Publish *message*, and return the first answer to it. *beside* hears what comes beside it.

        Its deadline is *timeout* seconds after it was asked; so many of them are *spent*. Raises ReplyTimeoutError;
        TransportError when it could not even be sent; and what publishing raises.
        """
        with self._inbox.ask(beside) as question:
            parcel = self._exchange.parcel(Envelope(subject, message, question.reply))
            # Who has the answer needs no receipt, and must not send the request again.
            question.answer.add_done_callback(lambda _: parcel.answered([]))
            self._answers[question.answer] = None
            time = asyncio.get_running_loop().time
            left = timeout - spent
            late = time() + left - _TOGETHER
            try:
                async with asyncio.timeout(left):
                    await self._exchange.post([parcel], left)
                    return await question.answer
            except (TimeoutError, PublishUnknownError, MessageExpiredError) as error:
                if isinstance(error, MessageExpiredError) and time() < late:
                    raise
                if parcel.sent:
                    raise ReplyTimeoutError(subject, timeout) from None
                raise nobody_asked(self._exchange.url, timeout) from None
            finally:
                del self._answers[question.answer]
                if not question.answer.cancel() and not question.answer.cancelled():
                    question.answer.exception()

    # See `Party`.

    def begin(self) -> None:
        number = self._exchange.number(self)
        self._exchange.send(operation("sub", number, subject=self._inbox.pattern, since=self._position, batch=True))

    def break_off(self) -> None:
        pass

    def deliver(self, envelopes: Sequence[Envelope], size: int) -> None:
        del size
        self._position = envelopes[-1].sequence
        for envelope in envelopes:
            self._inbox.receive(envelope)

    def told(self, frame: Frame) -> None:
        if frame.t == "reset" or (frame.t == "subscribed" and self._position is None):
            self._position = frame.sequence

    def fail(self, error: Exception | None) -> None:
        if isinstance(error, CursorExpiredError) and self._position is not None:
            self._position = None
            self.begin()
            return
        self.ended = True
        self._exchange.leave(self)
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(error or TransportError(self._exchange.url, "the client was closed"))


def nobody_asked(url: str, timeout: float) -> TransportError:
    """There was no connection in time for a request."""
    return TransportError(url, f"no connection within {round(timeout, 3):g} s, so nobody was asked")
