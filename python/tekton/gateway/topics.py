"""The topics of a control plane's socket, as a table; and the kind of topic of which only the newest value counts.

    topics = TopicTable({"components": component_topic(source), "resources": Topic("metrics:read", resources.open)})
    resources.publish({"cpu": 0.4})

A table is what `TopicSocket` takes: each topic by name, with the permission that watching it needs.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

from tekton.gateway.connection import nobody
from tekton.gateway.errors import InvalidInputError
from tekton.gateway.request import encode
from tekton.gateway.sockets import SOCKET, Identify, May, Sub
from tekton.utils.tekton_ids import nearest_name

Opener = Callable[[Sub], AsyncGenerator[str, None]]
"""The frames for a subscription, from the moment of the call on; see `SocketTopics.open`."""


ScopedOpener = Callable[[Sub, May], AsyncGenerator[str, None]]
"""The same, for a topic that is about single components; it gives frames about those that may be seen."""


class Topic(NamedTuple):
    """*permission* is needed for watching it. *queried*: it knows what to do with `query`."""

    permission: str
    open: Opener
    queried: bool = False


class ScopedTopic(NamedTuple):
    """A topic whose permission may be granted for some components only."""

    permission: str
    open: ScopedOpener
    queried: bool = False


OwnedOpener = Callable[[Sub, Identify], AsyncGenerator[str, None]]
"""The same, for a topic that is about what belongs to somebody; it gives frames about what is *who*'s."""


class OwnedTopic(NamedTuple):
    """A topic that has for everybody what is his own."""

    permission: str
    open: OwnedOpener
    queried: bool = False


class TopicTable:
    """Topics by name."""

    def __init__(self, topics: Mapping[str, Topic | ScopedTopic | OwnedTopic]) -> None:
        self._topics = dict(topics)

    @property
    def names(self) -> list[str]:
        """The topics that there are."""
        return list(self._topics)

    def permission(self, topic: str) -> str:
        """What watching *topic* needs. One that does not exist needs what the socket needs: `open` says so."""
        known = self._topics.get(topic)
        return SOCKET.permission if known is None else known.permission

    def open(self, operation: Sub, may: May = lambda _: False, who: Identify = nobody, /) -> AsyncGenerator[str, None]:
        """The frames for *operation*. Raises InvalidInputError for a topic or a query that makes no sense."""
        name = operation.topic
        topic = self._topics.get(name)
        if topic is None:
            raise InvalidInputError("/topic", f"there is no topic {name[:64]!r}", nearest_name(name, self._topics))
        if operation.query and not topic.queried:
            raise InvalidInputError("/query", f"the topic {name!r} takes no query")
        if isinstance(topic, OwnedTopic):
            return topic.open(operation, who)
        return topic.open(operation, may) if isinstance(topic, ScopedTopic) else topic.open(operation)


class Conflated:
    """A topic that is one value, replaced again and again: whoever watches gets the newest, and then each new one.

        ← {"id":1,"t":"snap","seq":N,"data":…}     each replaces the one before

    Values that come while a client reads the last one are passed over, except the newest. `since` means nothing here.
    A value is encoded when the first client wants it, and once for all.
    """

    def __init__(self) -> None:
        self.watchers = 0
        self._sequence = 0
        self._value: object = None
        self._encoded: str | None = None
        self._news = asyncio.Event()

    def publish(self, value: object) -> None:
        """Let *value* be the newest. Nobody may change it any more."""
        self._sequence += 1
        self._value, self._encoded = value, None
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def open(self, operation: Sub) -> AsyncGenerator[str, None]:
        """The frames of a subscription."""
        async with aclosing(self.values()) as values:
            async for sequence, value in values:
                yield f'{{"id":{operation.id},"t":"snap","seq":{sequence},"data":{value}}}'

    async def values(self) -> AsyncGenerator[tuple[int, str], None]:
        """The newest value as JSON, if there is one, and then each new one, with their numbers."""
        self.watchers += 1
        seen = 0
        try:
            while True:
                while seen == self._sequence:
                    await self._news.wait()
                seen = self._sequence
                yield seen, self._newest()
        finally:
            self.watchers -= 1

    def _newest(self) -> str:
        if self._encoded is None:
            self._encoded = encode(self._value).decode()
        return self._encoded
