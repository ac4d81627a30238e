"""Messages: what components say to one another.

    message = Message(MessageType.REQUEST, "Describe the system", MessageContext(sender="example"), {"priority": 1})
    Message.from_json(message.to_json()) == message

A message is a value: it is not changed, another one is made. It is written in Rust (`tekton._native`): one that was
received is checked as a whole and taken apart by position, objects are made of it when they are asked for, and it is
sent on as the bytes that it came as.
"""

from tekton._native import Message
from tekton.mcp.message_type import MessageType

__all__ = ["Message", "MessageType"]
