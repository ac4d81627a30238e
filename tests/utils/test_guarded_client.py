"""Calls through the guarded client, against real sockets: plain answers, answers that are streams, and hostile ones."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from tekton.utils.address_policy import AddressPolicy
from tekton.utils.guarded_client import GuardedClient
from tekton.utils.guarded_http import GuardedHttp, RefusedUrlError
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]

HERE = AddressPolicy([ip_network("127.0.0.1")])
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
MOST = 4096


def answer(body: bytes, head: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {head}", f"Content-Length: {len(body)}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serving(serve: bytes | Serve) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The URL of a server that answers so, and what it was asked."""
    asked: list[bytes] = []
    busy: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0
            )
            asked.append(head + await reader.readexactly(length))
            if isinstance(serve, bytes):
                writer.write(serve)
                await writer.drain()
            else:
                await serve(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()
            busy.discard(asyncio.current_task())

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        await asyncio.gather(*filter(None, busy))


async def ask(url: str, *, hears: bool = True, timeout: float = 5.0) -> tuple[Answer, list[ServerSentEvent]]:
    heard: list[ServerSentEvent] = []

    async def hear(event: ServerSentEvent) -> bool:
        heard.append(event)
        return False

    client = GuardedClient(GuardedHttp(HERE, max_answer=MOST), max_stream=4 * MOST, max_event=MOST)
    try:
        more: Any = {"heard": hear} if hears else {}
        return await client.at(f"{url}/").send("POST", "/api/tools/x", {"a": 1}, {"X-Y": "z"}, timeout, **more), heard
    finally:
        await client.close()


async def test_a_call_is_json_with_the_headers_that_were_given() -> None:
    async with serving(answer(b'{"result":1}')) as (url, asked):
        got, heard = await ask(url)

    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert (got.status, got.body, heard) == (200, b'{"result":1}', [])
    assert head.startswith(b"POST /api/tools/x HTTP/1.1\r\n")
    assert {b"X-Y: z", b"Content-Type: application/json", b"Connection: close"} <= set(head.split(b"\r\n"))
    assert body == b'{"a":1}'


async def test_the_events_before_the_result_are_heard_in_order() -> None:
    events = (
        b'retry: 1\n\nevent: progress\ndata: 1\n\nevent: progress\ndata: 2\n\nevent: result\ndata: {"result":3}\n\n'
    )
    async with serving(STREAM + events) as (url, _):
        got, heard = await ask(url)

    assert (got.status, got.body) == (200, b'{"result":3}')
    assert [(event.event, event.data) for event in heard] == [("progress", "1"), ("progress", "2")]


async def test_a_stream_may_end_in_a_problem() -> None:
    problem = json.dumps({"status": 409, "code": "taken"}).encode()
    async with serving(STREAM + b"event: error\ndata: " + problem + b"\n\n") as (url, _):
        got, _ = await ask(url)

    assert (got.status, got.body) == (409, problem)


@pytest.mark.parametrize("problem", [b"{", b"[]", b'{"status": 200}', b'{"status": "x"}', b"[" * 3000])
async def test_a_problem_that_is_none_is_a_bad_answer(problem: bytes) -> None:
    async with serving(STREAM + b"event: error\ndata: " + problem + b"\n\n") as (url, _):
        assert (await ask(url))[0].status == 502


async def test_who_does_not_listen_gets_no_stream_taken_apart() -> None:
    async with serving(STREAM + b"event: result\ndata: 1\n\n") as (url, asked):
        got, _ = await ask(url, hears=False)

    assert got.body == b"event: result\ndata: 1\n\n"
    assert b"text/event-stream" not in asked[0]


async def endless(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 1024)
        await writer.drain()


async def endless_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await endless(writer)


async def endless_event(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM + b"data: ")
    await endless(writer)


async def endless_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    while True:
        writer.write(b"event: progress\ndata: 1\n\n" * 64)
        await writer.drain()


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (endless_answer, "larger than"),
        (answer(b"x" * (MOST + 1)), "larger than 4 KiB"),
        (endless_event, "larger than"),
        (endless_stream, "larger than 16 KiB"),
        (STREAM + b"event: progress\ndata: 1\n\n", "ended without a result"),
        (answer(b"", "302 Found", Location="http://127.0.0.1:22/"), "redirects are not followed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "[Bb]ad"),
        (b"", "closed before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", "closed before the answer was complete"),
    ],
    ids=["endless", "large", "event", "events", "cut-short", "redirect", "ssh", "nothing", "half"],
)
async def test_a_hostile_answer_is_a_transport_error(serve: bytes | Serve, why: str) -> None:
    async with serving(serve) as (url, asked):
        with pytest.raises(TransportError, match=why):
            await ask(url)

    assert len(asked) == 1


@pytest.mark.parametrize("drip", [b"x", b": \n\n", b"event: progress\ndata: 1\n\n"], ids=["answer", "comment", "event"])
async def test_one_who_never_comes_to_an_end_has_only_so_much_time(drip: bytes) -> None:
    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM if drip != b"x" else b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(dripping) as (url, _):
        with pytest.raises(TransportError, match=r"no answer within 0\.2 s"):
            await ask(url, timeout=0.2)


async def test_nothing_is_unpacked() -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    async with serving(answer(packed, **{"Content-Encoding": "gzip"})) as (url, _):
        got, _ = await ask(url)

    assert got.body == packed


async def test_while_one_who_hears_is_busy_nothing_more_is_read() -> None:
    written, hearing, go_on = 0, asyncio.Event(), asyncio.Event()

    async def fast(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(STREAM)
        while True:
            writer.write(b"event: progress\ndata: " + b"x" * 1000 + b"\n\n")
            await writer.drain()
            written += 1000

    async def hear(_: ServerSentEvent) -> bool:
        hearing.set()
        return await go_on.wait()

    client = GuardedClient(GuardedHttp(HERE), max_stream=2**40, max_event=MOST)
    async with serving(fast) as (url, _), asyncio.TaskGroup() as group:
        call = group.create_task(client.at(url).send("POST", "/x", {}, timeout=30, heard=hear))
        async with asyncio.timeout(10):
            await hearing.wait()
            before = -1
            while written != before:  # until the buffers between the two are full
                before = written
                await asyncio.sleep(0.05)
        call.cancel()
    await client.close()

    assert written < 64 * 1024 * 1024


async def test_an_address_that_is_closed_is_not_called() -> None:
    client = GuardedClient(GuardedHttp(AddressPolicy()), max_stream=1, max_event=1)
    async with serving(answer(b"{}")) as (url, asked):
        with pytest.raises(RefusedUrlError):
            await client.at(url).send("POST", "/x", {})
    await client.close()

    assert asked == []
