"""What a message is for."""

from enum import StrEnum


class MessageType(StrEnum):
    """The six types of messages. Each is its name on the wire, too."""

    REQUEST = "request"
    """Somebody is to answer."""
    RESPONSE = "response"
    """The answer."""
    EVENT = "event"
    """Something has happened."""
    NOTIFICATION = "notification"
    """Somebody is to know."""
    COMMAND = "command"
    """Somebody is to do something; nobody waits for it."""
    ERROR = "error"
    """The answer that there is none."""
