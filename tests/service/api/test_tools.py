"""Tools over the HTTP interface of the control plane, with a real component behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from leaps import Leaps

from tekton.component import Component
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.offered_tools import OfferedTool
from tekton.mcp.tool_context import ToolContext
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import remote_auth
from tekton.utils.config_schema import RoleSpec
from tekton.utils.control_plane import ControlPlane
from tekton.utils.server_sent_events import EventStreamParser
from tekton.utils.tekton_http import Answer, HttpClient


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("TEKTON_URL", "TEKTON_SOCKET", "TEKTON_CREDENTIAL_FILE", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote_auth, "TIMEOUT", 20.0)


class Site:
    """A control plane, a component with tools, and somebody who may call them."""

    def __init__(self, plane: InMemoryControlPlane, address: ControlPlane, client: HttpClient) -> None:
        self.plane = plane
        self.address = address
        self.client = client
        self.begun, self.go_on, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.calls = 0

    async def count(self, context: ToolContext, to: int = 1) -> AsyncIterator[int]:
        """Count."""
        self.calls += 1
        for number in range(1, to + 1):
            context.progress(number, to)
            yield number

    async def wait(self) -> str:
        """Wait until it may go on."""
        self.calls += 1
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"

    async def post(
        self, tool_id: str, arguments: object, headers: dict[str, str] | None = None, **query: Any
    ) -> Answer:
        return await self.client.send("POST", f"/api/tools/{tool_id}", arguments, headers, query=query or None)

    async def list(self, **query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.client.request("GET", "/api/tools", query=query or None)
        return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with InMemoryControlPlane(roles={"caller": RoleSpec(permissions=["tools:call", "components:read"])}) as plane:
        address = plane.address_of(await plane.token("ada", "caller"))
        component = plane.address_of(await plane.token("clerk", "component"))
        async with address.client(20) as client:
            site = Site(plane, address, client)
            app = Component("clerk", port=0, control_plane=component)
            app.tool(site.count)
            app.tool(timeout=30)(site.wait)
            async with app:
                await plane.registry.wait_until("clerk", lambda record: record is not None and record.usable)
                yield site


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, msgspec.json.decode(answer.body)["code"]


async def test_what_can_be_called_is_listed(site: Site) -> None:
    listed = await site.list()

    assert [(tool["id"], tool["description"]) for tool in listed["items"]] == [
        ("clerk.count", "Count."),
        ("clerk.wait", "Wait until it may go on."),
    ]
    assert listed["cursor"] is None
    assert await site.client.request("GET", "/api/tools/count") == listed["items"][0]


async def test_a_list_can_be_narrowed_and_turned_over(site: Site) -> None:
    shop = ComponentRegistration(
        component_id="shop",
        endpoint="http://127.0.0.1:1",
        tools=tuple(OfferedTool(name=name, description="For apples") for name in ("cancel", "place", "track")),
    )
    await site.plane.registry.register(shop)
    await site.plane.registry.make_ready("shop", shop.instance_uuid)

    assert [one["id"] for one in (await site.list(component="shop"))["items"]] == [
        "shop.cancel",
        "shop.place",
        "shop.track",
    ]
    assert [one["id"] for one in (await site.list(query="COUNT"))["items"]] == ["clerk.count"]
    assert len((await site.list(query="apples"))["items"]) == 3
    pages, cursor = [], ""
    while len(pages) < 5:
        page = await site.list(limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([one["id"] for one in page["items"]])
        if (cursor := page["cursor"]) is None:
            break
    assert pages == [["clerk.count", "clerk.wait"], ["shop.cancel", "shop.place"], ["shop.track"]]


async def test_a_tool_is_called_and_its_result_is_the_answer(site: Site) -> None:
    answer = await site.post("clerk.count", {"to": 3})

    assert (answer.status, answer.body) == (200, b'{"result":3}')


async def test_what_is_no_call_is_refused_and_says_why(site: Site) -> None:
    refused = [
        problem(await site.post("clerk.coutn", {})),
        problem(await site.post("clerk.count", {"to": "x"})),
        problem(await site.post("clerk.count", [])),
        problem(await site.post("clerk.count", {}, timeout=0)),
        problem(await site.post("clerk.wait", {}, timeout=0.05)),
        problem(await site.client.send("GET", "/api/tools/clerk.coutn")),
    ]

    assert refused == [
        (404, "tool_not_found"),
        (422, "invalid"),
        (422, "invalid"),
        (422, "invalid_parameter"),
        (504, "tool_timeout"),
        (404, "tool_not_found"),
    ]


async def test_a_name_that_two_components_have_is_refused_with_both(site: Site) -> None:
    other = ComponentRegistration(
        component_id="other", endpoint="http://127.0.0.1:1", tools=(OfferedTool(name="count"),)
    )
    await site.plane.registry.register(other)
    await site.plane.registry.make_ready("other", other.instance_uuid)

    answer = await site.post("count", {})

    assert problem(answer) == (409, "ambiguous_tool")
    assert msgspec.json.decode(answer.body)["candidates"] == ["clerk.count", "other.count"]


async def test_only_who_may_call_tools_does(site: Site) -> None:
    mona = site.plane.address_of(await site.plane.token("mona", "monitor"))
    async with mona.client(5) as reader, site.plane.address.client(5) as nobody:
        listed = [len((await one.request("GET", "/api/tools"))["items"]) for one in (reader, nobody)]
        refused = [problem(await one.send("POST", "/api/tools/clerk.count", {})) for one in (reader, nobody)]

    assert listed == [2, 2]
    assert refused == [(403, "forbidden"), (401, "unauthenticated")]
    assert site.calls == 0


async def test_a_stream_comes_through_with_the_result_at_its_end(site: Site) -> None:
    parser = EventStreamParser()
    async with ask(site, "clerk.count", {"to": 2}, accept="text/event-stream") as answer:
        events = [event async for piece in answer.content.iter_any() for event in parser.feed(piece)]

    assert [event.event for event in events] == ["progress", "chunk", "progress", "chunk", "result", "bye"]
    assert msgspec.json.decode(events[4].data) == {"result": 2}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_who_goes_cancels_the_call_at_the_component(site: Site, accept: str) -> None:
    async def call() -> None:
        async with ask(site, "clerk.wait", {}, accept=accept) as answer:
            await answer.read()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        calling = group.create_task(call())
        await site.begun.wait()
        calling.cancel()
        await site.cancelled.wait()


async def test_a_call_with_a_key_is_made_once_and_answered_as_often_as_it_comes(site: Site) -> None:
    key = {"Idempotency-Key": "one", "Accept": "text/event-stream"}

    answers = [await site.post("clerk.count", {"to": 2}, key) for _ in range(2)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b'{"result":2}')] * 2
    assert site.calls == 1


async def test_a_call_with_a_key_goes_on_when_the_caller_has_gone(site: Site) -> None:
    async def call() -> None:
        async with ask(site, "clerk.wait", {}, **{"idempotency-key": "one"}) as answer:
            await answer.read()

    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(call())
            await site.begun.wait()
            calling.cancel()
        site.go_on.set()
        answer = await site.post("clerk.wait", {}, {"Idempotency-Key": "one"})
        while answer.status == 409:  # the first one is not over yet
            answer = await site.post("clerk.wait", {}, {"Idempotency-Key": "one"})

    assert (answer.body, site.calls) == (b'{"result":"done"}', 1)


async def test_a_call_with_a_key_that_may_have_been_made_is_not_made_again(site: Site) -> None:
    key, leaps = {"Idempotency-Key": "one"}, Leaps()

    async with asyncio.timeout(50):
        asking = asyncio.ensure_future(site.post("clerk.wait", {}, key, timeout=10))
        await site.begun.wait()
        leaps.leap(10.0)
        first = problem(await asking)
        site.go_on.set()
        second = problem(await site.post("clerk.wait", {}, key, timeout=10))

    assert (first, second, site.calls) == ((504, "tool_timeout"), (504, "tool_timeout"), 1)


async def test_a_component_that_fails_takes_its_tools_along(site: Site) -> None:
    record = site.plane.record("clerk")
    await site.plane.registry.set_state("clerk", record.instance_uuid, ComponentState.FAILED)

    assert (await site.list())["items"] == []


@asynccontextmanager
async def ask(site: Site, tool_id: str, arguments: object, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A request over a connection of its own, which is closed at the end."""
    headers["authorization"] = f"Bearer {site.address.credential}"
    url = f"{site.address.url}/api/tools/{tool_id}"
    async with aiohttp.ClientSession() as session, session.post(url, json=arguments, headers=headers) as answer:
        yield answer


@pytest.mark.parametrize(
    ("patterns", "called"),
    [(["clerk.*"], [200, 200]), (["*.count"], [200, 403]), (["shop.*"], [403, 403]), ([], [403, 403])],
)
async def test_a_role_may_be_for_some_tools_only(patterns: list[str], called: list[int]) -> None:
    role = RoleSpec(permissions=["components:read"], tools=patterns)
    async with InMemoryControlPlane(roles={"caller": role}) as plane:
        app = Component("clerk", port=0, control_plane=plane.address_of(await plane.token("clerk", "component")))
        app.tool(name="count")(lambda: 1)
        app.tool(name="clean")(lambda: 2)
        async with app, plane.address_of(await plane.token("ada", "caller")).client(20) as client:
            await plane.registry.wait_until("clerk", lambda record: record is not None and record.usable)
            by_id = [await client.send("POST", f"/api/tools/clerk.{name}", {}) for name in ("count", "clean")]
            by_name = await client.send("POST", "/api/tools/count", {})

    assert [one.status for one in by_id] == called
    assert by_name.status == called[0]
