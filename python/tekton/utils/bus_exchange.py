"""Who says what on the one connection of a bus client: parties with numbers, and what is published between them.

A party is a subscription, a consumption, the inbox. On each connection it begins anew under a number of its own; frames
for numbers that are not in use any more are of something that has ended, and dropped.
"""

import itertools
import logging
import random
import sys
from collections.abc import Sequence
from typing import Final, Protocol

from tekton.bus.bus import Receipt
from tekton.bus.envelope import Envelope
from tekton.clock import Clock
from tekton.utils.bus_frames import (
    Frame,
    batches,
    envelope_of,
    error_of,
    operation,
    publishing,
    read_frame,
    receipts_of,
)
from tekton.utils.bus_link import Link
from tekton.utils.bus_outbox import Outbox, Parcel
from tekton.utils.control_socket import ControlSocket, GoodbyeError
from tekton.utils.tekton_errors import TektonError, TransportError

__all__ = ["Exchange", "Party"]

_logger = logging.getLogger("tekton.bus")

_ANY_SIZE: Final = sys.maxsize
"""A dead letter is as large as the message in it, and more. The frame is bounded (`ControlSocket`)."""


class Party(Protocol):
    """Somebody who has a number on the connection. Nothing of this waits."""

    def begin(self) -> None:
        """There is a connection: take a number, and say what is wanted."""
        ...

    def break_off(self) -> None:
        """The connection is gone, and with it the number."""
        ...

    def deliver(self, envelopes: Sequence[Envelope], size: int) -> None:
        """Messages have come, together of about *size* bytes."""
        ...

    def told(self, frame: Frame) -> None:
        """Any other frame has come, but an error."""
        ...

    def fail(self, error: Exception | None) -> None:
        """It has ended: by *error*, or because the client was closed."""
        ...


class Exchange:
    """The connection to the control plane that *socket* makes, from the first use to `stop`."""

    def __init__(self, socket: ControlSocket, clock: Clock, rng: random.Random) -> None:
        self._link = Link(socket, self, rng)
        self._outbox = Outbox(self._send_parcel, self._take_back, socket.url, clock)
        self._closed = False
        self._count = itertools.count(1)
        self._parties: dict[Party, None] = {}
        self._numbers: dict[int, Party] = {}

    @property
    def url(self) -> str:
        """Where the control plane is, for messages."""
        return self._link.url

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self._link.connected

    async def stop(self) -> None:
        """End everything, and close the connection, for good."""
        self._closed = True
        for party in list(self._parties):
            party.fail(None)
        await self._link.stop()
        self._outbox.close(self._was_closed())

    def check_open(self) -> None:
        """Raise TransportError after `stop`."""
        if self._closed:
            raise self._was_closed()

    def _was_closed(self) -> TransportError:
        return TransportError(self._link.url, "the client was closed")

    # For parties.

    def join(self, party: Party) -> None:
        """*party* takes part from now on. Raises TransportError after `stop`."""
        self.check_open()
        self._link.start()
        self._parties[party] = None
        if self.connected:
            party.begin()

    def leave(self, party: Party) -> None:
        """*party* takes part no longer. Twice does nothing."""
        self._parties.pop(party, None)

    def number(self, party: Party) -> int:
        """A number for *party* on this connection."""
        number = next(self._count)
        self._numbers[number] = party
        return number

    def release(self, number: int, *, end: bool = True) -> None:
        """Nothing more for this number; with *end*, the control plane is told."""
        if self._numbers.pop(number, None) is not None and end:
            self.send(operation("unsub", number))

    def send(self, frame: bytes) -> bool:
        """False when there is no connection."""
        return self._link.send(frame)

    # For publishers.

    def parcel(self, envelope: Envelope) -> Parcel:
        """What publishes *envelope*. Raises MessageTooLargeError, and what `Message.to_json` raises."""
        number = next(self._count)
        return Parcel(number, publishing(number, envelope), (envelope.message,))

    def parcels(self, envelopes: Sequence[Envelope]) -> list[Parcel]:
        """The same for several, in order, as few frames as it takes."""
        return [
            Parcel(number := next(self._count), Envelope.pack(number, part), [one.message for one in part], binary=True)
            for part in batches(envelopes)
        ]

    async def post(self, parcels: Sequence[Parcel], timeout: float) -> list[Receipt]:
        """See `Outbox.post`. Raises TransportError after `stop`."""
        self.check_open()
        self._link.start()
        return await self._outbox.post(parcels, timeout)

    def _send_parcel(self, parcel: Parcel) -> bool:
        return self._link.send(parcel.frame, binary=parcel.binary)

    def _take_back(self, parcel: Parcel) -> None:
        self._link.take_back(parcel.frame)

    # For the link: see `Ends`.

    def opened(self) -> None:
        self._numbers.clear()
        for party in list(self._parties):
            party.begin()
        self._outbox.send_again()

    def received(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            number, envelopes = Envelope.unpack(data, max_message=_ANY_SIZE)
            self._deliver(number, envelopes, len(data))
            return
        frame = read_frame(data)
        match frame.t:
            case "msg":
                self._deliver(frame.id, (envelope_of(frame),), len(data))
            case "published":
                self._outbox.answer(frame.id, receipts_of(frame))
            case "error":
                self._refuse(frame.id, error_of(data))
            case "" if frame.op == "bye":
                raise GoodbyeError(self._link.url, frame.retry)
            case _ if (party := self._numbers.get(frame.id)) is not None:
                party.told(frame)

    def lost(self) -> None:
        self._numbers.clear()
        for party in list(self._parties):
            party.break_off()

    def refused(self, error: Exception) -> None:
        for party in list(self._parties):
            party.fail(error)
        self._outbox.give_up(error)

    def _deliver(self, number: int, envelopes: Sequence[Envelope], size: int) -> None:
        if (party := self._numbers.get(number)) is not None:
            party.deliver(envelopes, size)

    def _refuse(self, number: int, error: TektonError) -> None:
        party = self._numbers.pop(number, None)
        if party is not None:
            party.fail(error)
        elif not self._outbox.fail(number, error):
            # Who had that number has ended. What has none was not even understood.
            level = logging.DEBUG if number else logging.WARNING
            _logger.log(level, "the control plane has refused something: %s", error)
