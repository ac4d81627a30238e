"""Messages over HTTP: one is published, or sent as a request whose answer is the answer. A socket does more."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from tekton._native import uuid7
from tekton.bus.bus import MAX_MESSAGE, Receipt
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.access import PUBLISH
from tekton.gateway.bus.contents import check_contents
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.mcp.message import Message, MessageType
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    BusBusyError,
    InvalidContentError,
    InvalidMessageError,
    InvalidSubjectError,
    MalformedMessageError,
    MessageExpiredError,
    MessageTooLargeError,
    NoRespondersError,
    ReplyTimeoutError,
    StorageError,
    TooManyHopsError,
)
from tekton.utils.trace_context import CURRENT

MAX_WAIT: Final = 60.0
"""Seconds for which an answer is waited for at most."""

_Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class PublishQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to, and to which subject answers are to go."""

    subject: _Subject
    reply: _Subject | None = None


class RequestQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to, and how many seconds to wait for the answer."""

    subject: _Subject
    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_WAIT)] = 10.0


class NewContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who says it, to whom, and as part of what. The sender can only be who sends the request."""

    sender: str | None = None
    recipient: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    deadline: float | None = None
    hops: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message that is to be published. What is missing is filled in: its id, its sender, its trace."""

    message_type: MessageType
    content: msgspec.Raw
    context: NewContext = NewContext()
    metadata: dict[str, msgspec.Raw] | None = None
    message_id: str | None = None
    timestamp: float | None = None


class ReceiptView(msgspec.Struct, frozen=True):
    """What became of a message: its number in the `stream` that has it on the disk by now, else on the bus.

    A `duplicate` was there before; then the number is that of the first one.
    """

    sequence: int
    stream: str | None
    duplicate: bool


class ContextView(msgspec.Struct, frozen=True):
    """Who said it, to whom, and as part of what."""

    sender: str
    recipient: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    deadline: float | None = None
    hops: int = 0


class AnswerView(msgspec.Struct, frozen=True):
    """The answer to a request, as it was sent."""

    message_id: str
    message_type: MessageType
    context: ContextView
    content: Any
    timestamp: float | None = None
    metadata: dict[str, Any] | None = None


_REFUSALS = (
    MalformedMessageError,
    InvalidMessageError,
    InvalidContentError,
    InvalidSubjectError,
    MessageTooLargeError,
    MessageExpiredError,
    TooManyHopsError,
    NoRespondersError,
    BusBusyError,
    StorageError,
)


def routes(system: System) -> list[Route]:
    """Publishing and asking."""

    def admitted(request: Request, reply: str | None = None) -> Envelope:
        caller = system.bus_port.access.caller(request.principal, request.client)
        message = complete(request.body, caller.rights.sender)
        envelope = Envelope(request.query.subject, message, reply)
        system.bus_port.admit(caller, envelope)
        check_contents(message.to_json(), (envelope,))
        return envelope

    async def publish(request: Request) -> ReceiptView:
        envelope = admitted(request, request.query.reply)
        receipt = await system.bus_port.bus.publish(envelope.subject, envelope.message, reply=envelope.reply)
        return _view(receipt)

    async def ask(request: Request) -> Response:
        envelope = admitted(request)
        bus, timeout = system.bus_port.bus, request.query.timeout
        answer = await bus.request(envelope.subject, envelope.message, timeout=timeout)
        return Response(body=answer.to_json())

    return [
        Route(
            "POST",
            "/api/messages",
            publish,
            "Publish a message; it is stored when this answers, if a stream takes it",
            PUBLISH,
            body=NewMessage,
            query=PublishQuery,
            response=ReceiptView,
            status=201,
            max_body=MAX_MESSAGE,
            errors=_REFUSALS,
            tags=("messages",),
        ),
        Route(
            "POST",
            "/api/requests",
            ask,
            "Send a request, and wait for the answer, which may be a message that says what failed",
            PUBLISH,
            body=NewMessage,
            query=RequestQuery,
            response=AnswerView,
            max_body=MAX_MESSAGE,
            errors=(*_REFUSALS, ReplyTimeoutError),
            tags=("messages",),
        ),
    ]


def complete(new: NewMessage, sender: str) -> Message:
    """The message that *new* is to be, from *sender* unless it names another one. Raises the errors of messages."""
    trace = CURRENT.get()
    known = {"sender": sender} if trace is None else {"sender": sender, "trace_id": trace.trace_id}
    members = msgspec.structs.asdict(new)
    members["context"] = known | _given(msgspec.structs.asdict(new.context))
    members["message_id"] = new.message_id or uuid7()
    return Message.from_json(encode(_given(members)))


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _view(receipt: Receipt) -> ReceiptView:
    return ReceiptView(*receipt)
