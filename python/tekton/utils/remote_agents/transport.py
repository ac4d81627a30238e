"""The HTTP of the official SDK, over the guard that keeps requests on somebody's behalf out of our own network.

Each exchange is a task of its own, so that it does not matter by whom, and when, a response is closed: the generators
of the SDK may be finalized later, by anybody. What is said is limited in bytes, also that of each event, and in time;
nothing is unpacked, no redirect followed. Imported when an agent is called for the first time: httpx comes with the
extra `a2a`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import httpx

from tekton.background import BackgroundGroup
from tekton.utils.guarded_http import GuardedHttp, Opened
from tekton.utils.remote_agents.refusals import NotLetInError, PassingError
from tekton.utils.retries import PASSING
from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError, ServerSentEvent
from tekton.utils.strict_urls import parse_url
from tekton.utils.tekton_errors import TransportError
from tekton.utils.trace_context import CURRENT, TRACEPARENT

__all__ = ["GuardedTransport"]

MOST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer, or of a stream; one that has said so much is taken up anew."""
MOST_EVENT: Final = 4 * 1024 * 1024
_EVENT_STREAM: Final = "text/event-stream"
_WAITING: Final = 8
_BAD_REQUEST: Final = 400
_TOO_MANY: Final = 429
_NOT_LET_IN: Final = frozenset({401, 403, 407})

# httpx takes them for the ends of lines; in JSON they can only be within a text.
_SEPARATORS: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}

Headers = Callable[[str], Mapping[str, str]]
"""What is sent with a request to a URL, beside what the SDK sends."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """See the module."""

    def __init__(self, http: GuardedHttp, headers: Headers) -> None:
        self._http = http
        self._headers = headers
        self._running = BackgroundGroup("a2a")
        self._exchanges: set[_Exchange] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what `GuardedHttp.open` raises, and TransportError for answers that come from no agent."""
        exchange = _Exchange(self._exchanges)
        exchange.task = self._running.spawn(exchange.run(self._http, request, self._headers), "exchange")
        try:
            opened = await exchange.head
            _check(opened, parse_url(str(request.url)).origin)
        except BaseException:
            exchange.end()
            raise
        media_type = _media_type(opened)
        return httpx.Response(opened.status, headers={"content-type": media_type}, stream=exchange, request=request)

    def end(self) -> None:
        """End what is under way: who reads it finds that there is no more."""
        for exchange in list(self._exchanges):
            exchange.end()

    async def aclose(self) -> None:
        """End what is under way, and wait until it has."""
        self.end()
        await self._running.stop()


class _Exchange(httpx.AsyncByteStream):
    """A request and its answer."""

    task: "asyncio.Task[None]"

    def __init__(self, exchanges: "set[_Exchange]") -> None:
        self.head: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_WAITING)
        self._over = False
        self._exchanges = exchanges
        exchanges.add(self)

    async def run(self, http: GuardedHttp, request: httpx.Request, headers: Headers) -> None:
        """Carry it out. What goes wrong is told to whoever waits."""
        try:
            body = await request.aread()
            url = str(request.url)
            sent = {**request.headers, "user-agent": "tekton", **_trace(), **headers(url)}
            limit = request.extensions.get("timeout", {}).get("read")
            async with http.open(request.method, url, body or None, sent, limit, max_answer=MOST_ANSWER) as opened:
                self.head.set_result(opened)
                async for piece in _sanitized(opened, url):
                    await self._pieces.put(piece)
        except Exception as error:
            await self._tell(error)
        else:
            await self._pieces.put(None)
        finally:
            self.head.cancel()
            self._exchanges.discard(self)

    async def _tell(self, error: Exception) -> None:
        if self.head.done():
            await self._pieces.put(error)
        else:
            self.head.set_exception(error)

    def end(self) -> None:
        """See `GuardedTransport.end`."""
        self._over = True
        self.task.cancel()

    async def aclose(self) -> None:
        self.end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._over:
            piece = await self._pieces.get()
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece


def _trace() -> dict[str, str]:
    """The place in a trace. What other tracers have added to it is for no stranger."""
    here = CURRENT.get()
    return {} if here is None else {TRACEPARENT: here.traceparent()}


def _media_type(opened: Opened) -> str:
    # Without its parameters: what a stranger calls a character set is not asked for a decoder.
    return opened.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check(opened: Opened, origin: str) -> None:
    if opened.status in PASSING or opened.status == _TOO_MANY:
        raise PassingError(origin, f"answered {opened.status}")
    if opened.status in _NOT_LET_IN:
        raise NotLetInError(origin, opened.status)
    if opened.status >= _BAD_REQUEST and "json" not in _media_type(opened):
        raise TransportError(origin, f"answered {opened.status}")
    if opened.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise TransportError(origin, "the answer is packed, which was not asked for")


async def _sanitized(opened: Opened, url: str) -> AsyncIterator[bytes]:
    """What comes; of a stream, its whole events, written so that nobody reads them in another way."""
    if _media_type(opened) != _EVENT_STREAM:
        async for piece in opened.pieces:
            yield piece
        return
    parser = EventStreamParser(most=MOST_EVENT)
    try:
        async for piece in opened.pieces:
            events = b"".join(map(_written, parser.feed(piece)))
            if events:
                yield events
    except EventTooLargeError as error:
        raise TransportError(parse_url(url).origin, str(error)) from None


def _written(event: ServerSentEvent) -> bytes:
    lines = [f"event: {event.event}", *(f"data: {line}" for line in event.data.split("\n")), "", ""]
    return "\n".join(lines).translate(_SEPARATORS).encode()
