"""The one WebSocket: operations of the client, and the topics that it subscribes to.

    → {"op":"sub","id":1,"topic":"components","since":N?,"query":…?}    ← {"id":1,"t":…}, frames of the topic
    → {"op":"unsub","id":1}
    → {"op":"beat","component_id","instance_uuid",…}                     ← {"t":"beat","component_id","known","state",…}
    → {"op":"ping"}                                                      ← {"t":"pong"}

Where there is a bus: publishing, subjects and consuming (`tekton.gateway.bus`), and binary messages, which are batches.

What cannot be done is answered by {"t":"error","code","detail"}. A quiet socket gets {"t":"ping"}. The last frame is
{"op":"bye","reason","retry"}, in place of the close codes that the server does not let us send.

What topics there are is for the `SocketTopics` that a socket is given, and the frames of each are said where they are
made. A topic gives its next frame when the one before is on its way: sending waits for the client to read, so a slow
one costs no memory; one that reads nothing at all for ten seconds is cut.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

import msgspec

from tekton.background import BackgroundGroup
from tekton.bus.bus import MAX_MESSAGE as MESSAGE_SIZE
from tekton.gateway.bus.port import BusPort
from tekton.gateway.bus.publisher import batch_number
from tekton.gateway.bus.session import BusSession, Wire
from tekton.gateway.connection import Connection, Identify
from tekton.gateway.errors import BodyTooLargeError, InvalidInputError, UpgradeRequiredError
from tekton.gateway.frames import error_frame
from tekton.gateway.operations import (
    BeatOp,
    BusOperation,
    Consume,
    Operation,
    Ping,
    Pong,
    Pub,
    Sub,
    Unsub,
    number_of,
    read_operation,
)
from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import first_of, retry_delay
from tekton.gateway.streams import next_look
from tekton.utils.tekton_errors import TektonError

__all__ = ["SOCKET", "Beat", "Identify", "May", "SocketQuery", "SocketTopics", "Sub", "TopicSocket"]

MAX_MESSAGE = 65536
MAX_PUBLISHED = MESSAGE_SIZE + 8192
"""Bytes of a frame that publishes: a message, and what is said of it."""
MAX_SUBSCRIPTIONS = 16
"""Topics that a socket may watch."""
PING_INTERVAL = 10.0
STALL_TIMEOUT = 10.0

BATCH_MARK = b"TKB"
"""How a binary message begins that is a batch (`Envelope.pack`)."""

Beat = Callable[[str, str, Mapping[str, float], int | None], msgspec.Struct]
"""`(component_id, instance_uuid, metrics, sequence)`, answered by the fields of the reply."""


class SocketQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The protocol version wanted, the trace that it belongs to, a ticket: browsers cannot send headers with it."""

    v: Literal[1] = 1
    traceparent: str | None = None
    ticket: str | None = None


async def _needs_upgrade(request: Request) -> None:
    raise UpgradeRequiredError(request.path)


SOCKET = Route(
    "GET",
    "/ws",
    _needs_upgrade,
    "The WebSocket: topics to subscribe to, heartbeats",
    "components:read",
    query=SocketQuery,
    errors=(UpgradeRequiredError,),
    tags=("events",),
    tickets=True,
)
_BEAT = replace(SOCKET, permission="components:heartbeat")


May = Callable[[str], bool]
"""`(component_id)`: whether the peer may see what is about it, now."""


class SocketTopics(Protocol):
    """What can be subscribed to on a socket."""

    def permission(self, topic: str) -> str:
        """What watching *topic* needs: one of `PERMISSIONS`, or `PUBLIC`."""
        ...

    def open(self, operation: Sub, may: May, who: Identify, /) -> AsyncGenerator[str, None]:
        """The frames for *operation*, from this moment on. Raises InvalidInputError for what does not exist.

        *may* tells, at any time, for which components the permission of the topic is granted to who watches, and *who*
        says who that is; it raises a GatewayError when he may not have the socket any more.

        The generator is closed when nobody wants them any more. A TektonError that it raises is told to the client
        and ends the subscription.
        """
        ...


