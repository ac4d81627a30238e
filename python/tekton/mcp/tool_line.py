"""The line to whoever has asked for a call of a tool, where a message has.

Who brings a message to its handler, and knows how to reach whoever sent it, opens one for that time; a
`MessageProcessor` that gets this message makes the context of its tools with it.
"""

from contextvars import ContextVar
from typing import Final, NamedTuple

from tekton.mcp.message import Message
from tekton.mcp.tool_context import AnswerQuestion, Tell

__all__ = ["LINE", "ToolLine", "line_of"]


class ToolLine(NamedTuple):
    """How the sender of a message is told what a tool says, and asked what it asks; None: he does not listen."""

    message_id: str
    tell: Tell | None = None
    answer: AnswerQuestion | None = None


LINE: Final[ContextVar[ToolLine | None]] = ContextVar("tool_line", default=None)


def line_of(message: Message) -> ToolLine:
    """The line to the sender of *message*. One that is open for another message is none."""
    line = LINE.get()
    return line if line is not None and line.message_id == message.message_id else ToolLine(message.message_id)
