"""Observers of a gateway: what they are told of a request, and when."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tekton.core.attribution import current
from tekton.gateway.app import EventStream, Request, Response, Route
from tekton.gateway.asgi import AsgiReceive, AsgiScope, AsgiSend
from tekton.gateway.connection import Connection
from tekton.gateway.mounts import Mount
from tekton.gateway.observers import Ended, Observer
from tekton.gateway.sse import event
from tekton.testing.clock import ManualClock

TRACE: ContextVar[str] = ContextVar("trace", default="none")


@dataclass
class Notes(Observer):
    """What was told. `all_told` waits for a number of endings."""

    begun: list[Route] = field(default_factory=list)
    over: list[Ended] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self, request: Request, route: Route) -> None:
        TRACE.set(request.headers.get("x-trace") or "new")
        self.begun.append(route)

    def ended(self, ended: Ended) -> None:
        self.over.append(ended)
        self.news.set()

    async def all_told(self, count: int = 1) -> list[Ended]:
        async with asyncio.timeout(5):
            while len(self.over) < count:
                self.news.clear()
                await self.news.wait()
        return self.over


class Api:
    """Handlers that end in different ways."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    async def trace(self, _: Request) -> dict[str, str]:
        self._clock.advance(2.0)
        return {"trace": TRACE.get()}

    async def made(self, _: Request) -> Response:
        return Response(201)

    async def nothing(self, _: Request) -> None:
        return None

    async def fail(self, _: Request) -> None:
        raise ZeroDivisionError

    async def stream(self, _: Request) -> EventStream:
        async def source() -> Any:
            yield event(b"{}")

        return EventStream(source())


async def mounted(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
    """An application that answers 418 and takes every socket."""
    del receive
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"short and stout"})


async def talk(connection: Connection) -> None:
    await connection.receive(1000)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def site(serve: Any, notes: Notes, keyed_policy: Any) -> Any:
    clock = ManualClock()
    api = Api(clock)
    routes = [
        Route("GET", "/trace", api.trace, ""),
        Route("GET", "/made", api.made, ""),
        Route("GET", "/nothing", api.nothing, ""),
        Route("GET", "/fail", api.fail, ""),
        Route("GET", "/stream", api.stream, "", or_stream=True),
        Route("GET", "/secret", api.nothing, "", "auth:manage"),
    ]
    return await serve(
        routes,
        observers=[notes, Observer()],
        clock=clock,
        policy=keyed_policy(anonymous="everybody"),
        websocket=talk,
        mounts=[Mount("/app", mounted)],
    )


async def test_what_an_observer_puts_into_the_context_the_handler_finds(site: Any) -> None:
    wire = await site.connect()

    assert (await wire.request("GET", "/trace", x_trace="t1")).json == {"trace": "t1"}
    assert (await wire.request("GET", "/trace")).json == {"trace": "new"}


async def test_the_end_of_a_request_has_its_route_its_status_and_how_long_it_took(site: Any, notes: Notes) -> None:
    await site.request("GET", "/trace?")

    (ended,) = await notes.all_told()
    assert (ended.method, ended.path, ended.status, ended.seconds, ended.streamed) == ("GET", "/trace", 200, 2.0, False)
    assert ended.route is not None
    assert (ended.route.path, notes.begun) == ("/trace", [ended.route])
    assert ended.request.path == "/trace"


@pytest.mark.parametrize(
    ("path", "status"), [("/made", 201), ("/nothing", 204), ("/fail", 500), ("/app/tea", 418), ("/stream", 200)]
)
async def test_the_status_is_that_of_the_answer(
    site: Any, notes: Notes, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    del caplog
    assert (await site.request("GET", path)).status == status

    (ended,) = await notes.all_told()
    assert (ended.status, len(notes.begun), ended.streamed) == (status, 1, path == "/stream")


async def test_a_stream_that_is_only_asked_about_is_none(site: Any, notes: Notes) -> None:
    assert (await site.request("HEAD", "/stream")).status == 200

    (ended,) = await notes.all_told()
    assert (ended.status, ended.streamed) == (200, False)


@pytest.mark.parametrize(
    ("line", "status", "route"),
    [
        ("GET /nowhere", 404, None),
        ("PUT /trace", 405, None),
        ("OPTIONS /trace", 204, None),
        ("GET /secret", 401, "/secret"),
    ],
)
async def test_what_is_refused_has_ended_and_never_begun(
    site: Any, notes: Notes, line: str, status: int, route: str | None
) -> None:
    assert (await site.raw(f"{line} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())).status == status

    (ended,) = await notes.all_told()
    assert (ended.status, ended.route and ended.route.path, notes.begun) == (status, route, [])


async def test_a_foreign_host_is_refused_before_there_is_a_route(site: Any, notes: Notes) -> None:
    assert (await site.request("GET", "/trace", host="evil.example")).status == 421

    (ended,) = await notes.all_told()
    assert (ended.status, ended.route) == (421, None)


async def test_a_socket_ends_when_its_conversation_does(site: Any, notes: Notes) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/ws") as socket:
        await socket.send_str("bye")

    (ended,) = await notes.all_told()
    assert (ended.status, ended.path, ended.streamed, len(notes.begun)) == (101, "/ws", True, 1)


async def test_a_socket_that_is_refused_has_the_status_of_the_refusal(site: Any, notes: Notes) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{site.url}/nowhere")

    (ended,) = await notes.all_told()
    assert (ended.status, ended.route, ended.streamed, notes.begun) == (404, None, False, [])


async def test_only_what_an_attributed_route_does_is_done_on_behalf_of_the_caller(serve: Any) -> None:
    async def who(request: Request) -> dict[str, str | None]:
        before = current()
        request.act()
        after = current()
        return {"before": before and before.actor, "after": after and after.actor}

    site = await serve([Route("POST", "/a", who, ""), Route("POST", "/b", who, "", attributed=False)])

    assert (await site.request("POST", "/a")).json == {"before": "anonymous", "after": "anonymous"}
    assert (await site.request("POST", "/b")).json == {"before": None, "after": "anonymous"}
