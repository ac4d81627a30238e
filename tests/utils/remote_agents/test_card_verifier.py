"""Which cards are accepted where keys are set: those that one of them has signed, and no others."""

import base64
import json
from typing import Any

import pytest
from calling_agents import HERE
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from wire_agent import WireAgent, wire_agent

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.utils.card_signing import sign_card
from tekton.utils.remote_agents import RemoteAgent, RemoteAgents
from tekton.utils.remote_agents.card import BadCardError, read_card
from tekton.utils.remote_agents.card_verifier import CardVerifier
from tekton.utils.tekton_errors import InvalidAgentError

KEY = Ed25519PrivateKey.generate()
STRANGER = Ed25519PrivateKey.generate()
CARD: dict[str, Any] = {
    "name": "Reviewer",
    "version": "1.0.0",
    "supportedInterfaces": [{"url": "https://a.example", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
}


def pem(key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: Ed25519PublicKey) -> str:
    data = base64.urlsafe_b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).rstrip(b"=").decode()
    return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": data})


@pytest.mark.parametrize("written", [pem, jwk])
def test_what_a_known_key_has_signed_is_accepted(written: Any) -> None:
    CardVerifier({"key-1": written(KEY.public_key())})(read_card(json.dumps(sign_card(CARD, KEY, "key-1")).encode()))


def changed(card: dict[str, Any], **header: Any) -> dict[str, Any]:
    """*card* with another header in its signature."""
    signature = card["signatures"][0]
    protected = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return {**card, "signatures": [{**signature, "protected": protected}]}


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        {**CARD, "signatures": []},
        {**CARD, "signatures": [{"protected": "x", "signature": "y"}]},
        {**CARD, "signatures": "x"},
        sign_card(CARD, STRANGER, "key-1"),
        sign_card(CARD, KEY, "key-2"),
        {**sign_card(CARD, KEY, "key-1"), "name": "Other"},
        {**sign_card(CARD, KEY, "key-1"), "supported_interfaces": []},
        changed(sign_card(CARD, KEY, "key-1"), alg="none", kid="key-1"),
        changed(sign_card(CARD, KEY, "key-1"), alg="HS256", kid="key-1"),
        changed(sign_card(CARD, KEY, "key-1"), alg="EdDSA", kid=["key-1"]),
    ],
    ids=[
        "no signatures",
        "none of them",
        "no signature",
        "something else",
        "a stranger's key",
        "an unknown key",
        "changed afterwards",
        "written twice",
        "no algorithm",
        "a secret",
        "no key id",
    ],
)
def test_what_no_known_key_has_signed_is_not(card: dict[str, Any]) -> None:
    with pytest.raises(BadCardError, match="no key that is known here has signed it"):
        CardVerifier({"key-1": pem(KEY.public_key())})(read_card(json.dumps(card).encode()))


@pytest.mark.parametrize(
    "text", ["", "x", "{}", '{"kty": "oct"}', '{"kty": "oct", "k": "YWJj"}', "-----BEGIN PUBLIC KEY-----"]
)
def test_what_is_no_key_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="the key 'key-1' cannot be used"):
        CardVerifier({"key-1": text})


class Signing(WireAgent):
    """An agent that signs its card."""

    key = KEY

    def card(self) -> dict[str, Any]:
        return sign_card(super().card(), self.key, "key-1")


async def test_an_agent_whose_card_is_signed_by_somebody_else_by_now_is_not_usable() -> None:
    registry, keys = AgentRegistry(), {"key-1": pem(KEY.public_key())}
    async with wire_agent({}, kind=Signing) as agent, RemoteAgents(registry, policy=HERE, card_keys=keys) as remote:
        await remote.register(RemoteAgent("reviewer", agent.url))
        agent.key = STRANGER  # type: ignore[attr-defined]
        await remote.cards.refresh("reviewer")

        assert registry.health("reviewer") is AgentHealth.UNUSABLE
        assert "no key that is known here" in registry.reason("reviewer")


async def test_a_card_without_a_signature_makes_no_agent_where_there_are_keys() -> None:
    registry, keys = AgentRegistry(), {"key-1": pem(KEY.public_key())}
    async with wire_agent({}) as agent, RemoteAgents(registry, policy=HERE, card_keys=keys) as remote:
        with pytest.raises(InvalidAgentError, match="NoSignatureError"):
            await remote.register(RemoteAgent("reviewer", agent.url))
