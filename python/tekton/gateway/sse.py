"""Server-sent events: the stream in general, and the component changes as one.

The server queues what is sent without limit and does not tell how much of it the client has taken. So a stream
has a budget of bytes: when that is used up the stream says `bye` and ends, and the client comes back with its
`Last-Event-ID`, without a gap. A client that never reads costs at most a snapshot and a budget.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tekton.background import BackgroundGroup
from tekton.core.lifecycle import Change
from tekton.gateway.changes import ChangeSource
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError
from tekton.gateway.request import encode
from tekton.gateway.rsgi import Headers, HttpProtocol, StreamTransport
from tekton.gateway.streams import Allowed, Left, Streams, always, forever, next_look
from tekton.utils.tekton_errors import CursorExpiredError

PING_INTERVAL = 10.0
BUDGET = 1024 * 1024
_HEADERS = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-accel-buffering", "no"),
]
_CHANGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class EventStream:
    """The answer of a handler that goes on sending.

    Each item of *source* is one or more whole events (`event` makes one). *budget* is how many bytes are sent
    after the first item before the client is asked to come back, *ping* the seconds of silence after which a
    comment keeps proxies from closing the connection. Without a *farewell* it ends without saying why, for protocols
    that know of no such event. One that ends by itself has an *unfinished*: a server that stops gives it the time that
    it gives to requests, and sends that in place of the end that has not come by then.
    """

    source: AsyncIterator[bytes]
    budget: int = BUDGET
    ping: float = PING_INTERVAL
    farewell: bool = True
    unfinished: bytes | None = None
    media_type: ClassVar[str] = "text/event-stream"


def event(data: bytes, name: str | None = None, event_id: int | str | None = None) -> bytes:
    """One event. *data* must be a single line, as JSON is, and so must the id."""
    head = (f"id: {event_id}\n" if event_id is not None else "") + (f"event: {name}\n" if name else "")
    return b"%bdata: %b\n\n" % (head.encode(), data)


def last_event_id(headers: Headers) -> str | None:
    """Behind which event a client wants to go on; None for one that begins. A value that nobody can read is a text."""
    # The server gives no value for one that is not ASCII.
    return headers.get("last-event-id") or ("" if "last-event-id" in headers else None)


def bye(reason: str) -> bytes:
    """The last event of a stream: why it ends, and after how many seconds to come back.

    It has no id, so the position of the client stays that of the last real event.
    """
    delay = retry_delay()
    return b"retry: %d\n" % (delay * 1000) + event(encode({"reason": reason, "retry": delay}), "bye")


def retry_delay() -> float:
    """Seconds after which a client should come back: spread, so that not all come at once."""
    return round(random.uniform(1.0, 3.0), 3)


async def send_stream(
    stream: EventStream, proto: HttpProtocol, streams: Streams, allowed: Allowed = always, left: Left = forever
) -> None:
    """Send *stream* until it ends, the budget is used up, the client leaves or may not have it, or the server stops.

    Raises UnavailableError, before anything is sent, when no more streams are taken.
    """
    with streams.open(allowed, finite=stream.unfinished is not None) as ending:
        transport = proto.response_stream(200, list(_HEADERS))
        group = BackgroundGroup("event-stream")
        pump = group.spawn(_pump(stream, transport), "pump")
        gone = group.spawn(_client_leaves(proto), "client")
        closing = group.spawn(ending.wait(), "closing")
        reason = "left"
        try:
            while not await first_of(next_look(stream.ping, left()), pump, gone, closing) and allowed():
                await _send(transport, b": ping\n\n")
            reason = _reason(pump, gone) or ("stopping" if streams.closing.is_set() else "unauthenticated")
        finally:
            await group.stop()
            if reason == "stopping" and stream.unfinished is not None:
                await _send(transport, stream.unfinished)
            if reason != "left" and stream.farewell:
                await _send(transport, bye(reason))


def _reason(pump: "asyncio.Task[str]", gone: "asyncio.Task[None]") -> str:
    if gone.done():
        return "left"
    if pump.done():
        return "error" if pump.exception() else pump.result()
    return ""


async def first_of(timeout: float, *tasks: "asyncio.Task[Any]") -> bool:
    """True when one of *tasks* is done, False after *timeout* seconds in which none was."""
    done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


async def _pump(stream: EventStream, transport: StreamTransport) -> str:
    """Send what the source yields; returns why there is no more of it."""
    left: int | None = None
    try:
        await _send(transport, b"retry: %d\n\n" % (retry_delay() * 1000))
        async for chunk in stream.source:
            if not await _send(transport, chunk):
                return "left"
            left = stream.budget if left is None else left - len(chunk)
            if left < 0:
                return "resume"
            # Sending never waits, so a source that always has more would keep the loop to itself.
            await asyncio.sleep(0)
        return "end"
    except (CredentialRequiredError, PermissionDeniedError):  # it is not for the client any more
        return "unauthenticated"
    finally:
        if (close := getattr(stream.source, "aclose", None)) is not None:
            await close()


async def _send(transport: StreamTransport, data: bytes) -> bool:
    try:
        await transport.send_bytes(data)
    except RuntimeError:  # granian's RSGIProtocolClosed; it does not come reliably, hence `_client_leaves`
        return False
    return True


async def _client_leaves(proto: HttpProtocol) -> None:
    # A future of the server's cannot be a task by itself.
    await proto.client_disconnect()


class ChangeEvents:
    """The changes of the components as event streams; the id of an event is its revision."""

    def __init__(self, source: ChangeSource) -> None:
        self._source = source
        self._told: tuple[int, int, bytes] = (0, 0, b"")

    def stream(self, last_event_id: str | None) -> EventStream:
        """All changes after *last_event_id*; without one, a snapshot and all changes after it.

        A position that is not known here (foreign, future, too old, not a number) is answered by `reset` and a
        snapshot, and so is falling behind the feed.
        """
        return EventStream(self._events(last_event_id))

    async def _events(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        subscription = self._source.resume(_revision(last_event_id))
        opening = b": resumed\n\n" if subscription else self._opening(reset=last_event_id is not None)
        while True:
            subscription = subscription or self._source.feed.subscribe()
            yield opening
            try:
                async for batch in subscription:
                    for start in range(0, len(batch), _CHANGES_AT_ONCE):
                        yield self._changes(batch[start : start + _CHANGES_AT_ONCE])
                return
            except CursorExpiredError:
                subscription, opening = None, self._opening(reset=True)

    def _changes(self, batch: Sequence[Change]) -> bytes:
        # Those who keep up all get the same batch.
        first, last = batch[0].revision, batch[-1].revision
        if self._told[:2] != (first, last):
            encoded = self._source.feed.encoded
            text = b"".join([event(encoded(change), "change", change.revision) for change in batch])
            self._told = (first, last, text)
        return self._told[2]

    def _opening(self, *, reset: bool) -> bytes:
        revision, records = self._source.snapshot()
        head = event(b'{"reason":"position not known"}', "reset") if reset else b""
        return head + event(records, "snapshot", revision)


_REVISION = re.compile(r"[0-9]{1,18}")


def _revision(last_event_id: str | None) -> int | None:
    if last_event_id is None or _REVISION.fullmatch(last_event_id) is None:
        return None
    return int(last_event_id)
