"""Signatures for our cards (specification, 8.4), each made once for what is signed.

A card has the signature of every key that has not retired. For a verifier one that it accepts is enough; the oldest is
the first, because there are verifiers that look no further than to a key that they do not know, and whoever asks for
our keys knows all of them. Where there are no keys, and of a card that has no canonical form (a number in the metadata
of its agent that others would read as another one), there are none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tekton.auth.keys import KeyRing, SigningKey
from tekton.clock import Clock
from tekton.service.edge.a2a.wire import encode
from tekton.utils.card_signing import signature_of, signed_form

KEYS_PATH: Final = "/a2a/jwks.json"
"""Where the public keys are."""
_KEPT: Final = 1024
"""Cards whose signatures are kept."""


class CardSigner:
    """Signs with the keys of *ring*, if there are any."""

    def __init__(self, ring: KeyRing | None, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._made: dict[tuple[bytes, tuple[str, ...]], list[dict[str, str]]] = {}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys, as a JSON Web Key Set (RFC 7517)."""
        return {"keys": []} if self._ring is None else self._ring.jwks(self._clock.time())

    def signed_by(self) -> tuple[str, ...]:
        """The ids of the keys that sign now."""
        return tuple(key.kid for key in self._keys())

    def sign(self, card: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """*card* with its signatures; who knows us as *origin* finds their keys there."""
        keys = self._keys()
        if not keys:
            return dict(card)
        known = hashlib.sha256(encode(card)).digest(), tuple(key.kid for key in keys)
        made = self._made.pop(known, None)
        if made is None:
            made = _signatures(card, keys, f"{origin}{KEYS_PATH}")
            if len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
        self._made[known] = made
        return {**card, "signatures": made} if made else dict(card)

    def _keys(self) -> Sequence[SigningKey]:
        if self._ring is None:
            return ()
        now = self._clock.time()
        return [key for key in self._ring.keys if now < self._ring.retires_at(key)]


def _signatures(card: Mapping[str, Any], keys: Sequence[SigningKey], url: str) -> list[dict[str, str]]:
    try:
        form = signed_form(card)
    except ValueError:
        return []
    return [signature_of(form, key.private, key.kid, url) for key in keys if isinstance(key.private, Ed25519PrivateKey)]
