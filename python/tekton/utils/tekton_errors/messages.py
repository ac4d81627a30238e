"""Messages, apart from how they travel."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "InvalidContentError",
    "InvalidMessageError",
    "MalformedMessageError",
    "MessageError",
    "NoHandlerError",
]


class MessageError(TektonError):
    """Base of what is refused about a message."""

    code = "message"


class MalformedMessageError(MessageError):
    """The text of a message is not JSON, or JSON that two readers could understand differently.

    `position` is the place of the byte at which that was noticed.
    """

    code = "malformed_message"

    def __init__(self, problem: str, position: int) -> None:
        self.problem = problem
        self.position = position
        super().__init__(f"malformed message, at byte {position}: {problem}")


class InvalidMessageError(MessageError):
    """A member of a message is missing, unknown, or not what it should be. `pointer` is its JSON pointer."""

    code = "invalid_message"

    def __init__(self, pointer: str, problem: str) -> None:
        self.pointer = pointer
        self.problem = problem
        super().__init__(f"{pointer} of the message: {problem}")


class InvalidContentError(MessageError):
    """Content is not of the modality that it claims to be. `pointer` leads to what is wrong with it."""

    code = "invalid_content"

    def __init__(self, pointer: str, problem: str) -> None:
        self.pointer = pointer
        self.problem = problem
        super().__init__(f"{pointer}: {problem}" if pointer else problem)


class NoHandlerError(MessageError):
    """Nobody here takes such messages."""

    code = "no_handler"
    hint = "name a tool in metadata.tool, or send it to a component that takes such messages"

    def __init__(self, message_type: str, sender: str) -> None:
        self.message_type = message_type
        self.sender = sender
        super().__init__(f"there is no handler for this {message_type} of {sender}")
