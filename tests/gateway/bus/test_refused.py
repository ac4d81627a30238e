"""Who was refused a route of the bus by its permission is reported as who was refused by the bus."""

import asyncio
from typing import Any

import msgspec
import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError
from tekton.gateway.bus.access import PUBLISH, READ, BusAccess, Refusal
from tekton.gateway.bus.refused import RefusedRoutes
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.router import Route


class Query(msgspec.Struct):
    subject: str = ">"


async def handle(request: Request) -> None:
    """The bus has refused it, and has said so itself."""
    raise PermissionDeniedError(PUBLISH, "not that")


ROUTES = [
    Route("POST", "/api/messages", handle, "", PUBLISH, body=dict, query=Query),
    Route("GET", "/events", handle, "", READ, query=Query),
    Route("GET", "/events/{a}/{b}", handle, "", READ),
    Route("GET", "/api/streams", handle, "", READ),
    Route("GET", "/api/streams/{name}/messages", handle, "", READ, query=Query),
    Route("GET", "/api/audit", handle, "", "audit:read"),
]


def identify(credential: str) -> Principal:
    if credential == "wrong":
        raise InvalidCredentialError("unknown")
    grants = RoleTable().grants([credential] if credential != "nobody" else [])
    return Principal(subject=credential, roles=(credential,), via="token", grants=grants)


class Reports(asyncio.Queue[Refusal]):
    """What was reported."""


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def site(serve: Any, reports: Reports) -> Any:
    access = BusAccess(reports.put_nowait)
    return await serve(ROUTES, policy=AccessPolicy(identify), observers=[RefusedRoutes(access)])


@pytest.mark.parametrize(
    ("who", "method", "path", "action", "subject", "reason"),
    [
        ("monitor", "POST", "/api/messages?subject=tekton.x", "publish", "tekton.x", "messages:publish"),
        ("monitor", "POST", "/api/messages?subject=a&more=1", "publish", "a", "messages:publish"),
        ("monitor", "POST", "/api/messages", "publish", "", "messages:publish"),
        ("monitor", "POST", f"/api/messages?subject={'x' * 300}", "publish", "x" * 255, "messages:publish"),
        ("nobody", "GET", "/events?subject=a.%3E", "subscribe", "a.>", "messages:read"),
        ("nobody", "GET", "/events/a/b", "subscribe", "a.b", "messages:read"),
        ("nobody", "GET", "/api/streams/orders/messages?subject=a", "subscribe", "a", "messages:read"),
        (None, "POST", "/api/messages?subject=news", "publish", "news", "messages:publish"),
    ],
)
async def test_a_refused_route_is_reported_with_the_subject(
    site: Any, reports: Reports, who: str | None, method: str, path: str, action: str, subject: str, reason: str
) -> None:
    shown = {} if who is None else {"authorization": f"Bearer {who}"}

    answer = await (await site.connect()).request(method, path, b"{}" if method == "POST" else None, **shown)
    async with asyncio.timeout(5):
        refusal = await reports.get()

    name = who or "anonymous"
    assert answer.status == (401 if who is None else 403)
    assert (refusal.principal.subject, refusal.action, refusal.subject) == (name, f"message.{action}", subject)
    assert refusal.reason == f"{reason} is not granted to {name}"
    assert refusal.address.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        ("operator", "POST", "/api/messages?subject=tekton.x", 403),
        ("wrong", "POST", "/api/messages?subject=news", 401),
        ("nobody", "GET", "/api/streams", 403),
        ("nobody", "GET", "/api/audit", 403),
        ("nobody", "GET", "/nowhere", 404),
    ],
)
async def test_what_others_report_or_is_about_no_subject_is_not_reported(
    site: Any, reports: Reports, who: str, method: str, path: str, status: int
) -> None:
    wire = await site.connect()
    body = b"{}" if method == "POST" else None

    answer = await wire.request(method, path, body, authorization=f"Bearer {who}")
    # Observers are told in the order of the requests of a connection.
    await wire.request("GET", "/events/a/b", authorization="Bearer nobody")
    async with asyncio.timeout(5):
        first = await reports.get()

    assert answer.status == status
    assert first.subject == "a.b"
