"""What the gateway itself refuses, before a handler has seen the request.

    GatewayError
    ├── MalformedRequestError        400  offset
    ├── CredentialRequiredError      401
    ├── PermissionDeniedError        403  permission
    │   └── ForeignOriginError       403  origin
    ├── RouteNotFoundError           404
    ├── MethodNotAllowedError        405  allowed
    ├── BodyTimeoutError             408  timeout
    ├── BodyTooLargeError            413  limit
    ├── TargetTooLongError           414  limit
    ├── UnsupportedMediaTypeError    415
    ├── MisdirectedRequestError      421  host
    ├── InvalidInputError            422  pointer
    │   └── InvalidParameterError    422  parameter
    ├── UpgradeRequiredError         426
    ├── RateLimitedError             429  retry_after
    ├── TooManyHeadersError          431  limit
    ├── HeadersTooLargeError         431  limit
    ├── UnavailableError             503
    └── OverloadedError              503  retry_after

The numbers are those of the table in `problems`.
"""

from collections.abc import Sequence

from tekton.utils.tekton_errors import TektonError


class GatewayError(TektonError):
    """Base of what the gateway refuses."""

    code = "refused"


class MalformedRequestError(GatewayError):
    """The request cannot be read. `offset` is the byte of the body at which reading failed, if it was the body."""

    code = "malformed"

    def __init__(self, problem: str, offset: int | None = None) -> None:
        if offset is not None:
            self.offset = offset
        super().__init__(problem)


class CredentialRequiredError(GatewayError):
    """Nobody vouches for the caller, or the credential presented is not valid."""

    code = "unauthenticated"
    hint = "use the Unix socket in the data directory, or send the credential stored there as a bearer token"


class PermissionDeniedError(GatewayError):
    """The caller is known and may not do this."""

    code = "forbidden"

    def __init__(self, permission: str, problem: str = "") -> None:
        self.permission = permission
        super().__init__(problem or f"{permission} is not granted")


class ForeignOriginError(PermissionDeniedError):
    """A page of another origin tried to act through the user's browser."""

    code = "foreign_origin"
    hint = "add the origin to the allowed origins if it is one of yours"

    def __init__(self, origin: str) -> None:
        self.origin = origin
        super().__init__("same origin", f"requests from the origin {origin!r} are not accepted")


class RouteNotFoundError(GatewayError):
    """No route has this path."""

    code = "route_not_found"
    hint = "see /openapi.json"

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {path[:256]}")


class MethodNotAllowedError(GatewayError):
    """The path exists, the method does not. `allowed` lists those that do."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.allowed = list(allowed)
        self.hint = f"allowed: {', '.join(allowed)}"
        super().__init__(f"{method[:32]} is not supported here")


class BodyTimeoutError(GatewayError):
    """The body did not arrive within the time allowed for it (seconds)."""

    code = "body_timeout"

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__(f"the body did not arrive within {timeout:g} s")


class BodyTooLargeError(GatewayError):
    """The body is larger than the route allows (bytes)."""

    code = "too_large"
    hint = "send less; let large content travel by reference: store it somewhere, and send its address"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


class TargetTooLongError(GatewayError):
    """Path and query together are longer than allowed (bytes)."""

    code = "target_too_long"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the request target is longer than {limit} bytes")


class UnsupportedMediaTypeError(GatewayError):
    """A body that is not JSON where JSON is expected, or none of the *known* media types where those are."""

    code = "unsupported_media_type"

    def __init__(self, found: str | None, known: Sequence[str] = ("application/json",)) -> None:
        self.hint = f"send content-type: {' or '.join(known)}"
        what = "JSON" if len(known) == 1 else "understood here"
        super().__init__(f"{found[:128]!r} is not {what}" if found else "the body has no content type")


class MisdirectedRequestError(GatewayError):
    """The request is meant for another host (a rebound DNS name, or a proxy that passes on a foreign `Host`)."""

    code = "misdirected"
    hint = "add the host to the allowed hosts if it is a name of this machine"

    def __init__(self, host: str) -> None:
        self.host = host[:256]
        super().__init__(f"this is not {self.host!r}")


class InvalidInputError(GatewayError):
    """The body is JSON but not what the route expects. `pointer` is a JSON pointer to what is wrong."""

    code = "invalid"

    def __init__(self, pointer: str, problem: str, nearest: str | None = None) -> None:
        self.pointer = pointer
        if nearest:
            self.nearest = nearest
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(problem)


class InvalidParameterError(InvalidInputError):
    """A query parameter that is unknown, repeated or of the wrong type."""

    code = "invalid_parameter"

    def __init__(self, parameter: str, problem: str, nearest: str | None = None) -> None:
        self.parameter = parameter
        super().__init__("", f"{parameter}: {problem}" if parameter else problem, nearest)


class UpgradeRequiredError(GatewayError):
    """The path speaks WebSocket, the request does not ask for it."""

    code = "upgrade_required"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is a WebSocket")


class RateLimitedError(GatewayError):
    """The caller asks for more than he may have: too fast, or too much at once, or with too many wrong credentials.

    In `retry_after` seconds there is room for one more.
    """

    code = "rate_limited"
    hint = "ask less often, and after the time that Retry-After says"

    def __init__(self, problem: str, retry_after: float) -> None:
        self.retry_after = round(retry_after, 3)
        super().__init__(problem)


class TooManyHeadersError(GatewayError):
    """More header fields than allowed."""

    code = "too_many_headers"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} header fields")


class HeadersTooLargeError(GatewayError):
    """The header fields are longer than allowed, all of them together (bytes)."""

    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes of header fields")


class UnavailableError(GatewayError):
    """This server takes no more of these for the moment: it is stopping, or has as many as it allows."""

    code = "unavailable"
    hint = "try again"


class OverloadedError(GatewayError):
    """There is more to do than can be done in time, and others come first. Nothing was done.

    `retry_after` seconds are spread, so that not all come back at once.
    """

    code = "overloaded"
    hint = "try again after the time that Retry-After says"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too much is asked of the server at the moment")
