"""Answering a call of a tool: with its result, or with an event stream of what it says on the way and then its result.

    event: progress   {"event":"progress","done":1,"total":3,"text":"compiling"}     how far it is
    event: log        {"event":"log","level":"info","text":"…","fields":{}}          what the caller may want to know
    event: chunk      {"event":"chunk","value":…}                                    what a streaming tool has yielded
    event: lost       {"events":12}                                                  so many were dropped here
    event: result     {"result":…}                                                   the last one: what came of it,
    event: error      {"code":"tool_timeout","status":504,…}                         or the problem document of why not

Whoever closes the connection cancels the call. What a tool says costs no more than `MAX_WAITING` bytes while they wait
to be sent, and all in all `MAX_EVENTS`; what would be more is dropped, and it is said that it was. The result is not.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from tekton.background import BackgroundGroup
from tekton.gateway.errors import UnavailableError
from tekton.gateway.problems import to_problem
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.sse import EventStream, event
from tekton.mcp.tool_context import ToolContext, ToolEvent
from tekton.mcp.tool_result import ToolResult
from tekton.utils.tekton_errors import TektonError

MAX_WAITING: Final = 1024 * 1024
MAX_EVENTS: Final = 2 * 1024 * 1024
MAX_STREAM: Final = 4 * 1024 * 1024
"""Bytes of a stream, with its result and the comments that keep it alive."""
CALLER_GONE: Final = 499
"""The status, for the metrics, of what nobody waits for any more (nginx has it so)."""

Run = Callable[[ToolContext], Awaitable[ToolResult]]
"""Makes the call, in the context that hears what the tool says."""


class ToolAnswer(msgspec.Struct, frozen=True):
    """What a tool returned."""

    result: Any


def answer_of(result: ToolResult) -> ToolAnswer:
    """The answer that has *result*, which is encoded already."""
    return ToolAnswer(msgspec.Raw(result.json))


def wants_events(request: Request) -> bool:
    """True when the caller takes an event stream."""
    return "text/event-stream" in (request.headers.get("accept") or "").lower()


async def answered(request: Request, run: Run, caller: str | None, *, goes_on: bool = False) -> ToolAnswer | Response:
    """The answer to a call, which is cancelled when the connection is closed, unless it *goes_on* then.

    Raises what *run* raises.
    """
    if goes_on:
        return answer_of(await run(ToolContext(caller)))
    group = BackgroundGroup("tool call")
    call = group.spawn(_outcome(run(ToolContext(caller))), "call")
    gone = group.spawn(request.disconnected(), "caller")
    try:
        await asyncio.wait([call, gone], return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            return Response(CALLER_GONE)
        outcome = call.result()
    finally:
        await group.stop()
    if isinstance(outcome, Exception):
        raise outcome
    return answer_of(outcome)


def streamed(request: Request, run: Run, caller: str | None) -> EventStream:
    """The call as an event stream. What *run* raises is its last event; so is that the server could not wait for it."""
    unfinished = event(
        to_problem(UnavailableError("the server has stopped before the call had ended"), request.path), "error"
    )
    return EventStream(_events(run, caller, request.path), budget=MAX_STREAM, unfinished=unfinished)


class _Said:
    """What a tool has said, until it is sent. Bounded."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._size = self._lost = 0
        self._left = MAX_EVENTS

    def tell(self, one: ToolEvent) -> None:
        """Keep *one* until it is sent; the oldest go where there are too many."""
        data = event(encode(one), str(type(one).__struct_config__.tag))
        self._waiting.append(data)
        self._size += len(data)
        while self._size > min(MAX_WAITING, self._left):
            self._size -= len(self._waiting.popleft())
            self._lost += 1
        self.news.set()

    def take(self, *, last: bool = False) -> bytes:
        """All that waits, as events; nothing when nothing does. The *last* time it is told what was dropped."""
        self.news.clear()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._left -= self._size
        self._size = 0
        if self._lost and (data or last):
            data = event(encode({"events": self._lost}), "lost") + data
            self._lost = 0
        return data


async def _events(run: Run, caller: str | None, path: str) -> AsyncIterator[bytes]:
    said = _Said()
    group = BackgroundGroup("tool call")
    call = group.spawn(_outcome(run(ToolContext(caller, tell=said.tell))), "call")
    call.add_done_callback(lambda _: said.news.set())
    try:
        while not call.done():
            await said.news.wait()
            if data := said.take():
                yield data
        yield said.take(last=True) + _conclusion(call.result(), path)
    finally:
        await group.stop()


def _conclusion(outcome: ToolResult | Exception, path: str) -> bytes:
    if isinstance(outcome, Exception):
        return event(to_problem(outcome, path), "error")
    return event(encode(answer_of(outcome)), "result")


async def _outcome(call: Awaitable[ToolResult]) -> ToolResult | Exception:
    # As a value: who has asked is told of it, so that it is no failure of a task.
    try:
        return await call
    except TektonError as error:
        return error
