"""What an agent says to others: a value, as it stands in the history of a conversation.

    message = AgentMessage("user_agent", "Can you help me?", {"language": "python"})
    AgentMessage.from_json(message.to_json()) == message

Its JSON: `{"message_id", "timestamp", "sender", "content", "context"?, "parent_id"?}`; any other member is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from tekton._native import uuid7
from tekton.mcp.modality.content import Content
from tekton.mcp.modality.parse import Parsed, parse_content
from tekton.mcp.tool_result import GarbageError, JsonValue, as_json
from tekton.utils.misfits import misfit
from tekton.utils.tekton_errors import InvalidContentError, InvalidMessageError, MalformedMessageError

__all__ = ["MOST_BYTES", "AgentMessage", "is_name"]

MOST_BYTES: Final = 1024 * 1024
"""Bytes of the content and the context of a message, together, as JSON."""

MOST_RECEIVED: Final = 4 * MOST_BYTES
"""More than this is not even read: escapes and spaces may make a message larger than it is."""

_NAME = re.compile(r"[!#-\[\]-~]{1,255}")
_NO_CONTEXT: Mapping[str, Any] = {}

_encode = msgspec.json.Encoder().encode


def is_name(text: object) -> bool:
    """True for what can be a sender, or the id of a conversation: as the sender of a Message.

    1 to 255 characters of visible ASCII, neither `"` nor a backslash.
    """
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """An AgentMessage as JSON."""

    message_id: str
    timestamp: float
    sender: str
    content: Any
    context: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    parent_id: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class AgentMessage:
    """*sender* says *content*: a text, other JSON, or something of a modality (`tekton.mcp.modality`).

    *context* is what others are to know from now on; a conversation merges it into its own. *parent_id* is the message
    that this one answers. *message_id* is a UUID, a fresh one of version 7 if none is given; *timestamp* is in seconds
    since 1970, by default when the id was made. All of it is copied and checked: InvalidMessageError, and
    InvalidContentError for content that is no JSON or not of the modality that it claims. Do not change what it gives
    out.
    """

    sender: str
    content: Any
    context: Mapping[str, Any] = field(default_factory=dict)
    message_id: str = ""
    timestamp: float = math.nan
    parent_id: str | None = None
    size_bytes: int = field(init=False, compare=False, repr=False)
    """What content and context take as JSON."""

    def __post_init__(self) -> None:
        if not is_name(self.sender):
            raise InvalidMessageError("/sender", f"{str(self.sender)[:64]!r} is no name")
        settle = object.__setattr__
        content = _content(self.content)
        context = _context(self.context, MOST_BYTES - len(content.json))
        settle(self, "content", content.content)
        settle(self, "context", context.content)
        settle(self, "size_bytes", len(content.json) + len(context.json))
        settle(self, "message_id", _uuid("/message_id", self.message_id) if self.message_id else uuid7())
        if self.parent_id is not None:
            settle(self, "parent_id", _uuid("/parent_id", self.parent_id))
        settle(self, "timestamp", self._time())

    def __hash__(self) -> int:
        return hash(self.message_id)

    def parsed(self) -> Parsed:
        """The content, as what it is of a modality."""
        return parse_content(self.content)

    def reply(self, sender: str, content: Any, context: Mapping[str, Any] | None = None) -> "AgentMessage":
        """The message with which *sender* answers this one."""
        return AgentMessage(sender, content, _NO_CONTEXT if context is None else context, parent_id=self.message_id)

    def to_json(self) -> bytes:
        """It as JSON."""
        return _encode(
            _Wire(
                self.message_id,
                self.timestamp,
                self.sender,
                self.content,
                dict(self.context) or msgspec.UNSET,
                msgspec.UNSET if self.parent_id is None else self.parent_id,
            )
        )

    @classmethod
    def from_json(cls, data: bytes | str) -> "AgentMessage":
        """The message that *data* is.

        Raises MalformedMessageError for what is no JSON, InvalidMessageError and InvalidContentError for what is no
        such message. O(bytes).
        """
        if len(data) > MOST_RECEIVED:
            raise InvalidMessageError("/content", f"more than {MOST_BYTES} bytes, all of it together")
        try:
            read = msgspec.json.decode(data, type=_Wire)
        except msgspec.ValidationError as error:
            found = misfit(_Wire, str(error))
            raise InvalidMessageError(found.pointer, found.problem) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedMessageError(str(error), 0) from None
        if not read.message_id:
            raise InvalidMessageError("/message_id", "it is empty")
        context = {} if isinstance(read.context, msgspec.UnsetType) else read.context
        parent_id = None if isinstance(read.parent_id, msgspec.UnsetType) else read.parent_id
        return cls(read.sender, read.content, context, read.message_id, read.timestamp, parent_id)

    def _time(self) -> float:
        """The time that was given, else that of the id: its first 48 bits are milliseconds (RFC 9562, 5.7)."""
        given = self.timestamp
        if math.isnan(given) and self.message_id[14] == "7":
            return int(self.message_id[:8] + self.message_id[9:13], 16) / 1000
        if not math.isfinite(given):
            raise InvalidMessageError("/timestamp", "there is none, and the message_id has none")
        return float(given)


def _content(value: Any) -> JsonValue:
    try:
        content = as_json(value, MOST_BYTES)
    except GarbageError as error:
        raise InvalidContentError("", str(error)) from None
    if not isinstance(value, Content):
        parse_content(content.content)
    return content


def _context(value: Any, limit: int) -> JsonValue:
    try:
        context = as_json(value, max(limit, 2))
    except GarbageError as error:
        raise InvalidMessageError("/context", str(error)) from None
    if not isinstance(context.content, dict):
        raise InvalidMessageError("/context", f"expected an object, got {type(value).__name__}")
    return context


def _uuid(pointer: str, text: str) -> str:
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise InvalidMessageError(pointer, f"{str(text)[:64]!r} is no UUID") from None
