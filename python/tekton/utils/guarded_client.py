"""Calls to components whose addresses are not trusted: the `Transport` of `calls` that goes through `guarded_http`.

    caller = Caller(transport=GuardedClient(GuardedHttp(policy, max_answer=1024 * 1024)))
    await caller.call("engram", instances, Call("POST", "/api/tools/search", {"query": "x"}, heard=progress))

Who makes a call that is `heard` takes an event stream for an answer, too: the events `result` and `error` are what
would have been the body of an answer without one (`error`: a problem document), everything before them is heard. A
connection serves one request, so that none is lost because the other side has just closed it.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from tekton.core.tracing.tracer import OpenSpan, Unrecorded, span
from tekton.utils.calls import Heard
from tekton.utils.guarded_http import GuardedHttp, Opened
from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer
from tekton.utils.trace_context import CURRENT

EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_BAD_REQUEST: Final = 400


class _Problem(msgspec.Struct):
    status: int = 500


class GuardedClient:
    """See the module. A stream has at most *max_stream* bytes, each of its events *max_event*."""

    def __init__(self, http: GuardedHttp, *, max_stream: int, max_event: int) -> None:
        self.http = http
        self.max_stream = max_stream
        self.max_event = max_event

    def at(self, base_url: str) -> "_Server":
        """A client of the server at *base_url*."""
        return _Server(self, base_url.rstrip("/"))

    async def close(self) -> None:
        """Close what is open."""
        await self.http.close()


class _Server:
    def __init__(self, client: GuardedClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url

    async def send(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
        heard: Heard | None = None,
    ) -> Answer:
        """Send a request and return the answer. Raises RefusedUrlError, TransportError."""
        url = f"{self._base_url}{path}" + (f"?{urlencode(query)}" if query else "")
        body = None if json is None else msgspec.json.encode(json)
        with span(method, "client") as made:
            given = _headers(headers or {}, has_body=body is not None, listens=heard is not None)
            most = None if heard is None else self._client.max_stream
            async with self._client.http.open(method, url, body, given, timeout, max_answer=most) as opened:
                answer = await self._read(opened, heard)
                _note(made, method, path, answer.status)
                return answer

    async def _read(self, opened: Opened, heard: Heard | None) -> Answer:
        media_type = opened.headers.get("content-type", "").partition(";")[0].strip().lower()
        if heard is not None and media_type == EVENT_STREAM and opened.status == 200:
            return await self._listen(opened, heard)
        received = bytearray()
        async for piece in opened.pieces:
            received += piece
            if heard is not None and len(received) > self._client.max_event:
                raise TransportError(self._base_url, f"the answer is larger than {self._client.max_event // 1024} KiB")
        return Answer(opened.status, opened.headers, bytes(received))

    async def _listen(self, opened: Opened, heard: Heard) -> Answer:
        parser = EventStreamParser(most=self._client.max_event)
        try:
            async for piece in opened.pieces:
                for event in parser.feed(piece):
                    if event.event == "result":
                        return Answer(200, opened.headers, event.data.encode())
                    if event.event == "error":
                        return Answer(_status(event.data), opened.headers, event.data.encode())
                    await heard(event)
        except EventTooLargeError as error:
            raise TransportError(self._base_url, str(error)) from None
        raise TransportError(self._base_url, "the stream ended without a result")


def _headers(given: Mapping[str, str], *, has_body: bool, listens: bool) -> dict[str, str]:
    context = CURRENT.get()
    return {
        "Accept": f"{EVENT_STREAM}, {_JSON}" if listens else _JSON,
        **({"Content-Type": _JSON} if has_body else {}),
        **({} if context is None else context.headers()),
        **given,
    }


def _status(problem: str) -> int:
    """The status in a problem document; 502 for what is none."""
    try:
        status = msgspec.json.decode(problem, type=_Problem).status
    except (msgspec.DecodeError, RecursionError):
        return 502
    return status if _BAD_REQUEST <= status <= 599 else 502


def _note(made: OpenSpan | Unrecorded, method: str, path: str, status: int) -> None:
    if made.recorded:
        made.put({"http.request.method": method, "http.response.status_code": status, "url.path": path})
        if status >= _BAD_REQUEST:
            made.fail(f"answered with {status}")
