"""Conversations: begun, read, spoken in, summed up and exported."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated, Any, Final, Literal

import msgspec

from tekton._native import uuid7
from tekton.a2a.conversation import MOST_CONTEXT, MOST_PARTICIPANTS, Conversation
from tekton.a2a.message import MOST_BYTES, AgentMessage
from tekton.a2a.summary import MOST_SENTENCES, SENTENCES
from tekton.auth.subjects import sender_of
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.long_body import LongBody
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import VALUE, Route
from tekton.gateway.sse import EventStream
from tekton.gateway.tool_calls import wants_events
from tekton.service.api.paging import Item, page_of
from tekton.service.conversation_streams import stream_of_conversation
from tekton.service.conversation_views import (
    ConversationPage,
    ConversationView,
    MessagePage,
    MessageView,
    SaidView,
    SummaryView,
)
from tekton.service.conversations import MANAGE, USE, id_of_request
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    ConversationExistsError,
    ConversationFullError,
    ConversationLimitError,
    ConversationNotFoundError,
    InvalidContentError,
    InvalidConversationError,
    InvalidMessageError,
    NotParticipantError,
    StorageError,
)

MAX_ORDER: Final = MOST_CONTEXT + 64 * 1024
MAX_MESSAGE: Final = MOST_BYTES + 64 * 1024
_CUT: Final = b"\n> **This is not all of it: there was an error on our side.**\n"
AT_ONCE: Final = 16
"""Conversations that are read at a time: one may have a quarter of a megabyte of context."""
PIECE: Final = 256 * 1024
"""Bytes of an export that are sent at a time."""

_ALL: Final = "/api/conversations"
_ONE: Final = f"{_ALL}/{{conversation_id}}"
_UNKNOWN: Final = (ConversationNotFoundError, StorageError)
_INVALID: Final = (InvalidConversationError, ConversationFullError)

_SEGMENT: Final = re.compile(VALUE)
_Name = Annotated[str, msgspec.Meta(max_length=255)]
_Names = Annotated[list[_Name], msgspec.Meta(max_length=MOST_PARTICIPANTS)]


class ConversationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation of the caller with *participants*. Without an id it has a fresh one."""

    conversation_id: _Name | None = None
    participants: _Names = []
    context: dict[str, Any] = {}


class ParticipantOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who takes part, besides who has begun it."""

    participants: _Names


class MessageOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said: a text, other JSON, or something of a modality. `context` is merged into that of the conversation.

    A message whose `message_id` is there already is not added again. The sender can only be the caller.
    """

    content: Any
    context: dict[str, Any] = {}
    parent_id: _Name | None = None
    message_id: _Name | None = None
    timestamp: float | None = None
    sender: _Name | None = None


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which conversations: those of the caller, or of another `participant`, which only who manages all may see."""

    participant: _Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: _Name | None = None


class MessageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages: behind a number, and how many at once."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class SummaryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many sentences."""

    sentences: Annotated[int, msgspec.Meta(ge=1, le=MOST_SENTENCES)] = SENTENCES


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which form."""

    format: Literal["markdown", "json"] = "markdown"


class Conversations:
    """Handlers over the conversations."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def begin(self, request: Request) -> ConversationView:
        order: ConversationOrder = request.body
        _check_id(order.conversation_id)
        begun = await self._system.conversations.begin(
            request.principal,
            order.participants,
            conversation_id=order.conversation_id,
            context=order.context,
        )
        return ConversationView.of(begun.record)

    async def list(self, request: Request) -> Response:
        query: ListQuery = request.query
        caller = sender_of(request.principal)
        participant = query.participant or caller
        if participant != caller and not request.principal.grants.allows(MANAGE):
            raise PermissionDeniedError(MANAGE)
        return await page_of(self._views(participant, query.cursor or ""), query.limit)

    async def _views(self, participant: str, after: str) -> AsyncGenerator[Item, None]:
        conversations = self._system.conversations
        while found := conversations.of_participant(participant, after, AT_ONCE):
            await conversations.settle()
            for record in found:
                yield record.conversation_id, encode(ConversationView.of(record))
                await asyncio.sleep(0)
            after = found[-1].conversation_id

    async def get(self, request: Request) -> ConversationView:
        view = ConversationView.of(self._found(request).record)
        await self._system.conversations.settle()
        return view

    async def delete(self, request: Request) -> ConversationView:
        return ConversationView.of(await self._system.conversations.forget(request.principal, self._id(request)))

    async def set_participants(self, request: Request) -> ConversationView:
        order: ParticipantOrder = request.body
        conversations = self._system.conversations
        changed = await conversations.set_participants(request.principal, self._id(request), order.participants)
        return ConversationView.of(changed.record)

    async def messages(self, request: Request) -> MessagePage | EventStream:
        query: MessageQuery = request.query
        conversations = self._system.conversations
        if wants_events(request):
            return stream_of_conversation(conversations, request, self._id(request), query.after)
        conversation = self._found(request)
        entries = await conversations.read(conversation, query.after, query.limit)
        more = bool(entries) and entries[-1].sequence < len(conversation)
        return MessagePage([MessageView.of(entry) for entry in entries], entries[-1].sequence if more else None)

    async def say(self, request: Request) -> SaidView:
        order: MessageOrder = request.body
        rights = self._system.bus_port.access.rights_of(request.principal)
        self._found(request)
        if order.sender is not None and not rights.speaks_as(order.sender):
            raise PermissionDeniedError(USE, f"speaks as {rights.sender}, not as {order.sender[:64]}")
        conversations = self._system.conversations
        message = AgentMessage(
            order.sender or rights.sender,
            order.content,
            order.context,
            order.message_id or id_of_request() or uuid7(),
            conversations.now() if order.timestamp is None else order.timestamp,
            order.parent_id,
        )
        return SaidView(*await conversations.say(request.principal, self._id(request), message))

    async def summary(self, request: Request) -> SummaryView:
        query: SummaryQuery = request.query
        conversation = self._found(request)
        # What is read may be read in another thread, and to look for what says most takes a while.
        return SummaryView(await asyncio.to_thread(conversation.generate_summary, query.sentences))

    async def export(self, request: Request) -> LongBody:
        query: ExportQuery = request.query
        conversation = self._found(request)
        await self._system.conversations.settle()
        pieces = _pieces(conversation.export(query.format))
        if query.format == "json":  # cut off, it is no JSON
            return LongBody(pieces, "application/json")
        return LongBody(pieces, "text/markdown; charset=utf-8", _CUT)

    def _id(self, request: Request) -> str:
        return request.params["conversation_id"]

    def _found(self, request: Request) -> Conversation:
        return self._system.conversations.find(request.principal, self._id(request))


