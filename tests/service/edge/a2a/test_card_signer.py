"""Our agent cards are signed: the official SDK accepts them, with any key that has not retired, and no others."""

import base64
import json
from typing import Any

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.utils.signing import InvalidSignaturesError, NoSignatureError, create_signature_verifier
from a2a_site import Site
from calling_agents import HERE
from jwt import InvalidKeyError, PyJWK, PyJWKSet

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.auth.keys import KeyRing
from tekton.service.card_keys import OVERLAP
from tekton.service.edge.a2a.card_signer import KEYS_PATH, CardSigner
from tekton.service.edge.a2a.cards import Cards
from tekton.testing.clock import ManualClock
from tekton.utils.remote_agents import RemoteAgent, RemoteAgents
from tekton.utils.tekton_errors import InvalidAgentError

ROOT = "/.well-known/agent-card.json"
ORIGIN = "https://tekton.example"
REVIEWER = Agent("reviewer", ("review",), {"description": "Reviews \u20ac", "rate": 0.5, "nothing": ""}, tags=("code",))


def headers(card: Any) -> list[dict[str, str]]:
    """What the signatures of *card* say of their keys."""
    encoded = [one["protected"] for one in card["signatures"]]
    return [json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in encoded]


def verify(card: Any, jwks: Any) -> None:
    """Have the verifier of the SDK look at *card*, with the keys that it finds under their ids in *jwks*."""
    known = {key.key_id: key for key in PyJWKSet.from_dict(jwks).keys}

    def find(kid: str | None, _: str | None) -> PyJWK:
        if kid not in known:
            raise InvalidKeyError
        return known[kid]

    create_signature_verifier(find, ["EdDSA"])(parse_agent_card(json.loads(json.dumps(card))))


class Signing:
    """A system with an agent, whose cards are signed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ring = KeyRing.generate(self.clock.time(), max_life=OVERLAP, publish_delay=0.0)
        self.signer = CardSigner(self.ring, self.clock)
        self.registry = AgentRegistry()
        self.registry.add(REVIEWER)
        self.cards = Cards(self.registry, self.signer)

    def card(self) -> Any:
        return self.cards.of_agent(REVIEWER, ORIGIN, extended=True)


@pytest.mark.parametrize(
    "path",
    [
        ROOT,
        f"/a2a/agents/echo-agent{ROOT}",
        "/a2a/rest/extendedAgentCard",
        "/a2a/agents/echo-agent/rest/extendedAgentCard",
    ],
)
async def test_every_card_is_accepted_by_the_official_sdk_with_the_key_that_is_published(site: Site, path: str) -> None:
    _, card = await site.send("GET", path)
    status, jwks = await site.send("GET", KEYS_PATH, None)

    assert status == 200
    (header,) = headers(card)
    assert header == {
        "alg": "EdDSA",
        "kid": jwks["keys"][0]["kid"],
        "jku": f"{site.url}{KEYS_PATH}",
        "typ": "JOSE",
    }
    verify(card, jwks)
    card["skills"][0]["description"] += "."
    with pytest.raises(InvalidSignaturesError):
        verify(card, jwks)


async def test_the_extended_card_is_signed_over_json_rpc_too(site: Site) -> None:
    verify(await site.ask("GetExtendedAgentCard", {}), (await site.send("GET", KEYS_PATH, None))[1])


async def test_the_key_is_none_that_signs_tokens(site: Site) -> None:
    _, cards = await site.send("GET", KEYS_PATH, None)
    _, tokens = await site.send("GET", "/.well-known/jwks.json", None)

    assert {key["kid"] for key in cards["keys"]}.isdisjoint(key["kid"] for key in tokens["keys"])
    assert "d" not in cards["keys"][0]


async def test_who_has_pinned_the_key_of_another_system_accepts_its_agents_and_nobody_elses(site: Site) -> None:
    (key,) = (await site.send("GET", KEYS_PATH, None))[1]["keys"]
    pinned = {key["kid"]: json.dumps(key)}
    (stranger,) = KeyRing.generate(0.0).jwks(0.0)["keys"]
    registry = AgentRegistry()

    async with RemoteAgents(registry, policy=HERE, card_keys=pinned) as remote:
        agent = await remote.register(RemoteAgent("system", site.url))
    async with RemoteAgents(AgentRegistry(), policy=HERE, card_keys={stranger["kid"]: json.dumps(stranger)}) as other:
        with pytest.raises(InvalidAgentError, match="no key that is known here has signed it"):
            await other.register(RemoteAgent("system", site.url))

    assert agent.capabilities == ("ask", "compute", "echo", "fail", "hold")


def test_what_is_signed_is_signed_once() -> None:
    signing = Signing()

    first, again = signing.card(), signing.card()
    other = signing.cards.of_agent(REVIEWER, "https://other.example", extended=True)

    assert again["signatures"] is first["signatures"]
    assert other["signatures"] is not first["signatures"]
    assert headers(other)[0]["jku"] == f"https://other.example{KEYS_PATH}"


def test_after_a_rotation_both_keys_sign_until_the_first_has_retired() -> None:
    signing = Signing()
    old = signing.signer.jwks()
    etags = [signing.cards.root(ORIGIN).etag]

    signing.ring.rotate(signing.clock.time())
    both = signing.card()
    etags.append(signing.cards.root(ORIGIN).etag)
    assert [header["kid"] for header in headers(both)] == [key["kid"] for key in signing.signer.jwks()["keys"]]
    verify(both, old)
    verify(both, {"keys": signing.signer.jwks()["keys"][1:]})

    signing.clock.advance(OVERLAP + 31)
    new = signing.card()
    etags.append(signing.cards.root(ORIGIN).etag)
    assert len(new["signatures"]) == len(signing.signer.jwks()["keys"]) == 1
    verify(new, signing.signer.jwks())
    assert len(set(etags)) == 3


def test_without_overlap_the_key_before_signs_nothing_more() -> None:
    signing = Signing()
    old = signing.card()

    signing.ring.rotate(signing.clock.time(), overlap=False)

    verify(signing.card(), signing.signer.jwks())
    with pytest.raises(InvalidSignaturesError):
        verify(old, signing.signer.jwks())


def test_without_keys_cards_are_not_signed() -> None:
    signer = CardSigner(None, ManualClock())
    card = Cards(AgentRegistry(), signer).of_system(ORIGIN)

    assert "signatures" not in card
    assert signer.jwks() == {"keys": []}
    with pytest.raises(NoSignatureError):
        verify(card, Signing().signer.jwks())


def test_a_card_with_a_number_that_others_would_read_as_another_one_is_not_signed() -> None:
    signing = Signing()
    large = Agent("large", ("review",), {"number": 2**60})
    signing.registry.add(large)

    assert "signatures" not in signing.cards.of_agent(large, ORIGIN, extended=True)
    assert "signatures" in signing.cards.of_agent(large, ORIGIN)


def test_only_so_many_signatures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.edge.a2a.card_signer._KEPT", 2)
    signing = Signing()
    first, second = signing.cards.of_system("http://a"), signing.cards.of_system("http://b")

    assert signing.cards.of_system("http://a")["signatures"] is first["signatures"]
    signing.cards.of_system("http://c")

    assert signing.cards.of_system("http://a")["signatures"] is first["signatures"]
    assert signing.cards.of_system("http://b")["signatures"] is not second["signatures"]
