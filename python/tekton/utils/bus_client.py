"""The bus of a control plane, over one WebSocket: see `tekton.bus.bus` for what can be done with it.

    async with BusClient() as bus:
        await bus.publish("orders.new", message)
        async for delivery in bus.consume("orders", "billing"):
            await delivery.ack()

It connects with the first use, and again whenever the connection breaks, with growing, jittered delays. Then it

* sends again what has no receipt yet, under the same message id, until its time is over: a stream stores it once;
* goes on with each subscription behind the last message that came (`bus_subscription`), and with each consumption
  (`bus_consumption`).

Nothing of it grows without bound: so much is published without a receipt, so many deliveries are on their way, so much
waits for each reader.
"""

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tekton._native import is_valid_pattern
from tekton.auth.principal import Principal
from tekton.auth.roles import NO_GRANTS
from tekton.auth.subjects import owner_token
from tekton.bus.admission import check_subject, hops_of
from tekton.bus.asides import Asides
from tekton.bus.bus import (
    DEFAULT_LIMITS,
    MAX_HOPS,
    ConsumerSettings,
    Limits,
    Receipt,
    StreamInfo,
    StreamSettings,
)
from tekton.bus.envelope import Envelope
from tekton.bus.outgoing import all_caused, patience
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.mcp.course import caused, due
from tekton.mcp.message import Message
from tekton.mcp.tool_context import AnswerQuestion, Tell
from tekton.utils.bus_consumption import ClientConsumption
from tekton.utils.bus_exchange import Exchange
from tekton.utils.bus_inbox import ClientInbox, nobody_asked
from tekton.utils.bus_streams import StreamsClient
from tekton.utils.bus_subscription import ClientSubscription, Wanted
from tekton.utils.control_plane import ControlPlane
from tekton.utils.control_socket import ControlSocket
from tekton.utils.tekton_errors import InvalidSubjectError, MessageExpiredError, TransportError

__all__ = ["PUBLISH_TIMEOUT", "BusClient"]

PUBLISH_TIMEOUT = 30.0
"""Seconds for which a message is tried to be published, and for which an acknowledgement waits for its answer."""

_ASK_AGAIN = 0.2
"""Seconds between one attempt and the next to hear whom the control plane takes us for."""


