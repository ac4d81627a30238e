"""Principals: who makes a request, as far as that was proved.

A principal is made where the proof is checked, and says how (`via`). What it may do was settled then: `grants` are
those roles of the subject that the policy of the server binds to it, not what a token says of itself.
"""

from dataclasses import dataclass
from typing import Final, Literal

from tekton.auth.roles import NO_GRANTS, Grants, RoleTable

Via = Literal["socket", "credential", "token", "key", "none"]
"""The proof: the Unix socket, the credential of the owner or of a component, a token, an API key, or none at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who makes requests.

    `component_id` is the component, or the unit of one, that it may speak for. `token_id` is the id of the token or key
    that was shown, `expires_at` (seconds since the epoch) when that ceases to hold.
    """

    subject: str
    roles: tuple[str, ...]
    component_id: str | None = None
    via: Via
    grants: Grants
    token_id: str | None = None
    expires_at: float | None = None


def owner(via: Via) -> Principal:
    """The one whose system this is: who may enter its run directory, or read the credential there."""
    return Principal(subject="owner", roles=("admin",), via=via, grants=RoleTable().grants(["admin"]))


OWNER: Final = owner("socket")
ANONYMOUS: Final = Principal(
    subject="anonymous", roles=("anonymous",), via="none", grants=RoleTable().grants(["anonymous"])
)
"""Somebody on this machine who has shown nothing, where that is let in."""
NOBODY: Final = Principal(subject="anonymous", roles=(), via="none", grants=NO_GRANTS)
"""Somebody who has shown nothing, where that is not let in: only what is public is open."""
