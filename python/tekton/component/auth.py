"""Who may call a component.

The setting `auth` means what `enable_auth` means for the control plane. It decides about callers who show nothing:

    "auto"     those on this machine may use what asks for no permission of its own
    True       nobody may, but for what is public
    False      everybody may use what asks for no permission of its own

Who shows a token is who the token says, and a token that is not valid is refused, where nothing is needed, too. A route
may ask for more (`permission`): to have shown who one is (`authenticated`), or one of the permissions that the control
plane knows, for this component. What is `public` is open to all, and what they show is not looked at.
"""

import logging
from typing import Any, Final, Literal

from tekton.auth.principal import ANONYMOUS, NOBODY, Principal
from tekton.clock import Clock
from tekton.gateway.asgi import AsgiApp, AsgiReceive, AsgiScope, AsgiSend
from tekton.gateway.auth import AUTHENTICATED, PUBLIC, AccessPolicy, InvalidCredentialError, anonymous_access
from tekton.gateway.errors import CredentialRequiredError, UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import CALLERS, Route
from tekton.utils.remote_auth import RemoteAuth, UnverifiableError
from tekton.utils.tekton_errors import InvalidTokenError, TektonError

Auth = bool | Literal["auto"]
"""Who may call without a token: "auto", callers on this machine; True, nobody; False, everybody."""

_UNIFORM: Final = "this needs a valid credential"
_REMEMBERED: Final = 4096
_PROBED: Final = frozenset({"/api/health", "/api/ready"})

_logger = logging.getLogger("tekton.auth")


class Callers:
    """The policy of *component_id*. Tokens are verified by `remote`; without one, none is accepted."""

    def __init__(self, component_id: str, auth: Auth, clock: Clock) -> None:
        if auth not in ("auto", True, False):
            raise ValueError(f'auth is "auto", True or False, not {auth!r}')
        self.remote: RemoteAuth | None = None
        self._component_id = component_id
        self._access = AccessPolicy(
            self._identify, anonymous=anonymous_access(auth), epoch=self._epoch, report=self._report, clock=clock
        )
        self._shown: dict[str, Principal] = {}

    def __call__(self, request: Request, route: Route) -> None:
        """See `tekton.gateway.auth.Policy`."""
        if route.permission == PUBLIC:
            return
        principal = request.principal = self._access.principal_of(request)
        if route.permission == CALLERS:
            allowed = principal is not NOBODY
        elif route.permission == AUTHENTICATED:
            allowed = principal.via != "none"
        else:
            self._access.permit(principal, route.permission, self._component_id)
            return
        if not allowed:
            raise CredentialRequiredError(_UNIFORM)

    def lets_in(self, request: Request) -> bool:
        """Whether who makes a request, of a public route, may use what asks for no permission."""
        try:
            return self._access.principal_of(request) is not NOBODY
        except TektonError:
            return False

    def has_seen(self, authorization: str) -> bool:
        """Whether that header has come from a caller whom it lets in: then it is nobody else's to see."""
        return authorization.partition(" ")[2].strip() in self._shown

    def must_learn(self, scope: Any) -> bool:
        """Whether to `learn` before the policy is asked about a request."""
        if self.remote is None or scope.path in _PROBED:
            return False
        authorization = scope.headers.get("authorization")
        return authorization is not None and self.remote.lacks(_token(authorization))

    async def learn(self, scope: Any) -> None:
        """Get from the control plane what is needed to judge a request. Takes some seconds at most."""
        authorization = scope.headers.get("authorization")
        if self.remote is not None and authorization is not None:
            await self.remote.catch_up(_token(authorization))

    def before_app(self, app: AsgiApp, permission: str) -> AsgiApp:
        """*app*, which is told who calls (`scope["state"]["principal"]`), and not with which credential.

        An application whose *permission* is `public` sees to that itself, and is given what is sent.
        """
        if permission == PUBLIC:
            return app

        async def serve(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
            if scope["type"] != "lifespan":
                shown = [value for name, value in scope["headers"] if name == b"authorization"]
                headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
                principal = self._principal(shown)
                scope = {**scope, "headers": headers, "state": {**scope.get("state", {}), "principal": principal}}
            await app(scope, receive, send)

        return serve

    def _principal(self, shown: list[bytes]) -> Principal:
        """Who has shown that. The policy has let him pass: with nothing, as somebody anonymous."""
        if not shown:
            return ANONYMOUS
        token = _token(shown[0].decode("latin-1"))
        return self._shown.get(token) or self._identify(token)

    def _identify(self, credential: str) -> Principal:
        if self.remote is None:
            raise InvalidCredentialError("nothing can be verified without a control plane")
        try:
            principal = self.remote.identify(credential)
        except InvalidTokenError as error:
            raise InvalidCredentialError(error.reason) from None
        except UnverifiableError as error:
            _logger.debug("a caller of %s was turned away: %s", self._component_id, error)
            raise UnavailableError("who calls cannot be verified for the moment") from None
        while len(self._shown) >= _REMEMBERED:
            del self._shown[next(iter(self._shown))]
        self._shown[credential] = principal
        return principal

    def _epoch(self) -> int:
        return 0 if self.remote is None else self.remote.epoch

    def _report(self, address: str, reason: str) -> None:
        _logger.debug("%s has refused a credential from %s: it %s", self._component_id, address, reason)


def _token(authorization: str) -> str:
    return authorization.partition(" ")[2].strip()
