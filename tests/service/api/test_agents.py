"""Agents over the HTTP interface of the control plane."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient

URL = "https://agents.example/review"


class Site:
    """A control plane, and somebody who manages its agents."""

    def __init__(self, plane: InMemoryControlPlane, client: HttpClient) -> None:
        self.plane = plane
        self.client = client

    async def send(self, method: str, path: str, body: object = None, **query: Any) -> tuple[int, Any]:
        answer = await self.client.send(method, path, body, query=query or None)
        return answer.status, msgspec.json.decode(answer.body)

    async def ids(self, **query: Any) -> list[str]:
        status, page = await self.send("GET", "/api/agents", **query)
        assert status == 200, page
        return [agent["agent_id"] for agent in page["items"]]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with (
        InMemoryControlPlane() as plane,
        plane.address_of(await plane.token("otto", "operator")).client(20) as client,
    ):
        yield Site(plane, client)


async def test_a_remote_agent_is_registered_changed_shown_and_forgotten(site: Site) -> None:
    order = {"capabilities": ["review"], "description": "reviews", "version": "1.2.0", "tags": ["python"], "url": URL}

    created, view = await site.send("PUT", "/api/agents/reviewer", {**order, "metadata": {"team": "red"}})
    changed, _ = await site.send("PUT", "/api/agents/reviewer", {**order, "capabilities": ["explain"]})
    shown, agent = await site.send("GET", "/api/agents/reviewer")
    deleted, gone = await site.send("DELETE", "/api/agents/reviewer")
    unknown, problem = await site.send("GET", "/api/agents/reviewer")

    assert view == {
        "agent_id": "reviewer",
        "description": "reviews",
        "version": "1.2.0",
        "capabilities": ["review"],
        "tags": ["python"],
        "skills": [],
        "health": "usable",
        "reason": None,
        "locality": "remote",
        "component_id": None,
        "url": URL,
        "metadata": {"team": "red"},
    }
    assert (created, changed, shown, deleted, unknown) == (201, 200, 200, 200, 404)
    assert agent == gone == {**view, "capabilities": ["explain"], "metadata": {}}
    assert problem["code"] == "agent_not_found"


async def test_the_list_is_narrowed_and_turned_over(site: Site) -> None:
    registry = site.plane.agents.registry
    for number, tag in enumerate(("fast", "slow", "fast", "slow")):
        registry.register_agent(f"agent-{number}", ["review"], {"description": f"Is {tag}"}, tags=[tag])
    registry.register_agent("of-a-component", ["review", "explain"], component_id="shop", endpoint="http://127.0.0.1:1")

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None and len(pages) < 5:
        _, page = await site.send("GET", "/api/agents", limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([agent["agent_id"] for agent in page["items"]])
        cursor = page["cursor"]

    assert pages == [["agent-0", "agent-1"], ["agent-2", "agent-3"], ["of-a-component"]]
    assert await site.ids(capability="explain") == await site.ids(health="unusable") == ["of-a-component"]
    assert await site.ids(tag="fast", capability="review") == await site.ids(query="IS FAST") == ["agent-0", "agent-2"]
    assert await site.ids(capability="fly") == []
    _, offered = await site.send("GET", "/api/agents/of-a-component")
    assert (offered["component_id"], offered["url"]) == ("shop", None)
    assert offered["reason"] == "its component shop is not registered"


async def test_agents_are_found_by_their_version_and_by_where_they_are(site: Site) -> None:
    registry = site.plane.agents.registry
    registry.register_agent("old", ["review"], version="1.1.9", handler=list)
    registry.register_agent("new", ["review"], version="1.2.0", endpoint=URL)
    registry.register_agent("next", ["review"], version="2.0.0")
    registry.register_agent("other", ["explain"], version="1.3.0", handler=list)

    assert await site.ids(version=">=1.2, <2") == ["new", "other"]
    assert await site.ids(version=">=1.2", capability="review") == ["new", "next"]
    assert [await site.ids(locality=place) for place in ("local", "remote", "nowhere")] == [
        ["old", "other"],
        ["new"],
        ["next"],
    ]
    for query in ({"version": ">=one"}, {"locality": "moon"}):
        status, refused = await site.send("GET", "/api/agents", **query)
        assert (status, refused["code"]) == (422, "invalid_parameter")


async def test_what_is_no_agent_is_refused(site: Site) -> None:
    site.plane.agents.registry.register_agent("offered", ["review"], component_id="shop")
    refused = [
        await site.send("PUT", "/api/agents/reviewer", {}),
        await site.send("PUT", "/api/agents/reviewer", {"capabilities": ["No Capability"]}),
        await site.send("PUT", "/api/agents/reviewer", {"capabilities": ["review"], "url": "gopher://x"}),
        await site.send("PUT", "/api/agents/Reviewer", {"capabilities": ["review"]}),
        await site.send("PUT", "/api/agents/reviewer", {"wings": 2}),
        await site.send("PUT", "/api/agents/offered", {"capabilities": ["review"]}),
        await site.send("DELETE", "/api/agents/offered"),
        await site.send("DELETE", "/api/agents/nobody"),
    ]

    assert [(status, problem["code"]) for status, problem in refused] == [
        (422, "invalid_agent"),
        (422, "invalid_id"),
        (422, "invalid_agent"),
        (422, "invalid_id"),
        (422, "invalid"),
        (409, "agent_offered"),
        (409, "agent_offered"),
        (404, "agent_not_found"),
    ]


async def test_a_page_of_agents_with_much_to_say_ends_early(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.api.paging.PAGE_BYTES", 3_000)
    for number in range(5):
        site.plane.agents.registry.register_agent(f"agent-{number}", ["review"], {"notes": "x" * 1000})

    _, first = await site.send("GET", "/api/agents")
    second = await site.ids(cursor=first["cursor"])

    assert ([len(first["items"]), first["cursor"]], second) == ([3, "agent-2"], ["agent-3", "agent-4"])
