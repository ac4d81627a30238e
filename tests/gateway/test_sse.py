"""Event streams: what is sent, in which order, and when it ends."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tekton.gateway.app import EventStream, Request, Route
from tekton.gateway.errors import PermissionDeniedError, UnavailableError
from tekton.gateway.sse import ChangeEvents, event, send_stream
from tekton.gateway.streams import Streams


class Events:
    """The events in a piece of a stream, parsed by the rules of the standard as far as we use them."""

    def __init__(self, data: bytes) -> None:
        blocks = [block for block in data.decode().split("\n\n") if block]
        self.all = [dict(re.findall(r"^(\w+): (.*)$", block, re.MULTILINE)) for block in blocks]

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(each for each in self.all if "data" in each)

    @property
    def names(self) -> list[str]:
        return [each.get("event", "message") for each in self]


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield event(b"1")


async def silent() -> AsyncIterator[bytes]:
    yield event(b"1")
    await asyncio.Event().wait()


async def of(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield event(each)


async def failing() -> AsyncIterator[bytes]:
    yield event(b"1")
    raise ValueError("secret")


async def test_a_stream_without_a_farewell_just_ends(exchange: Any) -> None:
    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(of(b"1"), farewell=False), proto, Streams(1))

    assert [one["data"] for one in Events(b"".join(proto.transport.sent))] == ["1"]


async def test_a_stream_that_ends_says_so(exchange: Any) -> None:
    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(of(b"1", b"2")), proto, Streams(1))

    events = Events(b"".join(proto.transport.sent))
    assert proto.response[0] == 200
    assert proto.response[1]["content-type"] == "text/event-stream"
    assert events.names == ["message", "message", "bye"]
    assert json.loads(list(events)[-1]["data"])["reason"] == "end"


async def test_a_client_is_told_when_to_come_back_not_all_at_once(exchange: Any) -> None:
    delays = set()
    for _ in range(20):
        proto = exchange()
        await send_stream(EventStream(of()), proto, Streams(1))
        first = Events(b"".join(proto.transport.sent)).all[0]
        delays.add(int(first["retry"]))

    assert len(delays) > 1
    assert all(1000 <= delay <= 3000 for delay in delays)


async def test_a_stream_ends_when_the_client_leaves_even_if_the_source_never_waits(exchange: Any) -> None:
    for source in (endless(), silent()):
        proto, streams = exchange(), Streams(1)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(send_stream(EventStream(source, budget=10**9), proto, streams))
            await proto.transport.until(b"data")
            proto.gone.set()

        assert len(streams) == 0
        assert b"bye" not in b"".join(proto.transport.sent)


async def test_a_stream_ends_when_sending_says_that_the_client_left(exchange: Any) -> None:
    proto = exchange()
    proto.transport.left = True

    async with asyncio.timeout(5):
        await send_stream(EventStream(endless()), proto, Streams(1))

    assert not proto.transport.sent


async def test_closing_ends_a_stream_with_a_goodbye(exchange: Any) -> None:
    proto, streams = exchange(), Streams(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(send_stream(EventStream(silent()), proto, streams))
        await proto.transport.until(b"data")
        await streams.close()

    last = list(Events(b"".join(proto.transport.sent)))[-1]
    assert last["event"] == "bye"
    assert json.loads(last["data"])["reason"] == "stopping"
    assert "id" not in last


async def test_a_stream_that_ends_by_itself_is_not_ended_by_closing(exchange: Any) -> None:
    proto, streams, go_on = exchange(), Streams(1), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield event(b"1")
        await go_on.wait()
        yield event(b"2")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(send_stream(EventStream(source(), unfinished=event(b"cut")), proto, streams))
        await proto.transport.until(b"data")
        await streams.close()
        go_on.set()

    events = list(Events(b"".join(proto.transport.sent)))
    assert [one["data"] for one in events[:-1]] == ["1", "2"]
    assert json.loads(events[-1]["data"])["reason"] == "end"


async def test_a_stream_that_is_cut_says_first_that_it_is_unfinished(exchange: Any) -> None:
    proto, streams = exchange(), Streams(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(send_stream(EventStream(silent(), unfinished=event(b"cut")), proto, streams))
        await proto.transport.until(b"data")
        await streams.close()
        streams.cut()

    events = list(Events(b"".join(proto.transport.sent)))
    assert [one["data"] for one in events[:-1]] == ["1", "cut"]
    assert json.loads(events[-1]["data"])["reason"] == "stopping"


async def test_a_client_that_reads_nothing_costs_no_more_than_the_budget(exchange: Any) -> None:
    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(endless(), budget=1000), proto, Streams(1))

    sent = b"".join(proto.transport.sent)
    assert len(sent) < 1300
    assert json.loads(list(Events(sent))[-1]["data"])["reason"] == "resume"


async def test_the_first_item_does_not_count_for_the_budget(exchange: Any) -> None:
    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(of(b"x" * 5000, b"1"), budget=1000), proto, Streams(1))

    assert Events(b"".join(proto.transport.sent)).names == ["message", "message", "bye"]


async def test_a_quiet_stream_gets_comments(exchange: Any) -> None:
    proto, streams = exchange(), Streams(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(send_stream(EventStream(silent(), ping=0.01), proto, streams))
        await proto.transport.until(b": ping\n\n: ping\n\n")
        await streams.close()


async def test_a_failing_source_ends_the_stream_and_tells_nothing(
    exchange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(failing()), proto, Streams(1))

    sent = b"".join(proto.transport.sent)
    assert json.loads(list(Events(sent))[-1]["data"])["reason"] == "error"
    assert b"secret" not in sent
    assert "secret" in caplog.text


async def test_a_source_that_is_not_for_the_client_any_more_ends_the_stream_and_is_no_defect(
    exchange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def refusing() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise PermissionDeniedError("messages:read")

    proto = exchange()
    async with asyncio.timeout(5):
        await send_stream(EventStream(refusing()), proto, Streams(1))

    sent = b"".join(proto.transport.sent)
    assert json.loads(list(Events(sent))[-1]["data"])["reason"] == "unauthenticated"
    assert not caplog.records


async def test_the_source_is_closed_however_the_stream_ends(exchange: Any) -> None:
    closed: list[str] = []

    async def source(name: str) -> AsyncIterator[bytes]:
        try:
            yield event(b"1")
            await asyncio.Event().wait()
        finally:
            closed.append(name)

    proto, streams = exchange(), Streams(2)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(send_stream(EventStream(source("left")), proto, streams))
        await proto.transport.until(b"data")
        proto.gone.set()
        other = exchange()
        group.create_task(send_stream(EventStream(source("closed")), other, streams))
        await other.transport.until(b"data")
        await streams.close()

    assert sorted(closed) == ["closed", "left"]


async def test_too_many_streams_are_refused_before_anything_is_sent(exchange: Any) -> None:
    proto = exchange()

    with pytest.raises(UnavailableError):
        await send_stream(EventStream(silent()), proto, Streams(0))

    assert proto.response is None


async def first_events(feed: Any, last_event_id: str | None, count: int) -> list[dict[str, str]]:
    """The first *count* events of the changes after *last_event_id*."""
    data = b""
    async with asyncio.timeout(5):
        source = ChangeEvents(feed.source).stream(last_event_id).source
        async for chunk in source:
            data += chunk
            if len(list(Events(data))) >= count:
                break
    return list(Events(data))[:count]


async def test_a_new_watcher_gets_a_snapshot_first(feed: Any) -> None:
    feed.publish("a", "b")

    (snapshot,) = await first_events(feed, None, 1)

    assert (snapshot["event"], snapshot["id"]) == ("snapshot", "12")
    assert [record["component_id"] for record in json.loads(snapshot["data"])] == ["a", "b"]


async def test_a_watcher_that_comes_back_gets_exactly_what_it_missed(feed: Any) -> None:
    feed.publish("a", "b", "c")

    events = await first_events(feed, "11", 2)

    assert [(each["event"], each["id"]) for each in events] == [("change", "12"), ("change", "13")]
    assert json.loads(events[0]["data"])["component_id"] == "b"


@pytest.mark.parametrize("position", ["", "x", "-1", "0", "9", "99", "1" * 30, "1.5", " 11", "\u0661\u0661"])
async def test_a_position_that_is_not_known_is_reset(feed: Any, position: str) -> None:
    feed.publish("a")

    reset, snapshot = await first_events(feed, position, 2)

    assert reset["event"] == "reset"
    assert (snapshot["event"], snapshot["id"]) == ("snapshot", "11")


async def test_a_watcher_that_falls_behind_is_reset(small_feed: Any) -> None:
    source = aiter(ChangeEvents(small_feed.source).stream(None).source)
    async with asyncio.timeout(5):
        await anext(source)
        small_feed.publish(*(f"c{number}" for number in range(20)))
        events = list(Events(await anext(source)))
        small_feed.publish("last")
        events += Events(await anext(source))

    assert [each["event"] for each in events] == ["reset", "snapshot", "change"]
    assert len(json.loads(events[1]["data"])) == 20


async def test_a_long_catch_up_comes_in_pieces(feed: Any) -> None:
    feed.publish(*(f"c{number}" for number in range(600)))
    source = aiter(ChangeEvents(feed.source).stream("10").source)

    async with asyncio.timeout(5):
        sizes = [len(list(Events(await anext(source)))) for _ in range(4)]

    assert sizes == [0, 256, 256, 88]


@pytest.fixture
def routes(feed: Any) -> list[Route]:
    changes = ChangeEvents(feed.source)

    async def watch(request: Request) -> EventStream:
        return changes.stream(request.headers.get("last-event-id"))

    return [Route("GET", "/events/components", watch, "")]


async def test_no_change_is_missed_or_doubled_over_reconnections(serve: Any, routes: list[Route], feed: Any) -> None:
    site = await serve(routes)
    seen: list[int] = []
    position: str | None = "10"
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        for turn in range(25):
            headers = {"last-event-id": position} if position else {}
            async with session.get(f"{site.url}/events/components", headers=headers) as response:
                feed.publish(*(f"c{turn}-{number}" for number in range(4)))
                wanted = len(seen) + 1 + turn % 4
                while len(seen) < wanted:
                    line = (await response.content.readline()).decode().strip()
                    if line.startswith("id: "):
                        position = line[4:]
                        seen.append(int(position))

    assert seen == list(range(11, 11 + len(seen)))


async def test_a_client_that_leaves_ends_its_stream_at_once(serve: Any, routes: list[Route]) -> None:
    site = await serve(routes)
    wire = await site.connect()
    await wire.send(b"GET /events/components HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await wire.reader.readuntil(b"snapshot")
    assert len(site.gateway.streams) == 1

    wire.writer.close()

    await site.no_streams()


async def test_stopping_the_server_delivers_the_last_event(serve: Any, routes: list[Route]) -> None:
    site = await serve(routes)
    wire = await site.connect()
    await wire.send(b"GET /events/components HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await wire.reader.readuntil(b"snapshot")

    await site.server.stop()

    async with asyncio.timeout(5):
        rest = await wire.reader.readuntil(b"bye") + await wire.reader.readuntil(b"0\r\n\r\n")

    assert b'"reason":"stopping"' in rest


async def test_head_opens_no_stream(serve: Any, routes: list[Route]) -> None:
    site = await serve(routes)

    answer = await site.request("HEAD", "/events/components")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert len(site.gateway.streams) == 0
