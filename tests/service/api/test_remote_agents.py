"""Remote agents over the HTTP interface: registered by their URL, asked to do tasks, and seen as their card is."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from a2a.server.agent_execution import RequestContext
from a2a.server.tasks import TaskUpdater
from a2a.types import Part
from calling_agents import HERE
from sdk_agent import sdk_agent
from wire_agent import wire_agent

from tekton.a2a.agent import AgentHealth
from tekton.service.agent_credentials import AgentCredentials
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.remote_agents import RemoteAgents, cards
from tekton.utils.tekton_http import HttpClient


class Site:
    """A control plane that may call this machine, and somebody who manages its agents."""

    def __init__(self, client: HttpClient, remote: RemoteAgents) -> None:
        self.client = client
        self.remote = remote

    async def send(self, method: str, path: str, body: object = None, **query: Any) -> tuple[int, Any]:
        answer = await self.client.send(method, path, body, query=query or None)
        return answer.status, msgspec.json.decode(answer.body)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with (
        InMemoryControlPlane() as plane,
        RemoteAgents(plane.agents.registry, policy=HERE) as remote,
        plane.address_of(await plane.token("otto", "operator")).client(20) as client,
    ):
        plane.agents.attend(remote, AgentCredentials())
        plane.agent_calls.remote = remote
        yield Site(client, remote)


async def echo(updater: TaskUpdater, context: RequestContext) -> None:
    await updater.add_artifact([Part(text=context.get_user_input())], name="result")
    await updater.complete()


async def test_a_task_is_done_by_an_agent_of_which_only_the_url_was_said() -> None:
    async with sdk_agent(echo) as there, site() as here:
        order = {"url": there.url, "credential": {"secret": "s3cret-9", "header": "X-API-Key"}}
        created, view = await here.send("PUT", "/api/agents/reviewer", order)
        done, task = await here.send(
            "POST", "/api/tasks", {"task_type": "code_review", "inputs": {"text": "Look!"}}, wait=10
        )
        shown, agent = await here.send("GET", "/api/agents/reviewer")

    assert (created, done, shown) == (201, 201, 200)
    assert (view["capabilities"], view["version"], view["health"]) == (["code_review"], "1.4.0", "usable")
    assert (task["state"], task["result"].splitlines()[0]) == ("completed", "Look!")
    assert {one["x-api-key"] for one in there.headers} == {"s3cret-9"}
    assert "s3cret" not in json.dumps([view, task, agent])


async def test_an_agent_whose_card_turns_bad_is_shown_with_the_reason() -> None:
    async with wire_agent({}) as there, site() as here:
        await here.send("PUT", "/api/agents/reviewer", {"url": there.url})
        there.url = "http://10.0.0.1"
        await here.remote.cards.refresh("reviewer")
        _, view = await here.send("GET", "/api/agents/reviewer")
        refused, problem = await here.send("POST", "/api/tasks", {"task_type": "code_review"}, wait=10)

    assert view["health"] == "unusable"
    assert "points where requests may not go" in view["reason"]
    assert (refused, problem["code"]) == (503, "no_agent_available")


async def test_an_agent_of_which_all_was_said_is_looked_at_soon_and_is_as_usable_as_its_card_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cards, "SOON", (0.0, 0.0))
    async with wire_agent({}) as there, site() as here:
        registry = here.remote.cards._registry
        seen = registry.version
        order = {"url": there.url, "capabilities": ["review"]}
        there.url = "http://10.0.0.1"  # where its card says that it is
        created, _ = await here.send("PUT", "/api/agents/reviewer", order)
        async with asyncio.timeout(20):
            while registry.health("reviewer") is AgentHealth.USABLE:
                seen = await registry.changed(seen)
        _, view = await here.send("GET", "/api/agents/reviewer")

    assert (created, view["health"]) == (201, "unusable")
    assert "points where requests may not go" in view["reason"]


async def test_what_cannot_be_called_is_not_registered() -> None:
    async with site() as here:
        answers = [
            await here.send("PUT", "/api/agents/a", {"url": "http://127.0.0.1:9"}),
            await here.send("PUT", "/api/agents/a", {"url": "http://169.254.169.254/latest"}),
            await here.send("PUT", "/api/agents/a", {"url": "http://127.0.0.1:9", "credential": {"secret": "a b"}}),
            await here.send("PUT", "/api/agents/a", {}),
        ]
        missing, _ = await here.send("GET", "/api/agents/a")

    assert [(status, problem["code"]) for status, problem in answers] == [
        (503, "agent_unreachable"),
        (422, "invalid_agent"),
        (422, "invalid_agent"),
        (422, "invalid_agent"),
    ]
    assert missing == 404
