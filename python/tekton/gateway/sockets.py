"""The one WebSocket: operations of the client, and the topics that it subscribes to.

    → {"op":"sub","id":1,"topic":"components","since":N?}     ← {"id":1,"t":"snap","seq":N,"data":[record…]}
                                                              ← {"id":1,"t":"delta","seq":N,"data":change}
    → {"op":"unsub","id":1}
    → {"op":"beat","component_id","instance_uuid",…} ← {"t":"beat","component_id","known","state",…}
    → {"op":"ping"}                                           ← {"t":"pong"}

With a known `since` there is no snapshot, only the deltas after it; an unknown one is answered by `reset` and a
snapshot, falling behind the feed by `lag`, `reset` and a snapshot. What cannot be done is answered by
{"t":"error","code","detail"}. A quiet socket gets {"t":"ping"}. The last frame is {"op":"bye","reason","retry"},
in place of the close codes that the server does not let us send.

`components`, above, is the topic of a control plane; what the frames of other topics are is said where they are made.

Sending waits for the client to read, so a slow one is a cursor on the feed and costs no memory; one that reads
nothing at all for half a minute is cut.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Literal, Protocol

import msgspec

from tekton.background import BackgroundGroup
from tekton.core.events import Subscription
from tekton.core.lifecycle import Change
from tekton.gateway.changes import ChangeSource
from tekton.gateway.connection import Connection
from tekton.gateway.decoding import decode_body
from tekton.gateway.errors import BodyTooLargeError, InvalidInputError, UpgradeRequiredError
from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import first_of, retry_delay
from tekton.utils.tekton_errors import CursorExpiredError, TektonError

MAX_MESSAGE = 65536
MAX_SUBSCRIPTIONS = 16
PING_INTERVAL = 15.0
STALL_TIMEOUT = 30.0

Beat = Callable[[str, str, Mapping[str, float], int | None], msgspec.Struct]
"""`(component_id, instance_uuid, metrics, sequence)`, answered by the fields of the reply."""


class SocketQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The protocol version wanted."""

    v: Literal[1] = 1


async def _needs_upgrade(request: Request) -> None:
    raise UpgradeRequiredError(request.path)


SOCKET = Route(
    "GET",
    "/ws",
    _needs_upgrade,
    "The WebSocket: component changes, heartbeats",
    "components:read",
    query=SocketQuery,
    errors=(UpgradeRequiredError,),
    tags=("events",),
)
_BEAT = replace(SOCKET, permission="components:heartbeat")


_Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Sub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="sub"):
    """Watch a topic, from the position *since* on or from a snapshot."""

    id: _Id
    topic: str
    since: _Id | None = None


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

    def open(self, operation: Sub) -> AsyncIterator[str]:
        """The frames for *operation*, from this moment on. Raises InvalidInputError for what does not exist."""
        ...


class TopicSocket:
    """The handler of a `/ws` with *topics*. Without *beat* it takes no heartbeats."""

    def __init__(self, topics: SocketTopics, beat: Beat | None = None) -> None:
        self._topics = topics
        self._beat = beat

    async def __call__(self, connection: Connection) -> None:
        await _Session(connection, self._topics, self._beat).run()


class ComponentSocket(TopicSocket):
    """The handler of a control plane's `/ws`: what the components do, and their heartbeats."""

    def __init__(self, source: ChangeSource, beat: Beat) -> None:
        super().__init__(_ComponentTopics(source), beat)


class _Session:
    """One socket: a reader that obeys operations in order, and a task for each subscription."""

    def __init__(self, connection: Connection, topics: SocketTopics, beat: Beat | None) -> None:
        self._connection = connection
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
        self._connection.permit(replace(SOCKET, permission=self._source.permission(operation.topic)), "")
        # Opened here and not in the task, so that nothing can be published in between.
        frames = self._source.open(operation)
        self._topics[operation.id] = self._group.spawn(self._pass_on(frames), f"topic {operation.id}")

    def _unsubscribe(self, topic_id: int) -> None:
        task = self._topics.pop(topic_id, None)
        if task is None:
            raise InvalidInputError("/id", f"{topic_id} is not subscribed")
        task.cancel()

    async def _pass_on(self, frames: AsyncIterator[str]) -> None:
        async for frame in frames:
            await self._send(frame)

    async def _bye(self, reason: str) -> None:
        await self._send(f'{{"op":"bye","reason":"{reason}","retry":{retry_delay()}}}')

    async def _send(self, frame: str) -> None:
        """Send and wait until it is on its way. The session ends when the client is gone or reads nothing."""
        if not await self._connection.send(frame, STALL_TIMEOUT):
            self._ended.set()


class _ComponentTopics:
    """The topic `components`."""

    def __init__(self, source: ChangeSource) -> None:
        self._source = source

    def permission(self, topic: str) -> str:
        del topic
        return SOCKET.permission

    def open(self, operation: Sub) -> AsyncIterator[str]:
        if operation.topic != "components":
            raise InvalidInputError("/topic", f"there is no topic {operation.topic[:64]!r}", "components")
        subscription = self._source.resume(operation.since)
        opening = [] if subscription else self._snapshot(operation.id, reset=operation.since is not None)
        return self._frames(operation.id, subscription or self._source.feed.subscribe(), opening)

    async def _frames(self, topic_id: int, subscription: Subscription, opening: list[str]) -> AsyncIterator[str]:
        while True:
            for frame in opening:
                yield frame
            try:
                async for batch in subscription:
                    for change in batch:
                        yield self._delta(topic_id, change)
                return
            except CursorExpiredError:
                subscription = self._source.feed.subscribe()
                lag = f'{{"id":{topic_id},"t":"lag","resume":{self._source.feed.revision}}}'
                opening = [lag, *self._snapshot(topic_id, reset=True)]

    def _delta(self, topic_id: int, change: Change) -> str:
        data = self._source.feed.encoded(change).decode()
        return f'{{"id":{topic_id},"t":"delta","seq":{change.revision},"data":{data}}}'

    def _snapshot(self, topic_id: int, *, reset: bool) -> list[str]:
        revision, records = self._source.snapshot()
        snapshot = f'{{"id":{topic_id},"t":"snap","seq":{revision},"data":{records.decode()}}}'
        return [f'{{"id":{topic_id},"t":"reset","seq":{revision}}}', snapshot] if reset else [snapshot]


def _error(error: TektonError, topic_id: int | None = None) -> str:
    frame: dict[str, object] = {} if topic_id is None else {"id": topic_id}
    frame |= {"t": "error", "code": error.code, "detail": str(error)}
    if error.hint:
        frame["hint"] = error.hint
    return encode(frame).decode()
