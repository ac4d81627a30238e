"""Messages as the specification uses them."""

from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType


def test_a_message_comes_back_from_json() -> None:
    context = MessageContext(sender="example_component", trace_id="550e8400-e29b-41d4-a716-446655440000")
    message = Message(
        message_type=MessageType.REQUEST,
        content="Generate a description of the Tekton system",
        context=context,
        metadata={"priority": "high", "timeout": 30},
    )

    received = Message.from_json(message.to_json())

    assert received == message
    assert received.message_type is MessageType.REQUEST
    assert (received.content, received.metadata) == (message.content, {"priority": "high", "timeout": 30})
    assert received.context == context
