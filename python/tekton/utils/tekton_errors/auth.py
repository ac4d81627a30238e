"""Tokens and keys."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "ApiKeyNotFoundError",
    "InvalidTokenError",
    "KeyLimitError",
    "KeyRotationError",
]


class InvalidTokenError(TektonError):
    """A token or an API key that proves nothing. `reason` is for the log: the sender learns only that it is no good."""

    code = "invalid_token"

    def __init__(self, reason: str) -> None:
        self._reason = reason
        super().__init__("the token is not valid")

    @property
    def reason(self) -> str:
        """What is wrong with it. Never sent to anybody."""
        return self._reason


class KeyLimitError(TektonError):
    """A subject has as many live API keys as it may have. Nothing was changed."""

    code = "key_limit"
    hint = "revoke one of them, or rotate: the old key then ends by itself"

    def __init__(self, subject: str, limit: int) -> None:
        self.subject = subject
        self.limit = limit
        super().__init__(f"{subject} has {limit} live API keys already")


class KeyRotationError(TektonError):
    """The keys that sign tokens cannot be rotated: there is a secret in place of them, or too many still verify."""

    code = "key_rotation"
    hint = "a secret is replaced where it is set, for all at once; without one, Tekton makes keys that rotate"


class ApiKeyNotFoundError(TektonError):
    """There is no such API key, or none that the caller may know of."""

    code = "api_key_not_found"
    hint = "tekton auth key list"

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no API key {key_id!r}")
