"""Conversations over the HTTP interface of the control plane."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.service.conversation_limits import ConversationLimits
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.server_sent_events import EventStreamParser
from tekton.utils.tekton_http import HttpClient


class Site:
    """A control plane, and three who talk, each for himself."""

    def __init__(self, plane: InMemoryControlPlane) -> None:
        self.plane = plane
        self.clients: dict[str, HttpClient] = {}
        self.tokens: dict[str, str] = {}

    async def send(self, who: str, method: str, path: str, body: object = None, **query: Any) -> tuple[int, Any]:
        answer = await self.clients[who].send(method, f"/api/conversations{path}", body, query=query or None)
        return answer.status, msgspec.json.decode(answer.body)

    async def events(self, who: str, path: str, count: int, headers: dict[str, str] | None = None) -> list[Any]:
        """The first *count* events of a stream."""
        parser, found = EventStreamParser(), list[Any]()
        wanted = {"accept": "text/event-stream", "authorization": f"Bearer {self.tokens[who]}", **(headers or {})}
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as session,
            session.get(f"{self.plane.address.url}/api/conversations{path}", headers=wanted) as answer,
        ):
            async for piece in answer.content.iter_any():
                found += parser.feed(piece)
                if len(found) >= count:
                    break
        return found


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with InMemoryControlPlane() as plane, AsyncExitStack() as stack:
        site = Site(plane)
        for name, role in (("ada", "component"), ("bob", "component"), ("cora", "component"), ("otto", "operator")):
            site.tokens[name] = await plane.token(name, role)
            site.clients[name] = await stack.enter_async_context(plane.address_of(site.tokens[name]).client(20))
        yield site


async def test_a_conversation_is_begun_shown_and_deleted(site: Site) -> None:
    order = {"conversation_id": "plans", "participants": ["bob"], "context": {"goal": "ship"}}

    created, view = await site.send("ada", "POST", "", order)
    taken, problem = await site.send("bob", "POST", "", order)
    shown = await site.send("bob", "GET", "/plans")
    _, other = await site.send("ada", "POST", "")
    deleted, _ = await site.send("ada", "DELETE", "/plans")

    assert (created, deleted, shown) == (201, 200, (200, view))
    assert {name: view[name] for name in ("conversation_id", "initiator", "participants", "context", "messages")} == {
        "conversation_id": "plans",
        "initiator": "ada",
        "participants": ["ada", "bob"],
        "context": {"goal": "ship"},
        "messages": 0,
    }
    assert (taken, problem["code"]) == (409, "conversation_exists")
    assert len(other["conversation_id"]) == 36
    assert (await site.send("ada", "GET", "/plans"))[0] == 404


async def test_an_id_to_which_no_path_leads_is_refused(site: Site) -> None:
    for conversation_id in ("a/b", "..", "", "a b", "a?b", "ä"):
        status, problem = await site.send("ada", "POST", "", {"conversation_id": conversation_id})

        assert (status, problem["code"], problem["field"]) == (422, "invalid_conversation", "/conversation_id")


async def test_everybody_lists_those_in_which_he_takes_part(site: Site) -> None:
    for number in range(3):
        await site.send("ada", "POST", "", {"conversation_id": f"plan-{number}", "participants": ["bob"][: number % 2]})

    async def ids(who: str, **query: Any) -> list[str]:
        return [one["conversation_id"] for one in (await site.send(who, "GET", "", **query))[1]["items"]]

    assert await ids("ada") == ["plan-0", "plan-1", "plan-2"]
    assert await ids("bob") == ["plan-1"]
    assert await ids("cora") == []
    assert await ids("otto", participant="ada") == ["plan-0", "plan-1", "plan-2"]
    assert (await site.send("bob", "GET", "", participant="ada"))[0] == 403
    _, page = await site.send("ada", "GET", "", limit=2)
    assert await ids("ada", cursor=page["cursor"]) == ["plan-2"]


async def test_a_list_of_large_conversations_comes_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.api.paging.PAGE_BYTES", 3_000)
    monkeypatch.setattr("tekton.service.api.conversations.AT_ONCE", 1)
    for number in range(5):
        await site.send("ada", "POST", "", {"conversation_id": f"plan-{number}", "context": {"all": "x" * 1000}})

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None and len(pages) < 10:
        _, page = await site.send("ada", "GET", "", **({"cursor": cursor} if cursor else {}))
        pages.append([one["conversation_id"] for one in page["items"]])
        cursor = page["cursor"]

    assert pages == [["plan-0", "plan-1", "plan-2"], ["plan-3", "plan-4"]]


async def test_what_is_said_is_in_order_and_once_and_in_ones_own_name(site: Site) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans", "participants": ["bob"]})

    first = await site.send("ada", "POST", "/plans/messages", {"content": "hello", "context": {"mood": "good"}})
    message_id = first[1]["message_id"]
    again = await site.send("ada", "POST", "/plans/messages", {"content": "hello", "message_id": message_id})
    reply = await site.send(
        "bob", "POST", "/plans/messages", {"content": {"text": "hi"}, "parent_id": message_id, "timestamp": 5.5}
    )
    forged, problem = await site.send("bob", "POST", "/plans/messages", {"content": "x", "sender": "ada"})
    stranger = await site.send("cora", "POST", "/plans/messages", {"content": "x"})
    manager = await site.send("otto", "POST", "/plans/messages", {"content": "x"})
    _, page = await site.send("bob", "GET", "/plans/messages")
    _, rest = await site.send("bob", "GET", "/plans/messages", after=1)
    _, view = await site.send("bob", "GET", "/plans")

    assert first == (201, {"sequence": 1, "message_id": message_id, "duplicate": False})
    assert again == (201, {"sequence": 1, "message_id": message_id, "duplicate": True})
    assert (reply[0], reply[1]["sequence"]) == (201, 2)
    assert (forged, problem["code"]) == (403, "forbidden")
    assert (stranger[0], stranger[1]["code"]) == (404, "conversation_not_found")
    assert (manager[0], manager[1]["code"]) == (403, "not_participant")
    assert [(one["sequence"], one["sender"], one["content"], one["parent_id"]) for one in page["items"]] == [
        (1, "ada", "hello", None),
        (2, "bob", {"text": "hi"}, message_id),
    ]
    assert page["items"][1]["timestamp"] == 5.5
    assert (page["cursor"], rest["items"]) == (None, page["items"][1:])
    assert (view["messages"], view["context"]) == (2, {"mood": "good"})


async def test_who_takes_part_is_said_by_who_has_begun_it(site: Site) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans", "participants": ["bob"]})

    refused, problem = await site.send("bob", "PUT", "/plans/participants", {"participants": []})
    done, view = await site.send("ada", "PUT", "/plans/participants", {"participants": ["cora"]})

    assert (refused, problem["code"]) == (403, "forbidden")
    assert (done, view["participants"]) == (200, ["ada", "cora"])
    assert (await site.send("bob", "GET", "/plans"))[0] == 404


async def test_it_is_summed_up_and_exported(site: Site) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans"})
    for text in ("The release is on Friday.", "Nobody writes tests after that."):
        await site.send("ada", "POST", "/plans/messages", {"content": text})

    _, summary = await site.send("ada", "GET", "/plans/summary", sentences=1)
    markdown = await site.clients["ada"].send("GET", "/api/conversations/plans/export")
    exported = await site.clients["ada"].send("GET", "/api/conversations/plans/export", query={"format": "json"})

    assert summary["summary"].startswith("ada: ")
    assert (await site.send("ada", "GET", "/plans/summary", sentences=50))[0] == 200
    assert (await site.send("ada", "GET", "/plans/summary", sentences=51))[0] == 422
    assert markdown.body.decode().startswith("# Conversation plans\n")
    assert "> Nobody writes tests after that." in markdown.body.decode()
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert [message["content"] for message in msgspec.json.decode(exported.body)["messages"]] == [
        "The release is on Friday.",
        "Nobody writes tests after that.",
    ]


async def test_a_long_conversation_is_exported_as_a_whole(site: Site) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans"})
    for number in range(40):
        await site.send("ada", "POST", "/plans/messages", {"content": f"{number} {'x' * 50_000}"})

    exported = await site.clients["ada"].send("GET", "/api/conversations/plans/export", query={"format": "json"})

    messages = msgspec.json.decode(exported.body)["messages"]
    assert [int(message["content"].split()[0]) for message in messages] == list(range(40))


async def test_a_stream_has_what_was_said_and_what_is(site: Site) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans", "participants": ["bob"]})
    await site.send("ada", "POST", "/plans/messages", {"content": 1})
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(site.events("bob", "/plans/messages", 2))
        while not site.plane.conversations._waiting:  # noqa: ASYNC110 - nothing of ours tells
            await asyncio.sleep(0.001)
        await site.send("ada", "POST", "/plans/messages", {"content": 2})
    behind = await site.events("bob", "/plans/messages", 1, {"Last-Event-ID": "1"})
    unknown = await site.events("bob", "/plans/messages", 3, {"Last-Event-ID": "99"})

    told = [(event.event, event.id, msgspec.json.decode(event.data)["content"]) for event in stream.result()]
    assert told == [("message", "1", 1), ("message", "2", 2)]
    assert [event.id for event in behind] == ["2"]
    assert [event.event for event in unknown] == ["reset", "message", "message"]


@pytest.mark.parametrize("end", ["deleted", "put out"])
async def test_a_stream_ends_with_the_conversation_or_for_who_takes_part_no_longer(site: Site, end: str) -> None:
    await site.send("ada", "POST", "", {"conversation_id": "plans", "participants": ["bob"]})
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(site.events("bob", "/plans/messages", 1))
        while not site.plane.conversations._waiting:  # noqa: ASYNC110 - nothing of ours tells
            await asyncio.sleep(0.001)
        if end == "deleted":
            await site.send("ada", "DELETE", "/plans")
        else:
            await site.send("ada", "PUT", "/plans/participants", {"participants": []})

    [bye] = stream.result()
    reason = {"deleted": "end", "put out": "unauthenticated"}[end]
    assert (bye.event, msgspec.json.decode(bye.data)["reason"]) == ("bye", reason)


async def test_what_has_a_key_is_begun_and_said_once_even_if_the_answer_was_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def repeated(path: str, body: object) -> list[Any]:
        answers = []
        for _ in range(2):
            answers.append(await site.clients["ada"].send("POST", path, body, headers={"Idempotency-Key": path}))
            # As after a crash between the change and the answer: nobody knows of the key any more.
            for known in tuple(site.plane.registry.idempotency_keys._known):
                site.plane.registry.idempotency_keys.drop(known)
        return [(answer.status, msgspec.json.decode(answer.body)) for answer in answers]

    begun, again = await repeated("/api/conversations", {"participants": ["bob"]})
    path = f"/api/conversations/{begun[1]['conversation_id']}/messages"
    said, twice = await repeated(path, {"content": "hello"})

    assert (begun, said[1]["sequence"], said[1]["duplicate"]) == (again, 1, False)
    assert twice == (201, {**said[1], "duplicate": True})


async def test_what_would_be_too_much_is_refused_and_says_so(site: Site) -> None:
    site.plane.conversations.limits = ConversationLimits(per_owner=1, messages=1)
    await site.send("ada", "POST", "", {"conversation_id": "plans"})
    said = await site.send("ada", "POST", "/plans/messages", {"content": "hello"})

    full = await site.send("ada", "POST", "/plans/messages", {"content": "again"})
    many = await site.send("ada", "POST", "", {"conversation_id": "more"})

    assert (said[0], full[0], full[1]["code"], full[1]["what"], full[1]["limit"]) == (
        201,
        409,
        "conversation_full",
        "messages",
        1,
    )
    assert (many[0], many[1]["code"], many[1]["owner"], many[1]["limit"]) == (409, "conversation_limit", "ada", 1)
    assert (await site.send("ada", "GET", "/plans"))[1]["size_bytes"] == 9
