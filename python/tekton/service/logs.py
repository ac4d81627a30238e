"""The logs of the whole system as one: of every component that Tekton runs, and of the control plane itself."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tekton.clock import Clock
from tekton.core.units import unit_name
from tekton.gateway.errors import InvalidInputError, InvalidParameterError
from tekton.gateway.request import encode
from tekton.gateway.sockets import May, Sub
from tekton.gateway.sse import event
from tekton.gateway.topics import ScopedTopic
from tekton.service.log_feed import LogFeed, News
from tekton.supervisor.log_history import Entry, HistoryPage, Positions, read_page
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.log_query import LogQueryError, Query, query_of

CONTROL_PLANE: Final = "tekton"
"""The name under which the log of the control plane is known."""

_AT_ONCE: Final = 200


class LogItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line: the unit that has written it, the line itself, and what it says.

    `time` is in seconds since 1970, the line's own or that of the line before it. `message` and `fields` are there when
    the line is a JSON object.
    """

    component: str
    line: str
    time: float | None = None
    level: str | None = None
    message: str | None = None
    fields: dict[str, Any] | None = None


class SystemLogs:
    """Reads the logs that *supervisor* has its processes write, and that of the control plane, in *log_dir*."""

    def __init__(self, supervisor: Supervisor, log_dir: Path, clock: Clock) -> None:
        self._supervisor = supervisor
        self._log_dir = log_dir
        self._clock = clock
        self.feed = LogFeed(self.files, clock)

    def files(self) -> Mapping[str, Path]:
        """The logs, by unit."""
        units = [
            unit_name(name, number)
            for name, spec in self._supervisor.specs.items()
            for number in range(max(spec.replicas, 1))
        ]
        return {unit: self._log_dir / f"{unit}.log" for unit in [*units, CONTROL_PLANE]}

    def query(
        self, text: str, *, level: str | None = None, since: float | None = None, until: float | None = None
    ) -> Query:
        """What is asked for now. Raises LogQueryError."""
        return query_of(text, level=level, since=since, until=until, now=self._clock.time())

    async def page(
        self, query: Query, limit: int, may: Callable[[str], bool], before: Positions | None = None
    ) -> HistoryPage:
        """The last *limit* lines that *query* wants of the units that *may* be seen; see `log_history`."""
        files = {unit: path for unit, path in self.files().items() if may(unit)}
        return await asyncio.to_thread(read_page, files, query, limit, clock=self._clock, before=before)

    async def events(self, query: Query, limit: int, may: Callable[[str], bool]) -> AsyncGenerator[bytes, None]:
        """The last *limit* lines and those to come, as server-sent events; `lag` says how many were dropped."""
        async with self.feed.follow(query, may) as follower:
            if limit:
                past = await self.page(query, limit, may, follower.positions)
                for start in range(0, len(past.entries), _AT_ONCE):
                    yield b"".join(map(_event, past.entries[start : start + _AT_ONCE]))
            while True:
                news = await follower.news()
                yield _lag(news) + b"".join(map(_event, news.entries))

    def topic(self) -> ScopedTopic:
        """The topic `logs`: the lines to come that the query of the subscription wants. It begins with an empty frame.

        ← {"id":1,"t":"lines","data":[line…]}     ← {"id":1,"t":"lag","dropped":N}
        """
        return ScopedTopic("logs:read", self._open, queried=True)

    def _open(self, operation: Sub, may: May) -> AsyncGenerator[str, None]:
        try:
            query = self.query(operation.query)
        except LogQueryError as error:
            raise InvalidInputError("/query", str(error), error.nearest) from error
        return self._frames(operation.id, query, may)

    async def _frames(self, topic_id: int, query: Query, may: May) -> AsyncGenerator[str, None]:
        async with self.feed.follow(query, may) as follower:
            yield f'{{"id":{topic_id},"t":"lines","data":[]}}'
            while True:
                news = await follower.news()
                if news.dropped:
                    yield f'{{"id":{topic_id},"t":"lag","dropped":{news.dropped}}}'
                for start in range(0, len(news.entries), _AT_ONCE):
                    yield f'{{"id":{topic_id},"t":"lines","data":{encoded(news.entries[start : start + _AT_ONCE])}}}'


def parameter_error(error: LogQueryError) -> InvalidParameterError:
    """What is answered to a query with a mistake."""
    return InvalidParameterError("query", str(error), error.nearest)


def encoded(entries: Iterable[Entry]) -> str:
    """*entries* as a JSON array of `LogItem`."""
    return f"[{','.join(_item(entry).decode() for entry in entries)}]"


def _item(entry: Entry) -> bytes:
    line = entry.line
    fields = dict(line.fields) or None
    try:
        return encode(LogItem(entry.unit, line.text, entry.time, line.level, line.message, fields))
    except (ValueError, OverflowError, RecursionError):  # numbers and texts that JSON can say and we cannot
        return encode(LogItem(entry.unit, line.text, entry.time, line.level))


def _event(entry: Entry) -> bytes:
    return event(_item(entry))


def _lag(news: News) -> bytes:
    return event(b'{"dropped":%d}' % news.dropped, "lag") if news.dropped else b""
