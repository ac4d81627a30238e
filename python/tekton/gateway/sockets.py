"""The one WebSocket: operations of the client, and the topics that it subscribes to.

    → {"op":"sub","id":1,"topic":"components","since":N?,"query":…?}    ← {"id":1,"t":…}, frames of the topic
    → {"op":"unsub","id":1}
    → {"op":"beat","component_id","instance_uuid",…}                     ← {"t":"beat","component_id","known","state",…}
    → {"op":"ping"}                                                      ← {"t":"pong"}

What cannot be done is answered by {"t":"error","code","detail"}. A quiet socket gets {"t":"ping"}. The last frame is
{"op":"bye","reason","retry"}, in place of the close codes that the server does not let us send.

What topics there are is for the `SocketTopics` that a socket is given, and the frames of each are said where they are
made. A topic gives its next frame when the one before is on its way: sending waits for the client to read, so a slow
one costs no memory; one that reads nothing at all for half a minute is cut.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, Protocol

import msgspec

from tekton.background import BackgroundGroup
from tekton.gateway.connection import Connection
from tekton.gateway.decoding import decode_body
from tekton.gateway.errors import BodyTooLargeError, InvalidInputError, UpgradeRequiredError
from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import first_of, retry_delay
from tekton.utils.tekton_errors import TektonError

MAX_MESSAGE = 65536
MAX_SUBSCRIPTIONS = 16
MAX_QUERY = 1000
PING_INTERVAL = 15.0
STALL_TIMEOUT = 30.0

Beat = Callable[[str, str, Mapping[str, float], int | None], msgspec.Struct]
"""`(component_id, instance_uuid, metrics, sequence)`, answered by the fields of the reply."""


class SocketQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The protocol version wanted, and the trace that it belongs to: browsers cannot send headers with it."""

    v: Literal[1] = 1
    traceparent: str | None = None


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
)
_BEAT = replace(SOCKET, permission="components:heartbeat")


_Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


May = Callable[[str], bool]
"""`(component_id)`: whether the peer may see what is about it, now."""


class Sub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="sub"):
    """Watch a topic, from the position *since* on or from a snapshot; of what it has, only what matches *query*."""

    id: _Id
    topic: str
    since: _Id | None = None
    query: Annotated[str, msgspec.Meta(max_length=MAX_QUERY)] = ""


class Unsub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="unsub"):
    """Stop watching."""

    id: _Id


class BeatOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="beat"):
    """A heartbeat."""

    component_id: str
    instance_uuid: str
    metrics: dict[str, float] = {}
    sequence: _Id | None = None


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    """Is anybody there?"""


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="pong"):
    """The answer to our own ping; not required."""


Operation = Sub | Unsub | BeatOp | Ping | Pong
_decoder: "msgspec.json.Decoder[Operation]" = msgspec.json.Decoder(Operation)


class SocketTopics(Protocol):
    """What can be subscribed to on a socket."""

    def permission(self, topic: str) -> str:
        """What watching *topic* needs: one of `PERMISSIONS`, or `PUBLIC`."""
        ...

    def open(self, operation: Sub, may: May, /) -> AsyncGenerator[str, None]:
        """The frames for *operation*, from this moment on. Raises InvalidInputError for what does not exist.

        *may* tells, at any time, for which components the permission of the topic is granted to who watches.

        The generator is closed when nobody wants them any more. A TektonError that it raises is told to the client
        and ends the subscription.
        """
        ...


class TopicSocket:
    """The handler of a `/ws` with *topics*. Without *beat* it takes no heartbeats."""

    def __init__(self, topics: SocketTopics, beat: Beat | None = None) -> None:
        self.subscriptions: Counter[str] = Counter()
        """How many subscriptions there are, by topic."""
        self._topics = topics
        self._beat = beat

    async def __call__(self, connection: Connection) -> None:
        await _Session(connection, self._topics, self._beat, self.subscriptions).run()


