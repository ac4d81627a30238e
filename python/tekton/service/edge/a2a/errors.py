"""Errors of Agent2Agent: which there are, and how each binding writes them (specification, 5.4, 9.5 and 11.6).

JSON-RPC answers with an error object and HTTP 200, as long as there is a request to answer; whatever the port refuses
before that (no credential, too much, too fast) has the status of HTTP that says so, and the error in the same form.
"""

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from tekton.gateway.errors import MalformedRequestError, UnsupportedMediaTypeError
from tekton.gateway.problems import headers_of, status_of
from tekton.gateway.request import Response
from tekton.service.edge.a2a.protojson import UnreadableError
from tekton.service.edge.a2a.wire import encode
from tekton.utils.tekton_errors import (
    AgentNotFoundError,
    InvalidContentError,
    InvalidConversationError,
    InvalidIdError,
    InvalidMessageError,
    InvalidTaskError,
    TaskNotFoundError,
    TaskStateError,
    TektonError,
)

__all__ = [
    "MEDIA_TYPE",
    "A2aError",
    "Kind",
    "error_of",
    "invalid",
    "no_task",
    "rest_answer",
    "rest_error",
    "rpc_answer",
    "rpc_error",
]

MEDIA_TYPE: Final = "application/a2a+json"
_DOMAIN: Final = "a2a-protocol.org"
_OURS: Final = "tekton"
_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"

_logger = logging.getLogger("tekton.a2a")


class Kind(Enum):
    """An error that the protocol knows: its code in JSON-RPC, its status in HTTP, and that in gRPC."""

    TASK_NOT_FOUND = (-32001, 404, "NOT_FOUND")
    TASK_NOT_CANCELABLE = (-32002, 400, "FAILED_PRECONDITION")
    UNSUPPORTED_OPERATION = (-32004, 400, "FAILED_PRECONDITION")
    CONTENT_TYPE_NOT_SUPPORTED = (-32005, 400, "INVALID_ARGUMENT")
    VERSION_NOT_SUPPORTED = (-32009, 400, "FAILED_PRECONDITION")
    PARSE_ERROR = (-32700, 400, "INVALID_ARGUMENT")
    INVALID_REQUEST = (-32600, 400, "INVALID_ARGUMENT")
    METHOD_NOT_FOUND = (-32601, 404, "NOT_FOUND")
    INVALID_PARAMS = (-32602, 400, "INVALID_ARGUMENT")
    INTERNAL_ERROR = (-32603, 500, "INTERNAL")
    REFUSED = (-32000, 400, "FAILED_PRECONDITION")
    """What the port refuses, whatever is asked: no credential, no right, too much at once."""


_GRPC: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The names of gRPC for statuses of HTTP; all others are INVALID_ARGUMENT."""


class Violation(NamedTuple):
    """A member of the parameters, and what is wrong with it."""

    field: str
    description: str


class A2aError(Exception):
    """What is answered in place of a result.

    *metadata* are texts that say more, *violations* what is wrong with which member. *status* is that of HTTP where it
    is another one than usual, and *headers* belong to it.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        reason: str = "",
        status: int | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.kind = kind
        self.message = message
        self.reason = reason or kind.name
        self.domain = _OURS if reason else _DOMAIN
        self.status = kind.value[1] if status is None else status
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.headers = tuple(headers)
        super().__init__(message)

    @property
    def grpc(self) -> str:
        """The name of gRPC for it."""
        return self.kind.value[2] if self.status == self.kind.value[1] else _GRPC.get(self.status, "INVALID_ARGUMENT")

    @property
    def details(self) -> list[dict[str, Any]]:
        """What there is to say beside the message (google.rpc.ErrorInfo, and BadRequest)."""
        info = {"@type": _INFO, "reason": self.reason, "domain": self.domain, "metadata": self.metadata}
        if not self.violations:
            return [info]
        return [info, {"@type": _BAD_REQUEST, "fieldViolations": [one._asdict() for one in self.violations]}]


def invalid(field: str, problem: str) -> A2aError:
    """The error of parameters of which *field* is wrong."""
    text = f"{field}: {problem}" if field else problem
    return A2aError(Kind.INVALID_PARAMS, text, violations=[Violation(field, problem)] if field else ())


def no_task(task_id: str) -> A2aError:
    """The error of a task that there is not, or that is somebody else's: nobody learns which."""
    return A2aError(Kind.TASK_NOT_FOUND, "there is no such task", metadata={"taskId": task_id[:128]})


_KINDS: Final[tuple[tuple[type[TektonError], Kind], ...]] = (
    (TaskStateError, Kind.UNSUPPORTED_OPERATION),
    (InvalidTaskError, Kind.INVALID_PARAMS),
    (InvalidIdError, Kind.INVALID_PARAMS),
    (InvalidContentError, Kind.INVALID_PARAMS),
    (InvalidMessageError, Kind.INVALID_PARAMS),
    (InvalidConversationError, Kind.INVALID_PARAMS),
    (AgentNotFoundError, Kind.METHOD_NOT_FOUND),
    (MalformedRequestError, Kind.PARSE_ERROR),
)
"""What an error of ours is in the protocol. What is not here was refused by the port, or is a failure on our side."""


def error_of(error: Exception) -> A2aError:
    """What *error*, raised while a request was answered, is in the protocol. What is a defect of ours is logged."""
    if isinstance(error, A2aError):
        return error
    if isinstance(error, UnreadableError):
        return invalid(error.field, error.problem)
    if isinstance(error, TaskNotFoundError):
        return no_task(error.task_id)
    if not isinstance(error, TektonError):
        _logger.error("a request of Agent2Agent failed", exc_info=error)
        return A2aError(Kind.INTERNAL_ERROR, "an error on our side; the log has the details")
    for known, kind in _KINDS:
        if isinstance(error, known):
            return A2aError(kind, str(error))
    return _refused(error)


def _refused(error: TektonError) -> A2aError:
    status = status_of(error)
    kind = Kind.REFUSED if status < 500 or status == 503 else Kind.INTERNAL_ERROR
    if isinstance(error, UnsupportedMediaTypeError):
        kind = Kind.CONTENT_TYPE_NOT_SUPPORTED
    elif status == 413:
        kind = Kind.INVALID_REQUEST
    text = f"{error}; {error.hint}" if error.hint else str(error)
    headers = [(name, value) for name, value in headers_of(error) if name in _KEPT]
    return A2aError(kind, text, reason=error.code.upper(), status=status, headers=headers)


_KEPT: Final = frozenset({"retry-after", "www-authenticate", "allow"})


def rpc_error(error: A2aError, request_id: str | int | None) -> bytes:
    """*error* as the answer of JSON-RPC to the request of that id."""
    told = {"code": error.kind.value[0], "message": error.message, "data": error.details}
    return encode({"jsonrpc": "2.0", "id": request_id, "error": told})


def rpc_answer(error: Exception) -> Response:
    """*error* as the answer of JSON-RPC to a request that was never looked at."""
    told = error_of(error)
    return Response(told.status, rpc_error(told, None), told.headers)


def rest_error(error: A2aError) -> bytes:
    """*error* as a google.rpc.Status."""
    told = {"code": error.status, "status": error.grpc, "message": error.message, "details": error.details}
    return encode({"error": told})


def rest_answer(error: Exception) -> Response:
    """*error* as the answer of the binding HTTP+JSON."""
    told = error_of(error)
    return Response(told.status, rest_error(told), told.headers, MEDIA_TYPE)
