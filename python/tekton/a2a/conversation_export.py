"""A conversation to be read elsewhere: as Markdown for people, as JSON for programs, as a transcript for models.

In Markdown what was said stands in block quotes, code in fences that are longer than any in it: no message can end its
own place. What a renderer makes of HTML in a message is the renderer's business.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.message import AgentMessage
from tekton.mcp.modality.code import CodeContent
from tekton.mcp.modality.image import ImageContent
from tekton.mcp.modality.text import TextContent

__all__ = ["as_json_text", "as_markdown", "plain_text", "transcript"]

_LEFT_OUT = "\n[…]\n"
_FENCES = re.compile(r"`{3,}")

_encode = msgspec.json.Encoder().encode


def as_markdown(record: ConversationRecord, messages: Iterable[AgentMessage]) -> Iterator[str]:
    """The conversation as Markdown, one piece for its head and one for each message."""
    yield f"# Conversation {record.conversation_id}\n\n"
    yield f"Begun by {record.initiator}, {_time(record.created_at)}. Participants: {', '.join(record.participants)}.\n"
    for message in messages:
        yield f"\n## {message.sender}, {_time(message.timestamp)}\n\n{_quoted(_in_markdown(message))}\n"


def as_json_text(record: ConversationRecord, messages: Iterable[AgentMessage]) -> Iterator[str]:
    """The conversation as one JSON object, with its messages in `messages`; a message is one line."""
    yield _encode(record).decode()[:-1] + ',"messages":['
    separator = "\n"
    for message in messages:
        yield separator + message.to_json().decode()
        separator = ",\n"
    yield "\n]}\n"


def plain_text(message: AgentMessage) -> str:
    """What *message* says, as text."""
    match message.parsed():
        case TextContent(text=str() as text):
            return text
        case CodeContent(code=str() as code):
            return code
        case ImageContent(media_type=media_type):
            return f"[{media_type}]"
        case _ as one if one.reference is not None:
            return f"[{one.reference.media_type}]"
        case _:
            return _encode(message.content).decode()


def transcript(messages: Iterable[AgentMessage], most: int) -> str:
    """*messages* as lines of text, of *most* characters at most: what is too much is left out of the middle."""
    text = "\n".join(f"{message.sender}: {plain_text(message)[:most]}" for message in messages)
    if len(text) <= most:
        return text
    half = (most - len(_LEFT_OUT)) // 2
    return text[:half] + _LEFT_OUT + text[-half:]


def _in_markdown(message: AgentMessage) -> str:
    match message.parsed():
        case TextContent(text=str() as text):
            return text
        case CodeContent(code=str() as code, language=language):
            return _fenced(code, language)
        case _ as one if one.reference is not None:
            return f"[{one.reference.media_type}]({one.reference.uri})"
        case ImageContent(media_type=media_type):
            return f"[{media_type}]"
        case _:
            return _fenced(_indented(message.content), "json")


def _fenced(code: str, language: str) -> str:
    fence = "`" * max((len(found) + 1 for found in _FENCES.findall(code)), default=3)
    return f"{fence}{language}\n{code}\n{fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines()) or ">"


def _indented(value: Any) -> str:
    return msgspec.json.format(_encode(value), indent=2).decode()


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a time that somebody has made up
        return f"{seconds:g} s"
