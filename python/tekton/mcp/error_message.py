"""Errors as messages: the ERROR that answers a request which could not be answered, and back.

The content is `{"code", "detail", "hint"?, …}` with the fields of the error, as in the problem documents of the HTTP
API. What is no error of Tekton is a defect: its text stays in the log.
"""

from typing import Any

import msgspec

from tekton.mcp.message import Message, MessageType
from tekton.utils.error_catalogue import catalogue
from tekton.utils.http_problems import error_from_answer
from tekton.utils.tekton_errors import TektonError

__all__ = ["error_content", "error_of"]

_RESERVED = frozenset({"code", "detail", "hint", "relayed"})


def error_content(error: BaseException) -> dict[str, Any]:
    """What an ERROR message says of *error*."""
    if not isinstance(error, TektonError):
        return {"code": TektonError.code, "detail": "an error on our side; the log has the details"}
    fields = {name: value for name, value in vars(error).items() if name[0] != "_" and name not in _RESERVED}
    content: dict[str, Any] = {"code": error.code, "detail": str(error)}
    if error.hint:
        content["hint"] = error.hint
    content.update(msgspec.to_builtins(fields, str_keys=True, enc_hook=str))
    return content


def error_of(message: Message) -> TektonError | None:
    """The error that *message* tells of, to be raised; None when it is no ERROR message.

    Of the same class as where it was raised, if there is such a class here; else a ProblemError. Never raises.
    """
    if message.message_type is not MessageType.ERROR:
        return None
    content = message.content
    code = content.get("code") if isinstance(content, dict) else None
    known = catalogue().get(code) if isinstance(code, str) else None
    said = content.get("status") if isinstance(content, dict) and known is None else None
    status = said if isinstance(said, int) and 400 <= said < 600 else 500
    return error_from_answer((known and known.status) or status, msgspec.json.encode(content))
