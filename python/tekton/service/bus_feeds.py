"""What the control plane tells on the bus, as events of the sender `tekton`.

    tekton.components.<id>     each change of a component, as on `/events/components`
    tekton.logs.<unit>         {"lines": [line…], "dropped": N}: what was written since the last look, five a second
    tekton.metrics             all metrics, after each sample
    tekton.resources           what the machine uses, after each sample
    tekton.spans               {"spans": [span…], "missed": N}
    tekton.tasks.<id>          each event of a task, when it is durable, with `task_id` and `state`

Nothing is read, encoded or published while nobody listens. What is said is not in order between subjects.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

from tekton._native import uuid7
from tekton.background import BackgroundGroup
from tekton.bus.bus import MAX_MESSAGE
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.clock import Clock
from tekton.core.events import ChangeFeed
from tekton.core.lifecycle import Change
from tekton.gateway.request import encode
from tekton.mcp.message import Message
from tekton.service.log_feed import LogFeed
from tekton.service.logs import encoded
from tekton.service.task_news import TaskNews, TaskNote
from tekton.service.task_views import event_json
from tekton.service.tasks import Tasks
from tekton.service.tracing import Tracing
from tekton.supervisor.log_history import Entry
from tekton.utils.log_query import EVERYTHING
from tekton.utils.tekton_errors import MessageError, StorageError, TaskNotFoundError

COMPONENTS: Final = "tekton.components."
LOGS: Final = "tekton.logs."
METRICS: Final = "tekton.metrics"
RESOURCES: Final = "tekton.resources"
SPANS: Final = "tekton.spans"
TASKS: Final = "tekton.tasks."

AT_ONCE: Final = 200
"""Lines, or spans, in one message."""
SIZE_AT_ONCE: Final = 256 * 1024
"""Characters, or bytes, in one message, unless one alone has more."""

_logger = logging.getLogger("tekton.bus")

_T = TypeVar("_T")

Values = Callable[[], AsyncGenerator[tuple[int, str], None]]
"""A value that is replaced again and again, as JSON, with its number."""


class BusFeeds:
    """Publishes on *live* while somebody listens, from `start` to `stop`.

    *metrics* and *resources* are values that are replaced again and again.
    """

    def __init__(
        self,
        live: LiveBus,
        changes: ChangeFeed,
        logs: LogFeed,
        tracing: Tracing,
        tasks: Tasks,
        *,
        metrics: Values,
        resources: Values,
        clock: Clock,
    ) -> None:
        self._live = live
        self._changes = changes
        self._logs = logs
        self._tracing = tracing
        self._tasks = tasks
        self._clock = clock
        self._pumps = BackgroundGroup("bus feed")
        self._ends: list[Callable[[], None]] = []
        self._feeds: dict[str, Callable[[], Callable[[], object]]] = {
            f"{COMPONENTS}>": self._follow_components,
            f"{LOGS}>": partial(self._pump, "logs", self._tell_logs),
            METRICS: partial(self._pump, "metrics", partial(self._tell_values, METRICS, metrics)),
            RESOURCES: partial(self._pump, "resources", partial(self._tell_values, RESOURCES, resources)),
            SPANS: partial(self._pump, "spans", self._tell_spans),
            f"{TASKS}>": self._follow_tasks,
        }

    def start(self) -> None:
        """Publish whatever somebody listens to, from now on."""
        for pattern, begin in self._feeds.items():
            switch = _Switch(begin)
            self._ends += (self._live.interest.watch(pattern, switch), partial(switch, on=False))
            switch(self._live.interest.wanted(pattern))

    async def stop(self) -> None:
        """Publish no more. Stopping twice does nothing."""
        for end in self._ends:
            end()
        self._ends.clear()
        await self._pumps.stop()

    def _publish(self, subject: str, content: bytes) -> bool:
        """False for what can be no message: too large, or nested too deep."""
        message = event(content, self._clock.time())
        if message is None:
            _logger.warning("what there is to tell about %s can be no message", subject)
            return False
        self._live.deliver([Envelope(subject, message)])
        return True

    def _pump(self, name: str, tell: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        return self._pumps.spawn(tell(), name).cancel

    # What is told

    def _follow_components(self) -> Callable[[], object]:
        return self._changes.add_listener(self._tell_change)

    def _tell_change(self, change: Change) -> None:
        self._publish(f"{COMPONENTS}{change.component_id}", self._changes.encoded(change))

    async def _tell_values(self, subject: str, values: Values) -> None:
        async with aclosing(values()) as news:
            async for _, value in news:
                self._publish(subject, value.encode())

    async def _tell_logs(self) -> None:
        async with self._logs.follow(EVERYTHING, self._is_log_wanted) as follower:
            while True:
                news = await follower.news()
                dropped = news.dropped
                # In the order in which they were read: those of one unit stand together, from each look.
                for unit, lines in groupby(news.entries, key=lambda entry: entry.unit):
                    for some in _parts(list(lines), lambda entry: len(entry.line.text)):
                        self._tell_lines(unit, some, dropped)
                        dropped = 0

    def _is_log_wanted(self, unit: str) -> bool:
        return self._live.interest.wanted(f"{LOGS}{unit}")

    def _tell_lines(self, unit: str, entries: Sequence[Entry], dropped: int) -> None:
        subject, content = f"{LOGS}{unit}", b'{"lines":%b,"dropped":%d}'
        if not self._publish(subject, content % (encoded(entries).encode(), dropped)):
            plain = [entry._replace(line=entry.line._replace(fields={})) for entry in entries]
            self._publish(subject, content % (encoded(plain).encode(), dropped))

    async def _tell_spans(self) -> None:
        async with aclosing(self._tracing.watch()) as batches:
            async for _, spans, missed in batches:
                for some in _parts(spans, len):
                    self._publish(SPANS, b'{"spans":[%b],"missed":%d}' % (b",".join(some), missed))
                    missed = 0  # noqa: PLW2901

    def _follow_tasks(self) -> Callable[[], object]:
        # From this moment on, and not from when the pump has begun.
        news = TaskNews(self._tasks.manager, lambda task: self._live.interest.wanted(f"{TASKS}{task.task_id}"))
        end = self._pump("tasks", partial(self._tell_tasks, news))
        return lambda: (news.close(), end())

    async def _tell_tasks(self, news: TaskNews) -> None:
        while True:
            notes, lost = await news.next()
            if lost:
                _logger.warning("%d events of tasks were not told: there were too many", lost)
            await self._tasks.settle()
            for place, note in enumerate(notes):
                if place % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
                self._tell_task(note)

    def _tell_task(self, note: TaskNote) -> None:
        try:
            events = self._tasks.manager.events(note.task_id, note.number - 1, 1)
        except (TaskNotFoundError, StorageError):  # it is forgotten, or cannot be read any more
            return
        subject = f"{TASKS}{note.task_id}"
        head = encode({"task_id": note.task_id, "state": note.state})[:-1]
        whole = [head + b"," + event_json(event)[1:] for event in events]
        if not whole or not self._publish(subject, whole[0]):
            self._publish(subject, encode(note))


class _Switch:
    """Begins something when somebody listens, and ends it when nobody does any more."""

    def __init__(self, begin: Callable[[], Callable[[], object]]) -> None:
        self._begin = begin
        self._end: Callable[[], object] | None = None

    def __call__(self, on: bool) -> None:
        if on and self._end is None:
            self._end = self._begin()
        elif not on and self._end is not None:
            self._end()
            self._end = None


def event(content: bytes, now: float) -> Message | None:
    """An event of the control plane with *content*, which is JSON; None for what can be no message."""
    head = b'{"message_id":"%b","message_type":"event","timestamp":%b,"context":{"sender":"tekton"},"metadata":{},'
    text = head % (uuid7().encode(), repr(now).encode()) + b'"content":%b}' % content
    if len(text) > MAX_MESSAGE:
        return None
    try:
        return Message.from_json(text)
    except MessageError:
        return None


def _parts(items: Sequence[_T], size_of: Callable[[_T], int]) -> Iterator[Sequence[_T]]:
    """*items* in parts of AT_ONCE and SIZE_AT_ONCE at most, but of one item at least."""
    start = size = 0
    for place, item in enumerate(items):
        more = size_of(item)
        if place > start and (place - start >= AT_ONCE or size + more > SIZE_AT_ONCE):
            yield items[start:place]
            start, size = place, 0
        size += more
    if start < len(items):
        yield items[start:]
