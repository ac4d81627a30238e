import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tekton.core.tracing import Span, Tracer
from tekton.testing import free_port
from tekton.utils import tekton_http
from tekton.utils.retries import Retries
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    ConfigurationError,
    ProblemError,
    TektonError,
    TransportError,
)
from tekton.utils.tekton_http import HttpClient, NotConnectedError, construct_url
from tekton.utils.trace_context import TraceContext

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def _server(path: Path, handler: Handler) -> AsyncIterator[str]:
    """A real HTTP server at a Unix socket and at a TCP port; gives the URL of the latter."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[1][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "body": body.decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        }
    )


@pytest.mark.parametrize(
    ("component", "kind", "path", "url"),
    [
        ("hermes", "api", "registry/services", "http://localhost:8001/api/registry/services"),
        ("rhetor", "ws", "generate", "ws://localhost:8003/ws/generate"),
        ("engram", "events", "memory/updated", "http://localhost:8000/events/memory/updated"),
        ("tekton_core", "api", "", "http://localhost:8010/api"),
        ("hermes", "api", "/registry/services", "http://localhost:8001/api/registry/services"),
        ("hermes", "api", "search?q=a b&n=1", "http://localhost:8001/api/search?q=a%20b&n=1"),
        ("hermes", "api", "a%2Fb/ü#c", "http://localhost:8001/api/a%2Fb/%C3%BC%23c"),
    ],
)
def test_urls_follow_the_single_port_architecture(component: str, kind: str, path: str, url: str) -> None:
    assert construct_url(component, kind, path, environ={}) == url


def test_the_environment_moves_a_component() -> None:
    assert construct_url("hermes", "ws", "x", environ={"HERMES_PORT": "9001"}) == "ws://localhost:9001/ws/x"
    assert construct_url("hermes", "ws", "x", environ={"HERMES_URL": "https://h/api"}) == "wss://h/ws/x"
    assert construct_url("hermes", "api", "x", environ={"HERMES_URL": "http://h:1/api"}) == "http://h:1/api/x"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_PORT", "9009")

    assert construct_url("hermes", "api") == "http://localhost:9009/api"


def test_an_unknown_component_or_kind_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match=r"no port is known for 'hermse' \(did you mean 'hermes'\?\)"):
        construct_url("hermse", "api", environ={})
    with pytest.raises(ConfigurationError, match=r"unknown kind of endpoint 'event' \(did you mean 'events'\?\)"):
        construct_url("hermes", "event", environ={})
    with pytest.raises(ConfigurationError, match=r"\(use one of api, ws, events\)"):
        construct_url("hermes", "x", environ={})


@pytest.mark.parametrize("over", ["socket", "tcp"])
async def test_a_request_carries_json_query_headers_and_credential(tmp_path: Path, over: str) -> None:
    async with _server(tmp_path / "s", _echo) as url:
        where = {"socket": tmp_path / "s"} if over == "socket" else {"base_url": url + "/"}
        async with HttpClient(**where, credential="abc") as client:  # type: ignore[arg-type]
            answer = await client.request("POST", "/api/x", {"a": [1]}, {"X-Y": "z"}, query={"n": 1, "q": "a b"})

    assert (answer["method"], answer["path"]) == ("POST", "/api/x?n=1&q=a+b")
    assert msgspec.json.decode(answer["body"]) == {"a": [1]}
    headers = answer["headers"]
    assert headers["authorization"] == "Bearer abc"
    assert headers["content-type"] == "application/json"
    assert headers["x-y"] == "z"


async def test_a_request_without_json_has_no_body_and_no_type(tmp_path: Path) -> None:
    async with _server(tmp_path / "s", _echo), HttpClient(socket=tmp_path / "s") as client:
        answer = await client.request("GET", "/")

    assert answer["body"] == ""
    assert not {"content-type", "authorization"} & set(answer["headers"])


async def test_an_answer_without_a_body_is_none(tmp_path: Path) -> None:
    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with _server(tmp_path / "s", nothing), HttpClient(socket=tmp_path / "s") as client:
        assert await client.request("DELETE", "/x") is None


async def test_a_problem_document_becomes_the_error_it_tells_of(tmp_path: Path) -> None:
    async def refuse(_: web.Request) -> web.Response:
        body = {
            "code": "component_not_found",
            "detail": "no component 'hermse'",
            "component_id": "hermse",
            "nearest": "hermes",
        }
        return web.json_response(body, status=404, content_type="application/problem+json")

    async with _server(tmp_path / "s", refuse), HttpClient(socket=tmp_path / "s") as client:
        with pytest.raises(ComponentNotFoundError, match="no component 'hermse'") as caught:
            await client.request("GET", "/api/components/hermse")

    assert caught.value.nearest == "hermes"
    assert caught.value.hint == "did you mean 'hermes'?"


async def test_send_gives_the_answer_whatever_its_status(tmp_path: Path) -> None:
    async def teapot(_: web.Request) -> web.Response:
        return web.Response(status=418, text="short", headers={"X-Kind": "pot"})

    async with _server(tmp_path / "s", teapot), HttpClient(socket=tmp_path / "s") as client:
        answer = await client.send("GET", "/")

    assert (answer.status, answer.body, answer.headers["x-kind"]) == (418, b"short", "pot")


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async def away(request: web.Request) -> web.Response:
        assert request.path == "/a"
        raise web.HTTPFound("/b")

    async with _server(tmp_path / "s", away), HttpClient(socket=tmp_path / "s", credential="abc") as client:
        with pytest.raises(ProblemError) as caught:
            await client.request("GET", "/a")

    assert caught.value.status == 302


async def test_cookies_are_not_kept(tmp_path: Path) -> None:
    async def set_cookie(request: web.Request) -> web.Response:
        assert "Cookie" not in request.headers
        response = web.json_response({})
        response.set_cookie("a", "b")
        return response

    async with _server(tmp_path / "s", set_cookie) as url, HttpClient(url) as client:
        await client.request("GET", "/")
        await client.request("GET", "/")


async def test_an_answer_that_is_not_json_cannot_be_read(tmp_path: Path) -> None:
    async def html(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with _server(tmp_path / "s", html), HttpClient(socket=tmp_path / "s") as client:
        with pytest.raises(TransportError, match="http://localhost/x: the answer is not JSON"):
            await client.request("GET", "/x")


async def test_an_answer_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekton_http, "MAX_ANSWER_BYTES", 2**20)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    async with _server(tmp_path / "s", endless), HttpClient(socket=tmp_path / "s") as client:
        with pytest.raises(TransportError, match="the answer is larger than 1 MiB"):
            await client.request("GET", "/")


async def test_a_socket_that_is_not_there_is_named_as_the_reason(tmp_path: Path) -> None:
    async with HttpClient(socket=tmp_path / "none") as client:
        with pytest.raises(TransportError, match="http://localhost/x: no such socket"):
            await client.request("GET", "/x")


async def test_a_port_where_nobody_listens_refuses(unused_port: int) -> None:
    async with HttpClient(f"http://127.0.0.1:{unused_port}") as client:
        with pytest.raises(TransportError, match="connection refused"):
            await client.request("GET", "/")


@pytest.fixture
def unused_port() -> int:
    return free_port()


async def test_a_connection_that_does_not_come_about_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekton_http, "CONNECT_TIMEOUT", 0.05)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):  # nobody accepts: what comes after these waits in vain
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        async with HttpClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            with pytest.raises(NotConnectedError, match="no connection came about in time"):
                await client.request("POST", "/")


async def test_a_server_that_hangs_up_without_an_answer(tmp_path: Path) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with _server(tmp_path / "s", hang_up), HttpClient(socket=tmp_path / "s") as client:
        with pytest.raises(TransportError, match="the connection was closed before the answer was complete"):
            await client.request("POST", "/")


async def test_a_server_that_does_not_answer_in_time(tmp_path: Path) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with _server(tmp_path / "s", never), HttpClient(socket=tmp_path / "s", timeout=0.05) as client:
        with pytest.raises(TransportError, match=r"no answer within 0.05 s"):
            await client.request("GET", "/")
        with pytest.raises(TransportError, match=r"no answer within 0.02 s"):
            await client.request("GET", "/", timeout=0.02)
        with pytest.raises(TransportError, match=r"no answer within 0.05 s"):
            await anext(client.stream_events("/"))


async def test_a_url_that_is_none_cannot_be_reached() -> None:
    async with HttpClient("nonsense") as client:
        with pytest.raises(TransportError):
            await client.request("GET", "/")


async def test_a_path_begins_with_a_slash() -> None:
    async with HttpClient() as client:
        with pytest.raises(ValueError, match="a path begins with '/': 'http://elsewhere'"):
            await client.request("GET", "http://elsewhere")


async def test_a_closed_client_opens_again_when_used(tmp_path: Path) -> None:
    async with _server(tmp_path / "s", _echo):
        client = HttpClient(socket=tmp_path / "s")
        await client.request("GET", "/")
        await client.close()
        await client.request("GET", "/")
        await client.close()
        await client.close()


async def _events(request: web.Request) -> web.StreamResponse:
    assert request.headers["Accept"] == "text/event-stream"
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    start = int(request.headers.get("Last-Event-ID", "0"))
    for number in range(start + 1, start + 4):
        await response.write(f"id: {number}\nevent: change\ndata: {number}\n\n".encode())
    return response


async def test_events_are_streamed_until_the_server_ends(tmp_path: Path) -> None:
    async with _server(tmp_path / "s", _events), HttpClient(socket=tmp_path / "s") as client:
        events = [event async for event in client.stream_events("/events/components")]
        more = [event.data async for event in client.stream_events("/events/components", events[-1].id)]

    assert events[0] == ServerSentEvent("change", "1", "1")
    assert [event.data for event in events] == ["1", "2", "3"]
    assert more == ["4", "5", "6"]


async def test_pauses_in_a_stream_are_not_timed(tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        await goes_on.wait()
        await response.write(b"data: two\n\n")
        return response

    async with (
        _server(tmp_path / "s", slow),
        HttpClient(socket=tmp_path / "s", timeout=1.0) as client,
        contextlib.aclosing(client.stream_events("/")) as events,
    ):
        first = await anext(events)
        await asyncio.sleep(1.1)  # longer than the timeout: it must not matter
        goes_on.set()
        async with asyncio.timeout(5):
            second = await anext(events)

    assert (first.data, second.data) == ("one", "two")


async def test_a_refused_stream_raises_the_error(tmp_path: Path) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"code": "not_permitted", "detail": "no"}, status=403)

    async with _server(tmp_path / "s", refuse), HttpClient(socket=tmp_path / "s") as client:
        with pytest.raises(ProblemError, match="no"):
            await anext(client.stream_events("/"))


async def test_a_stream_that_breaks_is_told(tmp_path: Path) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        assert request.transport is not None
        request.transport.close()
        return response

    async with _server(tmp_path / "s", broken), HttpClient(socket=tmp_path / "s") as client:
        events = client.stream_events("/")
        assert (await anext(events)).data == "one"
        with pytest.raises(TransportError, match="the connection was closed"):
            await anext(events)


async def test_a_stream_can_be_left_early(tmp_path: Path) -> None:
    async with (
        _server(tmp_path / "s", _events),
        HttpClient(socket=tmp_path / "s") as client,
        contextlib.aclosing(client.stream_events("/")) as events,
    ):
        async for event in events:
            assert event.data == "1"
            break


class TestRetries:
    """A server that answers with what it is told to, one after another."""

    @pytest.fixture
    def asked(self) -> list[str]:
        return []

    @contextlib.asynccontextmanager
    async def client(
        self, path: Path, asked: list[str], *outcomes: int | str, attempts: int = 3, timeout: float = 5.0
    ) -> AsyncIterator[HttpClient]:
        left = list(outcomes)

        async def answer(request: web.Request) -> web.StreamResponse:
            asked.append(request.method)
            outcome = left.pop(0)
            if outcome == "hang up":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            assert isinstance(outcome, int)
            return web.json_response({"status": outcome}, status=outcome)

        retries = Retries(attempts, backoff=(0.001, 0.002))
        where = {"socket": path / "s", "retries": retries, "timeout": timeout}
        async with _server(path / "s", answer), HttpClient(**where) as client:  # type: ignore[arg-type]
            yield client

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    @pytest.mark.parametrize("failure", [502, 503, 504])
    async def test_what_is_idempotent_is_sent_again(
        self, tmp_path: Path, asked: list[str], method: str, failure: int
    ) -> None:
        async with self.client(tmp_path, asked, failure, failure, 200) as client:
            assert await client.request(method, "/") == {"status": 200}

        assert asked == [method] * 3

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    @pytest.mark.parametrize("outcome", [503, "hang up"])
    async def test_what_is_not_is_sent_once(
        self, tmp_path: Path, asked: list[str], method: str, outcome: int | str
    ) -> None:
        async with self.client(tmp_path, asked, outcome, 200) as client:
            with pytest.raises((ProblemError, TransportError)):
                await client.request(method, "/")

        assert asked == [method]

    @pytest.mark.parametrize("outcome", [503, "hang up"])
    async def test_what_has_a_key_is_sent_again_as_it_was(
        self, tmp_path: Path, asked: list[str], outcome: int | str
    ) -> None:
        async with self.client(tmp_path, asked, outcome, 200) as client:
            await client.request("POST", "/", {"a": 1}, {"idempotency-key": "mine"})

        assert asked == ["POST", "POST"]

    @pytest.mark.parametrize(
        ("keys", "retries", "method", "given", "sent"),
        [
            (True, True, "POST", {}, 1),
            (True, True, "PUT", {}, 1),
            (True, True, "GET", {}, 0),
            (True, False, "POST", {}, 0),
            (False, True, "POST", {}, 0),
            (True, True, "POST", {"idempotency-key": "mine"}, 1),
        ],
    )
    async def test_writes_that_may_be_sent_again_get_a_key_where_the_server_heeds_it(
        self, tmp_path: Path, keys: bool, retries: bool, method: str, given: dict[str, str], sent: int
    ) -> None:
        seen: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            seen.extend(request.headers.getall("Idempotency-Key", []))
            return web.Response()

        many = Retries() if retries else None
        async with (
            _server(tmp_path / "s", answer),
            HttpClient(socket=tmp_path / "s", retries=many, keys=keys) as client,
        ):
            await client.send(method, "/", headers=given)
            await client.send(method, "/", headers=given)

        assert len(seen) == 2 * sent
        assert len(set(seen)) == (1 if given else 2) * sent

    async def test_every_attempt_has_the_same_key(self, tmp_path: Path) -> None:
        seen: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            seen.append(request.headers["Idempotency-Key"])
            # The first one is still being carried out.
            return web.Response(status=409, headers={"Retry-After": "0"}) if len(seen) < 3 else web.Response()

        retries = Retries(backoff=(0.001, 0.002))
        async with (
            _server(tmp_path / "s", answer),
            HttpClient(socket=tmp_path / "s", retries=retries, keys=True) as client,
        ):
            assert (await client.send("POST", "/")).status == 200

        assert len(seen) == 3
        assert len(set(seen)) == 1

    async def test_what_never_arrived_is_sent_again_whatever_it_is(self, tmp_path: Path, asked: list[str]) -> None:
        retries = Retries(20, backoff=(0.02, 0.02))
        async with HttpClient(socket=tmp_path / "s", retries=retries) as late, asyncio.TaskGroup() as group:
            call = group.create_task(late.request("POST", "/"))
            await asyncio.sleep(0)
            async with self.client(tmp_path, asked, 200):
                assert await call == {"status": 200}

    @pytest.mark.parametrize("status", [400, 404, 409, 500])
    async def test_an_answer_that_will_stay_the_same_is_final(
        self, tmp_path: Path, asked: list[str], status: int
    ) -> None:
        async with self.client(tmp_path, asked, status, 200) as client:
            with pytest.raises(ProblemError):
                await client.request("GET", "/")

        assert asked == ["GET"]

    async def test_only_so_many_attempts_are_made(self, tmp_path: Path, asked: list[str]) -> None:
        async with self.client(tmp_path, asked, *[503] * 9, attempts=4) as client:
            with pytest.raises(ProblemError):
                await client.request("GET", "/")

        assert len(asked) == 4

    async def test_the_timeout_holds_for_all_attempts_together(self, tmp_path: Path, asked: list[str]) -> None:
        async with self.client(tmp_path, asked, *[503] * 9, timeout=1.0) as client:
            client._retries = Retries(9, backoff=(10.0, 10.0), rng=random.Random(1))
            with pytest.raises(ProblemError):
                await client.request("GET", "/")

        assert asked == ["GET"]

    async def test_a_server_that_says_when_to_come_back_is_listened_to(self, tmp_path: Path) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": "3600"})

        async with _server(tmp_path / "s", answer), HttpClient(socket=tmp_path / "s", retries=Retries()) as client:
            assert (await client.send("GET", "/")).status == 503


async def test_a_client_at_another_server_shares_connections_and_not_the_credential(tmp_path: Path) -> None:
    async with _server(tmp_path / "s", _echo) as url, HttpClient("http://127.0.0.1:1", credential="abc") as client:
        other = client.at(url)
        assert "authorization" not in (await other.request("GET", "/"))["headers"]
        assert other._connections is client._connections


def test_a_client_of_a_socket_cannot_be_turned_to_another_server() -> None:
    with pytest.raises(ValueError, match="no connections to other servers"):
        HttpClient(socket="/run/control.sock").at("http://localhost:1")


def _door(seen: list[str | None], wanted: str) -> Handler:
    """Lets in who shows *wanted*."""

    async def handler(request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("authorization")
        seen.append(shown)
        if shown != f"Bearer {wanted}":
            return web.json_response({"code": "unauthenticated", "detail": "no"}, status=401)
        if request.path.startswith("/events"):
            return web.Response(body=b"data: 1\n\n", content_type="text/event-stream")
        return web.json_response({"method": request.method, "body": (await request.read()).decode()})

    return handler


async def test_a_credential_that_is_refused_is_renewed_and_the_request_sent_once_more(tmp_path: Path) -> None:
    seen: list[str | None] = []
    async with (
        _server(tmp_path / "s", _door(seen, "new")),
        HttpClient(socket=tmp_path / "s", credential="old", renewed=lambda: "new") as client,
    ):
        answer = await client.request("POST", "/x", {"a": 1})
        await client.request("GET", "/x")

    assert answer == {"method": "POST", "body": '{"a":1}'}
    assert seen == ["Bearer old", "Bearer new", "Bearer new"]


async def test_requests_that_are_refused_at_the_same_time_are_all_sent_once_more(tmp_path: Path) -> None:
    seen: list[str | None] = []
    async with (
        _server(tmp_path / "s", _door(seen, "new")),
        HttpClient(socket=tmp_path / "s", credential="old", renewed=lambda: "new") as client,
    ):
        answers = await asyncio.gather(*[client.request("GET", "/x") for _ in range(5)])

    assert [answer["method"] for answer in answers] == ["GET"] * 5


@pytest.mark.parametrize("renewed", [lambda: "old", lambda: None, None, lambda: "wrong"])
async def test_what_is_refused_for_good_is_refused(tmp_path: Path, renewed: Callable[[], str | None] | None) -> None:
    seen: list[str | None] = []
    async with (
        _server(tmp_path / "s", _door(seen, "new")),
        HttpClient(socket=tmp_path / "s", credential="old", renewed=renewed) as client,
    ):
        with pytest.raises(TektonError, match="no"):
            await client.request("GET", "/x")

    assert len(seen) == (2 if renewed is not None and renewed() == "wrong" else 1)


async def test_a_stream_is_opened_with_the_renewed_credential(tmp_path: Path) -> None:
    seen: list[str | None] = []
    async with (
        _server(tmp_path / "s", _door(seen, "new")),
        HttpClient(socket=tmp_path / "s", credential="old", renewed=lambda: "new") as client,
    ):
        events = [event async for event in client.stream_events("/events/x")]

    assert [event.data for event in events] == ["1"]
    assert seen == ["Bearer old", "Bearer new"]


async def test_a_request_in_the_course_of_a_trace_says_so_and_is_a_span(tmp_path: Path) -> None:
    spans: list[Span] = []
    tracer = Tracer("rhetor", spans.append)

    async with _server(tmp_path / "s", _echo) as url, HttpClient(url) as client:
        with tracer.begin("work", parent=TraceContext("a" * 32, "b" * 16, True, "x=1")):
            inside = (await client.request("GET", "/api/x", query={"token": "canary"}))["headers"]
        outside = (await client.request("GET", "/api/x"))["headers"]

    request, work = spans
    assert inside["traceparent"] == f"00-{'a' * 32}-{request.span_id}-01"
    assert inside["tracestate"] == "x=1"
    assert "traceparent" not in outside
    assert (request.name, request.kind, request.parent_id, request.status) == ("GET", "client", work.span_id, "unset")
    assert request.attributes["url.path"] == "/api/x"
    assert request.attributes["http.response.status_code"] == 200
    assert "canary" not in str(request)


async def test_a_request_that_is_refused_or_not_answered_is_a_failed_span(tmp_path: Path) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"code": "x"}, status=404)

    spans: list[Span] = []
    tracer = Tracer("rhetor", spans.append)
    async with _server(tmp_path / "s", refuse) as url, HttpClient(url) as client:
        with tracer.begin("work"):
            assert (await client.send("GET", "/")).status == 404
    async with HttpClient(socket=tmp_path / "nobody") as client:
        with tracer.begin("work"), contextlib.suppress(TransportError):
            await client.send("GET", "/")

    refused, _, unanswered, _ = spans
    assert (refused.status, refused.message) == ("error", "answered with 404")
    assert (unanswered.status, "no such socket" in unanswered.message) == ("error", True)
