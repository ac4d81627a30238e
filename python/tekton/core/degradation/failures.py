"""Which errors say that a component fails, and which only that it was asked for the wrong thing.

An error of the second kind (not found, not valid, not permitted) is an answer: it counts for the component, and nobody
else is asked, who would say the same.
"""

from collections.abc import Callable

from tekton.utils import tekton_errors as tekton

IsFailure = Callable[[BaseException], bool]
"""True for an error that counts against the component which was called."""

_PASSING = frozenset({408, 425, 429})

FAILURE: dict[type[tekton.TektonError], bool] = {
    tekton.TektonError: True,
    tekton.ConfigurationError: False,
    tekton.RegistryError: False,
    tekton.TooManyHeartbeatsError: True,
    tekton.IdempotencyError: False,
    tekton.TooManyIdempotencyKeysError: True,
    tekton.InvalidTokenError: False,
    tekton.KeyLimitError: False,
    tekton.KeyRotationError: False,
    tekton.ApiKeyNotFoundError: False,
    tekton.TraceNotFoundError: False,
    tekton.BackupError: False,
    tekton.FallbackCycleError: False,
    tekton.ToolNotFoundError: False,
    tekton.ToolExistsError: False,
    tekton.AmbiguousToolError: False,
    tekton.InvalidArgumentsError: False,
    tekton.NobodyToAskError: False,
}
"""By class; an error whose class is not listed is what its nearest base is."""


def is_failure(error: BaseException) -> bool:
    """True unless *error* is about the request.

    An error of Tekton by `FAILURE`; any other with an HTTP status in `status` (ProblemError, the ClientResponseError of
    aiohttp) by that: 4xx is about the request, but not 408, 425 and 429, which are about the moment. All else is a
    failure.
    """
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return not 400 <= status <= 499 or status in _PASSING
    return next((FAILURE[kind] for kind in type(error).__mro__ if kind in FAILURE), True)
