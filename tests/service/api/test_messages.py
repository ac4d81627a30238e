"""Messages over HTTP: one that is published, and a request whose answer is the answer."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tekton.bus.bus import MAX_MESSAGE, StreamSettings
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing.control_plane import InMemoryControlPlane

EVENT = {"message_type": "event", "content": {"a": [1]}}


class Site:
    """A control plane, and somebody who talks to it."""

    def __init__(self, plane: InMemoryControlPlane, session: aiohttp.ClientSession, tokens: dict[str, str]) -> None:
        self.plane = plane
        self.bus = plane.bus
        self._session = session
        self._tokens = tokens

    async def post(
        self, path: str, body: Any, who: str | None = "otto", headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any]:
        """The status and the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        shown = {} if who is None else {"authorization": f"Bearer {self._tokens[who]}"}
        shown |= {"content-type": "application/json", **(headers or {})}
        url = f"{self.plane.address.url}{path}"
        async with self._session.post(url, data=io.BytesIO(data), headers=shown, params=query) as answer:
            return answer.status, await answer.json(content_type=None)

    def events(self, path: str, who: str = "otto", last: str | None = None) -> Any:
        """The answer to a request for an event stream, to be used as a context."""
        shown = {"authorization": f"Bearer {self._tokens[who]}"} | ({} if last is None else {"last-event-id": last})
        return self._session.get(URL(f"{self.plane.address.url}{path}", encoded=True), headers=shown)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with InMemoryControlPlane() as plane, aiohttp.ClientSession() as session:
        tokens = {
            "otto": await plane.token("otto", "operator"),
            "mona": await plane.token("mona", "monitor"),
            "billing": await plane.token("billing", "component"),
        }
        yield Site(plane, session, tokens)


async def test_what_is_left_out_of_a_message_is_filled_in(site: Site) -> None:
    async with site.bus.subscribe("orders.>") as heard:
        status, receipt = await site.post("/api/messages", EVENT, subject="orders.new")
        envelope = await anext(aiter(heard))

    assert (status, receipt) == (201, {"sequence": envelope.sequence, "stream": None, "duplicate": False})
    assert envelope.message.context.sender == "otto"
    assert (envelope.message.content, envelope.message.message_type) == ({"a": [1]}, MessageType.EVENT)
    assert envelope.message.message_id


async def test_a_message_that_is_whole_stays_what_it_is_and_is_stored_once(site: Site) -> None:
    await site.bus.create_stream("billing", StreamSettings(("billing.>",)))
    context = MessageContext("billing", "engram", "trace", hops=2)
    message = Message("command", {"b": "x"}, context, {"k": 1}, timestamp=5.5)

    answers = [await site.post("/api/messages", message.to_json(), "billing", subject="billing.new") for _ in range(2)]
    async with site.bus.replay("billing") as kept:
        envelope = await anext(aiter(kept))

    assert answers[0] == (201, {"sequence": 1, "stream": "billing", "duplicate": False})
    assert answers[1] == (201, {"sequence": 1, "stream": "billing", "duplicate": True})
    assert envelope.message == message


