"""Who may do what, in its first form: the owner may do everything, other callers on this machine a little.

The owner is who reaches the Unix socket (it lies in a directory that only the owner can enter) or presents the
credential that `tekton up` leaves there. A policy is any function like `LocalPolicy.__call__`.
"""

import hmac
from collections.abc import Callable, Sequence

from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.request import Request
from tekton.gateway.router import Route

Policy = Callable[[Request, Route], None]
"""Returns when the request may use the route; raises CredentialRequiredError or PermissionDeniedError when not."""

PUBLIC = "public"
ANONYMOUS = frozenset({"components:read", "components:register", "components:heartbeat"})
"""What callers on this machine may do without a credential: read, and speak for themselves."""


class LocalPolicy:
    """The policy of a control plane for one machine.

    Without *credential* only the Unix socket is the owner's. With *anonymous* false, callers without one get what is
    public and no more.
    """

    def __init__(self, credential: str | None = None, *, anonymous: bool = True) -> None:
        self._credential = credential.encode() if credential else None
        self._granted = ANONYMOUS if anonymous else frozenset[str]()

    def __call__(self, request: Request, route: Route) -> None:
        permission = route.permission
        if permission == PUBLIC:
            return
        if "authorization" in request.headers:
            self._check_credential(request.headers.get_all("authorization"))
            request.owner = True
            return
        peer = request.peer
        if peer == "socket":
            request.owner = True
        elif peer == "remote" or permission not in self._granted:
            raise CredentialRequiredError(f"{permission} needs a credential")

    def _check_credential(self, values: Sequence[str]) -> None:
        scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        known = self._credential
        if known is None or scheme.lower() != "bearer" or not hmac.compare_digest(credential.strip().encode(), known):
            raise CredentialRequiredError("the credential is not valid")
