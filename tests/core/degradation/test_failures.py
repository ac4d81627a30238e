"""Tests of tekton.core.degradation.failures: which errors count against a component."""

import pytest

from tekton.core.degradation.failures import is_failure
from tekton.utils import tekton_errors as tekton


class AnsweredError(Exception):
    """An error of a client library, with the status of the answer."""

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    "error",
    [
        tekton.ComponentNotFoundError("ghost"),
        tekton.InvalidRegistrationError("/x", "is none"),
        tekton.IllegalTransitionError("a", "ready", "starting", []),
        tekton.ConfigurationError([]),
        tekton.InvalidTokenError("expired"),
        tekton.RequestRunningError(),
        tekton.ApiKeyNotFoundError("k"),
        tekton.ProblemError(404, "not_found", "no such thing"),
        tekton.ProblemError(422, "invalid", "no such field"),
        AnsweredError(403),
        AnsweredError(400),
        AnsweredError(499),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_about_the_request_is_no_failure(error: Exception) -> None:
    assert not is_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        tekton.TransportError("http://x", "refused"),
        tekton.AllInstancesFailedError("a", []),
        tekton.ComponentError("a", "crashed"),
        tekton.StorageFullError("disk full"),
        tekton.TooManyHeartbeatsError("a", 1, 1.0),
        tekton.CircuitOpenError("a"),
        tekton.CallTimeoutError("a", 1.0),
        tekton.NoFallbackAvailableError("x", {}),
        tekton.ProblemError(500, "internal", "oops"),
        tekton.ProblemError(429, "rate_limited", "slow down"),
        AnsweredError(503),
        AnsweredError(500),
        AnsweredError(399),
        AnsweredError(425),
        AnsweredError(408),
        ConnectionError("refused"),
        TimeoutError(),
        ValueError("not JSON"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_a_failure(error: BaseException) -> None:
    assert is_failure(error)
