"""Answers as they are sent: what cannot be sent is found out before anybody relies on it, and said instead.

An answer is JSON, no larger than a message may be, and has no deadline: it is kept, and given again to who asks again.
Of what is too large no copy is made.
"""

from typing import Any, Final, NamedTuple

from tekton.mcp.context import MessageContext
from tekton.mcp.course import undated
from tekton.mcp.error_message import error_content
from tekton.mcp.message import Message, MessageType
from tekton.mcp.tool_result import GarbageError, as_json, check
from tekton.utils.tekton_errors import MessageTooLargeError, TektonError

__all__ = ["MAX_ANSWER", "Refusal", "refusal", "response", "sealed", "written"]

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer as JSON: a bus takes no more."""

_UNTOLD: Final = "what the error says cannot be sent; the log has it"


class Refusal(NamedTuple):
    """An ERROR. *to_log*: the log is to have what was raised, which is a defect, or more than the ERROR says."""

    message: Message
    to_log: bool


def response(value: Any, context: MessageContext) -> Message:
    """The RESPONSE that has *value* as its content. Raises as `sealed`."""
    return written(Message(MessageType.RESPONSE, as_json(value, MAX_ANSWER).content, context))


def sealed(answer: Message) -> Message:
    """*answer* as it will be sent. Raises GarbageError for what is no JSON, and MessageTooLargeError."""
    check(answer.content, MAX_ANSWER)
    check(answer.metadata, MAX_ANSWER)
    return written(answer)


def refusal(error: BaseException, context: MessageContext) -> Refusal:
    """The ERROR that says *error*. Never raises."""
    try:
        answer = sealed(Message(MessageType.ERROR, _content(error), context))
        return Refusal(answer, to_log=not isinstance(error, TektonError))
    except Exception:  # it has something in it that is no JSON, or too much
        code = error.code if isinstance(error, TektonError) else TektonError.code
        return Refusal(written(Message(MessageType.ERROR, {"code": code, "detail": _UNTOLD}, context)), to_log=True)


def written(answer: Message) -> Message:
    """*answer* as it will be sent, whose content is known to be JSON that is not too large. Raises as `sealed`."""
    try:
        text = undated(answer).to_json()
    except Exception as error:  # objects of all kinds are written
        raise GarbageError(f"it has no JSON form: {error}") from None
    if len(text) > MAX_ANSWER:
        raise MessageTooLargeError(len(text), MAX_ANSWER)
    return Message.from_json(text)


def _content(error: BaseException) -> dict[str, Any]:
    if isinstance(error, GarbageError):
        return {"code": TektonError.code, "detail": f"what a handler has returned cannot be passed on: {error}"}
    return error_content(error)
