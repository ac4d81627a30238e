"""What the control plane shows to a component that it calls for somebody.

It must not lend its own rights. A component lets in whoever is on its machine (`auth="auto"`), and the control plane
is; so a call that said nothing of who makes it would give everybody who may call tools what belongs to the users of
this machine (the "confused deputy", Hardy 1988). The rules:

* The component gets a token for it alone, with the subject and those roles of the caller that he has shown: no more
  than he could ask for himself (`POST /api/auth/token`), and nothing that is of use anywhere else. What the caller has
  shown to us goes no further, and neither does anything of ours.
* A component whose id is the audience of our own tokens gets one that is for no control plane.
* Where no token can be made (a secret signs, or the caller has shown nothing), the component is told nothing. That it
  does not take him for somebody on its machine who is not, the call says that it was passed on (`Forwarded`).

Tokens live for two minutes, or as long as what the caller has shown, and are shown for half of that. Who may call no
more does not get to the point where one is shown.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from tekton.auth.principal import NOBODY, Principal
from tekton.auth.terms import AUDIENCE
from tekton.service.security import Security

LIFE: Final = 120.0
_MOST: Final = 1024
_PASSED_ON: Final = {"Forwarded": "for=unknown"}


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """For whom something is called, and whether he is on this machine and speaks for himself (no proxy for him)."""

    principal: Principal
    is_local: bool


SOMEBODY: Final = OnBehalf(NOBODY, is_local=False)
"""One of whom nothing is known."""


class _Pass(NamedTuple):
    text: str
    until: float
    expires_at: float
    epoch: int


class CallerPasses:
    """Makes the headers that say who calls."""

    def __init__(self, security: Security) -> None:
        self._security = security
        self._passes: OrderedDict[tuple[str, tuple[str, ...], str], _Pass] = OrderedDict()

    async def headers(self, caller: OnBehalf, component_id: str) -> dict[str, str]:
        """What *component_id* is shown when it is called for *caller*."""
        token = await self._token(caller.principal, component_id)
        if token is not None:
            return {"Authorization": f"Bearer {token}"}
        return {} if caller.is_local else dict(_PASSED_ON)

    async def _token(self, principal: Principal, component_id: str) -> str | None:
        if principal.via == "none" or not self._security.jwks():
            return None
        key = (principal.subject, principal.roles, component_id)
        known = self._passes.get(key)
        if known is None or not self._holds(known, principal.expires_at):
            known = self._passes[key] = await self._make(principal, component_id)
            while len(self._passes) > _MOST:
                self._passes.popitem(last=False)
        return known.text

    def _holds(self, known: _Pass, limit: float | None) -> bool:
        # The same subject may have shown something before that is valid for longer.
        if limit is not None and known.expires_at > limit:
            return False
        return known.until > self._security.now() and known.epoch == self._security.policy_epoch

    async def _make(self, principal: Principal, component_id: str) -> _Pass:
        epoch, now = self._security.policy_epoch, self._security.now()
        left = LIFE if principal.expires_at is None else principal.expires_at - now
        life = max(1.0, min(LIFE, left))
        # One for the audience of our own tokens would be a credential for us.
        audience = component_id if component_id != AUDIENCE else f"component:{component_id}"
        issued = await self._security.issue(principal.subject, principal.roles, life, audience=audience)
        return _Pass(issued.text, now + life / 2, issued.claims.expires_at, epoch)