class TopicSocket:
    """The handler of a `/ws` with *topics*; it takes heartbeats where there is a *beat*, messages with a *bus*."""

    def __init__(self, topics: SocketTopics, beat: Beat | None = None, bus: BusPort | None = None) -> None:
        self.subscriptions: Counter[str] = Counter()
        """How many subscriptions there are, by topic."""
        self._topics = topics
        self._beat = beat
        self._bus = bus

    async def __call__(self, connection: Connection) -> None:
        await _Session(connection, self._topics, self._beat, self._bus, self.subscriptions).run()


class _Session:
    """One socket: a reader that obeys operations in order, and a task for each subscription."""

    def __init__(
        self,
        connection: Connection,
        topics: SocketTopics,
        beat: Beat | None,
        bus: BusPort | None,
        subscriptions: Counter[str],
    ) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self._source = topics
        self._beat = beat
        self._group = BackgroundGroup("socket")
        self._ended = asyncio.Event()
        self._reason = ""
        self._topics: dict[int, asyncio.Task[None]] = {}
        wire = Wire(self._send, self._deliver, self._refuse, self._group.spawn, self._end)
        self._bus = None if bus is None else BusSession(bus, connection, wire)
        self._turns = None if bus is None else bus.turns
        self._limit = MAX_MESSAGE if bus is None else MAX_PUBLISHED

    async def run(self) -> None:
        self._group.spawn(self._read(), "read")
        ended = self._group.spawn(self._ended.wait(), "ended")
        closing = self._group.spawn(self._connection.closing.wait(), "closing")
        try:
            while not await first_of(self._pause(), ended, closing) and self._connection.allowed():
                await self._send('{"t":"ping"}')
            if self._reason:
                await self._bye(self._reason)
            elif not ended.done():
                await self._bye("stopping" if self._connection.allowed() else "unauthenticated")
        finally:
            try:
                await self._group.stop()
            finally:
                if self._bus is not None:
                    await self._bus.close()

    def _pause(self) -> float:
        return next_look(PING_INTERVAL, self._connection.left())

    async def _read(self) -> None:
        receive, limit, turns = self._connection.receive, self._limit, self._turns
        try:
            while (message := await receive(limit)) is not None:
                await self._obey(message)
                if turns is not None:
                    await turns.wait(len(message))
        except BodyTooLargeError as error:
            await self._send(error_frame(error))
            self._end("message too large")
        finally:
            self._ended.set()

    async def _obey(self, message: bytes) -> None:
        try:
            answer = await self._carry_out(message)
        except TektonError as error:
            number = batch_number(message) if message.startswith(BATCH_MARK) else number_of(message)
            await self._refuse(error, number)
        else:
            if answer is not None:
                await self._send(answer)

    async def _carry_out(self, message: bytes) -> str | None:
        """Do what *message* asks for; returns the answer, if there is one at once."""
        if self._bus is not None and message.startswith(BATCH_MARK):
            return await self._bus.publish_batch(message)
        operation = read_operation(message)
        if type(operation) is Pub and self._bus is not None:
            return await self._bus.publish(operation)
        if len(message) > MAX_MESSAGE:
            raise BodyTooLargeError(MAX_MESSAGE)
        return await self._do(operation)

    async def _do(self, operation: Operation) -> str | None:
        match operation:
            case Sub(subject="", stream=None):
                self._subscribe(operation)
            case Unsub():
                await self._unsubscribe(operation.id)
            case BeatOp():
                return self._answer_beat(operation)
            case Ping():
                return '{"t":"pong"}'
            case Pong():
                pass
            case _:
                return await self._on_bus(operation)
        return None

    async def _on_bus(self, operation: Sub | BusOperation) -> str | None:
        if self._bus is None:
            raise InvalidInputError("/op", "messages go through the control plane")
        if isinstance(operation, Sub | Consume):
            self._check_new(operation.id)
        if isinstance(operation, Sub) and operation.topic:
            raise InvalidInputError("/topic", "either a topic or a subject")
        return await self._bus.obey(operation)

    def _answer_beat(self, operation: BeatOp) -> str:
        if self._beat is None:
            raise InvalidInputError("/op", "heartbeats go to the control plane")
        component_id, instance_uuid = operation.component_id, operation.instance_uuid
        self._connection.permit(_BEAT, component_id)
        reply = encode(self._beat(component_id, instance_uuid, operation.metrics, operation.sequence))
        return f'{{"t":"beat","component_id":{encode(component_id).decode()},{reply[1:].decode()}'

    def _subscribe(self, operation: Sub) -> None:
        self._check_new(operation.id)
        if not operation.topic:
            missing = "a topic" if self._bus is None else "a topic, a subject or a stream"
            raise InvalidInputError("/topic", f"{missing} is missing")
        if len(self._topics) >= MAX_SUBSCRIPTIONS:
            raise InvalidInputError("/op", f"at most {MAX_SUBSCRIPTIONS} subscriptions on one socket")
        route = replace(SOCKET, permission=self._source.permission(operation.topic))
        self._connection.permit(route, None)
        # Opened here and not in the task, so that nothing can be published in between.
        frames = self._source.open(operation, partial(self._may, route), self._connection.identify)
        self._topics[operation.id] = self._group.spawn(self._pass_on(operation, frames), f"topic {operation.id}")

    def _check_new(self, number: int) -> None:
        if number in self._topics or (self._bus is not None and number in self._bus):
            raise InvalidInputError("/id", f"{number} is in use")

    def _may(self, route: Route, component_id: str) -> bool:
        try:
            self._connection.permit(route, component_id)
        except TektonError:
            return False
        return True

    async def _unsubscribe(self, number: int) -> None:
        if self._bus is not None and number in self._bus:
            await self._bus.unsubscribe(number)
            return
        task = self._topics.pop(number, None)
        if task is None:
            raise InvalidInputError("/id", f"{number} is not subscribed")
        task.cancel()

    async def _pass_on(self, operation: Sub, frames: AsyncGenerator[str, None]) -> None:
        async with aclosing(frames):
            self._subscriptions[operation.topic] += 1
            try:
                async for frame in frames:
                    await self._send(frame)
            except TektonError as error:
                await self._refuse(error, operation.id)
            finally:
                self._subscriptions[operation.topic] -= 1
        # It has ended by itself: its number is free, unless it was unsubscribed meanwhile and given to another.
        if self._topics.get(operation.id) is asyncio.current_task():
            del self._topics[operation.id]

    async def _bye(self, reason: str) -> None:
        await self._send(f'{{"op":"bye","reason":"{reason}","retry":{retry_delay()}}}')

    async def _refuse(self, error: TektonError, number: int | None) -> None:
        """Tell the client that *number* is refused; or, when it may not have the socket any more, say goodbye for that.

        Of a goodbye the client knows that it can come back with another credential, and go on where it was.
        """
        if self._connection.allowed():
            await self._send(error_frame(error, number))
        else:
            self._end("unauthenticated")

    def _end(self, reason: str) -> None:
        """End the session with a goodbye."""
        self._reason = self._reason or reason
        self._ended.set()

    async def _send(self, *frames: str | bytes) -> None:
        """Send and wait until it is on its way. The session ends when the client is gone or reads nothing."""
        if not await self._connection.send_all(frames, STALL_TIMEOUT):
            self._ended.set()

    async def _deliver(self, *frames: str | bytes) -> None:
        """The same, but only wait now and then."""
        if not await self._connection.pass_on(frames, STALL_TIMEOUT):
            self._ended.set()
