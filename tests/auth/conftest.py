from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from tekton.auth.keys import KeyRing
from tekton.auth.tokens import TokenIssuer, TokenVerifier

NOW = 1_700_000_000.0
SECRET = "k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq"


@dataclass(frozen=True)
class Desk:
    """A ring with who issues and who verifies by it."""

    ring: KeyRing
    issuer: TokenIssuer
    verifier: TokenVerifier

    def issue(self, now: float = NOW, life: float = 3600, **claims: object) -> str:
        return self.issuer.issue("web", ["component"], life, claims, now)

    def sign(self, payload: bytes, header: dict[str, Any] | None = None) -> str:
        """Whatever *payload* is, signed with the right key: what only the rules beside the signature can refuse."""
        key = self.ring.signing_key(NOW)
        assert key.private is not None
        return jwt.PyJWS().encode(
            payload, key.private, key.algorithm, {"typ": "at+jwt", "kid": key.kid, **(header or {})}
        )


def desk_of(ring: KeyRing) -> Desk:
    return Desk(ring, TokenIssuer(ring), TokenVerifier(ring))


@pytest.fixture(scope="session")
def new_desk() -> Callable[[KeyRing], Desk]:
    return desk_of


@pytest.fixture(scope="session", params=["EdDSA", "HS256"])
def desk(request: pytest.FixtureRequest) -> Desk:
    """One for each family of keys."""
    return desk_of(KeyRing.generate(NOW - 1_000) if request.param == "EdDSA" else KeyRing.of_secret(SECRET))


@pytest.fixture(scope="session")
def pair_desk() -> Desk:
    return desk_of(KeyRing.generate(NOW - 1_000))
