"""Who one is, and tokens: given out, taken back, and what others need in order to verify them."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from tekton.auth.principal import Principal, Via
from tekton.auth.roles import ACTIONS, PERMISSIONS, permission_of
from tekton.auth.terms import AUDIENCE
from tekton.gateway.auth import AUTHENTICATED, PUBLIC
from tekton.gateway.errors import (
    CredentialRequiredError,
    InvalidInputError,
    InvalidParameterError,
    PermissionDeniedError,
)
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.tickets import LIFE
from tekton.service.api.delegation import (
    chosen_audience,
    chosen_claims,
    chosen_roles,
    chosen_subject,
    lifetime,
)
from tekton.service.system import System
from tekton.utils.tekton_errors import InvalidTokenError, StorageBusyError, StorageFullError, StorageUnknownError
from tekton.utils.tekton_ids import nearest_name

_STORAGE = (StorageBusyError, StorageFullError, StorageUnknownError)
Reason = Annotated[str, msgspec.Meta(max_length=256)]
Lifetime = Annotated[float, msgspec.Meta(ge=1, le=86_400)]


class WhoAmI(msgspec.Struct, frozen=True):
    """Whom the control plane takes the caller for.

    `via` is how that was proved: `socket`, `credential`, `token`, `key`, or `none`. `permissions` hold everywhere,
    `own` and `matching` for single components: lists of the permission and the id of the component, or a pattern.
    """

    subject: str
    roles: Sequence[str]
    via: Via
    component_id: str | None
    expires_at: float | None
    permissions: list[str]
    own: list[tuple[str, str]]
    matching: list[tuple[str, str]]


class CanIQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A permission, or an action that is one, and for which component."""

    action: Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted((*PERMISSIONS, *ACTIONS))})]
    component_id: str | None = None


class CanI(msgspec.Struct, frozen=True):
    """Whether the caller may do that."""

    permission: str
    component_id: str | None
    allowed: bool


class TokenOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for the caller, or for another `subject`; `expires_in` is in seconds.

    `audience` is the component that is to accept it; without one, the control plane. Without `roles` it has all of the
    subject's. `claims` are further members, and no roles.
    """

    audience: str | None = None
    subject: str | None = None
    roles: list[str] | None = None
    expires_in: Lifetime | None = None
    claims: dict[str, Any] = {}


class TokenAnswer(msgspec.Struct, frozen=True):
    """The token, and what it states. It is not kept."""

    token: str
    token_id: str
    subject: str
    roles: Sequence[str]
    issued_at: float
    expires_at: float


class TicketAnswer(msgspec.Struct, frozen=True):
    """A ticket that opens one socket or event stream within `expires_in` seconds. It is not kept."""

    ticket: str
    expires_in: float


class Revoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not accepted any more: a `token`, or the one with a `token_id`, or all tokens that a `subject` has.

    With `bar` nothing is accepted from the subject, keys and later tokens included, until it is told with `restore`.
    With `roles` only these do not count any more, in whatever the subject has or will have: roles that were bound to it
    by making a token or a key.
    """

    token: str | None = None
    token_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    bar: bool = False
    restore: bool = False
    roles: Annotated[list[str], msgspec.Meta(max_length=16)] = []
    reason: Reason = ""


class Revoked(msgspec.Struct, frozen=True):
    """What was revoked: `token:<id>`, `subject:<name>` or `roles:<name>`."""

    revoked: str


class RevocationView(msgspec.Struct, frozen=True):
    """One revocation: `about` is `token:<id>` or `subject:<name>`.

    Of a subject, tokens are meant that were issued at `issued_up_to` or before; null: all, and keys. After
    `useless_at` it is forgotten.
    """

    about: str
    issued_up_to: int | None
    useless_at: float | None


class RevocationList(msgspec.Struct, frozen=True):
    """All that is revoked. `epoch` changes with each of them, and begins anew when the control plane does."""

    epoch: int
    items: list[RevocationView]


class KeySet(msgspec.Struct, frozen=True):
    """A JSON Web Key Set (RFC 7517); empty where a secret signs."""

    keys: list[dict[str, str]]