class _Session:
    """One socket: a reader that obeys operations in order, and a task for each subscription."""

    def __init__(
        self, connection: Connection, topics: SocketTopics, beat: Beat | None, subscriptions: Counter[str]
    ) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self._source = topics
        self._beat = beat
        self._group = BackgroundGroup("socket")
        self._ended = asyncio.Event()
        self._topics: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        self._group.spawn(self._read(), "read")
        ended = self._group.spawn(self._ended.wait(), "ended")
        closing = self._group.spawn(self._connection.closing.wait(), "closing")
        try:
            while not await first_of(PING_INTERVAL, ended, closing) and self._connection.allowed():
                await self._send('{"t":"ping"}')
            if not ended.done():
                await self._bye("stopping" if self._connection.allowed() else "unauthenticated")
        finally:
            await self._group.stop()

    async def _read(self) -> None:
        try:
            while (message := await self._receive()) is not None:
                await self._obey(message)
        finally:
            self._ended.set()

    async def _receive(self) -> bytes | None:
        """The next message; None when there will be no more."""
        try:
            return await self._connection.receive(MAX_MESSAGE)
        except BodyTooLargeError as error:
            await self._send(_error(error))
            await self._bye("message too large")
            return None

    async def _obey(self, message: bytes) -> None:
        topic_id: int | None = None
        try:
            operation: Operation = decode_body(_decoder, message)
            topic_id = operation.id if isinstance(operation, Sub | Unsub) else None
            answer = self._do(operation)
        except TektonError as error:
            answer = _error(error, topic_id)
        if answer is not None:
            await self._send(answer)

    def _do(self, operation: Operation) -> str | None:
        """Carry out *operation*; returns the answer, if there is one at once."""
        match operation:
            case BeatOp():
                return self._answer_beat(operation)
            case Sub():
                self._subscribe(operation)
            case Unsub():
                self._unsubscribe(operation.id)
            case Ping():
                return '{"t":"pong"}'
            case Pong():
                pass
        return None

    def _answer_beat(self, operation: BeatOp) -> str:
        if self._beat is None:
            raise InvalidInputError("/op", "heartbeats go to the control plane")
        component_id, instance_uuid = operation.component_id, operation.instance_uuid
        self._connection.permit(_BEAT, component_id)
        reply = encode(self._beat(component_id, instance_uuid, operation.metrics, operation.sequence))
        return f'{{"t":"beat","component_id":{encode(component_id).decode()},{reply[1:].decode()}'

    def _subscribe(self, operation: Sub) -> None:
        if operation.id in self._topics:
            raise InvalidInputError("/id", f"{operation.id} is in use")
        if len(self._topics) >= MAX_SUBSCRIPTIONS:
            raise InvalidInputError("/op", f"at most {MAX_SUBSCRIPTIONS} subscriptions on one socket")
        route = replace(SOCKET, permission=self._source.permission(operation.topic))
        self._connection.permit(route, None)
        # Opened here and not in the task, so that nothing can be published in between.
        frames = self._source.open(operation, partial(self._may, route))
        self._topics[operation.id] = self._group.spawn(self._pass_on(operation, frames), f"topic {operation.id}")

    def _may(self, route: Route, component_id: str) -> bool:
        try:
            self._connection.permit(route, component_id)
        except TektonError:
            return False
        return True

    def _unsubscribe(self, topic_id: int) -> None:
        task = self._topics.pop(topic_id, None)
        if task is None:
            raise InvalidInputError("/id", f"{topic_id} is not subscribed")
        task.cancel()

    async def _pass_on(self, operation: Sub, frames: AsyncGenerator[str, None]) -> None:
        async with aclosing(frames):
            self._subscriptions[operation.topic] += 1
            try:
                async for frame in frames:
                    await self._send(frame)
            except TektonError as error:
                await self._send(_error(error, operation.id))
                self._topics.pop(operation.id, None)
            finally:
                self._subscriptions[operation.topic] -= 1

    async def _bye(self, reason: str) -> None:
        await self._send(f'{{"op":"bye","reason":"{reason}","retry":{retry_delay()}}}')

    async def _send(self, frame: str) -> None:
        """Send and wait until it is on its way. The session ends when the client is gone or reads nothing."""
        if not await self._connection.send(frame, STALL_TIMEOUT):
            self._ended.set()


def _error(error: TektonError, topic_id: int | None = None) -> str:
    frame: dict[str, object] = {} if topic_id is None else {"id": topic_id}
    frame |= {"t": "error", "code": error.code, "detail": str(error)}
    if error.hint:
        frame["hint"] = error.hint
    return encode(frame).decode()
