"""What a component publishes: `/events/memory/updated` and, on its `/ws`, the topic `memory.updated`.

    await app.publish("memory.updated", {"key": "a"})

The events of all topics are kept in one log, the last thousand of them (and at most 16 MiB). Who comes back with the
number of the last event that it has seen gets those after it; when they are gone, or were another process's, a `reset`
comes first: what was between is lost. Frames on the socket:

    ← {"id":1,"t":"event","seq":N,"topic":"memory.updated","data":…}
    ← {"id":1,"t":"reset","seq":N}
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import NamedTuple

from tekton.clock import Clock
from tekton.gateway.errors import InvalidInputError
from tekton.gateway.request import Request, encode
from tekton.gateway.router import CALLERS, Route
from tekton.gateway.sockets import Identify, May, Sub
from tekton.gateway.sse import EventStream, event, last_event_id
from tekton.utils.tekton_errors import InvalidIdError
from tekton.utils.tekton_ids import check_id

MOST_EVENTS = 1000
MOST_BYTES = 16 * 1024 * 1024
MAX_EVENT = 1024 * 1024
MAX_DEPTH = 6
"""How many parts a topic may have."""
RESERVED = "tekton"
"""Topics that begin so are not a component's to publish."""


class _Event(NamedTuple):
    number: int
    topic: str
    data: bytes


class Topics:
    """The log of what was published. Numbers grow over all topics; those of an earlier process are smaller."""

    def __init__(self, clock: Clock) -> None:
        # Microseconds of the wall clock: exact in every JSON, and nobody publishes more than a million a second.
        self._first = self.last = int(clock.time() * 1e6)
        self._log: deque[_Event] = deque()
        self._size = 0
        self._published = asyncio.Condition()

    async def publish(self, topic: str, data: object) -> int:
        """Append an event and wake who watches; its number.

        Raises InvalidIdError for a topic that is none, ValueError for one of too many parts or too much data, and
        TypeError for what has no JSON form.
        """
        check_id(topic, "/topic", dots=True)
        if topic.count(".") >= MAX_DEPTH:
            raise ValueError(f"a topic has at most {MAX_DEPTH} parts")
        if topic.partition(".")[0] == RESERVED:
            raise ValueError(f"topics that begin with {RESERVED!r} are Tekton's own")
        encoded = encode(data)
        if len(encoded) > MAX_EVENT:
            raise ValueError(f"an event has at most {MAX_EVENT} bytes")
        self.last += 1
        self._log.append(_Event(self.last, topic, encoded))
        self._size += len(encoded)
        while len(self._log) > MOST_EVENTS or self._size > MOST_BYTES:
            gone = self._log.popleft()
            self._first, self._size = gone.number, self._size - len(gone.data)
        async with self._published:
            self._published.notify_all()
        return self.last

    def knows(self, position: int) -> bool:
        """True when nothing that came after *position* is lost."""
        return self._first <= position <= self.last

    def stream(self, topic: str, last_event_id: str | None) -> EventStream:
        """The events of *topic* as server-sent events; see the module for *last_event_id*."""
        position = int(last_event_id) if last_event_id and re.fullmatch(r"[0-9]{1,18}", last_event_id) else -1
        resumes = self.knows(position)
        return EventStream(self._server_sent(topic, position if resumes else self.last, last_event_id and not resumes))

    def permission(self, topic: str) -> str:
        """Whoever may call a component may watch what it publishes."""
        del topic
        return CALLERS

    def open(self, operation: Sub, _: May | None = None, __: Identify | None = None, /) -> AsyncGenerator[str, None]:
        """The frames of a subscription on the socket."""
        check_topic(operation.topic)
        since = operation.since
        known = since is not None and self.knows(since)
        reset = since is not None and not known
        return self._frames(operation, since if known and since is not None else self.last, reset=reset)

    async def _server_sent(self, topic: str, position: int, reset: object) -> AsyncIterator[bytes]:
        yield event(b'{"reason":"position not known"}', "reset") if reset else b": listening\n\n"
        while True:
            async for one in self._after(topic, position):
                position = one.number
                yield event(one.data, one.topic, one.number)
            position = self.last
            yield event(b'{"reason":"fell behind"}', "reset", position)

    async def _frames(self, operation: Sub, position: int, *, reset: bool) -> AsyncGenerator[str, None]:
        while True:
            if reset:
                yield f'{{"id":{operation.id},"t":"reset","seq":{position}}}'
            async for one in self._after(operation.topic, position):
                yield (
                    f'{{"id":{operation.id},"t":"event","seq":{one.number},"topic":"{one.topic}",'
                    f'"data":{one.data.decode()}}}'
                )
            position, reset = self.last, True

    async def _after(self, topic: str, position: int) -> AsyncIterator[_Event]:
        """The events of *topic* after *position*; ends when the log has dropped some of them."""
        while position >= self._first:
            for one in self._newer(position):
                position = one.number
                if one.topic == topic:
                    yield one
            async with self._published:
                await self._published.wait_for(lambda: self.last > position)  # noqa: B023

    def _newer(self, position: int) -> Iterator[_Event]:
        newer = []
        for one in reversed(self._log):
            if one.number <= position:
                break
            newer.append(one)
        return reversed(newer)


def check_topic(topic: str) -> None:
    """Raise InvalidInputError for what cannot be a topic."""
    try:
        check_id(topic, "/topic", dots=True)
    except InvalidIdError:
        raise InvalidInputError("/topic", f"{topic[:64]!r} is not a topic") from None


def topic_routes(topics: Topics) -> list[Route]:
    """`/events/a`, `/events/a/b` and so on: the events of the topics `a`, `a.b`."""

    async def events(request: Request) -> EventStream:
        topic = ".".join(request.params.values())
        check_topic(topic)
        return topics.stream(topic, last_event_id(request.headers))

    paths = ["/events" + "".join(f"/{{{name}}}" for name in "abcdef"[:depth]) for depth in range(1, MAX_DEPTH + 1)]
    return [
        Route("GET", path, events, "The events of a topic", permission=CALLERS, response=EventStream, tags=("events",))
        for path in paths
    ]
