"""Requests to an HTTP API: keys of retries, and refusals without a class of their own."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AnswerNotKeptError",
    "IdempotencyError",
    "IdempotencyKeyReusedError",
    "InvalidIdempotencyKeyError",
    "OutcomeUnknownError",
    "ProblemError",
    "RequestRunningError",
    "TooManyIdempotencyKeysError",
]


class IdempotencyError(TektonError):
    """Base of what is answered because of the `Idempotency-Key` of a request. The request was not carried out now."""

    code = "idempotency"


class InvalidIdempotencyKeyError(IdempotencyError):
    """The key is not 1 to 255 visible ASCII characters, or there are several."""

    code = "idempotency_key_invalid"
    hint = "send one key of 1 to 255 visible ASCII characters, such as a random UUID"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key: expected one key of 1 to 255 visible ASCII characters")


class IdempotencyKeyReusedError(IdempotencyError):
    """The same caller has sent another request with this key."""

    code = "idempotency_key_reused"
    hint = "send each request with a key of its own, and repeat it exactly as it was"

    def __init__(self) -> None:
        super().__init__("this key belongs to another request: its method, path, query or body was different")


class RequestRunningError(IdempotencyError):
    """The request with this key is being carried out. Its answer is there when it is asked for later."""

    code = "request_running"

    def __init__(self) -> None:
        super().__init__("the first request with this key is still being carried out")


class OutcomeUnknownError(IdempotencyError):
    """The request was begun, and nobody knows whether it was done: whoever did it was stopped. It is not done again.

    `begun_at` is in wall-clock seconds.
    """

    code = "outcome_unknown"
    hint = (
        "look at what it is about (tekton ps, tekton why) and at the entries of the audit log whose request is the key"
        " (tekton audit); if it is still wanted, send it with a new key"
    )

    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at
        super().__init__("the request was begun, and it is not known whether it was done; it was not done again")


class AnswerNotKeptError(IdempotencyError):
    """The request was carried out, and its answer, with the status `answered`, is not kept: secret, or too large."""

    code = "answer_not_kept"
    hint = "look at what it is about; if it was a token or an API key, revoke it and make another one"

    def __init__(self, answered: int) -> None:
        self.answered = answered
        super().__init__(f"the request was answered with {answered} before; the answer itself is not kept")


class TooManyIdempotencyKeysError(IdempotencyError):
    """There is no room for another key until the oldest are a day old. Nothing was done."""

    code = "too_many_idempotency_keys"
    hint = "send keys only with what must not be done twice"

    def __init__(self, keys: int) -> None:
        self.keys = keys
        super().__init__(f"{keys} keys are remembered already, and each is for a day")


class ProblemError(TektonError):
    """An HTTP API refused, for a reason that has no class of its own here. `status` is that of the answer."""

    pointer: str
    """Leads to what is wrong with a body; there is none unless the answer has one."""

    def __init__(self, status: int, code: str, detail: str, hint: str | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        super().__init__(detail)
