"""What calls remote agents for a control plane, as its configuration says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire_agent import WireAgent, wire_agent

from tekton.auth.keys import SigningKey
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.agents import Agents
from tekton.service.remote_agents import remote_agents
from tekton.utils.card_signing import sign_card
from tekton.utils.remote_agents import Credential
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError, InvalidAgentError

PRIVATE = Ed25519PrivateKey.generate()
KEY = SigningKey.of_pair(PRIVATE, 0, 0)
SETTING = "tekton.security.agent_card_keys"


@pytest.fixture
async def components() -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry() as registry:
        yield registry


def config(data_dir: Path, keys: Path | None = None, *networks: str) -> TektonConfig:
    members: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 8010,
        "callback_networks": networks,
        "data_dir": data_dir,
        "agent_card_keys": keys,
        "sources": {SETTING: "tekton.json"},
    }
    return cast(TektonConfig, SimpleNamespace(**members))


class Signing(WireAgent):
    def card(self) -> dict[str, Any]:
        return sign_card(super().card(), PRIVATE, KEY.kid)


async def test_an_agent_on_this_machine_is_called_where_the_owner_opens_it(
    components: ComponentRegistry, tmp_path: Path
) -> None:
    closed, opened = Agents(components), Agents(components)
    async with (
        wire_agent({}) as there,
        remote_agents(closed, components, config(tmp_path)),
        remote_agents(opened, components, config(tmp_path, None, "127.0.0.1")),
    ):
        with pytest.raises(InvalidAgentError, match="this machine"):
            await closed.register("reviewer", {"endpoint": there.url})

        assert (await opened.register("reviewer", {"endpoint": there.url})).new


async def test_what_was_registered_with_a_credential_has_it_after_a_restart(
    components: ComponentRegistry, tmp_path: Path
) -> None:
    described = {"endpoint": "https://agents.example", "capabilities": ["review"]}
    before = Agents(components)
    async with remote_agents(before, components, config(tmp_path)):
        await before.register("reviewer", described, Credential("s3cret"))

    async with remote_agents(Agents(components), components, config(tmp_path)) as remote:
        assert remote.cards.credential("reviewer") == Credential("s3cret")


async def test_with_keys_only_signed_cards_are_accepted(components: ComponentRegistry, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [KEY.to_jwk()]}))
    agents = Agents(components)
    async with (
        wire_agent({}, kind=Signing) as signed,
        wire_agent({}) as other,
        remote_agents(agents, components, config(tmp_path, keys, "127.0.0.1")),
    ):
        await agents.register("signed", {"endpoint": signed.url})
        with pytest.raises(InvalidAgentError, match="no key that is known here"):
            await agents.register("other", {"endpoint": other.url})


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        '{"keys": []}',
        '{"keys": [{}]}',
        '{"keys": [{"kid": "a"}]}',
        '{"keys": [{"kid": "a", "kty": "oct"}]}',
    ],
)
async def test_keys_that_cannot_be_used_are_a_mistake_of_the_configuration(
    components: ComponentRegistry, tmp_path: Path, content: str | None
) -> None:
    keys = tmp_path / "keys.json"
    if content is not None:
        keys.write_text(content)

    with pytest.raises(ConfigurationError, match=r"tekton\.json"):
        remote_agents(Agents(components), components, config(tmp_path, keys))
