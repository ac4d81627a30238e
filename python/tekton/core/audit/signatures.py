"""Signatures of audit heads with the keys that sign tokens.

What is signed here begins with a line that no token begins with, so neither can be taken for the other.
"""

import hmac
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tekton.auth.keys import KeyRing, SigningKey
from tekton.clock import Clock
from tekton.core.audit.heads import Check, Sign, Signature


def signer(ring: KeyRing, clock: Clock) -> Sign:
    """Signs with the key of *ring* that signs at that time."""

    def sign(message: bytes) -> Signature:
        key = ring.signing_key(clock.time())
        if isinstance(key.private, Ed25519PrivateKey):
            return Signature(key.kid, key.private.sign(message))
        if key.private is None:
            raise TypeError("a ring that only verifies cannot sign")
        return Signature(key.kid, hmac.digest(key.private, message, "sha256"))

    return sign


def checker(keys: Iterable[SigningKey]) -> Check:
    """Checks with *keys*, whether or not they still sign."""
    publics = {key.kid: key.public for key in keys}

    def check(message: bytes, signature: Signature) -> bool | None:
        public = publics.get(signature.key)
        if public is None:
            return None
        if not isinstance(public, Ed25519PublicKey):
            return hmac.compare_digest(hmac.digest(public, message, "sha256"), signature.value)
        try:
            public.verify(signature.value, message)
        except InvalidSignature:
            return False
        return True

    return check
