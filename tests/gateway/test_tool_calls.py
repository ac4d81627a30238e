"""Calls of tools as event streams, while the server stops."""

import asyncio
from typing import Any

import msgspec
import pytest

from tekton.gateway.app import EventStream, Request, Route
from tekton.gateway.tool_calls import streamed
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_result import ToolResult
from tekton.utils.server_sent_events import EventStreamParser, ServerSentEvent


class Tool:
    """A tool that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self, _: ToolContext) -> ToolResult:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return ToolResult("slow", 7, 7, b"7", 0.0)

    async def call(self, request: Request) -> EventStream:
        return streamed(request, self.run, None)


@pytest.fixture
def tool() -> Tool:
    return Tool()


async def begin(serve: Any, tool: Tool) -> tuple[Any, Any]:
    """A server and a connection on which the tool is being called."""
    site = await serve([Route("POST", "/call", tool.call, "")])
    wire = await site.connect()
    await wire.send(b"POST /call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
    await tool.begun.wait()
    return site, wire


async def events_of(wire: Any) -> list[ServerSentEvent]:
    """What the connection still brings, until it is closed."""
    data = await wire.reader.read()
    head, _, chunked = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    text = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        length = int(size, 16)
        text, chunked = text + rest[:length], rest[length + 2 :]
    return list(EventStreamParser().feed(text))


async def test_a_call_in_progress_is_finished_when_the_server_stops(serve: Any, tool: Tool) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        site, wire = await begin(serve, tool)
        group.create_task(site.server.stop())
        await site.gateway.streams.closing.wait()
        tool.go_on.set()
        result, bye = await events_of(wire)

    assert (result.event, msgspec.json.decode(result.data)) == ("result", {"result": 7})
    assert (bye.event, msgspec.json.decode(bye.data)["reason"]) == ("bye", "end")


async def test_a_call_that_takes_too_long_for_the_stop_is_cancelled_and_its_caller_told(serve: Any, tool: Tool) -> None:
    async with asyncio.timeout(10):
        site, wire = await begin(serve, tool)
        await site.server.stop(timeout=0.1)
        await tool.cancelled.wait()
        error, bye = await events_of(wire)

    problem = msgspec.json.decode(error.data)
    assert (error.event, problem["code"], problem["status"]) == ("error", "unavailable", 503)
    assert (bye.event, msgspec.json.decode(bye.data)["reason"]) == ("bye", "stopping")
