"""Dead letters: what became of messages with which nobody got done. They are messages of a stream of their own."""

import uuid
from typing import Final

import orjson

from tekton.bus.bus import RESERVED, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.consumer import Dying
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import MessageError

NAME: Final = "dead_letters"
SETTINGS: Final = StreamSettings((f"{RESERVED}.dead.>",))
CIRCLES: Final = f"{RESERVED}.dead.hops"
"""Where a message goes that too many have caused."""

_IDS: Final = uuid.UUID("0f1f3c5e-5f0b-4d57-9b5e-7a4f3f1c2d6a")
"""The name space of their ids: the same letter has the same one, however often it is written."""


def dead_letter(envelope: Envelope, consumer: str, dying: Dying) -> Envelope:
    """What tells of the message in *envelope*, of a stream, that it was given up, and why.

    The message is in it as it was; as text where it is nested too deep for that. So a letter may have more bytes than
    MAX_MESSAGE: whoever reads letters has to take larger ones.
    """
    content: dict[str, object] = {
        "subject": envelope.subject,
        "stream": envelope.stream,
        "consumer": consumer,
        "sequence": envelope.sequence,
        "attempts": dying.attempts,
        "reason": dying.reason,
    }
    name = f"{envelope.stream}/{envelope.sequence}/{envelope.time}/{consumer}"
    return Envelope(f"{RESERVED}.dead.{envelope.stream}", _about(envelope.message, content, name))


def circle_letter(envelope: Envelope, reason: str) -> Envelope:
    """What tells of a message that was not published, because the messages that have caused it go in circles."""
    content: dict[str, object] = {
        "subject": envelope.subject,
        "stream": None,
        "consumer": None,
        "sequence": None,
        "attempts": 0,
        "reason": reason,
    }
    return Envelope(CIRCLES, _about(envelope.message, content, f"hops/{envelope.message.message_id}"))


def _about(message: Message, content: dict[str, object], name: str) -> Message:
    text, id_ = message.to_json(), str(uuid.uuid5(_IDS, name))
    context = MessageContext(RESERVED, None, message.context.trace_id)
    try:
        return _letter({**content, "message": orjson.Fragment(text)}, context, id_)
    except MessageError:
        return _letter({**content, "message": text.decode()}, context, id_)


def _letter(content: dict[str, object], context: MessageContext, id_: str) -> Message:
    return Message.from_json(Message(MessageType.EVENT, content, context, message_id=id_).to_json())
