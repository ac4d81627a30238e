"""New lines of logs for those who follow them: each log is read once, however many follow.

As long as somebody follows, one thread looks at the wanted logs five times a second and gives each follower what its
query wants. Nothing is read while nobody does. A follower that takes its lines slowly keeps a thousand of them, and at
most 1 MiB; older ones are dropped, and it is told how many. So is one whose query takes longer than half a second for
what one look has found: what it was not asked about is dropped.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.supervisor.log_history import Entry
from tekton.supervisor.log_lines import read_line
from tekton.supervisor.logs import LogCursor, end_of
from tekton.utils.log_query import Query, Seen

LOOK: Final = 0.2
MOST_WAITING: Final = 1000
MOST_CHARACTERS: Final = 1024 * 1024
LONGEST_SEARCH: Final = 0.5
_BLOCKS_AT_ONCE: Final = 8
"""64 KiB each, of one log: what grows faster than 2.5 MiB a second is followed at that speed."""

_logger = logging.getLogger("tekton.service")

Logs = Callable[[], Mapping[str, Path]]
"""The logs that there are now, by unit."""


class News(NamedTuple):
    """Lines in the order in which they were read, and how many before them were dropped."""

    entries: list[Entry]
    dropped: int


class Follower:
    """What waits for one follower. `positions` are where it began, by unit: what stands before is no news."""

    def __init__(self, query: Query, may: Callable[[str], bool]) -> None:
        self.query = query
        self.may = may
        self.positions: dict[str, int] = {}
        self.began = asyncio.Event()
        self.failure: Exception | None = None
        self._waiting: deque[Entry] = deque()
        self._characters = 0
        self._dropped = 0
        self._woken = asyncio.Event()

    async def news(self) -> News:
        """What has come since the last call; waits for something to come. Raises what has ended the feed."""
        await self._woken.wait()
        if self.failure is not None:
            raise self.failure
        self._woken.clear()
        news = News(list(self._waiting), self._dropped)
        self._waiting.clear()
        self._characters = self._dropped = 0
        return news

    def fail(self, error: Exception) -> None:
        """There will be no more news, because of *error*."""
        self.failure = error
        self.began.set()
        self._woken.set()

    def add(self, entries: list[Entry], passed_over: int = 0) -> int:
        """Let *entries* wait, behind those that do already; how many lines were dropped, with those *passed_over*."""
        if not entries and not passed_over:
            return 0
        before = self._dropped
        self._dropped += passed_over
        for entry in entries:
            self._waiting.append(entry)
            self._characters += len(entry.line.text)
        while len(self._waiting) > MOST_WAITING or (self._characters > MOST_CHARACTERS and len(self._waiting) > 1):
            self._characters -= len(self._waiting.popleft().line.text)
            self._dropped += 1
        self._woken.set()
        return self._dropped - before


class LogFeed:
    """The news of *logs*."""

    def __init__(self, logs: Logs, clock: Clock = SYSTEM_CLOCK, *, look: float = LOOK) -> None:
        self.dropped = 0
        """Lines that followers were too slow for."""
        self._logs = logs
        self._clock = clock
        self._look = look
        self._followers: list[Follower] = []
        self._tails: dict[str, _Tail] = {}
        self._task = BackgroundTask("log-feed")

    def __len__(self) -> int:
        return len(self._followers)

    @asynccontextmanager
    async def follow(self, query: Query, may: Callable[[str], bool]) -> AsyncIterator[Follower]:
        """The news that *query* wants of the units that *may* be seen, from this moment on."""
        follower = Follower(query, may)
        self._followers.append(follower)
        try:
            if not self._task.running:
                self._task.start(self._watch())
            await follower.began.wait()
            yield follower
        finally:
            self._followers.remove(follower)

    async def stop(self) -> None:
        """Look no more."""
        await self._task.stop()

    async def _watch(self) -> None:
        try:
            while self._followers:
                await self._look_once()
                await asyncio.sleep(self._look)
        except Exception as error:
            _logger.exception("the logs cannot be followed")
            for follower in self._followers:
                follower.fail(error)
        finally:
            for tail in self._tails.values():
                tail.close()
            self._tails.clear()

    async def _look_once(self) -> None:
        logs = dict(self._logs())
        followers = list(self._followers)
        wanted = [
            (follower, {unit for unit in logs if follower.query.wants_unit(unit) and follower.may(unit)})
            for follower in followers
        ]
        try:
            found = await asyncio.to_thread(self._read, logs, wanted)
        except asyncio.CancelledError:
            self._tails = {}  # the thread may still read them
            raise
        for follower, (entries, passed_over) in zip(followers, found):
            if follower.began.is_set():
                self.dropped += follower.add(entries, passed_over)
            else:
                # What was read up to now belongs to the past, which it has from elsewhere.
                follower.positions = {unit: tail.position for unit, tail in self._tails.items()}
                follower.began.set()

    def _read(self, logs: dict[str, Path], wanted: "list[tuple[Follower, set[str]]]") -> list[tuple[list[Entry], int]]:
        """What is new, for each of *wanted*, as `_search` gives it. Runs in a thread, one at a time."""
        every: set[str] = set().union(*(units for _, units in wanted))
        # What nobody wants any more would be news for who wants it later.
        for unit in [unit for unit, tail in self._tails.items() if unit not in every or logs[unit] != tail.path]:
            self._tails.pop(unit).close()
        news = {unit: self._tail(unit, logs[unit]).read() for unit in every}
        return [
            self._search(follower.query, [entry for unit in sorted(units) for entry in news[unit]])
            for follower, units in wanted
        ]

    def _search(self, query: Query, entries: list[Entry]) -> tuple[list[Entry], int]:
        """Those of *entries* that *query* wants, and how many there was no time for: the others wait meanwhile."""
        give_up_at = self._clock.monotonic() + LONGEST_SEARCH
        found: list[Entry] = []
        for number, entry in enumerate(entries):
            if self._clock.monotonic() > give_up_at:
                return found, len(entries) - number
            if query.wants(Seen(entry.unit, entry.time, entry.line)):
                found.append(entry)
        return found, 0

    def _tail(self, unit: str, path: Path) -> "_Tail":
        if unit not in self._tails:
            self._tails[unit] = _Tail(unit, path)
        return self._tails[unit]


class _Tail:
    """The end of one log."""

    def __init__(self, unit: str, path: Path) -> None:
        self.path = path
        self._unit = unit
        self._time: float | None = None
        try:
            self._cursor = LogCursor(path, end_of(path))
        except OSError:  # something else in its place: what comes there later is new
            self._cursor = LogCursor(path)

    @property
    def position(self) -> int:
        return self._cursor.line_position

    def read(self) -> list[Entry]:
        """The lines that were added. None while the log cannot be read."""
        found: list[Entry] = []
        for _ in range(_BLOCKS_AT_ONCE):
            try:
                lines = self._cursor.read()
            except OSError:
                break
            if not lines:
                break
            found += map(self._entry, lines)
        return found

    def close(self) -> None:
        self._cursor.close()

    def _entry(self, text: str) -> Entry:
        line = read_line(text)
        if line.time is not None:
            self._time = line.time
        return Entry(self._unit, self._time, line, 0, self._time or 0.0)
