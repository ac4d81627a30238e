"""Errors as `application/problem+json` (RFC 9457): one table from error classes to status codes.

A problem has a stable `code`, a `detail` in words, a `hint` where there is one, and the public fields of the
error. What is not a TektonError is a defect of ours: its text stays in the log.
"""

import math
from typing import Any

import msgspec

from tekton.gateway import errors as gateway
from tekton.utils import tekton_errors as tekton
from tekton.utils.tekton_errors import TektonError

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[TektonError], int] = {
    TektonError: 500,
    gateway.GatewayError: 400,
    gateway.MalformedRequestError: 400,
    gateway.CredentialRequiredError: 401,
    gateway.PermissionDeniedError: 403,
    gateway.RouteNotFoundError: 404,
    gateway.MethodNotAllowedError: 405,
    gateway.BodyTimeoutError: 408,
    gateway.BodyTooLargeError: 413,
    gateway.TargetTooLongError: 414,
    gateway.UnsupportedMediaTypeError: 415,
    gateway.MisdirectedRequestError: 421,
    gateway.InvalidInputError: 422,
    gateway.UpgradeRequiredError: 426,
    gateway.RateLimitedError: 429,
    gateway.TooManyHeadersError: 431,
    gateway.HeadersTooLargeError: 431,
    gateway.UnavailableError: 503,
    gateway.OverloadedError: 503,
    tekton.ConfigurationError: 422,
    tekton.ComponentError: 409,
    tekton.StartTimeoutError: 504,
    tekton.DependencyError: 424,
    tekton.RegistryError: 409,
    tekton.InvalidRegistrationError: 422,
    tekton.ComponentNotFoundError: 404,
    tekton.TooManyHeartbeatsError: 429,
    tekton.CursorExpiredError: 410,
    tekton.HistoryUnknownError: 410,
    tekton.StorageError: 503,
    tekton.BackupError: 409,
    tekton.SupervisionError: 409,
    tekton.TransportError: 503,
    tekton.DegradationError: 503,
    tekton.CallTimeoutError: 504,
    tekton.FallbackCycleError: 422,
    tekton.MetricError: 409,
    tekton.InvalidMetricError: 422,
    tekton.MetricNotFoundError: 404,
    tekton.MessageError: 422,
    tekton.MalformedMessageError: 400,
    tekton.NoHandlerError: 404,
    tekton.ToolError: 500,
    tekton.ToolNotFoundError: 404,
    tekton.ToolExistsError: 409,
    tekton.AmbiguousToolError: 409,
    tekton.InvalidArgumentsError: 422,
    tekton.ToolBusyError: 503,
    tekton.ToolTimeoutError: 504,
    tekton.NobodyToAskError: 409,
    tekton.ToolFailedError: 502,
    tekton.AgentError: 500,
    tekton.InvalidAgentError: 422,
    tekton.AgentNotFoundError: 404,
    tekton.AgentExistsError: 409,
    tekton.AgentLimitError: 409,
    tekton.AgentOfferedError: 409,
    tekton.NoAgentAvailableError: 503,
    tekton.AgentUnreachableError: 503,
    tekton.ConversationError: 500,
    tekton.InvalidConversationError: 422,
    tekton.ConversationNotFoundError: 404,
    tekton.ConversationExistsError: 409,
    tekton.NotParticipantError: 403,
    tekton.ConversationFullError: 409,
    tekton.ConversationLimitError: 409,
    tekton.TaskError: 500,
    tekton.InvalidTaskError: 422,
    tekton.TaskNotFoundError: 404,
    tekton.TaskExistsError: 409,
    tekton.TaskStateError: 409,
    tekton.TaskConflictError: 409,
    tekton.StaleLeaseError: 409,
    tekton.TaskCycleError: 422,
    tekton.TaskBudgetError: 409,
    tekton.StepUnknownError: 409,
    tekton.TaskFailedError: 502,
    tekton.TaskTimeoutError: 504,
    tekton.TaskCanceledError: 409,
    tekton.TaskRejectedError: 409,
    tekton.TooManyTasksError: 429,
    tekton.TaskTypeNotFoundError: 404,
    tekton.TaskTypeLimitError: 409,
    tekton.BusError: 500,
    tekton.InvalidSubjectError: 422,
    tekton.MessageTooLargeError: 413,
    tekton.TooManyHopsError: 422,
    tekton.MessageExpiredError: 504,
    tekton.NoRespondersError: 503,
    tekton.ReplyTimeoutError: 504,
    tekton.SlowConsumerError: 503,
    tekton.TooManySubscriptionsError: 429,
    tekton.BusBusyError: 503,
    tekton.PublishUnknownError: 504,
    tekton.StreamNotFoundError: 404,
    tekton.StreamOverlapError: 409,
    tekton.StreamConfiguredError: 409,
    tekton.ConsumerNotFoundError: 404,
    tekton.ConsumerExistsError: 409,
    tekton.IdempotencyError: 409,
    tekton.InvalidIdempotencyKeyError: 422,
    tekton.IdempotencyKeyReusedError: 422,
    tekton.TooManyIdempotencyKeysError: 503,
    tekton.InvalidTokenError: 401,
    tekton.KeyLimitError: 409,
    tekton.KeyRotationError: 409,
    tekton.ApiKeyNotFoundError: 404,
    tekton.TraceNotFoundError: 404,
}
"""By class; a class that is not listed has the status of its nearest base."""

