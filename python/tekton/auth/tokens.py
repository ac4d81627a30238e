"""Tokens: signed statements of who somebody is (JWT, RFC 7519, in the profile of RFC 9068).

PyJWT signs and checks signatures. What it leaves open is decided here, and there is one answer to each question:

* The key decides on the algorithm. It is found by `kid` in memory; keys and places of keys in a token are refused.
* A token has one spelling: no padding, no other base64 of the same bytes, no second member of one name.
* `typ`, `iss` and `aud` are exactly what is expected, times are integers, no token lives longer than a day.
* What is longer than 8 KiB is refused before anything looks into it.

Whoever shows a token that is refused does not learn why: `InvalidTokenError.reason` is for the log. Everything takes
the time as an argument, in seconds since the epoch.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeGuard

import jwt

from tekton.auth.keys import KeyRing, SigningKey
from tekton.auth.terms import AUDIENCE, ISSUER, LEEWAY
from tekton.utils.tekton_errors import InvalidTokenError

TYPE: Final = "at+jwt"
MAX_BYTES: Final = 8192
MAX_ROLES: Final = 16

_RESERVED: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "roles"})
_HEADER: Final = frozenset({"alg", "typ", "kid"})
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f-\xa0\ud800-\udfff]{1,256}")
_LAST_INSTANT: Final = 2**53  # beyond it JSON numbers of other languages are inexact
_PYJWT: Final = (2, 15, 1)


def check_library(installed: str) -> None:
    """Raise ImportError when this PyJWT has known holes: those before 2.15.1 could be made to accept forged tokens."""
    if tuple(int(part) for part in re.findall(r"\d+", installed)[:3]) < _PYJWT:
        raise ImportError(f"PyJWT {installed} has known security holes; at least 2.15.1 is needed")


check_library(jwt.__version__)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token states, after all checks. Times are in seconds since the epoch.

    `roles` are claimed, not granted: a role counts only where the policy of the server binds it to the subject. `all`
    has every member of the token, those that have an attribute here included.
    """

    subject: str
    roles: tuple[str, ...]
    token_id: str
    issued_at: int
    expires_at: int
    all: Mapping[str, Any]


class TokenIssuer:
    """Makes tokens with the keys of *ring*."""

    def __init__(self, ring: KeyRing, *, issuer: str = ISSUER) -> None:
        self._ring = ring
        self._issuer = issuer
        self._library = jwt.PyJWS([ring.algorithm], {"enforce_minimum_key_length": True})

    def issue(
        self,
        subject: str,
        roles: Iterable[str],
        expires_in: float,
        claims: Mapping[str, object],
        now: float,
        *,
        audience: str = AUDIENCE,
    ) -> str:
        """A token for *subject* that is valid for *expires_in* seconds, at most as long as the ring allows.

        *audience* is who is to accept it: the control plane, or the component with that id. *claims* are further
        members, none of those that are set here. Raises ValueError for what cannot be accepted later. Costs one
        signature.
        """
        issued_at = int(now)
        payload = {
            **_further(claims),
            "iss": self._issuer,
            "sub": subject,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + self._life(expires_in),
            "jti": secrets.token_urlsafe(16),
        }
        if listed := list(roles):
            payload["roles"] = listed
        _check_statement(payload)
        return self._sign(payload, self._ring.signing_key(now))

    def _life(self, expires_in: float) -> int:
        if not 1 <= expires_in <= self._ring.max_life:
            raise ValueError(f"a token is valid for 1 to {self._ring.max_life:g} seconds, not {expires_in:g}")
        return int(expires_in)

    def _sign(self, payload: Mapping[str, object], key: SigningKey) -> str:
        if key.private is None:
            raise ValueError("these keys can only verify")
        content = json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
        token = self._library.encode(content, key.private, key.algorithm, {"typ": TYPE, "kid": key.kid})
        if len(token) > MAX_BYTES:
            raise ValueError(f"the claims make a token of {len(token)} bytes; at most {MAX_BYTES} are accepted")
        return token


