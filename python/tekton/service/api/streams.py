"""Streams of messages: which there are, what they have, and how far their consumers are."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Self

import msgspec

from tekton.auth.roles import unstorable
from tekton.auth.subjects import Hearing
from tekton.bus.bus import ConsumerInfo, StreamInfo, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.letters import readable
from tekton.gateway.errors import InvalidInputError, InvalidParameterError, PermissionDeniedError, UnavailableError
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    ConsumerNotFoundError,
    InvalidSubjectError,
    StorageError,
    StreamConfiguredError,
    StreamNotFoundError,
    StreamOverlapError,
)
from tekton.utils.tekton_ids import nearest_name

MANAGE: Final = "messages:manage"
READ: Final = "messages:read"

MAX_LIMIT: Final = 1000
MAX_SUBJECTS: Final = 64

_Subjects = Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_SUBJECTS)]


class StreamOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream is to take, and how long it is to keep that. The limit that is reached first drops the oldest."""

    subjects: _Subjects
    max_messages: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1_000_000
    max_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=2**50)] = 256 * 1024 * 1024
    max_age: Annotated[float, msgspec.Meta(gt=0, le=315_360_000)] = 604_800.0
    dedupe_window: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 120.0
    work_queue: bool = False

    def settings(self) -> StreamSettings:
        """The same for the bus. Raises InvalidInputError for what no stream takes."""
        for place, subject in enumerate(self.subjects):
            if (problem := unstorable(subject)) is not None:
                raise InvalidInputError(f"/subjects/{place}", f"{subject!r} {problem}")
        return StreamSettings(**msgspec.structs.asdict(self) | {"subjects": tuple(self.subjects)})


