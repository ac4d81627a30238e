"""The agents of a control plane: remote ones, which outlast it, and those of components, which nobody else changes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from calling_agents import HERE
from msgspec import UNSET
from wire_agent import wire_agent

from tekton.a2a.agent import AgentHealth
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.documents import MAX_BODY_BYTES
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.service.agent_credentials import AgentCredentials
from tekton.service.agents import KIND, Agents
from tekton.testing.faults import FaultyStore
from tekton.utils.remote_agents import Credential, RemoteAgents
from tekton.utils.tekton_errors import (
    AgentLimitError,
    AgentNotFoundError,
    AgentOfferedError,
    InvalidAgentError,
    InvalidIdError,
    StorageFullError,
)

REMOTE: dict[str, Any] = {"capabilities": ["review"], "endpoint": "https://agents.example/review"}


@pytest.fixture
async def components() -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry() as registry:
        yield registry


async def test_a_remote_agent_is_registered_changed_and_forgotten(components: ComponentRegistry) -> None:
    agents = Agents(components)

    first = await agents.register("reviewer", REMOTE)
    second = await agents.register("reviewer", {**REMOTE, "capabilities": ["review", "explain"], "tags": ["python"]})
    gone = await agents.unregister("reviewer")

    assert (first.new, second.new) == (True, False)
    assert first.agent.endpoint == "https://agents.example/review"
    assert gone == second.agent
    assert len(agents.registry) == 0


async def test_it_outlasts_the_control_plane_and_stands_in_the_audit_log(tmp_path: Path) -> None:
    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        agents = Agents(components)
        await agents.register("reviewer", {**REMOTE, "metadata": {"description": "reviews"}, "version": "1.2.0"})
        await agents.register("other", REMOTE)
        await agents.unregister("other")

    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        agents = Agents(components)
        entries = [(entry.action, entry.target) for entry in (await components.audit.page(AuditQuery())).entries]

        [agent] = agents.registry.agents()
        assert (agent.agent_id, agent.description, agent.version) == ("reviewer", "reviews", "1.2.0")
    assert entries == [("agent.unregister", "other"), ("agent.register", "other"), ("agent.register", "reviewer")]


async def test_what_is_no_agent_is_refused_and_changes_nothing(components: ComponentRegistry) -> None:
    agents = Agents(components)
    await agents.register("reviewer", REMOTE)

    for agent_id, described, error in (
        ("No Id", REMOTE, InvalidIdError),
        ("reviewer", {**REMOTE, "endpoint": "gopher://x"}, InvalidAgentError),
        ("reviewer", {"endpoint": "https://agents.example"}, InvalidAgentError),
        ("reviewer", {**REMOTE, "metadata": {"text": "x" * (MAX_BODY_BYTES - 64)}}, InvalidAgentError),
    ):
        with pytest.raises(error):
            await agents.register(agent_id, described)

    assert agents.registry.get_agent("reviewer").capabilities == ("review",)
    with pytest.raises(AgentNotFoundError):
        await agents.unregister("nobody")


async def test_of_an_agent_with_only_a_url_its_card_says_the_rest(components: ComponentRegistry) -> None:
    agents = Agents(components)
    async with wire_agent({}) as there, RemoteAgents(agents.registry, policy=HERE) as remote:
        agents.attend(remote, AgentCredentials())
        said = {"endpoint": there.url, "version": "3.1.0", "metadata": {"team": "red"}}
        registered = await agents.register("reviewer", said)

        assert (registered.agent.capabilities, registered.agent.version) == (("code_review",), "3.1.0")
        assert registered.agent.metadata == {"name": "Reviewer", "description": "", "team": "red"}


async def test_after_a_restart_what_was_said_stays_and_what_the_card_said_follows_it(tmp_path: Path) -> None:
    async with wire_agent({}) as there:
        async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
            agents = Agents(components)
            async with RemoteAgents(agents.registry, policy=HERE) as remote:
                agents.attend(remote, AgentCredentials())
                await agents.register("reviewer", {"endpoint": there.url, "tags": ["ours"]})

        async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
            agents = Agents(components)
            async with RemoteAgents(agents.registry, policy=HERE) as remote:
                agents.attend(remote, AgentCredentials())
                before = agents.registry.get_agent("reviewer")
                there.version = "2.0.0"
                await remote.cards.refresh("reviewer")
                after = agents.registry.get_agent("reviewer")

    assert [(one.version, one.capabilities, one.tags) for one in (before, after)] == [
        ("1.0.0", ("code_review",), ("ours",)),
        ("2.0.0", ("code_review",), ("ours",)),
    ]


async def test_a_credential_stays_while_the_agent_is_at_its_host_and_goes_with_it(
    components: ComponentRegistry,
) -> None:
    agents, credentials = Agents(components), AgentCredentials()
    async with RemoteAgents(agents.registry) as remote:
        agents.attend(remote, credentials)
        seen = []
        for endpoint, given in (
            ("https://agents.example/review", Credential("s3cret")),
            ("https://agents.example/other", UNSET),
            ("https://elsewhere.example/", UNSET),
            ("https://elsewhere.example/", Credential("other")),
            ("https://elsewhere.example/", None),
            ("https://elsewhere.example/", Credential("last")),
        ):
            await agents.register("reviewer", {**REMOTE, "endpoint": endpoint}, given)
            known = remote.cards.credential("reviewer")
            seen.append(known and known.secret)
        await agents.unregister("reviewer")

    assert seen == ["s3cret", "s3cret", None, "other", None, "last"]
    assert credentials.get("reviewer") is None


async def test_as_many_are_registered_as_may_be(components: ComponentRegistry) -> None:
    agents = Agents(components, most=2)
    await agents.register("one", REMOTE)
    await agents.register("two", REMOTE)

    with pytest.raises(AgentLimitError):
        await agents.register("three", REMOTE)
    await agents.register("two", REMOTE)
    await agents.unregister("one")
    await agents.register("three", REMOTE)

    assert [agent.agent_id for agent in agents.registry.agents()] == ["three", "two"]


async def test_nobody_else_changes_the_agent_of_a_component(components: ComponentRegistry) -> None:
    agents = Agents(components)
    agents.registry.register_agent("reviewer", ["review"], endpoint="http://127.0.0.1:9", component_id="shop")

    with pytest.raises(AgentOfferedError) as refused:
        await agents.register("reviewer", REMOTE)
    with pytest.raises(AgentOfferedError):
        await agents.unregister("reviewer")

    assert refused.value.component_id == "shop"
    assert components.documents.all(KIND) == {}


async def test_a_change_that_is_not_kept_is_not_seen() -> None:
    store = FaultyStore(MemoryStore())
    async with ComponentRegistry(store=store) as components:
        agents = Agents(components)
        await agents.register("reviewer", REMOTE)
        store.full = True

        with pytest.raises(StorageFullError):
            await agents.register("reviewer", {**REMOTE, "capabilities": ["other"]})
        with pytest.raises(StorageFullError):
            await agents.unregister("reviewer")

        assert agents.registry.get_agent("reviewer").capabilities == ("review",)


async def test_a_document_that_is_no_agent_is_told_of_and_passed_over(
    components: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    await components.documents.put(KIND, "reviewer", b'{"agent_id":"reviewer","capabilities":["review"],"metadata":{}}')
    for name, body in (("a", b"{"), ("b", b'{"agent_id":"b","capabilities":["!"]}'), ("c", b'{"wings":2}')):
        await components.documents.put(KIND, name, body)

    agents = Agents(components)

    assert [agent.agent_id for agent in agents.registry.agents()] == ["reviewer"]
    assert len(caplog.records) == 3


async def test_an_agent_of_a_component_is_as_usable_as_that_is(components: ComponentRegistry) -> None:
    agents = Agents(components)
    agents.start()
    agents.start()
    shop = ComponentRegistration(component_id="shop", endpoint="http://127.0.0.1:9")
    agents.registry.register_agent("reviewer", ["review"], endpoint="http://127.0.0.1:9", component_id="shop")
    seen = [agents.registry.health("reviewer")]

    await components.register(shop)
    await components.make_ready("shop", shop.instance_uuid)
    seen.append(agents.registry.health("reviewer"))
    await components.set_state("shop", shop.instance_uuid, ComponentState.DEGRADED)
    seen.append(agents.registry.health("reviewer"))
    agents.stop()
    await components.set_state("shop", shop.instance_uuid, ComponentState.FAILED)
    seen.append(agents.registry.health("reviewer"))

    assert seen == [AgentHealth.UNUSABLE, AgentHealth.USABLE, AgentHealth.IMPAIRED, AgentHealth.IMPAIRED]
    agents.stop()