class Auth:
    """Handlers over the security of the system."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def whoami(self, request: Request) -> WhoAmI:
        principal = self._caller(request)
        grants = principal.grants
        return WhoAmI(
            subject=principal.subject,
            roles=principal.roles,
            via=principal.via,
            component_id=principal.component_id,
            expires_at=principal.expires_at,
            permissions=sorted(grants.everywhere),
            own=sorted(grants.own),
            matching=sorted(grants.matching),
        )

    async def can_i(self, request: Request) -> CanI:
        query: CanIQuery = request.query
        permission = permission_of(query.action)
        if permission is None:
            nearest = nearest_name(query.action, [*PERMISSIONS, *ACTIONS])
            raise InvalidParameterError("action", f"there is no permission {query.action[:64]!r}", nearest)
        allowed = self._system.security.policy.may(self._caller(request), permission, query.component_id)
        return CanI(permission, query.component_id, allowed)

    async def token(self, request: Request) -> TokenAnswer:
        order: TokenOrder = request.body
        security, caller = self._system.security, request.principal
        subject = chosen_subject(caller, order.subject)
        roles = chosen_roles(security, caller, subject, order.roles)
        expires_in = lifetime(security, caller, subject, order.expires_in)
        audience = chosen_audience(security, order.audience)
        claims_wanted = chosen_claims(order.claims)
        if security.revocations.is_barred(subject):
            raise InvalidInputError("/subject", f"nothing is accepted from {subject} until it is restored")
        await security.bind(subject, roles)
        try:
            text, claims = await security.issue(subject, roles, expires_in, claims_wanted, audience=audience)
        except ValueError as error:
            raise InvalidInputError("/claims", str(error)) from None
        at = "" if audience == AUDIENCE else f" at {audience}"
        detail = f"{subject} [{', '.join(roles)}]{at} for {expires_in:g} s"
        await self._system.registry.audit.record("token.issue", claims.token_id, detail=detail)
        return TokenAnswer(text, claims.token_id, subject, roles, claims.issued_at, claims.expires_at)

    async def ticket(self, request: Request) -> TicketAnswer:
        made = self._system.security.tickets.issue(request)
        await self._system.registry.audit.record("ticket.issue", made.id, detail=request.principal.subject)
        return TicketAnswer(made.text, LIFE)

    async def revoke(self, request: Request) -> Revoked:
        order: Revoke = request.body
        if sum(one is not None for one in (order.token, order.token_id, order.subject)) != 1:
            raise InvalidInputError("", "expected one of token, token_id and subject")
        if order.roles and order.subject is None:
            raise InvalidInputError("/roles", "roles are taken from a subject")
        if order.token is not None:
            return await self._revoke_token(request.principal, order.token, order.reason)
        self._check_manager(request.principal)
        if order.token_id is not None:
            await self._system.security.revoke_id(order.token_id, order.reason)
            return Revoked(f"token:{order.token_id}")
        return await self._revoke_subject(order.subject or "", order)

    async def revocations(self, _: Request) -> RevocationList:
        known = self._system.security.revocations
        items = [RevocationView(about, one.issued_up_to, one.useless_at) for about, one in known.listed().items()]
        return RevocationList(known.epoch, items)

    async def jwks(self, _: Request) -> KeySet:
        return KeySet(self._system.security.jwks())

    def _caller(self, request: Request) -> Principal:
        return self._system.security.policy.principal_of(request)

    async def _revoke_token(self, caller: Principal, token: str, reason: str) -> Revoked:
        try:
            claims = self._system.security.verify(token)
        except InvalidTokenError:
            # It is accepted nowhere, which is all that was asked for.
            raise InvalidInputError("/token", "this is no token that is valid") from None
        if claims.subject != caller.subject:
            self._check_manager(caller)
        await self._system.security.revoke(claims, reason)
        return Revoked(f"token:{claims.token_id}")

    async def _revoke_subject(self, subject: str, order: Revoke) -> Revoked:
        security = self._system.security
        if order.bar + order.restore + bool(order.roles) > 1:
            raise InvalidInputError("/restore", "only one of bar, restore and roles")
        if order.roles:
            return await self._unbind(subject, order.roles)
        if order.bar:
            await security.bar(subject, order.reason)
        elif order.restore:
            await security.restore(subject)
        else:
            await security.revoke_issued(subject, order.reason)
        return Revoked(f"subject:{subject}")

    async def _unbind(self, subject: str, roles: Sequence[str]) -> Revoked:
        security = self._system.security
        await security.unbind(subject, roles)
        # What is left is bound by what only its owner can change.
        if left := security.bound(subject).intersection(roles):
            raise InvalidInputError("/roles", f"{min(left)} is bound to {subject} by the configuration")
        return Revoked(f"roles:{subject}")

    def _check_manager(self, caller: Principal) -> None:
        if not caller.grants.allows("auth:manage"):
            raise PermissionDeniedError("auth:manage")


def routes(system: System) -> list[Route]:
    """The routes about callers and tokens."""
    api = Auth(system)
    return [
        Route(
            "GET",
            "/api/auth/whoami",
            api.whoami,
            summary="Whom the control plane takes the caller for",
            permission=PUBLIC,
            response=WhoAmI,
            errors=(CredentialRequiredError,),
        ),
        Route(
            "GET",
            "/api/auth/can-i",
            api.can_i,
            summary="Whether the caller may do something",
            permission=PUBLIC,
            query=CanIQuery,
            response=CanI,
            errors=(CredentialRequiredError,),
        ),
        Route(
            "POST",
            "/api/auth/token",
            api.token,
            summary="A token for the caller, or for somebody else",
            permission=AUTHENTICATED,
            body=TokenOrder,
            response=TokenAnswer,
            repeats="known",
            status=201,
            errors=(PermissionDeniedError, *_STORAGE),
        ),
        Route(
            "POST",
            "/api/auth/ticket",
            api.ticket,
            summary="A ticket that opens one socket or event stream, for browsers",
            permission=AUTHENTICATED,
            response=TicketAnswer,
            repeats="known",
            status=201,
            errors=_STORAGE,
        ),
        Route(
            "POST",
            "/api/auth/revoke",
            api.revoke,
            summary="Accept a token, or what a subject has, no more",
            permission=AUTHENTICATED,
            body=Revoke,
            response=Revoked,
            errors=(PermissionDeniedError, *_STORAGE),
        ),
        Route(
            "GET",
            "/api/auth/revocations",
            api.revocations,
            summary="All that is revoked, for those who verify tokens",
            permission=AUTHENTICATED,
            response=RevocationList,
        ),
        Route(
            "GET",
            "/.well-known/jwks.json",
            api.jwks,
            summary="The keys with which tokens are verified",
            permission=PUBLIC,
            response=KeySet,
        ),
    ]
