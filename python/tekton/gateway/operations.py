"""What can be asked on a WebSocket, one class for each operation.

docs/reference/websocket-and-events.md shows them all, with what comes of each.
"""

import re
from typing import Annotated, cast

import msgspec

from tekton.bus.bus import DEFAULT_CONSUMER, MAX_DELAY, MAX_REASON, ConsumerSettings, Policy
from tekton.gateway.decoding import decode_body

MAX_NUMBER = 2**53
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""An id, or a place in an order: exact in every JSON."""

MAX_QUERY = 1000
"""Characters."""

MAX_CREDIT = 4096
"""How many deliveries may be on their way to one who consumes, and how many are settled in one operation."""

_Sequences = Annotated[list[Number], msgspec.Meta(min_length=1, max_length=MAX_CREDIT)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CREDIT)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY)]
_Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON)]
_Instant = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Pub(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="op", tag="pub", kw_only=True):
    """Publish *message*. With an *id* there is a receipt; an error is told always."""

    subject: str
    message: msgspec.Raw
    id: Number | None = None
    reply: str | None = None


class Sub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="sub", kw_only=True):
    """Watch a topic, from the position *since* on or from a snapshot; of what it has, only what matches *query*.

    Or listen to a *subject*, which may be a pattern; to what a *stream* has and what comes.
    """

    id: Number
    topic: str = ""
    since: Number | None = None
    query: Annotated[str, msgspec.Meta(max_length=MAX_QUERY)] = ""
    subject: str = ""
    queue: str | None = None
    stream: str | None = None
    at: _Instant | None = None
    policy: Policy | None = None
    batch: bool = False


class ConsumerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the consumer is served. One that is there has to be served like that already."""

    filter: str = DEFAULT_CONSUMER.filter
    since: Number | None = None
    at: _Instant | None = None
    only_new: bool = False
    ack_wait: Annotated[float, msgspec.Meta(ge=0.001, le=86400)] = DEFAULT_CONSUMER.ack_wait
    max_deliver: Annotated[int, msgspec.Meta(ge=1, le=1000)] = DEFAULT_CONSUMER.max_deliver
    backoff: Annotated[tuple[_Seconds, ...], msgspec.Meta(max_length=64)] = DEFAULT_CONSUMER.backoff
    max_in_flight: _Count = DEFAULT_CONSUMER.max_in_flight

    def settings(self) -> ConsumerSettings:
        """The same, as the bus takes it."""
        return ConsumerSettings(**msgspec.structs.asdict(self))


class Consume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="consume", kw_only=True):
    """Work through *stream* under the name *consumer*; so many messages may come before there is more *credit*.

    Without *settings*, as the consumer is there.
    """

    id: Number
    stream: str
    consumer: str
    settings: ConsumerOptions | None = None
    credit: _Count = 64


class Credit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="credit"):
    """So many *more* messages may come."""

    id: Number
    more: _Count


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ack"):
    """These are done."""

    id: Number
    sequences: _Sequences


class Nack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="nack"):
    """These are not done, for this *reason*: to be handed out again, after *delay* seconds or as the backoff says."""

    id: Number
    sequences: _Sequences
    delay: _Seconds | None = None
    reason: _Reason = ""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="release"):
    """With these nobody has begun: to be handed out again at once, uncounted. So much *less* may come from now on."""

    id: Number
    sequences: _Sequences
    less: Annotated[int, msgspec.Meta(ge=0, le=MAX_CREDIT)] = 0


class Working(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="working"):
    """These take longer."""

    id: Number
    sequences: _Sequences


class Reject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="reject"):
    """These will never be done: dead letters, for this *reason*."""

    id: Number
    sequences: _Sequences
    reason: _Reason


class Unsub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="unsub"):
    """Stop watching, listening or consuming."""

    id: Number


class BeatOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="beat"):
    """A heartbeat."""

    component_id: str
    instance_uuid: str
    metrics: dict[str, float] = {}
    sequence: Number | None = None


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    """Is anybody there?"""


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="pong"):
    """The answer to our own ping; not required."""


Settling = Ack | Nack | Release | Working | Reject
"""What is said of deliveries."""

BusOperation = Pub | Consume | Credit | Ack | Nack | Release | Working | Reject
"""What is for the bus alone. A `Sub` is for it if it has a subject or a stream."""

Operation = Sub | Unsub | BeatOp | Ping | Pong | BusOperation

_decoder: "msgspec.json.Decoder[Operation]" = msgspec.json.Decoder(Operation)


def read_operation(data: bytes) -> Operation:
    """The operation in *data*. Raises MalformedRequestError or InvalidInputError.

    What is raw in it was not looked at, except for where it ends.
    """
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        # A second look says what is wrong with it.
        return cast(Operation, decode_body(_decoder, data))


class _Numbered(msgspec.Struct):
    id: Number | None = None


_SURROGATE = re.compile(rb"(\\[^u])|\\u[dD][89a-fA-F][0-9a-fA-F]{2}", re.DOTALL)
_BEGINNING = re.compile(
    rb'\s*\{\s*(?:"[a-z]{1,16}"\s*:\s*(?:"[^"\\]{0,255}"|\d{1,16})\s*,\s*){0,8}"id"\s*:\s*(\d{1,16})\s*[,}]'
)
"""The members before the id, as far as they are simple."""

_numbered: "msgspec.json.Decoder[_Numbered]" = msgspec.json.Decoder(_Numbered)


def number_of(data: bytes) -> int | None:
    """The id of an operation with which something is wrong; None where none can be made out.

    Where it is not even JSON, that is looked for which stands before what is wrong, and the whole without half pairs.
    """
    for text in (data, _SURROGATE.sub(rb"\1", data)):
        try:
            return _numbered.decode(text).id
        except (ValueError, RecursionError):
            pass
    found = _BEGINNING.match(data)
    return None if found is None or int(found[1]) > MAX_NUMBER else int(found[1])