class BusClient:
    """A `Bus`. Use it with `async with`, or `close` it. *control_plane* is that of the environment unless it is given.

    A closed one raises TransportError, whatever is asked of it.

    A message that has no receipt after *publish_timeout* seconds, or at its deadline, is given up: TransportError (and
    MessageExpiredError) when it was never sent, PublishUnknownError when it was.
    """

    def __init__(
        self,
        control_plane: ControlPlane | None = None,
        *,
        publish_timeout: float = PUBLISH_TIMEOUT,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        self._control_plane = control_plane or ControlPlane.from_environment()
        self._timeout = publish_timeout
        self._clock = clock
        self._exchange = Exchange(ControlSocket(self._control_plane), clock, rng or random.Random())
        self._streams = StreamsClient(self._control_plane)
        self._inbox: ClientInbox | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all subscriptions and consumptions, give up what has no receipt, and close the connection."""
        await self._exchange.stop()
        await self._streams.close()

    async def publish(self, subject: str, message: Message, *, reply: str | None = None) -> Receipt:
        """See `Bus.publish`. Waits while too much is without a receipt."""
        envelope = Envelope(subject, caused(message), reply)
        self._check(envelope)
        [receipt] = await self._exchange.post([self._exchange.parcel(envelope)], self._timeout)
        return receipt

    async def publish_many(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """See `Bus.publish_many`."""
        envelopes = all_caused(envelopes)
        for envelope in envelopes:
            self._check(envelope)
        for envelope in envelopes:
            if hops_of(envelope.message, envelope.reply) > MAX_HOPS:
                # The control plane refuses it, and keeps it for those who look for the circle.
                await self.publish(envelope.subject, envelope.message, reply=envelope.reply)
        return await self._exchange.post(self._exchange.parcels(envelopes), self._timeout)

    def subscribe(
        self, pattern: str, *, queue: str | None = None, limits: Limits = DEFAULT_LIMITS, since: int | None = None
    ) -> ClientSubscription:
        """See `Bus.subscribe`. What the control plane refuses is raised when it is entered or read."""
        _check_pattern(pattern)
        return ClientSubscription(self._exchange, Wanted(pattern, queue=queue, since=since), limits)

    def replay(
        self, stream: str, *, since: int | None = None, at: float | None = None, pattern: str = ">"
    ) -> ClientSubscription:
        """See `Bus.replay`. What the control plane refuses is raised when it is entered or read."""
        _check_pattern(pattern)
        wanted = Wanted(pattern, stream=stream, since=since, at=at)
        return ClientSubscription(self._exchange, wanted, DEFAULT_LIMITS)

    def consume(self, stream: str, consumer: str, settings: ConsumerSettings | None = None) -> ClientConsumption:
        """See `Bus.consume`. What the control plane refuses is raised when it is entered or read."""
        return ClientConsumption(self._exchange, stream, consumer, settings, self._timeout)

    async def request(
        self,
        subject: str,
        message: Message,
        *,
        timeout: float,
        tell: Tell | None = None,
        answer: AnswerQuestion | None = None,
    ) -> Message:
        """See `Bus.request`. When the connection breaks before the control plane has taken the request, it is sent
        again, as it was; after that only its answer is waited for.
        """
        now = self._clock.time()
        wait = patience(message, timeout, now)
        asides = Asides(self, tell, answer)
        message = due(asides.announced(caused(message)), now + wait)
        self._check(Envelope(subject, message))
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(wait):
                inbox = await self._own_inbox()
        except TimeoutError:
            raise nobody_asked(self._exchange.url, wait) from None
        async with asides:
            spent = asyncio.get_running_loop().time() - started
            return await inbox.request(subject, message, wait, asides.hear if asides.hears else None, spent=spent)

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """See `Bus.create_stream`."""
        self._exchange.check_open()
        return await self._streams.create(name, settings)

    async def delete_stream(self, name: str) -> None:
        """See `Bus.delete_stream`. Raises InvalidIdError for what is no name."""
        self._exchange.check_open()
        await self._streams.delete(name)

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:
        """See `Bus.streams`. The consumers are asked for in any case."""
        self._exchange.check_open()
        found = await self._streams.all()
        return found if consumers else [stream._replace(consumers=()) for stream in found]

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """See `Bus.delete_consumer`. Raises InvalidIdError for what is no name."""
        self._exchange.check_open()
        await self._streams.delete_consumer(stream, consumer)

    async def _own_inbox(self) -> ClientInbox:
        async with self._opening:
            if self._inbox is None or self._inbox.ended:
                self._inbox = ClientInbox(self._exchange, owner_token(await self._principal()))
            return self._inbox

    async def _principal(self) -> Principal:
        """Whom the control plane takes us for: inboxes are named after that. Waits until it can be asked."""
        who = None
        while who is None:
            self._exchange.check_open()
            try:
                who = await self._streams.whoami()
            except TransportError:
                await asyncio.sleep(_ASK_AGAIN)
        return Principal(
            subject=who["subject"],
            roles=tuple(who["roles"]),
            component_id=who["component_id"],
            via=who["via"],
            grants=NO_GRANTS,
        )

    def _check(self, envelope: Envelope) -> None:
        """Raise what the control plane would, before anything is sent."""
        check_subject(envelope.subject)
        if envelope.reply is not None:
            check_subject(envelope.reply, "is no subject to reply to")
        deadline = envelope.message.context.deadline
        if deadline is not None and deadline <= self._clock.time():
            raise MessageExpiredError(envelope.message.message_id)


def _check_pattern(pattern: str) -> None:
    if not is_valid_pattern(pattern):
        raise InvalidSubjectError(pattern, "is no pattern of subjects")