def _check_id(conversation_id: str | None) -> None:
    """Raise InvalidConversationError for an id with which no path leads to the conversation."""
    if conversation_id is not None and (_SEGMENT.fullmatch(conversation_id) is None or conversation_id in (".", "..")):
        raise InvalidConversationError(conversation_id, "/conversation_id", "it cannot stand in a path")


async def _pieces(texts: Iterator[str]) -> AsyncIterator[bytes]:
    """*texts*, put together to PIECE bytes or more. Each is made in another thread: the store is read there."""
    while piece := await asyncio.to_thread(_next_piece, texts):
        yield piece


def _next_piece(texts: Iterator[str]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for text in texts:
        parts.append(text.encode())
        size += len(parts[-1])
        if size >= PIECE:
            break
    return b"".join(parts)


def routes(system: System) -> list[Route]:
    """The routes under /api/conversations."""
    api = Conversations(system)
    return [*_of_all(api), *_of_one(api), *_of_messages(api), *_in_other_words(api)]


def _of_all(api: Conversations) -> list[Route]:
    return [
        Route(
            "POST",
            _ALL,
            api.begin,
            "Begin a conversation",
            USE,
            body=ConversationOrder,
            response=ConversationView,
            status=201,
            max_body=MAX_ORDER,
            errors=(*_INVALID, ConversationExistsError, ConversationLimitError, StorageError),
        ),
        Route(
            "GET",
            _ALL,
            api.list,
            "The conversations in which the caller takes part",
            USE,
            query=ListQuery,
            response=ConversationPage,
            errors=(PermissionDeniedError, StorageError),
        ),
    ]


def _of_one(api: Conversations) -> list[Route]:
    return [
        Route(
            "GET",
            _ONE,
            api.get,
            "One conversation, without its messages",
            USE,
            response=ConversationView,
            errors=_UNKNOWN,
        ),
        Route(
            "DELETE",
            _ONE,
            api.delete,
            "Delete a conversation, and all that was said in it",
            USE,
            response=ConversationView,
            errors=(*_UNKNOWN, PermissionDeniedError),
        ),
        Route(
            "PUT",
            f"{_ONE}/participants",
            api.set_participants,
            "Say who takes part",
            USE,
            body=ParticipantOrder,
            response=ConversationView,
            errors=(*_UNKNOWN, *_INVALID, PermissionDeniedError),
        ),
    ]


def _of_messages(api: Conversations) -> list[Route]:
    return [
        Route(
            "GET",
            f"{_ONE}/messages",
            api.messages,
            "What was said, or what is, as a stream",
            USE,
            query=MessageQuery,
            response=MessagePage,
            or_stream=True,
            errors=_UNKNOWN,
        ),
        Route(
            "POST",
            f"{_ONE}/messages",
            api.say,
            "Say something; it is stored when this answers",
            USE,
            body=MessageOrder,
            response=SaidView,
            status=201,
            max_body=MAX_MESSAGE,
            errors=(
                *_UNKNOWN,
                NotParticipantError,
                ConversationFullError,
                InvalidMessageError,
                InvalidContentError,
                PermissionDeniedError,
            ),
        ),
    ]


def _in_other_words(api: Conversations) -> list[Route]:
    return [
        Route(
            "GET",
            f"{_ONE}/summary",
            api.summary,
            "The sentences that say most of what was said",
            USE,
            query=SummaryQuery,
            response=SummaryView,
            errors=_UNKNOWN,
        ),
        Route(
            "GET",
            f"{_ONE}/export",
            api.export,
            "All of a conversation, as Markdown or as JSON",
            USE,
            query=ExportQuery,
            response=bytes,
            media_types=("text/markdown", "application/json"),
            errors=_UNKNOWN,
        ),
    ]
