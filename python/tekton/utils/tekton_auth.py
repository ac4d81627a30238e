"""Tokens and permissions for who has no control plane at hand: scripts, components, tests.

Tokens are signed with the keys of the configured data directory, or with `jwt_secret` where that is set; the first call
creates the keys if there are none. So who can read that directory can make tokens, and nobody else.

What a token claims is not yet granted: in front of the control plane a role counts only where `security.json`, or an
administrator, binds it to the subject.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import KeyRing
from tekton.auth.roles import ROLES, permission_of
from tekton.auth.terms import ISSUER
from tekton.auth.tokens import TokenIssuer, TokenVerifier
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.data_dir import find_data_dir
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import InvalidTokenError

__all__ = ["check_permission", "generate_token", "verify_token"]

_REMEMBERED: Final = 16


def generate_token(
    subject: str,
    issuer: str = ISSUER,
    expires_in: float | None = None,
    claims: Mapping[str, object] | None = None,
) -> str:
    """A signed token for *subject* that is valid for *expires_in* seconds: 1 to 86,400, by default `token_expiry`.

    *claims* are further members. `role`, or a list `roles`, are those that the subject claims; `iss`, `sub`, `aud`,
    `iat`, `nbf`, `exp` and `jti` are set here and cannot be given. The control plane accepts the issuer "tekton" only.
    Raises ValueError for what would not be accepted, KeyFileError, and ConfigurationError.

    Costs a signature and a few looks at the file system, together some tenths of a millisecond, so that it can be
    called in an event loop; the first call reads the configuration and writes keys if there are none, which is some
    tens of milliseconds.
    """
    data_dir = find_data_dir()
    further = dict(claims or {})
    roles = further.pop("roles", [])
    if not isinstance(roles, list | tuple):
        raise ValueError("roles are no list")
    life = _settings(data_dir).token_expiry if expires_in is None else expires_in
    return TokenIssuer(_ring(data_dir), issuer=issuer).issue(subject, roles, life, further, SYSTEM_CLOCK.time())


def verify_token(token: str, issuer: str = ISSUER) -> tuple[bool, dict[str, Any]]:
    """Whether *token* was signed here by *issuer* and is valid now, and what it states: nothing when it is not.

    Whether it was revoked is known to the control plane alone, which answers that at `GET /api/auth/whoami`. Raises
    KeyFileError and ConfigurationError, whatever the token. Costs as `generate_token`.
    """
    ring = _ring(find_data_dir())
    try:
        claims = TokenVerifier(ring, issuer=issuer).verify(token, SYSTEM_CLOCK.time())
    except InvalidTokenError:
        return False, {}
    return True, dict(claims.all)


def check_permission(role: str, action: str) -> bool:
    """Whether *role*, one of those that are built in, permits *action*: `register_component`, or `components:register`.

    What a role permits for some components only, such as the own one, it permits. False for a role or an action that
    does not exist. Reads nothing; docs/reference/auth.md has the table.
    """
    permission = permission_of(action)
    return role in ROLES and permission in ROLES[role].permissions


@lru_cache(_REMEMBERED)
def _settings(data_dir: Path) -> TektonConfig:
    """The configuration, read once per data directory."""
    return TektonConfig.load(overrides={"data_dir": str(data_dir)})


def _ring(data_dir: Path) -> KeyRing:
    secret = _settings(data_dir).jwt_secret
    if secret is not None:
        return _ring_of_secret(secret)
    file = KeyFile(data_dir)
    signature = file.signature()
    if signature is None:
        file.load_or_create(SYSTEM_CLOCK.time())
        signature = file.signature()
    return _ring_of_file(data_dir, signature)


@lru_cache(_REMEMBERED)
def _ring_of_secret(secret: str) -> KeyRing:
    return KeyRing.of_secret(secret)


@lru_cache(_REMEMBERED)
def _ring_of_file(data_dir: Path, _signature: tuple[int, int, int] | None) -> KeyRing:
    """The keys of a file, read once per state of it: after a rotation the signature is another."""
    return KeyFile(data_dir).load_or_create(SYSTEM_CLOCK.time())
