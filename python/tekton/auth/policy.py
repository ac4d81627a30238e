"""The policy of a control plane as it tells those who verify tokens themselves.

A token says who somebody is and which roles he claims. Which of these count, what they permit, and whether the token
still holds, is the control plane's to say: it is in a `Policy`, and a verifier that has one decides as it would.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from tekton.auth.principal import Principal
from tekton.auth.roles import ROLES, Grants, Role, RoleTable
from tekton.utils.tekton_errors import InvalidIdError, InvalidTokenError
from tekton.utils.tekton_ids import check_id

if TYPE_CHECKING:
    from tekton.auth.tokens import Claims


class PolicyRole(msgspec.Struct, frozen=True):
    """What a role permits; `components` are patterns of those for which it does, null: all."""

    permissions: list[str]
    components: list[str] | None


class Policy(msgspec.Struct, frozen=True):
    """Whose roles count, and what is not accepted any more.

    `keys` are the names of the keys that verify now, `roles` those that are not built in, `principals` the roles of
    each subject. `revoked` has `token:<id>` and `subject:<name>`, with the second up to which tokens are meant that
    were issued to the subject; null: all.
    """

    keys: list[str]
    roles: dict[str, PolicyRole]
    principals: dict[str, list[str]]
    revoked: dict[str, int | None]


class PolicyReader:
    """Judges tokens by *policy*. Raises ValueError for roles that cannot be: permissions that there are not."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._table = RoleTable({name: _role(role) for name, role in policy.roles.items() if name not in ROLES})

    def principal(self, claims: "Claims", expires_at: float) -> Principal:
        """Who shows the token that states *claims*. Raises InvalidTokenError when it is revoked."""
        if is_revoked(self._policy.revoked, claims):
            raise InvalidTokenError("is revoked")
        bound = self._policy.principals.get(claims.subject, ())
        roles = tuple(role for role in claims.roles if role in bound)
        speaks_for = as_component(claims.subject)
        return Principal(
            subject=claims.subject,
            roles=roles,
            component_id=speaks_for,
            via="token",
            grants=self._grants(roles, speaks_for),
            token_id=claims.token_id,
            expires_at=expires_at,
        )

    def _grants(self, roles: tuple[str, ...], component_id: str | None) -> Grants:
        return self._table.grants(roles, component_id)


def is_revoked(revoked: Mapping[str, int | None], claims: "Claims") -> bool:
    """Whether a token is among what is revoked: by its id, or with what its subject was given until then."""
    if not revoked:
        return False
    if f"token:{claims.token_id}" in revoked:
        return True
    subject = f"subject:{claims.subject}"
    if subject not in revoked:
        return False
    issued_up_to = revoked[subject]
    return issued_up_to is None or claims.issued_at <= issued_up_to


def as_component(subject: str) -> str | None:
    """The component that *subject* is, if it is a name that one can have."""
    try:
        return check_id(subject)
    except InvalidIdError:
        return None


def _role(role: PolicyRole) -> Role:
    return Role(frozenset(role.permissions), "all" if role.components is None else tuple(role.components))