class ConsumerView(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer: how it is served, and how far it is. Everything up to `acknowledged` is done.

    `waiting` is counted up to 10,000 where it has to be counted; `waiting_more`: there may be more. `lost` is how many
    the limits of the stream have dropped before they were done, at most. It is `owner`'s, or (null) everybody's.
    """

    name: str
    filter: str
    ack_wait: float
    max_deliver: int
    backoff: Sequence[float]
    max_in_flight: int
    acknowledged: int
    in_flight: int
    waiting: int
    redelivered: int
    dead_letters: int
    lost: int
    owner: str | None
    waiting_more: bool

    @classmethod
    def of(cls, consumer: ConsumerInfo) -> Self:
        """What is shown of *consumer*."""
        settings = consumer.settings
        return cls(
            name=consumer.name,
            filter=settings.filter,
            ack_wait=settings.ack_wait,
            max_deliver=settings.max_deliver,
            backoff=settings.backoff,
            max_in_flight=settings.max_in_flight,
            acknowledged=consumer.acknowledged,
            in_flight=consumer.in_flight,
            waiting=consumer.waiting,
            redelivered=consumer.redelivered,
            dead_letters=consumer.dead_letters,
            lost=consumer.lost,
            owner=consumer.owner or None,
            waiting_more=consumer.waiting_more,
        )


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """A stream: what it takes, what it has, and its consumers. `configured`: it stands in tekton.json.

    `dropped` is how many messages its limits have dropped since the control plane started, at most.
    """

    name: str
    configured: bool
    subjects: Sequence[str]
    max_messages: int
    max_bytes: int
    max_age: float
    dedupe_window: float
    work_queue: bool
    messages: int
    size: int
    first: int
    last: int
    dropped: int
    consumers: list[ConsumerView]


class StreamList(msgspec.Struct, frozen=True):
    """The streams, by name."""

    items: list[StreamView]


class StoredMessage(msgspec.Struct, frozen=True):
    """A message of a stream, as it was published."""

    sequence: int
    time: float
    subject: str
    reply: str | None
    message: Any

    @classmethod
    def of(cls, envelope: Envelope) -> Self:
        """What is shown of *envelope*: the message is the bytes that it came as."""
        message = msgspec.Raw(envelope.message.to_json())
        return cls(envelope.sequence, envelope.time, envelope.subject, envelope.reply, message)


class MessagePage(msgspec.Struct, frozen=True):
    """Some messages, oldest first. The next page begins behind `next`; null: there are no more by now."""

    items: list[StoredMessage]
    next: int | None


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages: behind a sequence or from a point in time on, and of which subjects."""

    since: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    at: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = ">"
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = 100


class Streams:
    """Handlers over the streams."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, _: Request) -> StreamList:
        return StreamList([self._view(stream) for stream in await self._system.bus.streams()])

    async def show(self, request: Request) -> StreamView:
        return self._view(await self._found(request))

    async def put(self, request: Request) -> Response:
        order: StreamOrder = request.body
        name, settings = request.params["name"], order.settings()
        known = {stream.name for stream in await self._system.bus.streams(consumers=False)}
        with await self._system.registry.audit.intend("stream.put", name, " ".join(settings.subjects)):
            made = await self._system.messaging.create_stream(name, settings)
        return Response.json(self._view(made), status=200 if name in known else 201)

    async def delete(self, request: Request) -> StreamView:
        gone = await self._found(request)
        with await self._system.registry.audit.intend("stream.delete", gone.name, f"{gone.messages} messages"):
            await self._system.messaging.delete_stream(gone.name)
        return self._view(gone)

    async def delete_consumer(self, request: Request) -> ConsumerView:
        stream, name = await self._found(request), request.params["consumer"]
        gone = next((consumer for consumer in stream.consumers if consumer.name == name), None)
        if gone is None:
            raise ConsumerNotFoundError(stream.name, name)
        with await self._system.registry.audit.intend("consumer.delete", f"{stream.name}/{name}"):
            await self._system.bus.delete_consumer(stream.name, name)
        return ConsumerView.of(gone)

    async def messages(self, request: Request) -> MessagePage:
        query: PageQuery = request.query
        if query.since is not None and query.at is not None:
            raise InvalidParameterError("at", "either behind a sequence or from a point in time on")
        stream, access = await self._found(request, consumers=False), self._system.bus_port.access
        caller = access.caller(request.principal, request.client)
        hearing = access.check_replay(caller, stream.name, stream.settings.subjects, query.subject)
        page = await self._system.messaging.page(
            stream.name, since=query.since, at=query.at, pattern=query.subject, limit=query.limit
        )
        hears = caller.rights.hears
        heard = [one for one in page.envelopes if hearing is Hearing.ALL or hears(one.subject)]
        # What is stored meanwhile is on no page yet.
        more = page.through if page.through < stream.last else None
        return MessagePage([StoredMessage.of(one) for one in readable(heard, hears)], more)

    async def _found(self, request: Request, *, consumers: bool = True) -> StreamInfo:
        name = request.params["name"]
        streams = {stream.name: stream for stream in await self._system.bus.streams(consumers=consumers)}
        if name not in streams:
            raise StreamNotFoundError(name, nearest_name(name[:64], streams))
        return streams[name]

    def _view(self, stream: StreamInfo) -> StreamView:
        settings = stream.settings
        return StreamView(
            name=stream.name,
            configured=self._system.messaging.is_configured(stream.name),
            subjects=settings.subjects,
            max_messages=settings.max_messages,
            max_bytes=settings.max_bytes,
            max_age=settings.max_age,
            dedupe_window=settings.dedupe_window,
            work_queue=settings.work_queue,
            messages=stream.messages,
            size=stream.size,
            first=stream.first,
            last=stream.last,
            dropped=stream.dropped,
            consumers=[ConsumerView.of(consumer) for consumer in stream.consumers],
        )


def routes(system: System) -> list[Route]:
    """The routes under /api/streams."""
    api = Streams(system)
    one = "/api/streams/{name}"
    storage = (StorageError, UnavailableError)
    return [
        Route("GET", "/api/streams", api.list, "The streams", READ, response=StreamList, errors=storage),
        Route("GET", one, api.show, "One stream", READ, response=StreamView, errors=(StreamNotFoundError, *storage)),
        Route(
            "PUT",
            one,
            api.put,
            "Make a stream, or change what it takes and keeps",
            MANAGE,
            body=StreamOrder,
            response=StreamView,
            also=(201,),
            repeats="harmless",
            errors=(InvalidInputError, StreamOverlapError, StreamConfiguredError, *storage),
        ),
        Route(
            "DELETE",
            one,
            api.delete,
            "Delete a stream with all that it has",
            MANAGE,
            response=StreamView,
            errors=(StreamNotFoundError, StreamConfiguredError, *storage),
        ),
        Route(
            "DELETE",
            f"{one}/consumers/{{consumer}}",
            api.delete_consumer,
            "Forget a consumer, and how far it is",
            MANAGE,
            response=ConsumerView,
            errors=(StreamNotFoundError, ConsumerNotFoundError, *storage),
        ),
        Route(
            "GET",
            f"{one}/messages",
            api.messages,
            "Messages of a stream",
            READ,
            query=PageQuery,
            response=MessagePage,
            errors=(StreamNotFoundError, InvalidSubjectError, PermissionDeniedError, *storage),
        ),
    ]
