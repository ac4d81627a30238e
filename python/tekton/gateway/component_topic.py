"""The topic `components`: the records of all instances, and every change of them.

    ← {"id":1,"t":"snap","seq":N,"data":[record…]}
    ← {"id":1,"t":"delta","seq":N,"data":change}

With a known `since` there is no snapshot, only the deltas after it; an unknown one is answered by `reset` and a
snapshot, falling behind the feed by `lag`, `reset` and a snapshot. A client is a cursor on the feed.
"""

from collections.abc import AsyncGenerator

from tekton.core.events import Subscription
from tekton.core.lifecycle import Change
from tekton.gateway.changes import ChangeSource
from tekton.gateway.sockets import SOCKET, Beat, Sub, TopicSocket
from tekton.gateway.topics import Topic, TopicTable
from tekton.utils.tekton_errors import CursorExpiredError


def component_topic(source: ChangeSource) -> Topic:
    """What the components of *source* do. Who may open the socket may watch it."""
    return Topic(SOCKET.permission, _ComponentTopic(source).open)


class ComponentSocket(TopicSocket):
    """The handler of a `/ws` with this topic alone, and heartbeats."""

    def __init__(self, source: ChangeSource, beat: Beat) -> None:
        super().__init__(TopicTable({"components": component_topic(source)}), beat)


class _ComponentTopic:
    def __init__(self, source: ChangeSource) -> None:
        self._source = source

    def open(self, operation: Sub) -> AsyncGenerator[str, None]:
        subscription = self._source.resume(operation.since)
        opening = [] if subscription else self._snapshot(operation.id, reset=operation.since is not None)
        return self._frames(operation.id, subscription or self._source.feed.subscribe(), opening)

    async def _frames(self, topic_id: int, subscription: Subscription, opening: list[str]) -> AsyncGenerator[str, None]:
        while True:
            for frame in opening:
                yield frame
            try:
                async for batch in subscription:
                    for change in batch:
                        yield self._delta(topic_id, change)
                return
            except CursorExpiredError:
                subscription = self._source.feed.subscribe()
                lag = f'{{"id":{topic_id},"t":"lag","resume":{self._source.feed.revision}}}'
                opening = [lag, *self._snapshot(topic_id, reset=True)]

    def _delta(self, topic_id: int, change: Change) -> str:
        data = self._source.feed.encoded(change).decode()
        return f'{{"id":{topic_id},"t":"delta","seq":{change.revision},"data":{data}}}'

    def _snapshot(self, topic_id: int, *, reset: bool) -> list[str]:
        revision, records = self._source.snapshot()
        snapshot = f'{{"id":{topic_id},"t":"snap","seq":{revision},"data":{records.decode()}}}'
        return [f'{{"id":{topic_id},"t":"reset","seq":{revision}}}', snapshot] if reset else [snapshot]
