"""What a bus client has published and has no receipt for yet: bounded, and sent again on every new connection.

It is sent again under the same message id, so that a stream stores it once; who listens may get it twice. Whoever
publishes waits while too much is unanswered. When a receipt does not come in time, the error says whether the message
can have arrived.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tekton.bus.bus import Receipt
from tekton.clock import Clock
from tekton.mcp.message import Message
from tekton.utils.bus_window import Window
from tekton.utils.tekton_errors import MessageExpiredError, PublishUnknownError, TransportError

__all__ = ["Outbox", "Parcel"]

MOST_UNANSWERED: Final = 256
"""Frames that may be without a receipt at a time."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""The same in bytes; one frame may always be."""


def _promise() -> "asyncio.Future[list[Receipt]]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Parcel:
    """A frame that publishes *messages*, in this order."""

    number: int
    frame: bytes
    messages: Sequence[Message]
    binary: bool = False
    sent: bool = False
    receipts: "asyncio.Future[list[Receipt]]" = field(default_factory=_promise)

    def answered(self, receipts: list[Receipt]) -> None:
        """Nothing is to be waited for any more."""
        if not self.receipts.done():
            self.receipts.set_result(receipts)


class Outbox:
    """*send* puts a frame on its way, if there is a connection, and tells whether there was. *url* is for messages.

    *take_back* is called with what was given up, so that it does not leave if it has not yet.
    """

    def __init__(
        self, send: Callable[[Parcel], bool], take_back: Callable[[Parcel], object], url: str, clock: Clock
    ) -> None:
        self._send = send
        self._take_back = take_back
        self._url = url
        self._clock = clock
        self._window = Window(MOST_UNANSWERED, MOST_BYTES)
        self._parcels: dict[int, Parcel] = {}
        self._closed: Exception | None = None

    def __len__(self) -> int:
        """How many frames have no receipt."""
        return len(self._parcels)

    async def post(self, parcels: Sequence[Parcel], timeout: float) -> list[Receipt]:
        """Send parcels in order, and wait for all receipts: *timeout* seconds, or until the first deadline, at most.

        Raises what the control plane answers; TransportError and MessageExpiredError when nothing was sent in time,
        PublishUnknownError when something was, and there is no answer.
        """
        patience = min(timeout, self._time_left(parcels))
        try:
            async with asyncio.timeout(patience):
                return await self._post(parcels)
        except TimeoutError:
            raise self._too_late(parcels, patience, expired=patience < timeout) from None

    async def _post(self, parcels: Sequence[Parcel]) -> list[Receipt]:
        try:
            for parcel in parcels:
                await self._window.enter(len(parcel.frame))
                if self._closed is not None:
                    self._window.leave(len(parcel.frame))
                    raise self._closed
                self._parcels[parcel.number] = parcel
                parcel.receipts.add_done_callback(partial(self._remove, parcel))
                parcel.sent = self._send(parcel)
            return [receipt for parcel in parcels for receipt in await parcel.receipts]
        finally:
            for parcel in parcels:
                parcel.receipts.cancel()
                if parcel.receipts.cancelled():
                    self._take_back(parcel)
                else:
                    # Of several that failed, the first one tells.
                    parcel.receipts.exception()

    def send_again(self) -> None:
        """There is a new connection: send all that have no receipt, in order."""
        for parcel in self._parcels.values():
            parcel.sent = self._send(parcel) or parcel.sent

    def answer(self, number: int, receipts: list[Receipt]) -> None:
        """The receipts of a parcel have come, for which nobody may wait any more."""
        parcel = self._parcels.get(number)
        if parcel is not None:
            parcel.answered(receipts)

    def fail(self, number: int, error: Exception) -> bool:
        """A parcel was refused. False when the number is that of none."""
        parcel = self._parcels.get(number)
        if parcel is not None and not parcel.receipts.done():
            parcel.receipts.set_exception(error)
        return parcel is not None

    def give_up(self, error: Exception) -> None:
        """There will be no connection: *error* goes to all that were not sent; what became of the others is unknown."""
        for parcel in list(self._parcels.values()):
            unknown = PublishUnknownError(parcel.messages[0].message_id, 0.0)
            self.fail(parcel.number, unknown if parcel.sent else error)

    def close(self, error: Exception) -> None:
        """The same, and it goes for who comes later and for who waits for room, too."""
        self._closed = error
        self.give_up(error)

    def _remove(self, parcel: Parcel, _: object) -> None:
        del self._parcels[parcel.number]
        self._window.leave(len(parcel.frame))

    def _time_left(self, parcels: Sequence[Parcel]) -> float:
        deadlines = [message.context.deadline for parcel in parcels for message in parcel.messages]
        return min((each for each in deadlines if each is not None), default=float("inf")) - self._clock.time()

    def _too_late(self, parcels: Sequence[Parcel], waited: float, *, expired: bool) -> Exception:
        first = parcels[0].messages[0].message_id
        if any(parcel.sent for parcel in parcels):
            return PublishUnknownError(first, waited)
        if expired:
            return MessageExpiredError(first)
        return TransportError(self._url, f"no connection within {waited:g} s, so nothing was published")
