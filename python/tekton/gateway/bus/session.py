"""The bus on one WebSocket: what the client publishes, subscribes to and consumes.

docs/reference/websocket-and-events.md says what goes to and fro. Operations are carried out in the order in which they
come; each subscription has a task that passes on what it brings. A subscription that does not keep up is cut, and with
it the socket: what is queued for a client that does not read is bounded by what its subscriptions hold.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from tekton.auth.subjects import Hearing
from tekton.bus.bus import DEFAULT_CONSUMER, DEFAULT_LIMITS, Consumption, StreamInfo, Subscription
from tekton.bus.envelope import Envelope
from tekton.gateway import frames
from tekton.gateway.bus.access import Caller
from tekton.gateway.bus.letters import readable
from tekton.gateway.bus.listener import Hears, Listener
from tekton.gateway.bus.port import MAX_PATTERNS, BusPort
from tekton.gateway.bus.publisher import Publisher, Send
from tekton.gateway.bus.standing import Standing
from tekton.gateway.bus.worker import Worker
from tekton.gateway.connection import Connection
from tekton.gateway.errors import InvalidInputError
from tekton.gateway.operations import Ack, BusOperation, Consume, Credit, Nack, Pub, Reject, Release, Sub, Working
from tekton.utils.tekton_errors import (
    CursorExpiredError,
    SlowConsumerError,
    StreamNotFoundError,
    TektonError,
    TooManySubscriptionsError,
)
from tekton.utils.tekton_ids import nearest_name

MAX_SUBSCRIPTIONS: Final = 64
"""Subscriptions to subjects, and consumptions, that one socket may have."""

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
Refuse = Callable[[TektonError, int | None], Awaitable[None]]
"""Tells the client the error that ends, or refuses, what has the id given."""
End = Callable[[str], None]
"""Ends the socket, for the reason given."""


class Wire(NamedTuple):
    """What the bus asks of a socket: to *send* answers, *deliver* messages, *refuse* a number, *spawn* or *end*."""

    send: Send
    deliver: Send
    refuse: Refuse
    spawn: Spawn
    end: End


class _Open(NamedTuple):
    """A subscription or a consumption that stands. *run* sends what it brings, after the *answers*."""

    source: Subscription | Consumption
    run: Callable[[Send], Awaitable[None]]
    answers: list[str]


class BusSession:
    """What one socket does on the bus of *port*."""

    def __init__(self, port: BusPort, connection: Connection, wire: Wire) -> None:
        self._port = port
        self._wire = wire
        self._caller = Standing(connection, port.access).caller
        self._publisher = Publisher(port, self._caller, wire.send, wire.spawn, wire.end)
        self._open: dict[int, _Open] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._workers: dict[int, Worker] = {}
        self._names: dict[int, str] = {}
        self.publish = self._publisher.publish
        self.publish_batch = self._publisher.publish_batch

    def __contains__(self, number: int) -> bool:
        """True for the id of a subscription or a consumption."""
        return number in self._open

    async def obey(self, operation: Sub | BusOperation) -> str | None:
        """Carry out *operation*; the answer, if there is one at once. Raises what refuses it."""
        match operation:
            case Pub():
                return await self._publisher.publish(operation)
            case Sub() | Consume():
                await self._begin(operation)
            case Credit():
                self._worker(operation.id).grant(operation.more)
            case Ack() | Nack() | Release() | Working() | Reject():
                return await self._worker(operation.id).settle(operation)
        return None

    async def unsubscribe(self, number: int) -> None:
        """End a subscription or a consumption."""
        self._tasks.pop(number).cancel()
        await self._forget(number)

    async def close(self) -> None:
        """End all of them."""
        for number in list(self._open):
            await self._forget(number)

    async def _begin(self, operation: Sub | Consume) -> None:
        number, name = operation.id, self._caller().principal.subject
        if number in self._open:
            raise InvalidInputError("/id", f"{number} is in use")
        if len(self._open) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptionsError(MAX_SUBSCRIPTIONS)
        if not self._port.patterns.enter(name):
            raise TooManySubscriptionsError(MAX_PATTERNS)
        try:
            opened = await (self._consume(operation) if isinstance(operation, Consume) else self._subscribe(operation))
        except BaseException:
            self._port.patterns.leave(name)
            raise
        self._open[number], self._names[number] = opened, name
        self._tasks[number] = self._wire.spawn(self._pass_on(number, opened), f"subject {number}")

    async def _forget(self, number: int) -> None:
        # Not left to the task: one that is cancelled before it has begun cleans up nothing.
        opened = self._open.pop(number, None)
        if opened is not None:
            self._workers.pop(number, None)
            self._tasks.pop(number, None)
            self._port.patterns.leave(self._names.pop(number))
            await opened.source.close()

    async def _pass_on(self, number: int, opened: _Open) -> None:
        try:
            async with opened.source:
                await self._wire.send(*opened.answers)
                await opened.run(self._wire.deliver)
        except TektonError as error:
            await self._wire.refuse(error, number)
            if isinstance(error, SlowConsumerError):
                self._wire.end("slow consumer")
        except Exception:
            self._wire.end("error")
            raise
        await self._forget(number)

    # What is opened, and for whom

    async def _subscribe(self, operation: Sub) -> _Open:
        _check_members(operation)
        if operation.stream is None:
            hears, subscription, answers = self._listen(operation)
        else:
            hears, subscription, answers = await self._replay(operation, operation.stream)
        try:
            listener = Listener(operation.id, subscription, self._caller, hears, batched=operation.batch)
        except BaseException:  # he has just lost the right to it
            await subscription.close()
            raise
        return _Open(subscription, listener.run, answers)

    def _listen(self, operation: Sub) -> tuple[Hears, Subscription, list[str]]:
        number, pattern, since = operation.id, operation.subject, operation.since
        hears = partial(self._hears, pattern, whole=operation.queue is not None)
        hears(self._caller())
        limits = DEFAULT_LIMITS if operation.policy is None else replace(DEFAULT_LIMITS, policy=operation.policy)
        subscribe = partial(self._port.bus.subscribe, pattern, queue=operation.queue, limits=limits)
        position = self._port.position()
        try:
            subscription = subscribe(since=since)
        except CursorExpiredError:
            return hears, subscribe(), [frames.subscribed(number, position), frames.reset(number, position)]
        return hears, subscription, [frames.subscribed(number, position if since is None else since)]

    def _hears(self, pattern: str, caller: Caller, *, whole: bool) -> Hearing:
        hearing = self._port.access.check_subscribe(caller, pattern)
        if whole:
            if hearing is not Hearing.ALL:
                raise InvalidInputError("/queue", "only what one hears as a whole can be shared with others")
            self._port.access.check_share(caller, pattern)
        return hearing

    async def _replay(self, operation: Sub, name: str) -> tuple[Hears, Subscription, list[str]]:
        stream = await self._stream(name)
        number, pattern, since = operation.id, operation.subject or ">", operation.since
        hears = partial(self._hears_of, stream, pattern)
        hears(self._caller())
        replay = partial(self._port.bus.replay, name, pattern=pattern)
        try:
            subscription = replay(since=since, at=operation.at)
        except CursorExpiredError:
            oldest = stream.first - 1
            return hears, replay(), [frames.subscribed(number, oldest), frames.reset(number, oldest)]
        return hears, subscription, [frames.subscribed(number, 0 if since is None else since)]

    def _hears_of(self, stream: StreamInfo, pattern: str, caller: Caller) -> Hearing:
        return self._port.access.check_replay(caller, stream.name, stream.settings.subjects, pattern)

    async def _consume(self, operation: Consume) -> _Open:
        stream, options = await self._stream(operation.stream), operation.settings
        settings = None if options is None else options.settings()
        served = settings or self._port.bus.settings_of(stream.name, operation.consumer) or DEFAULT_CONSUMER
        caller, access = self._caller(), self._port.access
        access.check_consume(caller, stream.name, stream.settings.subjects, served.filter)
        self._check_shared(stream.name, operation.consumer)
        consume = self._port.bus.consume
        consumption = consume(stream.name, operation.consumer, settings, owner=access.owner(caller))
        check = partial(self._check_handed, stream.name, operation.consumer)
        worker = self._workers[operation.id] = Worker(operation.id, consumption, operation.credit, check)
        return _Open(consumption, worker.run, [frames.consuming(operation.id, served.ack_wait)])

    def _check_handed(self, stream: str, consumer: str, envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
        caller = self._caller()
        self._port.access.check_handed(caller, stream, envelopes)
        self._check_shared(stream, consumer)
        return readable(envelopes, caller.rights.hears)

    def _check_shared(self, stream: str, consumer: str) -> None:
        self._port.access.check_shared(self._caller(), stream, consumer, self._port.bus.owner_of(stream, consumer))

    def _worker(self, number: int) -> Worker:
        worker = self._workers.get(number)
        if worker is None:
            raise InvalidInputError("/id", f"{number} does not consume")
        return worker

    async def _stream(self, name: str) -> StreamInfo:
        streams = {stream.name: stream for stream in await self._port.bus.streams(consumers=False)}
        if name not in streams:
            raise StreamNotFoundError(name, nearest_name(name[:64], streams))
        return streams[name]


def _check_members(operation: Sub) -> None:
    """Raise InvalidInputError for members that mean nothing together."""
    if operation.query:
        raise InvalidInputError("/query", "subjects take no query")
    if operation.stream is None and operation.at is not None:
        raise InvalidInputError("/at", "only a stream can be read from an instant on")
    if operation.stream is not None and operation.queue is not None:
        raise InvalidInputError("/queue", "a stream is read as a whole; to share it, consume it")
    if operation.since is not None and operation.at is not None:
        raise InvalidInputError("/at", "either from an instant on or behind a sequence")
