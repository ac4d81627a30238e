"""ASGI applications of other frameworks, mounted into a component and called over real connections."""

import asyncio
import os
import resource
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import fastapi
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tekton.component import Component
from tekton.component import Request as OwnRequest
from tekton.gateway import piped_body
from tekton.utils.tekton_errors import ComponentError

MEGABYTE = 2**20


class App:
    """A Starlette application, and what happened to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.sent = 0
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()
        routes = [
            Route("/echo", self.echo, methods=["GET", "POST", "HEAD"]),
            Route("/count", self.count, methods=["POST"]),
            Route("/early", self.early, methods=["POST"]),
            Route("/endless", self.endless),
            Route("/quiet", self.quiet),
            Route("/cookies", self.cookies),
            Route("/broken", self.broken),
            Route("/miscounted", self.miscounted),
            Route("/breaks-off", self.breaks_off),
            WebSocketRoute("/socket", self.socket),
            WebSocketRoute("/refused", self.refused),
        ]
        self._starlette = Starlette(routes=routes, lifespan=self.lifespan)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._starlette(scope, receive, send)
        finally:
            self.left.set()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[dict[str, str]]:
        self.seen.append("up")
        yield {"shared": "state"}
        self.seen.append("down")

    async def echo(self, request: Request) -> Response:
        return JSONResponse(
            {
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.query_params),
                "body": (await request.body()).decode(),
                "header": request.headers.get("x-thing"),
                "state": request.state.shared,
                "url": str(request.url_for("echo")),
                "client": request.client.host if request.client else None,
            },
            background=BackgroundTask(self.seen.append, "background"),
        )

    async def count(self, request: Request) -> Response:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            self.seen.append("chunk")
        return PlainTextResponse(str(size))

    async def early(self, request: Request) -> Response:
        async def both() -> AsyncIterator[bytes]:
            async for chunk in request.stream():
                yield chunk.upper()

        return StreamingResponse(both())

    async def endless(self, _: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                self.sent += MEGABYTE
                yield b"x" * MEGABYTE

        return StreamingResponse(body())

    async def quiet(self, _: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            await self.go_on.wait()
            yield b"at last"

        return StreamingResponse(body(), headers={"x-early": "yes"})

    async def cookies(self, _: Request) -> Response:
        response = PlainTextResponse("two", status_code=201)
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async def broken(self, _: Request) -> Response:
        raise RuntimeError("a secret")

    async def breaks_off(self, _: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"abc"
            raise RuntimeError("in the middle")

        return StreamingResponse(body(), headers={"content-length": "10"})

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            if text == "bytes":
                await socket.send_bytes(b"\0\1")
            elif text == "bye":
                await socket.close()
                return
            else:
                await socket.send_text(text.upper())

    async def miscounted(self, _: Request) -> Response:
        return PlainTextResponse("hello", headers={"content-length": "1"})

    async def refused(self, socket: WebSocket) -> None:
        await socket.close()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def client(app: App) -> AsyncIterator[aiohttp.ClientSession]:
    component = Component("shop", port=0, register=False)
    component.mount("/admin", app.app)

    @component.get("/admin/own")
    async def own(_: OwnRequest) -> str:
        return "the component's"

    async with component, aiohttp.ClientSession(component.endpoint) as session:
        async with asyncio.timeout(30):
            yield session


async def text(client: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with client.request(method, path, **options) as answer:
        return answer.status, await answer.text()


async def test_a_request_reaches_the_application_whole(client: aiohttp.ClientSession, app: App) -> None:
    async with client.post("/admin/echo?a=1&b=%20", data=b"hello", headers={"x-thing": "y"}) as answer:
        seen = await answer.json()

    assert answer.status == 200
    assert seen == {
        "method": "POST",
        "path": "/admin/echo",
        "query": {"a": "1", "b": " "},
        "body": "hello",
        "header": "y",
        "state": "state",
        "url": f"http://{answer.url.authority}/admin/echo",
        "client": "127.0.0.1",
    }
    await app.left.wait()
    assert app.seen == ["up", "background"]


async def test_what_the_application_does_not_know_it_refuses_itself(client: aiohttp.ClientSession) -> None:
    assert await text(client, "GET", "/admin/nothing") == (404, "Not Found")
    assert (await text(client, "DELETE", "/admin/echo"))[0] == 405
    assert (await text(client, "GET", "/administrator"))[0] == 404


async def test_a_route_of_the_component_wins(client: aiohttp.ClientSession) -> None:
    assert await text(client, "GET", "/admin/own") == (200, '"the component\'s"')


async def test_head_has_no_body(client: aiohttp.ClientSession) -> None:
    assert await text(client, "HEAD", "/admin/echo") == (200, "")


async def test_repeated_headers_arrive_each(client: aiohttp.ClientSession) -> None:
    async with client.get("/admin/cookies") as answer:
        assert (answer.status, len(answer.headers.getall("set-cookie"))) == (201, 2)


async def test_a_length_that_is_wrong_does_not_spoil_the_next_answer(client: aiohttp.ClientSession) -> None:
    for _ in range(2):
        assert await text(client, "GET", "/admin/miscounted") == (200, "hello")


async def test_a_defect_is_told_without_its_text(client: aiohttp.ClientSession) -> None:
    status, body = await text(client, "GET", "/admin/broken")

    assert status == 500
    assert "secret" not in body


async def test_an_announced_body_that_breaks_off_is_not_taken_for_whole(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get("/admin/breaks-off") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()

    # The client asks once more by itself when the connection ends before the head of the answer has come.
    assert {record.getMessage() for record in caplog.records} == {"GET /admin/breaks-off broke off"}


async def test_a_body_streams_in(client: aiohttp.ClientSession, app: App) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * MEGABYTE

    assert await text(client, "POST", "/admin/count", data=body()) == (200, str(40 * MEGABYTE))
    assert app.seen.count("chunk") > 10


async def test_both_bodies_stream_at_the_same_time(client: aiohttp.ClientSession) -> None:
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"second"

    async with client.post("/admin/early", data=body()) as answer:
        first = await answer.content.readexactly(5)
        answered.set()
        rest = await answer.read()

    assert (first, rest) == (b"FIRST", b"SECOND")


async def test_the_headers_of_a_stream_do_not_wait_for_its_body(client: aiohttp.ClientSession, app: App) -> None:
    async with client.get("/admin/quiet") as answer:
        early = answer.headers["x-early"]
        app.go_on.set()
        assert (early, await answer.text()) == ("yes", "at last")


async def test_a_client_that_reads_nothing_stops_the_application(
    client: aiohttp.ClientSession, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    await text(client, "GET", "/admin/nothing")
    app.left.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await client.get("/admin/endless")

    last = -1
    while last != app.sent:  # until it does not get on any more
        last = app.sent
        await asyncio.sleep(0.2)

    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert app.sent < 32 * MEGABYTE
    assert grown < 64 * MEGABYTE
    assert not app.left.is_set()
    answer.close()
    await app.left.wait()
    assert caplog.records == []


async def test_where_there_are_no_fifos_a_stream_is_queued(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piped_body, "_make_fifo", lambda: None)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"

    assert await text(client, "POST", "/admin/early", data=body()) == (200, "XXX")


async def test_streams_that_were_left_leave_nothing_behind(
    client: aiohttp.ClientSession, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def one() -> None:
        async with client.get("/admin/endless") as answer:
            await answer.content.readexactly(100_000)

    await one()
    before = len(os.listdir("/dev/fd"))
    await asyncio.gather(*(one() for _ in range(20)))
    while len(os.listdir("/dev/fd")) > before + 5:  # noqa: ASYNC110 (nothing tells when the server has noticed)
        await asyncio.sleep(0.01)

    assert os.listdir(tmp_path) == []


async def test_a_socket_talks_both_ways(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/admin/socket") as socket:
        await socket.send_str("hello")
        upper = await socket.receive_str()
        await socket.send_str("bytes")
        data = await socket.receive_bytes()
        await socket.send_str("bye")
        last = await socket.receive()

    assert (upper, data) == ("HELLO", b"\0\1")
    assert last.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_the_application_learns_that_a_socket_has_gone(client: aiohttp.ClientSession, app: App) -> None:
    async with client.ws_connect("/admin/socket") as socket:
        await socket.send_str("hello")
        await socket.receive_str()

    await app.left.wait()


async def test_an_application_can_refuse_a_socket(client: aiohttp.ClientSession) -> None:
    for path, status in (("/admin/refused", 403), ("/elsewhere", 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(path)
        assert refused.value.status == status


async def test_a_stop_ends_streams_and_sockets_and_shuts_the_application_down() -> None:
    app = App()
    component = Component("shop", port=0, register=False)
    component.mount("/", app.app)
    async with component, aiohttp.ClientSession(component.endpoint) as session:
        stream = await session.get("/quiet")
        socket = await session.ws_connect("/socket")
        health = await text(session, "GET", "/api/health")
        async with asyncio.timeout(10):
            await component.stop()
        stream.close()
        await socket.close()

    assert health[0] == 200
    assert app.seen == ["up", "down"]


async def test_an_application_that_cannot_start_ends_the_start() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    component = Component("shop", port=0, register=False)
    component.mount("/", Starlette(lifespan=lifespan))

    with pytest.raises(ComponentError, match="no database"):
        await component.start()

    assert component.port is None


async def test_an_application_without_lifespan_is_served() -> None:
    async def bare(scope: Any, _: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["root_path"].encode()})

    component = Component("shop", port=0, register=False)
    component.mount("/bare", bare)
    async with component, aiohttp.ClientSession(component.endpoint) as session:
        assert await text(session, "GET", "/bare/x") == (200, "/bare")


async def test_before_the_start_is_over_the_application_is_not_asked() -> None:
    app = App()
    component = Component("shop", port=0, register=False)
    component.mount("/admin", app.app)
    may_start = asyncio.Event()
    component.on_start(may_start.wait)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        starting = group.create_task(component.start())
        while component.port is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{component.port}") as session:
            refused = await text(session, "GET", "/admin/echo")
        may_start.set()
        await starting
        await component.stop()

    assert refused[0] == 503


async def test_fastapi_serves_its_documents_below_the_prefix() -> None:
    api = fastapi.FastAPI()

    @api.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"number": number}

    component = Component("shop", port=0, register=False)
    component.mount("/v1", api)
    async with component, aiohttp.ClientSession(component.endpoint) as session:
        found = await text(session, "GET", "/v1/items/7")
        wrong = await text(session, "GET", "/v1/items/seven")
        document = await text(session, "GET", "/v1/openapi.json")

    assert found == (200, '{"number":7}')
    assert wrong[0] == 422
    assert '"servers":[{"url":"/v1"}]' in document[1]


def test_what_is_no_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="'admin' is not a prefix"):
        Component("shop").mount("admin", App().app)


async def test_only_canonical_paths_and_ordinary_methods_reach_an_application() -> None:
    seen: list[str] = []

    async def bare(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        seen.append(f"{scope['method']} {scope['path']} {scope['raw_path'].decode()}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    component = Component("shop", port=0, register=False)
    component.mount("/", bare)
    async with component:
        statuses = [
            await _raw_status(component.port, line)
            for line in (
                b"GET /a/../b",
                b"GET /a/%2e%2e/b",
                b"GET /a%2f..%2fb",
                b"GET /a%252fb",
                b"GET /a%00",
                b"GET /a%ff",
                b"GET //a",
                b"GET /a/..;x/b",
                b"GET /a%5cb",
                b"TRACE /a",
                b"get /a",
                b"BREW /a",
                b"OPTIONS *",
                b"CONNECT localhost:1",
                b"GET /a;x/b%20c%2fd",
            )
        ]

    assert statuses == [400] * 9 + [405] * 3 + [404, 400, 200]
    assert seen == ["GET /a;x/b c/d /a%3Bx/b%20c/d"]


async def _raw_status(port: int | None, line: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1])


@pytest.mark.parametrize("status", [0, 42, 99, 100, 101, 199, 600, 999, 1000, 65535, 70000])
async def test_a_status_that_the_server_would_die_of_is_a_defect_of_the_application(status: int) -> None:
    async def bare(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    component = Component("shop", port=0, register=False)
    component.mount("/bare", bare)
    async with component, aiohttp.ClientSession(component.endpoint) as session:
        assert (await text(session, "GET", "/bare"))[0] == 500
        assert (await text(session, "GET", "/api/health"))[0] == 200


async def test_a_header_of_an_application_cannot_become_two() -> None:
    async def bare(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        headers = [(b"x-a", b"1\r\nx-evil: 1"), (b"x-b\r\nx-evil", b"1"), (b"x-c", b"1\nx-evil: 1"), (b"x-d", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"body"})

    component = Component("shop", port=0, register=False)
    component.mount("/bare", bare)
    async with component, aiohttp.ClientSession(component.endpoint) as session, session.get("/bare") as answer:
        assert "x-evil" not in answer.headers
        assert (answer.headers["x-d"], await answer.text()) == ("1", "body")