RETRY_AFTER: dict[type[TektonError], int] = {
    gateway.UnavailableError: 2,
    tekton.TooManyHeartbeatsError: 1,
    tekton.StorageBusyError: 1,
    tekton.StorageFullError: 10,
    tekton.StorageUnknownError: 10,
    tekton.RequestRunningError: 1,
    tekton.TooManyIdempotencyKeysError: 60,
    tekton.ToolBusyError: 1,
    tekton.TooManyTasksError: 10,
    tekton.NoAgentAvailableError: 2,
    tekton.AgentUnreachableError: 2,
    tekton.NoRespondersError: 2,
    tekton.SlowConsumerError: 1,
    tekton.TooManySubscriptionsError: 10,
    tekton.BusBusyError: 1,
    tekton.TransportError: 2,
    tekton.BulkheadFullError: 1,
    tekton.NoFallbackAvailableError: 2,
}
"""Seconds after which asking again makes sense."""

_RESERVED = frozenset({"type", "title", "status", "detail", "code", "hint", "instance"})
_encode = msgspec.json.Encoder().encode


def status_of(error: BaseException) -> int:
    """The HTTP status that answers *error*; 500 for anything that is not a TektonError.

    What another server answered with is passed on if it is an error's: ours does not survive sending any number.
    """
    if isinstance(error, tekton.ProblemError):
        return error.status if 400 <= error.status <= 599 else 502
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def headers_of(error: BaseException) -> list[tuple[str, str]]:
    """The headers that belong to the problem: media type, and what the status asks for."""
    headers = [("content-type", MEDIA_TYPE), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    if (seconds := _retry_after(error)) is not None:
        headers.append(("retry-after", str(seconds)))
    if isinstance(error, gateway.CredentialRequiredError):
        headers.append(("www-authenticate", "Bearer"))
    if isinstance(error, gateway.MethodNotAllowedError):
        headers.append(("allow", ", ".join(error.allowed)))
    return headers


def _retry_after(error: BaseException) -> int | None:
    """Whole seconds, rounded up: what the error says itself, or what holds for its class."""
    if isinstance(error, gateway.RateLimitedError | gateway.OverloadedError):
        return math.ceil(error.retry_after)
    if isinstance(error, tekton.CircuitOpenError):
        return None if error.retry_after is None else max(1, math.ceil(error.retry_after))
    return next((RETRY_AFTER[kind] for kind in type(error).__mro__ if kind in RETRY_AFTER), None)


def to_problem(error: BaseException, instance: str) -> bytes:
    """The problem document of *error*; *instance* is the path of the request."""
    code = error.code if isinstance(error, TektonError) else "internal"
    problem: dict[str, Any] = {
        "type": f"urn:tekton:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status_of(error),
        "detail": str(error) if isinstance(error, TektonError) else "an error on our side; the log has the details",
        "code": code,
        "instance": instance[:256],
    }
    if isinstance(error, TektonError):
        if error.hint:
            problem["hint"] = error.hint
        problem |= fields_of(error)
    return _encode(problem)


def fields_of(error: TektonError) -> dict[str, Any]:
    """The fields of *error* beyond those that every error has."""
    fields = {name: value for name, value in vars(error).items() if name[0] != "_" and name not in _RESERVED}
    if isinstance(error, tekton.InvalidRegistrationError):
        fields["pointer"] = error.field
    return fields