class TokenVerifier:
    """Checks tokens with the keys of *ring*, which may be changed at any time. Without *audience*, whoever is meant."""

    def __init__(self, ring: KeyRing, *, issuer: str = ISSUER, audience: str | None = AUDIENCE) -> None:
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._library = jwt.PyJWS([ring.algorithm], {"enforce_minimum_key_length": True})

    def verify(self, token: object, now: float) -> Claims:
        """What *token* states, when it is valid at *now*. Raises InvalidTokenError, and nothing else, when it is not.

        Costs little more than the signature (see benches/tokens.py). Nothing is looked up but in memory; whether the
        token was revoked is not known here (`Revocations`).
        """
        if not isinstance(token, str):
            _refuse("is no text")
        if len(token) > MAX_BYTES:
            _refuse("is too long")
        form = _FORM.fullmatch(token)
        if form is None:
            _refuse("is no token")
        key = self._key(_parse(form[1]), now)
        payload = _parse(form[2])
        self._check_signature(token, key)
        self._check_addressee(payload)
        return self._check_times(payload, now)

    def _key(self, header: Mapping[str, Any], now: float) -> SigningKey:
        if not header.keys() <= _HEADER:
            _refuse("has a header that is not ours")  # crit, jwk, jku, x5c, x5u, b64, zip, cty…
        kid = header.get("kid")
        key = self._ring.find(kid, now) if isinstance(kid, str) else None
        if key is None:
            _refuse("is signed with no key of ours")
        if header.get("alg") != key.algorithm:
            _refuse("names another algorithm than that of its key")
        if header.get("typ") != TYPE:
            _refuse("is of another type")
        return key

    def _check_signature(self, token: str, key: SigningKey) -> None:
        try:
            self._library.decode_complete(token, key.public, [key.algorithm])
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidTokenError(f"is not accepted by PyJWT: {error}") from None

    def _check_addressee(self, payload: Mapping[str, Any]) -> None:
        if payload.get("iss") != self._issuer:
            _refuse("is of another issuer")
        if self._audience is not None and payload.get("aud") != self._audience:
            _refuse("is for somebody else")

    def _check_times(self, payload: Mapping[str, Any], now: float) -> Claims:
        issued_at, expires_at = payload.get("iat"), payload.get("exp")
        not_before = payload.get("nbf", 0)
        if not (_is_instant(issued_at) and _is_instant(expires_at) and _is_instant(not_before)):
            _refuse("has a time that is none")
        if not 0 < expires_at - issued_at <= self._ring.max_life:
            _refuse("lives too long")
        if max(issued_at, not_before) > now + LEEWAY:
            _refuse("is not valid yet")
        if expires_at <= now - LEEWAY:
            _refuse("has expired")
        try:
            roles = _check_statement(payload)
        except ValueError as error:
            raise InvalidTokenError(str(error)) from None
        return Claims(payload["sub"], roles, payload["jti"], issued_at, expires_at, MappingProxyType(payload))


def _refuse(reason: str) -> NoReturn:
    raise InvalidTokenError(reason)


def _is_instant(value: object) -> TypeGuard[int]:
    # A bool is an int for Python, and 1.0 a number for JSON: neither is an instant.
    return type(value) is int and 0 <= value < _LAST_INSTANT


def _further(claims: Mapping[str, object]) -> dict[str, object]:
    if taken := sorted(_RESERVED & claims.keys()):
        raise ValueError(f"the claim {taken[0]!r} is set by the issuer")
    return dict(claims)


def _check_statement(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The roles that are claimed: `roles`, and `role` for a single one. Raises ValueError for what nobody can state."""
    if not (_is_name(payload.get("sub")) and _is_name(payload.get("jti"))):
        raise ValueError("has no subject or no id")
    listed, single = payload.get("roles", []), payload.get("role")
    if not isinstance(listed, list):
        raise ValueError("has roles that are no list")
    roles: Sequence[object] = listed if single is None else [*listed, single]
    if len(roles) > MAX_ROLES or not all(map(_is_name, roles)):
        raise ValueError("has roles that are none, or too many")
    return tuple(dict.fromkeys(map(str, roles)))


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _parse(segment: str) -> dict[str, Any]:
    """The JSON object in a segment. Raises InvalidTokenError, also for a second spelling of the same bytes."""
    try:
        content = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != segment:
            raise ValueError("another spelling")
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, binascii.Error, RecursionError):
        raise InvalidTokenError("has a part that cannot be read") from None
    if not isinstance(value, dict):
        raise InvalidTokenError("has a part that is no object")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("two members of one name")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
