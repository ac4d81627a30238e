"""Who is who in this control plane, and what they may do: the one place that knows all kinds of credentials.

A role counts only if policy binds it to the subject (`role_bindings`). What a token or a key says of roles chooses
among those, and adds none.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from hmac import compare_digest
from types import MappingProxyType
from typing import Final, NamedTuple

from tekton.auth.api_keys import ApiKey, ApiKeys
from tekton.auth.key_file import KeyFile
from tekton.auth.keys import KeyRing
from tekton.auth.policy import Policy, PolicyRole, as_component
from tekton.auth.principal import Principal, Via, owner
from tekton.auth.revocations import Revocations
from tekton.auth.roles import ROLES, Role, RoleTable, Scope, permission_of
from tekton.auth.terms import AUDIENCE, LEEWAY
from tekton.auth.tokens import Claims, TokenIssuer, TokenVerifier
from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.documents import Documents
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError, anonymous_access
from tekton.gateway.logins import LoginThrottle
from tekton.gateway.tickets import Tickets
from tekton.service.component_credentials import ComponentCredentials
from tekton.service.role_bindings import RoleBindings
from tekton.utils.tekton_config import RoleSpec, TektonConfig
from tekton.utils.tekton_errors import InvalidTokenError, StorageError

_UPKEEP_INTERVAL: Final = 600.0
_KEPT: Final = 604_800.0
"""Seconds for which a key that has expired is still listed."""

_TIMER_ERROR: Final = 0.01
"""Seconds by which a timer may be early."""

_logger = logging.getLogger("tekton.security")

_KEY_PREFIX: Final = "tk_"
_SPEAK: Final = frozenset({"components:register", "components:heartbeat"})


class _Proof(NamedTuple):
    """How somebody has shown who he is, and until when that holds."""

    via: Via
    token_id: str | None
    expires_at: float | None


class IssuedToken(NamedTuple):
    """A token, and what it states."""

    text: str
    claims: Claims


class Security:
    """Identifies callers, gives out tokens and keys, and has the policy that the gateway asks.

    *credential* is the owner's. *report* gets the address and the reason of each credential that was refused.
    """

    def __init__(
        self,
        config: TektonConfig,
        documents: Documents,
        ring: KeyRing,
        *,
        credential: str,
        components: ComponentCredentials,
        clock: Clock,
        report: Callable[[str, str], None],
    ) -> None:
        self.issued = 0
        """Tokens that were given out."""
        self.revoked = 0
        """How often a token, all tokens of a subject, a subject or a key was taken back."""
        self.ring = ring
        self.revocations = Revocations(documents)
        self.api_keys = ApiKeys(documents)
        self.components = components
        self._bindings = RoleBindings(documents)
        self._credential = credential.encode()
        self._clock = clock
        self._issuer = TokenIssuer(ring)
        self._verifier = TokenVerifier(ring)
        self._reader = TokenVerifier(ring, audience=None)
        self._moved = asyncio.Event()
        self._review: Callable[[], None] = lambda: None
        self._upkeep = BackgroundTask("upkeep of credentials")
        self._adopted = 0
        self.table = RoleTable()
        self.logins = LoginThrottle()
        self.tickets = Tickets(clock)
        self.policy = AccessPolicy(
            self.identify,
            epoch=self._epoch,
            guarded=self.is_guarded,
            report=report,
            logins=self.logins,
            tickets=self.tickets,
            clock=clock,
        )
        self.adopt(config)

    def adopt(self, config: TektonConfig) -> None:
        """From now on the roles, the principals and the access of anonymous callers are those of *config*."""
        self.table = RoleTable({name: _role(spec) for name, spec in config.roles.items()})
        self._bindings.adopt(config.principals)
        self.token_expiry = config.token_expiry
        self.policy.anonymous = anonymous_access(config.enable_auth)
        self._adopted += 1
        self._take_back()

    def start(self) -> None:
        """Renew what has to be renewed, and forget what is of no use any more, from now on."""
        self._upkeep.start(self._keep_up())

    async def stop(self) -> None:
        """End what `start` began, and store when keys were used last."""
        await self._upkeep.stop()
        await self._store()

    def on_loss(self, review: Callable[[], None]) -> None:
        """Call *review* whenever somebody may have lost a right, so that what he has open can be ended."""
        self._review = review

    def know_components(
        self, runs: Callable[[str], bool], line_up: Callable[[], int], run: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """*runs* tells which components Tekton runs, *run* lists them: to those the role `component` is bound.

        *line_up* is a number that grows when those change.
        """
        self._bindings.know_components(runs, line_up, run)

    def bound(self, subject: str) -> frozenset[str]:
        """The roles that policy binds to *subject*."""
        if subject == "owner":
            return frozenset(self.table.roles) - {"anonymous"}
        return self._bindings.of(subject)

    def is_guarded(self, component_id: str) -> bool:
        """True for a component that can prove who it is, so that anonymous callers must not speak for it."""
        if self._bindings.runs(component_id):
            return True
        # Most have no roles, and every heartbeat asks.
        roles = self.bound(component_id)
        return bool(roles) and not _SPEAK.isdisjoint(_permissions(self.table, roles))

    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._clock.time()

    def jwks(self) -> list[dict[str, str]]:
        """The public keys that verify now."""
        return self.ring.jwks(self._clock.time())["keys"]

    # What those are told who verify tokens themselves

    @property
    def policy_epoch(self) -> int:
        """A number that is another one when `published` is."""
        return self._epoch()

    def published(self) -> Policy:
        """Whose roles count, and what is revoked. O(subjects + revocations)."""
        subjects = {"owner", *self._bindings.subjects()}
        roles = {name: role for name, role in self.table.roles.items() if name not in ROLES}
        return Policy(
            keys=[key["kid"] for key in self.jwks()],
            roles={name: _shown(role) for name, role in roles.items()},
            principals={subject: sorted(self.bound(subject)) for subject in sorted(subjects)},
            revoked={name: one.issued_up_to for name, one in self.revocations.listed().items()},
        )

    async def wait_moved(self) -> None:
        """Return when rights were given or taken back. Other changes show in `policy_epoch` alone."""
        await self._moved.wait()

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _take_back(self) -> None:
        self._tell()
        self._review()

    def keys_changed(self) -> None:
        """The keys in `ring` are others now: tokens may be void that were valid."""
        self._take_back()

    # Who somebody is

    def identify(self, credential: str) -> Principal:
        """The principal that *credential* proves. Raises InvalidCredentialError."""
        if compare_digest(credential.encode(errors="surrogatepass"), self._credential):
            return owner("credential")
        proven = self.components.identify(credential)
        if proven is not None and self._bindings.runs(proven.component_id):
            if self.revocations.is_barred(proven.component_id):
                raise InvalidCredentialError("is the credential of a component that is barred")
            return self._principal(proven.component_id, ("component",), _Proof("credential", None, proven.ends_at))
        try:
            if credential.startswith(_KEY_PREFIX):
                return self._of_key(self.api_keys.verify(credential, self._clock.time()))
            return self._of_token(self._verifier.verify(credential, self._clock.time()))
        except InvalidTokenError as error:
            raise InvalidCredentialError(error.reason) from None

    def verify(self, token: str) -> Claims:
        """What a token states that is valid, for whomever, and not revoked. Raises InvalidTokenError."""
        claims = self._reader.verify(token, self._clock.time())
        if self._is_revoked(claims):
            raise InvalidTokenError("is revoked")
        return claims

    def _of_token(self, claims: Claims) -> Principal:
        if self._is_revoked(claims):
            raise InvalidTokenError("is revoked")
        proof = _Proof("token", claims.token_id, float(claims.expires_at + LEEWAY))
        return self._principal(claims.subject, claims.roles, proof)

    def _of_key(self, key: ApiKey) -> Principal:
        if self.revocations.is_barred(key.subject):
            raise InvalidTokenError("is a key of a subject that is barred")
        return self._principal(key.subject, key.roles, _Proof("key", key.id, key.expires_at))

    def _principal(self, subject: str, claimed: Iterable[str], proof: _Proof) -> Principal:
        bound = self.bound(subject)
        roles = tuple(role for role in claimed if role in bound)
        speaks_for = as_component(subject)
        return Principal(
            subject=subject,
            roles=roles,
            component_id=speaks_for,
            via=proof.via,
            grants=self.table.grants(roles, speaks_for),
            token_id=proof.token_id,
            expires_at=proof.expires_at,
        )

    def _epoch(self) -> int:
        changes = self._bindings.epoch + self.revocations.epoch + self.api_keys.epoch
        return changes + self.components.epoch + self._adopted + self.ring.epoch

    # What is given out

    async def issue(
        self,
        subject: str,
        roles: Sequence[str],
        expires_in: float,
        claims: Mapping[str, object] = MappingProxyType({}),
        *,
        audience: str = AUDIENCE,
    ) -> IssuedToken:
        """A token for *subject* with *roles*, which *audience* will accept. Raises ValueError for what cannot be.

        Tokens tell the second in which they were issued. Right after all earlier ones have been revoked, the next one
        is not given out before that second is over.
        """
        issued = self._issue(subject, roles, expires_in, claims, audience)
        self.issued += 1
        if not self._is_revoked(issued.claims):
            return issued
        await asyncio.sleep(1.0 - self._clock.time() % 1.0 + _TIMER_ERROR)
        return self._issue(subject, roles, expires_in, claims, audience)

    def _issue(
        self, subject: str, roles: Sequence[str], expires_in: float, claims: Mapping[str, object], audience: str
    ) -> IssuedToken:
        now = self._clock.time()
        text = self._issuer.issue(subject, roles, expires_in, claims, now, audience=audience)
        return IssuedToken(text, self._reader.verify(text, now))

    def _is_revoked(self, claims: Claims) -> bool:
        return self.revocations.is_revoked(claims.token_id, claims.subject, claims.issued_at)

    # What is taken back

    async def revoke(self, claims: Claims, reason: str) -> None:
        """Accept that token no more. Raises StorageError; then nothing has changed."""
        await self.revocations.revoke_token(claims.token_id, claims.expires_at, reason=reason)
        self._has_revoked()

    async def revoke_id(self, token_id: str, reason: str) -> None:
        """Accept no token with that id, whichever it is. Raises StorageError; then nothing has changed."""
        await self.revocations.revoke_token(token_id, self._clock.time() + self.ring.max_life, reason=reason)
        self._has_revoked()

    async def revoke_issued(self, subject: str, reason: str) -> None:
        """Accept none of the tokens that *subject* has. Raises StorageError; then nothing has changed."""
        await self.revocations.revoke_issued(subject, self._clock.time(), reason=reason)
        self._has_revoked()

    async def bar(self, subject: str, reason: str) -> None:
        """Accept nothing from *subject* until `restore`. Raises StorageError; then nothing has changed."""
        await self.revocations.bar(subject, reason=reason)
        self._has_revoked()

    async def restore(self, subject: str) -> None:
        """Accept again what *subject* is given from now on. Raises StorageError; then nothing has changed."""
        await self.revocations.restore(subject, self._clock.time())
        self._tell()

    async def revoke_key(self, key_id: str) -> bool:
        """Remove an API key; False: there is none. Raises StorageError; then nothing has changed."""
        removed = await self.api_keys.revoke(key_id)
        self._has_revoked()
        return removed

    def _has_revoked(self) -> None:
        self.revoked += 1
        self._take_back()

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_INTERVAL)
            now = self._clock.time()
            await asyncio.to_thread(self.components.renew)
            await self._store()
            try:
                await self.revocations.forget_useless(now)
                await self.api_keys.forget_expired(now, _KEPT)
            except StorageError as error:
                _logger.warning("expired keys and revocations are kept for now: %s", error)

    async def _store(self) -> None:
        try:
            await self.api_keys.store_last_used()
        except StorageError as error:
            _logger.warning("when API keys were used last was not stored: %s", error)

    async def bind(self, subject: str, roles: Iterable[str]) -> None:
        """Bind *roles* to *subject* besides those that are bound already. Raises StorageError; then nothing changed."""
        missing = set(roles) - self.bound(subject)
        if missing:
            await self._bindings.bind(subject, missing)
            self._tell()

    async def unbind(self, subject: str, roles: Iterable[str]) -> list[str]:
        """Take *roles* back that `bind` has bound to *subject*; those that were. Raises StorageError as `bind` does."""
        taken = await self._bindings.unbind(subject, roles)
        if taken:
            self._take_back()
        return taken


async def open_security(
    config: TektonConfig,
    registry: ComponentRegistry,
    credential: str,
    run_id: str,
    *,
    report: Callable[[str, str], None],
    clock: Clock = SYSTEM_CLOCK,
) -> Security:
    """The security of a control plane whose owner has *credential* and whose guard is that of *run_id*.

    *report* gets the address and the reason of each credential that was refused.

    Raises KeyFileError when the keys that sign tokens cannot be read, or must not be used.
    """
    ring = await asyncio.to_thread(_key_ring, config, clock.time())
    components = ComponentCredentials(config.data_dir, run_id, clock.time)
    return Security(
        config,
        registry.documents,
        ring,
        credential=credential,
        components=components,
        clock=clock,
        report=report,
    )


def _key_ring(config: TektonConfig, now: float) -> KeyRing:
    if config.jwt_secret is not None:
        return KeyRing.of_secret(config.jwt_secret)
    return KeyFile(config.data_dir).load_or_create(now)


def _role(spec: RoleSpec) -> Role:
    permissions = frozenset(filter(None, map(permission_of, spec.permissions)))
    scope: Scope = "all" if spec.components is None else tuple(spec.components)
    patterns = (tuple(one) for one in (spec.publish, spec.subscribe, spec.tools, spec.consume))
    return Role(permissions, scope, *patterns)


def _shown(role: Role) -> PolicyRole:
    components = list(role.scope) if isinstance(role.scope, tuple) else None
    return PolicyRole(sorted(role.permissions), components)


def _permissions(table: RoleTable, roles: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(table.roles[name].permissions for name in roles if name in table.roles))
