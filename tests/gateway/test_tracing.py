"""The spans of requests, made by a real gateway."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from tekton.core.tracing import Span, Tracer, span
from tekton.core.tracing.sampling import Sampler
from tekton.gateway.app import EventStream, Request, Response, Route
from tekton.gateway.connection import Connection
from tekton.gateway.errors import UnavailableError
from tekton.gateway.router import CALLERS
from tekton.gateway.tracing import RequestSpans
from tekton.testing.clock import ManualClock
from tekton.utils.trace_context import CURRENT, TraceContext

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
SILENT = f"00-{'a' * 32}-{'b' * 16}-00"


async def look(request: Request) -> Any:
    with span("inside"):
        context = CURRENT.get()
    return {"trace": None if context is None else context.trace_id}


async def fail(request: Request) -> Any:
    raise UnavailableError("away")


async def odd(request: Request) -> Any:
    return Response(404)


async def three(request: Request) -> Any:
    async def events() -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield b"data: x\n\n"

    return EventStream(events())


async def told(request: Request) -> Any:
    context = CURRENT.get()
    return None if context is None else context._asdict()


ROUTES = [
    Route("GET", "/look/{name}", look, summary="-"),
    Route("GET", "/fail", fail, summary="-"),
    Route("GET", "/told", told, summary="-"),
    Route("GET", "/odd", odd, summary="-"),
    Route("GET", "/quiet", look, summary="-"),
    Route("GET", "/health", look, summary="-", vital=True),
]


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
async def site(serve: Callable[..., Awaitable[Any]], spans: list[Span]) -> Any:
    observer = RequestSpans(Tracer("rhetor", spans.append), quiet={"/quiet"})
    return await serve(ROUTES, observers=[observer])


async def test_a_request_is_a_span_with_what_is_done_in_it(site: Any, spans: list[Span]) -> None:
    answer = await site.request("GET", "/look/ann")

    inside, made = spans
    assert (made.name, made.kind, made.parent_id) == ("GET /look/{name}", "server", "")
    assert made.attributes == {
        "http.request.method": "GET", "http.route": "/look/{name}", "http.response.status_code": 200,
        "url.path": "/look/ann", "user.name": "anonymous",
    }  # fmt: skip
    assert (inside.trace_id, inside.parent_id) == (made.trace_id, made.span_id)
    assert answer.json == {"trace": made.trace_id}


async def test_a_request_joins_the_trace_of_its_caller(site: Any, spans: list[Span]) -> None:
    await site.request("GET", "/look/ann", traceparent=PARENT, tracestate="a=1")

    assert (spans[1].trace_id, spans[1].parent_id) == ("a" * 32, "b" * 16)


async def test_who_does_not_record_is_not_recorded_but_goes_on(site: Any, spans: list[Span]) -> None:
    answer = await site.request("GET", "/look/ann", traceparent=SILENT)

    assert answer.json == {"trace": "a" * 32}
    assert spans == []


@pytest.mark.parametrize("sent", ["nonsense", f"{PARENT}x", PARENT.upper()])
async def test_what_is_no_context_is_as_if_there_were_none(site: Any, spans: list[Span], sent: str) -> None:
    await site.request("GET", "/odd", traceparent=sent)

    assert (spans[0].parent_id, spans[0].trace_id == "a" * 32) == ("", False)


async def test_what_is_asked_all_the_time_has_a_span_only_if_its_caller_has(site: Any, spans: list[Span]) -> None:
    assert (await site.request("GET", "/health")).json == {"trace": None}
    assert spans == []

    await site.request("GET", "/health", traceparent=PARENT)
    assert [one.name for one in spans] == ["inside", "GET /health"]


async def test_reading_may_count_among_what_is_asked_all_the_time(
    serve: Callable[..., Awaitable[Any]], spans: list[Span]
) -> None:
    routes = [*ROUTES, Route("POST", "/odd", odd, summary="-")]
    site = await serve(routes, observers=[RequestSpans(Tracer("tekton", spans.append), reads=False)])

    for method in ("GET", "HEAD", "POST"):
        await site.request(method, "/odd")
    await site.request("GET", "/odd", traceparent=PARENT)

    assert [(one.name, one.trace_id == "a" * 32) for one in spans] == [("POST /odd", False), ("GET /odd", True)]


async def test_of_what_strangers_claim_no_more_is_recorded_than_of_what_begins_here(
    serve: Callable[..., Awaitable[Any]], spans: list[Span]
) -> None:
    guarded = Route("GET", "/guarded", odd, summary="-", permission=CALLERS)
    sampler = Sampler(1.0, ManualClock().monotonic, new_traces=(1.0, 2.0))
    observers = [RequestSpans(Tracer("rhetor", spans.append, sampler=sampler))]
    site = await serve([*ROUTES, guarded], observers=observers)

    for path in ("/odd", "/odd", "/odd", "/guarded", "/guarded"):
        await site.request("GET", path, traceparent=PARENT)

    assert [one.name for one in spans] == ["GET /odd", "GET /odd", "GET /guarded", "GET /guarded"]


async def test_quiet_routes_never_have_one(site: Any, spans: list[Span]) -> None:
    await site.request("GET", "/quiet", traceparent=PARENT)

    assert spans == []


async def test_only_what_fails_here_is_an_error(site: Any, spans: list[Span]) -> None:
    await site.request("GET", "/fail")
    await site.request("GET", "/odd")
    await site.request("GET", "/nowhere")

    assert [(one.status, one.message, one.attributes["http.response.status_code"]) for one in spans] == [
        ("error", "answered with 503", 503),
        ("unset", "", 404),
    ]


async def test_requests_on_one_connection_do_not_inherit_from_one_another(site: Any, spans: list[Span]) -> None:
    wire = await site.connect()

    await wire.request("GET", "/look/ann", traceparent=PARENT)
    after = await wire.request("GET", "/health")
    another = await wire.request("GET", "/quiet")

    assert after.json == another.json == {"trace": None}


async def test_requests_at_the_same_time_keep_apart(site: Any, spans: list[Span]) -> None:
    parents = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 21)]

    answers = await asyncio.gather(*(site.request("GET", "/look/x", traceparent=one) for one in parents))

    assert [one.json["trace"] for one in answers] == [one[3:35] for one in parents]
    assert len({one.trace_id for one in spans}) == 20


async def test_what_only_watches_has_a_span_only_if_its_caller_has(
    serve: Callable[..., Awaitable[Any]], spans: list[Span]
) -> None:
    stream = Route("GET", "/events/x", three, summary="-", response=EventStream)
    site = await serve([stream], observers=[RequestSpans(Tracer("rhetor", spans.append))])

    await (await site.connect()).request("GET", "/events/x")
    assert spans == []


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_socket_is_a_span_from_its_opening_to_its_end(
    serve: Callable[..., Awaitable[Any]], spans: list[Span], way: str
) -> None:
    seen: list[TraceContext | None] = []
    ended = asyncio.Event()

    async def talk(connection: Connection) -> None:
        seen.append(CURRENT.get())

    def record(made: Span) -> None:
        spans.append(made)
        ended.set()

    site = await serve([], websocket=talk, observers=[RequestSpans(Tracer("rhetor", record))])
    key = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    wire = await site.connect()
    fields = {
        "host": "127.0.0.1",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        **({"traceparent": PARENT} if way == "header" else {}),
        **key,
    }
    query = f"?traceparent={PARENT}" if way == "query" else ""
    await wire.send(
        (f"GET /ws{query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()
    )
    assert (await wire.answer()).status == 101

    async with asyncio.timeout(5):
        await ended.wait()
    assert (spans[0].name, spans[0].trace_id) == ("GET /ws", "a" * 32)
    assert seen[0] is not None
    assert seen[0].span_id == spans[0].span_id


async def test_two_contexts_are_none_and_the_state_may_come_in_parts(site: Any, spans: list[Span]) -> None:
    async def ask(*fields: str) -> Any:
        head = "".join(f"{field}\r\n" for field in fields)
        return await site.raw(f"GET /told HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\n{head}\r\n".encode())

    twice = await ask(f"traceparent: {PARENT}", f"traceparent: {PARENT}")
    parts = await ask(f"traceparent: {PARENT}", "tracestate: a=1", "tracestate: b=2")

    assert twice.json["trace_id"] != "a" * 32
    assert (parts.json["trace_id"], parts.json["state"]) == ("a" * 32, "a=1,b=2")
