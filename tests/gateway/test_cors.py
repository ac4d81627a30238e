"""What pages of other origins are told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tekton.gateway.app import EventStream, Request, Response, Route
from tekton.gateway.mounts import Mount
from tekton.gateway.sse import event

OURS = "https://ops.example"


async def hello(_: Request) -> dict[str, str]:
    return {"hello": "world"}


async def page(_: Request) -> Response:
    return Response(200, b"<p>", media_type="text/html; charset=utf-8")


async def framed(_: Request) -> Response:
    return Response(200, b"<p>", [("Content-Security-Policy", "default-src 'self'")], "text/html")


async def watch(_: Request) -> EventStream:
    async def events() -> AsyncIterator[bytes]:
        yield event(b"1")

    return EventStream(events())


async def application(scope: Any, _: Any, send: Any) -> None:
    own = [(b"access-control-allow-origin", b"https://its.example")] if scope["path"].endswith("own") else []
    await send({"type": "http.response.start", "status": 200, "headers": own})
    await send({"type": "http.response.body", "body": b"x"})


ROUTES = [
    Route("GET", "/hello", hello, ""),
    Route("POST", "/hello", hello, ""),
    Route("GET", "/page", page, ""),
    Route("GET", "/framed", framed, ""),
    Route("GET", "/watch", watch, ""),
]


@pytest.fixture
async def site(serve: Any) -> Any:
    return await serve(ROUTES, allowed_origins=[OURS, "http://LOCALHOST:3000/"], mounts=[Mount("/app", application)])


def told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_pages_of_ours_may_read_what_is_answered_and_what_is_refused(site: Any) -> None:
    for method, path, status in (("GET", "/hello", 200), ("POST", "/hello", 200), ("GET", "/nowhere", 404)):
        answer = await site.request(method, path, origin=OURS)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, OURS)
        assert answer.headers["vary"] == "origin"
        assert "retry-after" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_stream_may_be_read_too(site: Any) -> None:
    answer = await site.request("GET", "/watch", origin="http://localhost:3000")

    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_a_preflight_is_answered_with_what_may_be_sent(site: Any) -> None:
    answer = await site.request(
        "OPTIONS", "/hello", origin=OURS, access_control_request_method="POST", access_control_request_headers="x"
    )

    assert (answer.status, answer.body) == (204, b"")
    assert told(answer) == {
        "access-control-allow-origin": OURS,
        "access-control-expose-headers": (
            "allow, idempotency-replayed, location, retry-after, www-authenticate, x-request-id"
        ),
        "access-control-allow-methods": "get, head, post, options",
        "access-control-allow-headers": "authorization, content-type, idempotency-key, last-event-id, x-request-id",
        "access-control-max-age": "600",
    }


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://ops.example.evil", "http://ops.example", "*"]
)
async def test_pages_of_others_are_told_nothing(site: Any, origin: str) -> None:
    preflight = await site.request("OPTIONS", "/hello", origin=origin, access_control_request_method="POST")
    read = await site.request("GET", "/hello", origin=origin)
    change = await site.request("POST", "/hello", origin=origin)

    assert [told(answer) for answer in (preflight, read, change)] == [{}, {}, {}]
    assert (change.status, change.json["code"]) == (403, "foreign_origin")


async def test_two_origins_are_none_of_ours(site: Any) -> None:
    answer = await site.raw(
        b"GET /hello HTTP/1.1\r\nhost: localhost\r\norigin: https://ops.example\r\norigin: https://ops.example\r\n\r\n"
    )

    assert told(answer) == {}


async def test_without_allowed_origins_nobody_is_told_anything(serve: Any) -> None:
    site = await serve(ROUTES)

    assert told(await site.request("GET", "/hello", origin=site.url)) == {}
    assert told(await site.request("OPTIONS", "/hello", origin=OURS, access_control_request_method="GET")) == {}


async def test_a_mounted_application_may_say_it_otherwise(site: Any) -> None:
    ours = await site.request("GET", "/app/x", origin=OURS)
    own = await site.request("GET", "/app/own", origin=OURS)

    assert ours.headers["access-control-allow-origin"] == OURS
    assert told(own) == {"access-control-allow-origin": "https://its.example"}


async def test_a_page_is_not_shown_inside_another(site: Any) -> None:
    plain, framed = await site.request("GET", "/page"), await site.request("GET", "/framed")

    assert plain.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert (plain.headers["x-frame-options"], plain.headers["referrer-policy"]) == ("deny", "no-referrer")
    assert framed.headers["content-security-policy"] == "default-src 'self'"
    assert "x-frame-options" not in (await site.request("GET", "/hello")).headers


@pytest.mark.parametrize("path", ["/hello", "/page", "/nowhere", "/watch"])
async def test_no_answer_is_kept_or_guessed_at(site: Any, path: str) -> None:
    answer = await site.request("GET", path)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
