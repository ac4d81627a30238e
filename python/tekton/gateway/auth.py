"""From a request to the principal that makes it, and whether that one may use a route.

* What an `Authorization` header says decides alone: it is right, or the request is refused, however else it came.
* Without one, whoever reaches the Unix socket is the owner: it lies in a directory that only the owner can enter.
* Without one, callers on this machine are anonymous, where that is let in (`Anonymous`); all others are nobody.
* What a proxy has passed on (`Forwarded`, `X-Forwarded-…`) is neither local nor the Unix socket's.
* Without one, a socket or an event stream may be opened with a ticket (`tickets`), and is then as if it had the header.
* Refused credentials all look alike. Why one was refused is told to the server alone (`AccessPolicy.report`).
* After too many of them nobody looks at what is shown for a while (`logins`), unless it was valid before.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from tekton.auth.principal import ANONYMOUS, NOBODY, OWNER, Principal
from tekton.auth.roles import SCOPED
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError
from tekton.gateway.logins import LoginThrottle, account_of
from tekton.gateway.request import Request
from tekton.gateway.router import AUTHENTICATED, PUBLIC, Route
from tekton.gateway.tickets import Standing, Tickets, shown_ticket

__all__ = [
    "AUTHENTICATED",
    "PUBLIC",
    "AccessPolicy",
    "Anonymous",
    "InvalidCredentialError",
    "Policy",
    "anonymous_access",
]

Policy = Callable[[Request, Route], None]
"""Returns when the request may use the route, and says who makes it (`request.principal`).

Raises CredentialRequiredError or PermissionDeniedError when not.
"""

Anonymous = Literal["nobody", "local", "everybody"]
"""Who gets the role `anonymous` without showing anything: nobody, callers on this machine, or everybody."""

Identify = Callable[[str], Principal]
"""The principal that a bearer credential proves. Raises InvalidCredentialError."""

MAX_CREDENTIAL: Final = 8192
"""Characters: what is longer is refused before anything looks into it."""

_REMEMBERED: Final = 4096
_UNIFORM: Final = "this needs a valid credential"
_USELESS: Final = "is no ticket of ours that is still good"


class InvalidCredentialError(CredentialRequiredError):
    """A credential that proves nothing. *reason* is for the audit log; the caller learns only that it is not valid."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        super().__init__(_UNIFORM)

    @property
    def reason(self) -> str:
        """Why, in a few words, without any part of the credential."""
        return self._reason


def anonymous_access(enable_auth: bool | Literal["auto"]) -> Anonymous:
    """Whom the setting `enable_auth` lets in without a credential."""
    return "local" if enable_auth == "auto" else "nobody" if enable_auth else "everybody"


class _Known(NamedTuple):
    principal: Principal
    expires_at: float
    epoch: int


def _nothing_known(_: str) -> Principal:
    raise InvalidCredentialError("no credentials are known here")


def _not_told(address: str, reason: str) -> None:
    pass