async def test_a_repetition_with_its_key_is_answered_as_before(site: Site) -> None:
    key = {"idempotency-key": "again"}
    async with site.bus.subscribe("orders.>") as heard:
        first = await site.post("/api/messages", EVENT, headers=key, subject="orders.new")
        second = await site.post("/api/messages", EVENT, headers=key, subject="orders.new")
        other = await site.post("/api/messages", EVENT, headers=key, subject="orders.old")
        batch = await anext(heard.batches())

    assert first == second
    assert first[0] == 201
    assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")
    assert len(batch) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b'{"message_type":"event","content":"\xff"}', 400, "malformed_message"),
        (b'{"message_type":"event","content":"\\ud800"}', 400, "malformed"),
        (b'{"message_type":"event","content":' + b"[" * 70 + b"]" * 70 + b"}", 400, "malformed"),
        (b'{"message_type":"event","content":{"a":1,"a":2}}', 422, "invalid"),
        (b'{"message_type":"event","content":18446744073709551616}', 400, "malformed_message"),
        (b'{"message_type":"event","content":1e999}', 400, "malformed_message"),
        (b'{"message_type":"shout","content":1}', 422, "invalid"),
        (b'{"message_type":"event"}', 422, "invalid"),
        (b'{"message_type":"event","content":1,"more":1}', 422, "invalid"),
        (b'{"message_type":"event","content":1,"message_id":"x"}', 422, "invalid_message"),
        (b'{"message_type":"event","content":1,"context":{"recipient":"\\n"}}', 422, "invalid_message"),
        (b'{"message_type":"event","content":1,"context":{"hops":17}}', 422, "too_many_hops"),
        (b'{"message_type":"event","content":1,"context":{"deadline":1}}', 504, "message_expired"),
        (b'{"message_type":"event","content":{"modality":"foo"}}', 422, "invalid_content"),
        (b'{"message_type":"event","content":{"modality":1}}', 422, "invalid_content"),
        (b'{"message_type":"event","content":{"modality":"text"}}', 422, "invalid_content"),
        (b'{"message_type":"event","content":{"x":1,"modal\\u0069ty":"foo"}}', 422, "invalid_content"),
        (b'{"message_type":"event","content":{"modality":"code","language":"A B","code":""}}', 422, "invalid_content"),
        (
            b'{"message_type":"event","content":{"modality":"image","media_type":"image/png","data":"R0lGODlh"}}',
            422,
            "invalid_content",
        ),
        (b'{"message_type":"event","content":"' + b"x" * MAX_MESSAGE + b'"}', 413, "too_large"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
async def test_what_is_no_message_is_refused(site: Site, body: bytes, status: int, code: str) -> None:
    # Whoever sends on while he is refused may find the connection closed, and not read why.
    headers = {"expect": "100-continue"} if code == "too_large" else {}
    refused = await site.post("/api/messages", body, headers=headers, subject="orders.new")

    assert (refused[0], refused[1]["code"]) == (status, code)
    # A message that goes in circles is kept as a dead letter.
    assert site.bus.live.published == (code == "too_many_hops")


@pytest.mark.parametrize(
    ("who", "context", "query", "status"),
    [
        (None, {}, {"subject": "news"}, 401),
        ("mona", {}, {"subject": "news"}, 403),
        ("otto", {"sender": "billing"}, {"subject": "news"}, 403),
        ("otto", {}, {"subject": "tekton.metrics"}, 403),
        ("otto", {}, {"subject": "news", "reply": "tekton.metrics"}, 403),
        ("otto", {}, {"subject": "news", "reply": "_inbox.billing.0123456789abcdef.1"}, 403),
        ("billing", {}, {"subject": "billing.news", "reply": "_inbox.=otto.0123456789abcdef.1"}, 403),
        ("billing", {}, {"subject": "engram.news"}, 403),
        ("billing", {"sender": "engram"}, {"subject": "billing.news"}, 403),
        ("otto", {}, {"subject": "news..a"}, 422),
        ("otto", {}, {"subject": "news.*"}, 422),
        ("otto", {}, {}, 422),
        ("otto", {}, {"subject": "news", "reply": "_inbox.otto.0123456789abcdef.1"}, 503),
    ],
)
async def test_who_may_not_publish_that_is_refused(
    site: Site, who: str | None, context: dict[str, str], query: dict[str, str], status: int
) -> None:
    refused = await site.post("/api/messages", EVENT | {"context": context}, who, **query)

    assert refused[0] == status, refused
    assert site.bus.live.published == 0


async def test_a_request_is_answered_with_the_first_answer_be_it_an_error(site: Site) -> None:
    async def answer() -> None:
        async with site.bus.subscribe("engram.requests.>") as asked:
            listening.set()
            async for question in asked:
                context = question.message.follow("engram", question.message.context.sender)
                await site.bus.publish(question.reply or "", Message("error", {"code": "no"}, context))

    listening = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(answer())
        await listening.wait()
        status, body = await site.post(
            "/api/requests", EVENT | {"message_type": "request"}, "billing", subject="engram.requests.search"
        )
        task.cancel()

    assert (status, body["message_type"], body["content"]) == (200, "error", {"code": "no"})
    assert body["context"]["recipient"] == "billing"


async def test_a_request_that_nobody_answers_fails(site: Site) -> None:
    nobody = await site.post("/api/requests", EVENT, subject="engram.requests.a")
    async with site.bus.subscribe("engram.requests.a"):
        silent = await site.post("/api/requests", EVENT, subject="engram.requests.a", timeout="0.05")
    patient = await site.post("/api/requests", EVENT, subject="engram.requests.a", timeout="61")

    assert (nobody[0], nobody[1]["code"]) == (503, "no_responders")
    assert (silent[0], silent[1]["code"]) == (504, "reply_timeout")
    assert (patient[0], patient[1]["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize("path", ["/events/orders/new", "/events?subject=orders.%3E", "/events/orders.new"])
async def test_what_is_published_comes_as_an_event(site: Site, path: str) -> None:
    async with asyncio.timeout(10), site.events(path) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        while await answer.content.readline() != b": listening\n":
            pass
        await site.post("/api/messages", EVENT, subject="orders.new")
        while not (line := await answer.content.readline()).startswith(b"data: "):
            pass

    event = json.loads(line.removeprefix(b"data: "))
    assert (event["subject"], event["message"]["content"]) == ("orders.new", {"a": [1]})


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/events/engram/requests/a", "billing", 403),
        ("/events?subject=_inbox.otto.%3E", "mona", 403),
        ("/events?subject=a..b", "mona", 422),
        ("/events", "mona", 422),
    ],
)
async def test_events_that_may_not_be_heard_are_refused(site: Site, path: str, who: str, status: int) -> None:
    async with site.events(path, who) as answer:
        assert answer.status == status


@pytest.mark.parametrize("path", ["/events/orders/new", "/events?subject=orders.%3E", "/events/components"])
@pytest.mark.parametrize("last", ["\u00fc", "5\u00fc", "x", "-1"])
async def test_a_place_that_nobody_can_read_is_reset(site: Site, path: str, last: str) -> None:
    async with asyncio.timeout(10), site.events(path, last=last) as answer:
        told = await answer.content.readuntil(b"data: ")

    assert b"event: reset\n" in told
