"""The line to whoever has asked is for his message, and no other."""

from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.mcp.tool_line import LINE, ToolLine, line_of


def test_a_line_is_for_the_message_that_it_was_opened_for() -> None:
    mine, other = (Message(MessageType.REQUEST, None, MessageContext("ada")) for _ in range(2))
    line = ToolLine(mine.message_id, print)
    token = LINE.set(line)
    try:
        assert line_of(mine) is line
        assert line_of(other) == ToolLine(other.message_id)
    finally:
        LINE.reset(token)

    assert line_of(mine) == ToolLine(mine.message_id)