class AccessPolicy:
    """Decides by what principals are granted; see the module.

    *identify* looks into credentials; what it finds is remembered until that expires (on *clock*), or *epoch* answers
    something else than before: a revocation, another configuration. *guarded* tells for which components nobody speaks
    without a credential. *report* gets the address and the reason of each credential that was refused, and *logins*
    says when there were too many; without it there are never. *tickets* are taken where there are any.
    """

    def __init__(
        self,
        identify: Identify = _nothing_known,
        *,
        anonymous: Anonymous = "local",
        epoch: Callable[[], int] = lambda: 0,
        guarded: Callable[[str], bool] = lambda _: False,
        report: Callable[[str, str], None] = _not_told,
        logins: LoginThrottle | None = None,
        tickets: Tickets | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.anonymous: Anonymous = anonymous
        self._identify = identify
        self._epoch = epoch
        self._guarded = guarded
        self._report = report
        self._logins = logins
        self._tickets = tickets
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def __call__(self, request: Request, route: Route) -> None:
        """See `Policy`. What is public is open to all, whatever they show; they are not looked at."""
        if route.permission == PUBLIC:
            return
        if route.tickets and request.ticket is None:
            self._take_ticket(request)
        principal = request.principal = self.principal_of(request)
        if route.permission == AUTHENTICATED:
            if principal.via == "none":
                raise CredentialRequiredError(_UNIFORM)
            return
        self.permit(principal, route.permission, request.params.get("component_id"))

    def principal_of(self, request: Request) -> Principal:
        """Who makes the request. Raises CredentialRequiredError for a credential that is not valid.

        Raises RateLimitedError after too many of those, and looks at none.
        """
        headers = request.headers
        if "authorization" in headers:
            return self._shown(headers.get_all("authorization"), request)
        if request.ticket is not None:
            standing: Standing = request.ticket
            return standing.principal if standing.shown is None else self._shown([standing.shown], request)
        peer = request.peer
        if peer == "socket":
            return OWNER
        if self.anonymous == "everybody" or (self.anonymous == "local" and peer == "local"):
            return ANONYMOUS
        return NOBODY

    def permit(self, principal: Principal, permission: str, component_id: str | None) -> None:
        """Return when *principal* may do that to *component_id*.

        Where no component is named, a permission that is about one (`SCOPED`) is enough for any: whom it is about is
        still to be checked. Raises CredentialRequiredError for who has shown nothing, else PermissionDeniedError.
        """
        grants = principal.grants
        unnamed = component_id is None and permission in SCOPED
        if grants.allows_some(permission) if unnamed else grants.allows(permission, component_id):
            if principal.via != "none" or permission not in SCOPED:
                return
            if component_id is None or not self._guarded(component_id):
                return
        if principal.via == "none":
            raise CredentialRequiredError(_UNIFORM)
        about = "" if component_id is None or permission not in SCOPED else f" for {component_id}"
        raise PermissionDeniedError(permission, f"{permission}{about} is not granted to {principal.subject}")

    def may(self, principal: Principal, permission: str, component_id: str | None = None) -> bool:
        """Whether *principal* may do that to *component_id*; without one, to all components."""
        if component_id is None and not principal.grants.allows(permission):
            return False
        try:
            self.permit(principal, permission, component_id)
        except (CredentialRequiredError, PermissionDeniedError):
            return False
        return True

    def _shown(self, values: Sequence[str], request: Request) -> Principal:
        known = self._known.get(values[0]) if len(values) == 1 else None
        if known is not None:
            if known.epoch == self._epoch() and known.expires_at > self._clock.time():
                return known.principal
            del self._known[values[0]]
        if known is None:
            self._check_tries(values, request)
        try:
            return self._learn(values)
        except InvalidCredentialError as error:
            self._failed(request, _account(values), error.reason)
            raise

    def _take_ticket(self, request: Request) -> None:
        """Take the ticket in the query, if there is one and no header. Raises as `principal_of`."""
        if self._tickets is None or "authorization" in request.headers:
            return
        text = shown_ticket(request.query_string)
        if text is None:
            return
        self._check_tries((), request)
        request.ticket = self._tickets.redeem(text)
        if request.ticket is None:
            self._failed(request, None, _USELESS)
            raise InvalidCredentialError(_USELESS)

    def _failed(self, request: Request, account: str | None, reason: str) -> None:
        self._report(request.client, reason)
        if self._logins is not None:
            self._logins.failed(request.client, account, self._clock.monotonic())

    def _check_tries(self, values: Sequence[str], request: Request) -> None:
        if self._logins is not None:
            self._logins.check(request.client, _account(values), self._clock.monotonic())

    def _learn(self, values: Sequence[str]) -> Principal:
        epoch = self._epoch()
        principal = self._identify(_bearer(values))
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        expires_at = float("inf") if principal.expires_at is None else principal.expires_at
        self._known[values[0]] = _Known(principal, expires_at, epoch)
        return principal


def _account(values: Sequence[str]) -> str | None:
    return account_of(values[0].partition(" ")[2]) if values else None


def _bearer(values: Sequence[str]) -> str:
    if len(values) != 1:
        raise InvalidCredentialError("several Authorization headers" if values else "an unreadable header")
    scheme, _, credential = values[0].partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidCredentialError("not a bearer credential")
    if len(credential) > MAX_CREDENTIAL:
        raise InvalidCredentialError("too long")
    return credential.strip()
