"""Keys that sign tokens, and when each of them does so.

A ring has keys of one family only: Ed25519 key pairs, or one secret that an administrator has set (HS256), so that a
public key can never be taken for a secret. Its algorithm belongs to the key; what a token says of it is only compared.

Keys succeed each other without a gap. A new one is published first, so that every verifier knows it by the time it
signs; from then on the one before signs nothing more, but verifies for as long as a token may live that it has signed:

    published ── delay ── signs ─────────── successor signs ── longest life ── retired
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tekton.auth.terms import LEEWAY, MAX_LIFE
from tekton.utils.config_rules import check_secret
from tekton.utils.tekton_errors import KeyRotationError

Algorithm = Literal["EdDSA", "HS256"]

PUBLISH_DELAY: Final = 60.0
"""Seconds for which a new key is published before it signs."""
MAX_KEYS: Final = 64
"""Keys in one ring. Who rotates so often that old ones cannot retire in time is refused."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with the name by which tokens refer to it. Times are in seconds since the epoch.

    `private` is what signs, None for a key that can only verify; `public` is what verifies.
    """

    kid: str
    algorithm: Algorithm
    public: Ed25519PublicKey | bytes = field(repr=False)
    private: Ed25519PrivateKey | bytes | None = field(repr=False)
    published_at: float
    signs_from: float

    @classmethod
    def generate(cls, published_at: float, signs_from: float) -> "SigningKey":
        """A new key pair."""
        return cls.of_pair(Ed25519PrivateKey.generate(), published_at, signs_from)

    @classmethod
    def of_pair(cls, private: Ed25519PrivateKey, published_at: float, signs_from: float) -> "SigningKey":
        """A key pair that exists."""
        public = private.public_key()
        return cls(_thumbprint(public), "EdDSA", public, private, published_at, signs_from)

    @classmethod
    def of_public(cls, public: Ed25519PublicKey, published_at: float, signs_from: float) -> "SigningKey":
        """The public half of a key pair, which only verifies."""
        return cls(_thumbprint(public), "EdDSA", public, None, published_at, signs_from)

    @classmethod
    def of_secret(cls, secret: str) -> "SigningKey":
        """A secret that was always there. Raises ValueError when it can be guessed."""
        if (problem := check_secret(secret)) is not None:
            raise ValueError(f"the secret {problem[0]}")
        data = secret.encode()
        kid = hmac.digest(data, b"tekton key id", "sha256").hex()[:32]
        return cls(kid, "HS256", data, data, 0.0, 0.0)

    def to_jwk(self) -> dict[str, str] | None:
        """The public key as a JSON Web Key (RFC 8037); None for a secret."""
        if isinstance(self.public, bytes):
            return None
        return {**_jwk(self.public), "kid": self.kid, "use": "sig", "alg": self.algorithm}


class KeyRing:
    """The keys in use. All times are in seconds since the epoch, and arguments: the ring has no clock.

    Raises ValueError for no keys at all, for keys of two families and for more than `MAX_KEYS`.
    """

    def __init__(
        self, keys: Iterable[SigningKey], *, max_life: float = MAX_LIFE, publish_delay: float = PUBLISH_DELAY
    ) -> None:
        self.max_life: Final = max_life
        self.publish_delay: Final = publish_delay
        self._epoch = 0
        self._keys: tuple[SigningKey, ...] = ()
        self._by_kid: dict[str, SigningKey] = {}
        self._retires_at: dict[str, float] = {}
        self.replace(keys)

    @classmethod
    def generate(cls, now: float, *, max_life: float = MAX_LIFE, publish_delay: float = PUBLISH_DELAY) -> "KeyRing":
        """A ring with one new key pair, which signs at once."""
        return cls([SigningKey.generate(now, now)], max_life=max_life, publish_delay=publish_delay)

    @classmethod
    def of_secret(cls, secret: str) -> "KeyRing":
        """A ring of one secret, which cannot be rotated. Raises ValueError when it can be guessed."""
        return cls([SigningKey.of_secret(secret)])

    @classmethod
    def of_jwks(cls, document: Mapping[str, object]) -> "KeyRing":
        """A ring that only verifies, of what `jwks` published. Raises ValueError for anything else.

        Such a ring forgets nothing by itself: the publisher leaves out what has retired.
        """
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise ValueError("no list of keys")
        return cls([_of_jwk(entry) for entry in keys])

    @property
    def keys(self) -> Sequence[SigningKey]:
        """All keys, in the order in which they sign."""
        return self._keys

    @property
    def epoch(self) -> int:
        """A number that grows with each change: who remembers which tokens were valid compares it."""
        return self._epoch

    @property
    def algorithm(self) -> Algorithm:
        """The one algorithm of this ring."""
        return self._keys[0].algorithm

    def replace(self, keys: Iterable[SigningKey]) -> None:
        """Have *keys* instead of those before, all at once. Raises ValueError as the constructor does."""
        ordered = tuple(sorted(keys, key=lambda key: key.signs_from))
        by_kid = {key.kid: key for key in ordered}
        _check(ordered, by_kid)
        self._retires_at = {
            key.kid: successor.signs_from + self.max_life + LEEWAY for key, successor in pairwise(ordered)
        }
        self._keys, self._by_kid = ordered, by_kid
        self._epoch += 1

    def signing_key(self, now: float) -> SigningKey:
        """The key that signs at *now*. Before the time of the first one (the clock went back) it is the first."""
        due = [key for key in self._keys if key.signs_from <= now]
        return due[-1] if due else self._keys[0]

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The key that tokens call *kid*, unless it has retired. A lookup in memory, whatever *kid* is."""
        key = self._by_kid.get(kid)
        if key is None or now >= self.retires_at(key):
            return None
        return key

    def retires_at(self, key: SigningKey) -> float:
        """When *key* stops verifying; infinity while it has no successor."""
        return self._retires_at.get(key.kid, math.inf)

    def jwks(self, now: float) -> dict[str, list[dict[str, str]]]:
        """The public keys that verify at *now*, as a JSON Web Key Set (RFC 7517). A secret is not among them."""
        found = (key.to_jwk() for key in self._keys if now < self.retires_at(key))
        return {"keys": [jwk for jwk in found if jwk is not None]}

    def rotated(self, now: float, *, overlap: bool = True) -> list[SigningKey]:
        """The keys after a rotation at *now*, retired ones left out: for `replace`, once they are stored.

        Without *overlap* (a key has become known to somebody else) the new key signs at once, and all tokens that were
        signed before are void. Raises KeyRotationError for a secret, and when `MAX_KEYS` still verify.
        """
        self.check_rotation(now, overlap=overlap)
        if not overlap:
            return [SigningKey.generate(now, now)]
        live = self._live(now)
        # Never before the one that was made last: a clock that goes back must not change who succeeds whom.
        signs_from = max(now + self.publish_delay, self._keys[-1].signs_from)
        return [*live, SigningKey.generate(now, signs_from)]

    def check_rotation(self, now: float, *, overlap: bool = True) -> None:
        """Raise KeyRotationError as `rotated` does."""
        if self.algorithm != "EdDSA":
            raise KeyRotationError("tokens are signed with `jwt_secret`, which Tekton has not made and cannot replace")
        if self._keys[-1].private is None:
            raise KeyRotationError("these keys can only verify")
        live = self._live(now)
        if overlap and len(live) >= MAX_KEYS:
            wait = math.ceil(min(map(self.retires_at, live)) - now)
            raise KeyRotationError(f"{MAX_KEYS} keys still verify; the first of them retires in {wait} s")

    def _live(self, now: float) -> list[SigningKey]:
        return [key for key in self._keys if now < self.retires_at(key)]

    def rotate(self, now: float, *, overlap: bool = True) -> None:
        """`rotated`, in memory only. A ring that is stored is rotated by its `KeyFile`."""
        self.replace(self.rotated(now, overlap=overlap))


def _check(keys: Sequence[SigningKey], by_kid: Mapping[str, SigningKey]) -> None:
    if not keys:
        raise ValueError("a ring needs a key")
    if len({key.algorithm for key in keys}) > 1:
        raise ValueError("keys of two families in one ring")
    if len(by_kid) < len(keys):
        raise ValueError("two keys have the same name")
    if len(keys) > MAX_KEYS:
        raise ValueError(f"more than {MAX_KEYS} keys")


def _jwk(public: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def _thumbprint(public: Ed25519PublicKey) -> str:
    """The name of a key is made of the key: RFC 7638."""
    jwk = _jwk(public)
    text = f'{{"crv":"{jwk["crv"]}","kty":"{jwk["kty"]}","x":"{jwk["x"]}"}}'
    return _base64url(hashlib.sha256(text.encode()).digest())


def _of_jwk(entry: object) -> SigningKey:
    match entry:
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x), "kid": str(kid)} if len(x) == 43:
            public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
            if kid == _thumbprint(public):
                # When it signs is the publisher's to know, and so is when it retires.
                return SigningKey(kid, "EdDSA", public, None, 0.0, math.inf)
    raise ValueError("not a public Ed25519 key of ours")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
