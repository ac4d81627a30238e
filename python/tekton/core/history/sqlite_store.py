"""Telemetry on disk: `telemetry.db` in the data directory, with a thread of its own.

Nothing that happens to the disk reaches those who append. Their rows wait in bounded queues, one for each kind; the
thread takes them from there.

* The disk is full: the oldest rows make room for new ones. Without any, as with a file that somebody has locked, or a
  disk that fails: it is said once, tried again after a while, and the queues are what is kept meanwhile.
* The file is damaged, not ours, or of a newer version: it is set aside as `telemetry.db.damaged`, and begun anew.
* A clock that jumps does not age the rows: only after it has run evenly for a while is what is old dropped.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import apsw

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.history.steadiness import Steadiness
from tekton.core.history.store import (
    ALWAYS,
    FOREVER,
    KINDS,
    Kind,
    Row,
    Status,
    Wanted,
    alive,
    last_of_each,
)
from tekton.core.history.telemetry_file import TelemetryFile, is_damaged, set_aside
from tekton.core.history.waiting_rows import WaitingRows
from tekton.core.history.worker import Worker
from tekton.utils.tekton_errors import StorageError

_T = TypeVar("_T")

_logger = logging.getLogger("tekton.history")

FILE_NAME: Final = "telemetry.db"

QUEUE_BYTES: Final = 16 << 20
"""What the rows of one kind may take while they wait for the disk."""
RESERVE_BYTES: Final = 64 << 20
"""So much of the disk is left to those who need it more, the registry first of all."""
GATHER: Final = 1.0
"""Seconds for which rows are gathered before they are written."""
RETRY: Final = (1.0, 60.0)
"""The first and the longest pause, in seconds, after which a disk that failed is tried again."""
_MOST_DROPS: Final = 8
_CLOSING: Final = 5.0

_NOTHING: Final[list[Row]] = []

_Failure = (apsw.Error, OSError, StorageError)


class SqliteTelemetryStore:
    """The store in the file *path*, of *size_bytes* at most, whose rows get *age* seconds old.

    It opens the file when there is something to write or to read. The other settings are for tests.
    """

    def __init__(
        self,
        path: Path,
        *,
        size_bytes: int,
        age: float,
        clock: Clock = SYSTEM_CLOCK,
        queue_bytes: int = QUEUE_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        gather: float = GATHER,
        retry: tuple[float, float] = RETRY,
    ) -> None:
        self._path = path
        self._clock = clock
        self._gather = gather
        self._queues = {kind: WaitingRows(queue_bytes) for kind in KINDS}
        self._desk = _Desk(
            path,
            size_bytes=size_bytes,
            age=age,
            clock=clock,
            queues=self._queues,
            reserve_bytes=reserve_bytes,
            retry=retry,
        )
        self._worker = Worker("tekton-history")
        self._hurry = threading.Event()
        self._scheduled = False
        self._closed = False

    def append(self, kind: Kind, rows: Sequence[Row]) -> None:
        """See TelemetryStore. About a microsecond for a row."""
        if self._closed:
            self._queues[kind].refuse(len(rows))
            return
        self._queues[kind].put(rows)
        if not self._scheduled:
            self._scheduled = True
            try:
                self._worker.submit(self._write_soon)
            except (RuntimeError, StorageError):  # no thread, or too much to do: the next row has another chance
                self._scheduled = False

    async def read(
        self,
        kind: Kind,
        since: float = ALWAYS,
        until: float = FOREVER,
        limit: int = 1000,
        *,
        key: str | None = None,
        trace: str | None = None,
        oldest_first: bool = False,
    ) -> list[Row]:
        """See TelemetryStore. One index range for time, time and key, or trace."""
        wanted = Wanted(since, until, limit, key, trace, oldest_first)
        return await self._ask(lambda: self._desk.read(kind, wanted))

    async def latest(self, kind: Kind, at: float, since: float = ALWAYS) -> list[Row]:
        """See TelemetryStore."""
        return await self._ask(lambda: self._desk.latest(kind, at, since))

    async def known_since(self, kind: Kind) -> float:
        """See TelemetryStore."""
        return await self._ask(lambda: self._desk.known_since(kind))

    def status(self) -> Status:
        """See TelemetryStore. The size is that of the last look."""
        dropped = {kind: queue.dropped for kind, queue in self._queues.items()}
        total = {kind: queue.total for kind, queue in self._queues.items()}
        return Status(str(self._path), self._desk.size_bytes, dropped, self._desk.problem, self._desk.begun_anew, total)

    async def tidy(self) -> None:
        """See TelemetryStore."""
        await self._ask(self._desk.tidy)

    async def close(self) -> None:
        """See TelemetryStore. A disk that does not answer is waited for five seconds."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._ask(self._desk.close)
        self._worker.stop()

    async def _ask(self, question: Callable[[], _T]) -> _T:
        # Who reads does not wait until enough has been gathered.
        self._hurry.set()
        return await asyncio.wrap_future(self._worker.submit(question))

    def _write_soon(self) -> None:
        self._hurry.wait(self._gather)
        self._hurry.clear()
        self._scheduled = False
        try:
            self._desk.write()
        except Exception:
            _logger.exception("the history could not be written")


