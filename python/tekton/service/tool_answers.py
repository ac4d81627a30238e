"""What a component says when a tool of it is called: taken for a result, for an event, or for an error of the tool.

Nothing of it is trusted: it is read by its form, a result that does not fit is the failure of the tool, and an error
that it tells of is passed on as what it can be: a refusal of the caller, or a failure on the side of the component. An
event that does not fit is passed over, and whoever calls is told so: it is beside the result, which may be sound.
"""

from typing import Any, Final

import msgspec

from tekton.core.degradation.deadline import time_left
from tekton.gateway.errors import (
    PermissionDeniedError,
    RouteNotFoundError,
    UnavailableError,
)
from tekton.gateway.problems import status_of
from tekton.mcp.tool_context import Chunk, LogLine, Progress, ToolContext
from tekton.utils.guarded_http import RefusedUrlError
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import (
    AllInstancesFailedError,
    CallTimeoutError,
    CircuitOpenError,
    InvalidArgumentsError,
    NobodyToAskError,
    ProblemError,
    TektonError,
    ToolBusyError,
    ToolError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
    TransportError,
)

_LONGEST: Final = 1000
_LONGEST_CODE: Final = 64
_SERVER_ERROR: Final = 500
_UNAUTHENTICATED: Final = 401
_EVENTS: Final = frozenset({"progress", "log", "chunk"})
_PASSED_ON: Final = (
    InvalidArgumentsError,
    PermissionDeniedError,
    NobodyToAskError,
    ToolBusyError,
    ToolTimeoutError,
    UnavailableError,
    CircuitOpenError,
)
"""What the caller is told with all its fields."""

_decode_event = msgspec.json.Decoder(Progress | LogLine | Chunk).decode


class _Lost(msgspec.Struct):
    events: int = 0


async def hear(context: ToolContext, event: ServerSentEvent) -> bool:
    """Tell who calls of *event*, which the component has sent. True for a chunk, which he must not hear twice."""
    try:
        if event.event in _EVENTS:
            said = _decode_event(event.data)
            context.say(said)
            return isinstance(said, Chunk)
        if event.event == "lost":
            lost = msgspec.json.decode(event.data, type=_Lost).events
            context.log("warning", f"{lost} events of the tool were dropped")
    except (msgspec.DecodeError, RecursionError) as error:
        context.log("warning", f"an event of the tool could not be read: {error}"[:_LONGEST])
    return False


def result_in(tool_id: str, answer: object) -> Any:
    """The result in a decoded answer. Raises ToolFailedError when there is none."""
    if not isinstance(answer, dict) or "result" not in answer:
        raise ToolFailedError(tool_id, 'its answer has no member "result"')
    return answer["result"]


def reported(tool_id: str, error: TektonError, limit: float | None) -> TektonError:
    """What the caller is told when a call that had *limit* seconds has ended with *error*."""
    left = time_left()
    if isinstance(error, CallTimeoutError) or (isinstance(error, TransportError) and left is not None and left <= 0):
        return ToolTimeoutError(tool_id, limit or 0.0)
    if isinstance(error, TransportError):
        reason = str(error) if isinstance(error, AllInstancesFailedError) else error.reason
        failure = ToolFailedError(tool_id, reason[:_LONGEST])
        if isinstance(error.__cause__ or error, RefusedUrlError):  # that of several attempts has the last one's
            failure.hint = "open the network of its component to such calls: tekton.security.callback_networks"
        return failure
    return _refusal(tool_id, error)


def _refusal(tool_id: str, error: TektonError) -> TektonError:
    if isinstance(error, RouteNotFoundError):
        return ToolNotFoundError(tool_id)
    if status_of(error) == _UNAUTHENTICATED:
        return ToolFailedError(tool_id, "its component does not accept who calls")
    if isinstance(error, _PASSED_ON):
        return _bounded(error, tool_id)
    status = status_of(error)
    if status >= _SERVER_ERROR or isinstance(error, ToolError):
        reason = error.reason if isinstance(error, ToolFailedError) else str(error)
        return ToolFailedError(tool_id, reason[:_LONGEST])
    hint = None if error.hint is None else error.hint[:_LONGEST]
    told = ProblemError(status, error.code[:_LONGEST_CODE], str(error)[:_LONGEST], hint)
    if isinstance(pointer := getattr(error, "pointer", None), str):
        told.pointer = pointer[:_LONGEST]
    return told


def _bounded(error: TektonError, tool_id: str) -> TektonError:
    """*error* without longer texts than anybody wants to read, and of the tool under the name that it has here."""
    for name, value in list(vars(error).items()):
        if isinstance(value, str):
            setattr(error, name, tool_id if name == "tool_id" else value[:_LONGEST])
    error.args = (str(error)[:_LONGEST],)
    return error
