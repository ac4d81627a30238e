"""Signing an agent card with an Ed25519 key (Agent2Agent 1.0, 8.4): a detached JWS over its canonical form.

What is signed is the card without its signatures, without what is empty, and without what is as it is by default: so
that whoever reads it by `a2a.proto` and writes it again has the same.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tekton.utils.canonical_json import canonical_json

__all__ = ["sign_card", "signature_of", "signed_form"]

_FALSE_BY_DEFAULT: Final = frozenset({"required", "pkceRequired"})
"""Members of which nobody knows, once they are read, whether they were left out or false."""


def sign_card(card: Mapping[str, Any], key: Ed25519PrivateKey, key_id: str, key_url: str = "") -> dict[str, Any]:
    """*card*, JSON as `a2a.proto` has it, with one more signature: that of *key*, which verifiers know as *key_id*.

    *key_url* is that of a JWK set (RFC 7517) with the public key, if there is one. Raises ValueError for what has no
    canonical form.
    """
    signature = signature_of(signed_form(card), key, key_id, key_url)
    return {**card, "signatures": [*card.get("signatures", ()), signature]}


def signed_form(card: Mapping[str, Any]) -> bytes:
    """The bytes of *card* that are signed. Raises ValueError for what has no canonical form."""
    return canonical_json(_kept({name: value for name, value in card.items() if name != "signatures"}) or {})


def signature_of(form: bytes, key: Ed25519PrivateKey, key_id: str, key_url: str = "") -> dict[str, str]:
    """The member of `signatures` for the `signed_form` of a card; the arguments are as those of `sign_card`."""
    header = {"alg": "EdDSA", "kid": key_id, "typ": "JOSE"} | ({"jku": key_url} if key_url else {})
    protected = _base64(canonical_json(header))
    signed = f"{protected}.{_base64(form)}".encode()
    return {"protected": protected, "signature": _base64(key.sign(signed))}


def _kept(value: Any, *, free: bool = False) -> Any:
    """*value* without what is empty; None if nothing is left. *free*: JSON of anybody, in which false is a value."""
    if isinstance(value, Mapping):
        members = {
            name: kept
            for name, member in value.items()
            if (kept := _kept(member, free=free or name == "params")) is not None
            and (free or kept is not False or name not in _FALSE_BY_DEFAULT)
        }
        return members or None
    if isinstance(value, (list, tuple)):
        return [kept for item in value if (kept := _kept(item, free=free)) is not None] or None
    return None if value == "" else value


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
