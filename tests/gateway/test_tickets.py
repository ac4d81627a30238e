"""Tickets in the query: once, for half a minute, and for nothing but sockets and event streams."""

import asyncio
import json
import logging
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tekton.auth.principal import OWNER, Principal
from tekton.core.audit.query import AuditQuery
from tekton.gateway import tickets
from tekton.gateway.errors import RateLimitedError
from tekton.gateway.tickets import BURST, LIFE, MOST, Tickets, shown_ticket
from tekton.testing.clock import ManualClock
from tekton.testing.control_plane import InMemoryControlPlane


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def asked(make_request: Any, shown: str | None = "Bearer abc", who: Principal = OWNER) -> Any:
    request = make_request(*([] if shown is None else [("authorization", shown)]))
    request.principal = who
    return request


def test_a_ticket_is_taken_once(clock: ManualClock, make_request: Any) -> None:
    kept = Tickets(clock)
    ticket = kept.issue(asked(make_request))

    taken = [kept.redeem(ticket.text) for _ in range(2)]

    assert taken == [("Bearer abc", OWNER), None]
    assert len(kept) == 0


@pytest.mark.parametrize(("seconds", "taken"), [(LIFE - 0.001, True), (LIFE, False), (LIFE + 1, False)])
def test_a_ticket_is_taken_for_half_a_minute(
    clock: ManualClock, make_request: Any, seconds: float, taken: bool
) -> None:
    kept = Tickets(clock)
    ticket = kept.issue(asked(make_request))

    clock.advance(seconds)

    assert (kept.redeem(ticket.text) is not None) is taken
    assert LIFE == 30.0


def test_another_control_plane_takes_none_of_them(clock: ManualClock, make_request: Any) -> None:
    ticket = Tickets(clock).issue(asked(make_request))

    assert Tickets(clock).redeem(ticket.text) is None


def test_nobody_gets_as_many_as_he_likes(clock: ManualClock, make_request: Any) -> None:
    kept = Tickets(clock)
    for _ in range(BURST):
        kept.issue(asked(make_request))

    with pytest.raises(RateLimitedError) as refused:
        kept.issue(asked(make_request))

    assert refused.value.retry_after == pytest.approx(1.0)
    clock.advance(1.0)
    kept.issue(asked(make_request))


def test_all_together_have_no_more_than_fit(
    clock: ManualClock, make_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "MOST", 3)
    kept = Tickets(clock)
    for _ in range(3):
        kept.issue(asked(make_request))

    with pytest.raises(RateLimitedError):
        kept.issue(asked(make_request))

    clock.advance(LIFE)
    kept.issue(asked(make_request))
    assert (len(kept), MOST) == (1, 4096)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", None),
        ("v=1", None),
        ("myticket=x", None),
        ("ticket=abc", "abc"),
        ("v=1&ticket=a%2Db", "a-b"),
        ("ticket=", ""),
        ("ticket=a&ticket=b", ""),
        ("ticket=a&" + "x=1&" * 100, ""),
    ],
)
def test_which_ticket_a_query_shows(query: str, found: str | None) -> None:
    assert shown_ticket(query) == found


class Site:
    """A control plane, and a page that can send no headers."""

    def __init__(self, plane: InMemoryControlPlane, session: aiohttp.ClientSession) -> None:
        self.plane = plane
        self.session = session

    async def ticket(self, credential: str) -> str:
        headers = {"authorization": f"Bearer {credential}"}
        async with self.session.post(f"{self.plane.address.url}/api/auth/ticket", headers=headers) as answer:
            made = await answer.json()
        assert (answer.status, made["expires_in"]) == (201, 30.0)
        return str(made["ticket"])

    async def status(self, path: str, ticket: str) -> int:
        url = f"{self.plane.address.url}{path}{'&' if '?' in path else '?'}ticket={ticket}"
        if path.startswith("/ws"):
            try:
                async with self.session.ws_connect(url):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status
        async with self.session.get(URL(url, encoded=True)) as answer:
            return answer.status


@pytest.fixture
async def site() -> Any:
    async with InMemoryControlPlane() as plane, aiohttp.ClientSession() as session, asyncio.timeout(20):
        yield Site(plane, session)


PATHS = ["/ws", "/ws?v=1", "/events/components", "/events/news/x", "/events/a", "/events?subject=news.%3E"]


@pytest.mark.parametrize("path", PATHS)
async def test_it_opens_one_socket_or_stream(site: Site, path: str) -> None:
    # Whoever shows nothing may see components, but hear no messages.
    ticket = await site.ticket(await site.plane.token("mona", "monitor"))

    statuses = [await site.status(path, ticket) for _ in range(2)]

    assert statuses == [101 if path.startswith("/ws") else 200, 401]


@pytest.mark.parametrize(
    "path", ["/api/system", "/api/streams", "/api/streams/dead_letters/messages", "/api/auth/whoami"]
)
async def test_it_opens_nothing_else(site: Site, path: str) -> None:
    ticket = await site.ticket(await site.plane.token("mona", "monitor"))

    assert await site.status(path, ticket) in (400, 401, 404, 422)
    assert await site.status("/events/news", ticket) == 200


async def test_who_opens_it_is_who_has_asked_for_the_ticket_as_long_as_he_may(site: Site) -> None:
    ticket = await site.ticket(await site.plane.token("otto", "operator"))
    async with site.session.ws_connect(f"{site.plane.address.url}/ws?ticket={ticket}") as socket:
        message = {"message_type": "event", "content": 1, "context": {"sender": "otto"}}
        id_ = "0190f6a0-0000-7000-8000-000000000000"
        await socket.send_json({"op": "pub", "id": 1, "subject": "news", "message": message | {"message_id": id_}})
        published = await socket.receive_json()
        await site.plane.revoke("otto")
        bye = await socket.receive_json()

    assert published["t"] == "published", published
    assert (bye["op"], bye["reason"]) == ("bye", "unauthenticated")


async def test_a_ticket_of_who_has_lost_his_rights_meanwhile_opens_nothing(site: Site) -> None:
    ticket = await site.ticket(await site.plane.token("mona", "monitor"))
    await site.plane.revoke("mona")

    assert await site.status("/events/news", ticket) == 401


async def test_a_header_decides_alone_and_leaves_the_ticket(site: Site) -> None:
    ticket = await site.ticket(await site.plane.token("mona", "monitor"))
    headers = {"authorization": "Bearer wrong"}
    async with site.session.get(f"{site.plane.address.url}/events/news?ticket={ticket}", headers=headers) as answer:
        assert answer.status == 401

    assert await site.status("/events/news", ticket) == 200


async def test_nobody_without_a_credential_gets_one(site: Site) -> None:
    async with site.session.post(f"{site.plane.address.url}/api/auth/ticket") as answer:
        assert answer.status == 401


async def test_it_is_entered_by_its_id_and_stands_nowhere(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ticket = await site.ticket(await site.plane.token("mona", "monitor"))
        await site.status("/ws", ticket)
        await site.status("/ws", ticket)
        await site.status("/api/system", ticket)
    audit = site.plane.registry.audit
    await audit.flush()
    [entry] = [one for one in (await audit.page(AuditQuery())).entries if one.action == "ticket.issue"]

    assert (entry.actor, entry.detail, len(entry.target)) == ("mona", "mona", 16)
    # What the clients of this test log is not ours.
    own = [record.getMessage() for record in caplog.records if record.name.startswith("tekton")]
    assert ticket not in json.dumps(own)