class _Desk:
    """What the thread does: it owns the file. All methods but the attributes are for that thread."""

    def __init__(
        self,
        path: Path,
        *,
        size_bytes: int,
        age: float,
        clock: Clock,
        queues: dict[Kind, WaitingRows],
        reserve_bytes: int,
        retry: tuple[float, float],
    ) -> None:
        self._path = path
        self._limit = size_bytes
        self._age = age
        self._clock = clock
        self._queues = queues
        self._reserve = reserve_bytes
        self._retry = retry
        self._file: TelemetryFile | None = None
        self._pause = 0.0
        self._paused_until = -FOREVER
        self._began_at = clock.time()
        self._steadiness = Steadiness(clock)
        self._told_of_cramping = False
        self.size_bytes = 0
        self.problem: str | None = None
        self.begun_anew = 0

    def write(self) -> None:
        """Bring what waits to the disk, if that can be used."""
        if self._clock.monotonic() < self._paused_until or not any(self._queues.values()):
            return
        self._safely(self._write, None)

    def read(self, kind: Kind, wanted: Wanted) -> list[Row]:
        """See TelemetryStore."""
        self.write()
        stored = self._safely(lambda: self._opened().read(kind, wanted), _NOTHING)
        waiting = self._waiting(kind)
        return wanted.of([*stored, *waiting]) if waiting else stored

    def latest(self, kind: Kind, at: float, since: float) -> list[Row]:
        """See TelemetryStore."""
        self.write()
        stored = self._safely(lambda: self._opened().latest(kind, at, since), _NOTHING)
        waiting = self._waiting(kind)
        if not waiting:
            return stored
        return alive({row.key: row for row in stored} | last_of_each(waiting, at, since))

    def known_since(self, kind: Kind) -> float:
        """See TelemetryStore."""
        return self._safely(lambda: self._opened().known_since(kind), self._began_at)

    def tidy(self) -> None:
        """Drop what is too old."""
        self.write()
        self._safely(self._drop_old, None)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._paused_until = -FOREVER
        self.write()
        self._close()

    def _waiting(self, kind: Kind) -> list[Row]:
        """What is not in the file, numbered as if it came behind all that is."""
        return [row._replace(seq=(1 << 62) + number) for number, row in enumerate(self._queues[kind].rows())]

    def _write(self) -> None:
        file = self._opened()
        for kind, queue in self._queues.items():
            self._empty(file, kind, queue)
        self._steadiness.look()
        self.size_bytes = file.size_bytes()
        self._recovered()
        if file.is_cramped and not self._told_of_cramping:
            self._told_of_cramping = True
            _logger.warning("the history has no room for the last state of each instance; the past is shown in part")

    def _empty(self, file: TelemetryFile, kind: Kind, queue: WaitingRows) -> None:
        """Write what waits: in smaller batches where one finds no room, and then in the place of old rows."""
        count, size = file.batch
        drops = 0
        # What comes meanwhile waits for the next time, and whoever wants to read does not wait for it.
        waiting = len(queue)
        while waiting > 0 and (rows := queue.take(count, size)):
            waiting -= len(rows)
            try:
                file.insert(kind, rows, self._clock.time())
            except apsw.FullError:
                queue.put_back(rows)
                waiting += len(rows)
                drops += count == 1
                if drops > _MOST_DROPS or not self._has_made_room(file, count):
                    raise
                count = max(1, count // 4)
            except _Failure:
                queue.put_back(rows)
                raise
            except Exception:
                # Whatever is wrong with these rows, it would be so the next time.
                queue.lost(len(rows))
                _logger.exception("rows that cannot be written were dropped")
            else:
                file.settle()

    def _has_made_room(self, file: TelemetryFile, count: int) -> bool:
        if count > 1:
            file.move_log()
            return True
        return file.drop_some(self._clock.time())

    def _drop_old(self) -> None:
        file, now = self._opened(), self._clock.time()
        if self._steadiness.lasts():
            while file.forget(now - self._age, now):
                pass
        file.shrink(now)

    # Faults

    def _opened(self) -> TelemetryFile:
        if self._file is None:
            self._file = TelemetryFile(self._path, self._limit, self._began_at, self._reserve)
        return self._file

    def _safely(self, work: Callable[[], _T], otherwise: _T) -> _T:
        """What comes of *work*; of the second try, when the file had to be begun anew, and else *otherwise*."""
        for _ in range(2):
            try:
                return work()
            except _Failure as error:
                if not is_damaged(error):
                    self._suspend(error)
                    return otherwise
                self._begin_anew(error)
        return otherwise

    def _begin_anew(self, error: Exception) -> None:
        self._close()
        try:
            aside = set_aside(self._path)
        except OSError as problem:
            self._suspend(problem)
            return
        self._began_at = self._clock.time()
        self.begun_anew += 1
        kept = "" if aside is None else f"; the old one is kept as {aside}"
        _logger.error("the history cannot be used, and is begun anew%s: %s", kept, error)

    def _suspend(self, error: Exception) -> None:
        """Let the disk be for a while."""
        if self.problem is None:
            _logger.warning("the history cannot be written, its newest part is kept in memory: %s", error)
        self.problem = str(error)
        first, longest = self._retry
        self._pause = min(longest, max(first, 2 * self._pause))
        self._paused_until = self._clock.monotonic() + self._pause
        # What lies on a full disk can be read as long as it is open; to open it takes room.
        if not isinstance(error, apsw.FullError):
            self._close()

    def _recovered(self) -> None:
        if self.problem is not None:
            _logger.info("the history is written again")
        self.problem, self._pause = None, 0.0

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(*_Failure):
                file.close()
