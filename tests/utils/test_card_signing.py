"""Cards that we sign are accepted by the verifier of the official SDK; cards that somebody has changed are not."""

import json
from typing import Any

import jwt
import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tekton.utils.card_signing import sign_card

KEY = Ed25519PrivateKey.generate()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PARAMS = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9999, 9999) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SKILLS = st.fixed_dictionaries(
    {"id": TEXTS, "name": TEXTS, "description": TEXTS, "tags": st.lists(TEXTS, max_size=2)},
    optional={"examples": st.lists(TEXTS, max_size=2)},
)
NAMES = st.text("ab\u00e4\u20ac", min_size=1, max_size=3)
CARDS = st.fixed_dictionaries(
    {"name": NAMES, "version": TEXTS, "description": TEXTS, "skills": st.lists(SKILLS, max_size=2)},
    optional={
        "supportedInterfaces": st.lists(
            st.fixed_dictionaries({"url": TEXTS, "protocolBinding": TEXTS, "protocolVersion": TEXTS}), max_size=2
        ),
        "capabilities": st.fixed_dictionaries(
            {},
            optional={
                "streaming": st.booleans(),
                "extendedAgentCard": st.booleans(),
                "extensions": st.lists(
                    st.fixed_dictionaries(
                        {"uri": TEXTS},
                        optional={"required": st.booleans(), "params": st.dictionaries(TEXTS, PARAMS, max_size=3)},
                    ),
                    max_size=2,
                ),
            },
        ),
        "documentationUrl": TEXTS,
        "securitySchemes": st.dictionaries(
            st.text("abc", min_size=1, max_size=3),
            st.just({"httpAuthSecurityScheme": {"scheme": "Bearer", "description": ""}}),
            max_size=2,
        ),
    },
)


def verify(card: dict[str, Any]) -> None:
    def find(key_id: str | None, _url: str | None) -> Any:
        if key_id != "key-1":
            raise jwt.InvalidKeyError
        return KEY.public_key()

    create_signature_verifier(find, ["EdDSA"])(parse_agent_card(json.loads(json.dumps(card))))


@given(CARDS)
def test_a_card_that_we_sign_is_accepted_whatever_it_says(card: dict[str, Any]) -> None:
    verify(sign_card(card, KEY, "key-1"))


@given(CARDS, NAMES)
def test_a_card_that_somebody_has_changed_is_not(card: dict[str, Any], name: str) -> None:
    signed = sign_card(card, KEY, "key-1")
    if name != card["name"]:
        with pytest.raises(InvalidSignaturesError):
            verify({**signed, "name": name})


def test_another_signature_is_added_to_those_that_there_are() -> None:
    other = Ed25519PrivateKey.generate()
    signed = sign_card(sign_card({"name": "R", "version": "1"}, other, "key-2"), KEY, "key-1")

    assert len(signed["signatures"]) == 2
    verify(signed)


def test_the_card_that_was_given_is_left_as_it_is() -> None:
    card = {"name": "R", "version": "1"}
    sign_card(card, KEY, "key-1")

    assert card == {"name": "R", "version": "1"}


def test_a_card_without_a_canonical_form_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="nan"):
        sign_card({"name": "R", "x": float("nan")}, KEY, "key-1")
