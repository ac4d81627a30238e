"""What a caller may hand on: to himself at most what he has, to others only if he manages that."""

from collections.abc import Mapping, Sequence

from tekton.auth.policy import as_component
from tekton.auth.principal import Principal
from tekton.auth.terms import AUDIENCE, LEEWAY
from tekton.gateway.errors import CredentialRequiredError, InvalidInputError, PermissionDeniedError
from tekton.service.security import Security
from tekton.utils.config_rules import check_subject
from tekton.utils.tekton_ids import nearest_name

_MANAGE = "auth:manage"


def chosen_subject(caller: Principal, wanted: str | None) -> str:
    """For whom it is to be: the caller, or *wanted*. Raises InvalidInputError, PermissionDeniedError."""
    if wanted is None or wanted == caller.subject:
        return caller.subject
    if not caller.grants.allows(_MANAGE):
        raise PermissionDeniedError(_MANAGE, f"{caller.subject} may ask for nothing in the name of others")
    if (problem := check_subject(wanted)) is not None:
        raise InvalidInputError("/subject", problem[0])
    return wanted


def chosen_roles(security: Security, caller: Principal, subject: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The roles that it is to have: *wanted*, or all of the subject's.

    Raises InvalidInputError for roles that do not exist, PermissionDeniedError for those that the caller cannot give.
    """
    own = subject == caller.subject
    if wanted is None:
        return caller.roles if own else tuple(sorted(security.bound(subject)))
    for place, role in enumerate(wanted):
        if role not in security.table.roles or role == "anonymous":
            raise InvalidInputError(f"/roles/{place}", f"there is no role {role[:64]!r}", nearest(security, role))
        if own and role not in caller.roles and not caller.grants.allows(_MANAGE):
            raise PermissionDeniedError(_MANAGE, f"{caller.subject} does not have the role {role}")
    return tuple(dict.fromkeys(wanted))


def nearest(security: Security, role: str) -> str | None:
    """The role that looks most like *role*."""
    return nearest_name(role, [name for name in security.table.roles if name != "anonymous"])


def chosen_audience(security: Security, wanted: str | None) -> str:
    """Who is to accept the token: the control plane, or the component *wanted*. Raises InvalidInputError."""
    if wanted is None or wanted == AUDIENCE:
        return AUDIENCE
    if as_component(wanted) is None:
        raise InvalidInputError("/audience", f"{wanted[:64]!r} is not the id of a component")
    if not security.jwks():
        raise InvalidInputError("/audience", "components cannot verify what is signed with jwt_secret")
    return wanted


def chosen_claims(wanted: Mapping[str, object]) -> Mapping[str, object]:
    """The further members that the token is to have. Raises InvalidInputError for one that claims a role."""
    if "role" in wanted:
        raise InvalidInputError("/claims/role", "the roles of a token are its roles", "roles")
    return wanted


def check_roles(caller: Principal, roles: Sequence[str]) -> None:
    """Return when *caller* may have something with *roles*. Raises PermissionDeniedError."""
    if not caller.grants.allows(_MANAGE) and (missing := [role for role in roles if role not in caller.roles]):
        raise PermissionDeniedError(_MANAGE, f"{caller.subject} does not have the role {missing[0]}")


def latest_end(security: Security, caller: Principal, subject: str) -> float | None:
    """When all must have ended that the caller asks for *subject*: for himself, with what he has shown. None: never.

    The leeway with which a token is accepted is for clocks that differ. It is not handed on, or it would add up.
    Raises CredentialRequiredError where nothing but that is left.
    """
    if subject != caller.subject or caller.expires_at is None:
        return None
    ends = caller.expires_at - LEEWAY if caller.via == "token" else caller.expires_at
    if ends - security.now() < 1.0:
        raise CredentialRequiredError("this needs a credential that has not expired")
    return ends


def lifetime(security: Security, caller: Principal, subject: str, wanted: float | None) -> float:
    """For how many seconds a token may hold. Raises CredentialRequiredError."""
    longest = min(security.token_expiry if wanted is None else wanted, security.ring.max_life)
    ends = latest_end(security, caller, subject)
    return longest if ends is None else max(1.0, min(longest, ends - security.now()))
