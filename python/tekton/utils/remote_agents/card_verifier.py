"""Whether a card was signed by somebody who may (Agent2Agent 1.0, 8.4): JWS over the canonical form of the card.

The key is the one that the owner of this system has set under the id that the signature names. What the signature says
of its key beyond that, such as where it could be fetched, is not heeded.
"""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from tekton.utils.remote_agents.card import AgentCard, BadCardError
from tekton.utils.remote_agents.refusals import extra_missing

__all__ = ["CardVerifier"]

ALGORITHMS: Final = ("EdDSA", "ES256", "ES384", "RS256", "PS256")
"""None with a shared secret: a public key can never be taken for one."""


class CardVerifier:
    """Accepts what one of *keys* has signed: public keys, as PEM or JWK, by their id. Raises ValueError for others."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {key_id: _key(key_id, text) for key_id, text in keys.items()}

    def __call__(self, card: AgentCard) -> None:
        """Raises BadCardError, and ConfigurationError without the extra. Imports the SDK: call it in a thread."""
        try:
            from a2a.client.card_resolver import parse_agent_card
            from a2a.utils.signing import SignatureVerificationError, create_signature_verifier
            from google.protobuf.json_format import ParseError
        except ImportError as error:
            raise extra_missing(error) from None
        try:
            create_signature_verifier(self._find, list(ALGORITHMS))(parse_agent_card(dict(card.document)))
        except (SignatureVerificationError, ParseError) as error:
            raise BadCardError(f"no key that is known here has signed it ({type(error).__name__})") from None

    def _find(self, key_id: object, _url: object) -> Any:
        key = self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise jwt.InvalidKeyError("it is not known")
        return key


def _key(key_id: str, text: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            key = jwt.PyJWK.from_json(text)
            if key.key_type == "oct":
                raise ValueError("it is a shared secret")
            return key
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(text.encode())
    except (jwt.PyJWTError, ValueError, KeyError) as error:
        raise ValueError(f"the key {key_id!r} cannot be used: {error}") from None
