"""From those who publish to the store: batches, one at a time.

Rules of this file:

* What arrives while a batch is being written is the next batch (group commit). It begins when those whom the last one
  has answered had their turn: they publish again, and one sync does for all.
* What waits for the disk is bounded. Who finds no room waits for it, in his turn, and gives up after a while.
* What the store refused (disk full) takes all that came behind it along: what one publishes stays in order.
* A batch whose outcome is unknown stops the writer for good.
* The progress of consumers goes with the next batch, or, soon, by itself. Of what they are done with a batch takes so
  much at most; the rest goes with those that follow at once.
* While the registry has precedence the writer rests between two batches, for some milliseconds at most.

All methods are called on one event loop; only jobs for the desk run elsewhere.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future as DeskFuture
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from tekton.bus.streams.append_queue import AppendQueue, Entry
from tekton.bus.streams.desks import submit
from tekton.bus.streams.store import Batch, Committed, Desk, Placed, Progress, Put, StreamStore
from tekton.clock import Clock
from tekton.core.metrics.tally import Tally
from tekton.core.precedence import Precedence, Rests
from tekton.utils.tekton_errors import (
    StorageError,
    StorageFullError,
    StorageUnknownError,
    StreamNotFoundError,
    TektonError,
)

_T = TypeVar("_T")

GATHER: Final = 0.1
"""Seconds between two batches that take the progress of consumers along."""
LAZINESS: Final = 0.5
"""Seconds after which the progress of consumers is written where nothing else is."""
REMOVED_AT_ONCE: Final = 4096
"""How many messages that are done with one batch takes away, at most."""
RETRY_AFTER: Final = 5.0
"""Seconds after which what the store refused is offered to it again, if nobody has published before."""

COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""The bounds between which the times of commits are counted."""


class Owner(Protocol):
    """What the writer asks of its owner."""

    def has_stream(self, name: str) -> bool:
        """Is there a stream of that name?"""
        ...

    def progress(self) -> tuple[list[Progress], Iterable[tuple[str, int]]]:
        """What has to be written of consumers, and all messages that are done with and on the disk yet."""
        ...

    def committed(self, batch: Batch, outcome: Committed) -> "asyncio.Future[None] | None":
        """Show what is on the disk by now. Nobody is answered before the future is done, if there is one."""
        ...

    def stopped(self, error: StorageError) -> None:
        """The writer has stopped for good."""
        ...


class StreamWriter:
    """Carries entries to *store*, whose work is done at *desk*. Lets *precedence*, if there is any, go first."""

    def __init__(
        self, store: StreamStore, desk: Desk, owner: Owner, clock: Clock, precedence: Precedence | None = None
    ) -> None:
        self._store = store
        self._desk = desk
        self._owner = owner
        self._clock = clock
        self._rests = Rests(precedence or Precedence(clock), clock)
        self._queue = AppendQueue(self._call_if_idle)
        self._jobs: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._busy = self._called = self._dirty = self._more = False
        self._saved_at = clock.monotonic()
        self._alarm: asyncio.TimerHandle | None = None
        self.failure: StorageError | None = None
        self.full = False
        self.stored = self.duplicates = 0
        """How many messages were stored, and how many were there before."""
        self.commit_seconds = Tally(COMMIT_SECONDS)
        """How long it took to have a batch on the disk."""

    @property
    def waiting(self) -> int:
        """How many messages wait for the disk, those outside not counted."""
        return self._queue.waiting

    @property
    def refused(self) -> int:
        """How many messages were not stored, because of the disk."""
        return self._queue.refused

    def append(self, puts: Sequence[Put], *, bounded: bool = True) -> "asyncio.Future[list[Placed]]":
        """Store *puts*, not more than make a batch; the future is done when they are on the disk.

        It fails with the storage errors, with StreamNotFoundError, and with BusBusyError when there is no room for
        long, unless it is not *bounded*. Whoever is cancelled takes nothing back.
        """
        entry = Entry(puts, asyncio.get_running_loop().create_future())
        if self.failure is not None:
            entry.fail(self.failure)
        else:
            self._queue.add(entry, bounded=bounded)
        return entry.done

    def alone(self, job: Callable[[], _T]) -> "asyncio.Future[_T]":
        """Do *job* with the store, between two batches."""
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            done.set_exception(self.failure)
        else:
            self._jobs.append((job, done))
            self._call()
        return done

    def note_progress(self) -> None:
        """A consumer has come further: write that soon."""
        self._dirty = True
        if not self._busy and self._alarm is None and self.failure is None:
            self._alarm = asyncio.get_running_loop().call_later(LAZINESS, self._call)

    async def flush(self) -> None:
        """Wait until what is here by now, progress included, is on the disk or was refused."""
        with suppress(StorageError):
            while True:
                self._saved_at = -math.inf
                await self.append((), bounded=False)
                if not self._more:
                    break

    def stop(self, error: StorageError) -> None:
        """Take nothing any more, and tell *error* to whoever still waits."""
        self._quiet()
        if self.failure is None:
            self.failure = error
        self._queue.refuse((), error)
        for _, done in self._jobs:
            if not done.done():
                done.set_exception(error)
        self._jobs.clear()

    # Writing

    def _call(self) -> None:
        if not self._called:
            self._called = True
            loop = asyncio.get_running_loop()
            if (rest := self._rests.left) > 0:
                loop.call_later(rest, self._start)
            else:
                loop.call_soon(self._start)

    def _call_if_idle(self) -> None:
        if not self._busy:
            self._call()

    def _start(self) -> None:
        self._called = False
        if self._busy or self.failure is not None:
            return
        self._quiet()
        while self._jobs:
            job, done = self._jobs.popleft()
            if not done.cancelled():
                self._do(job, partial(self._answer, done))
                return
        entries = [entry for entry in self._queue.take_batch() if self._is_wanted(entry)]
        batch = self._batch(entries)
        if entries or batch.progress or batch.removed or self.full:
            self._write(entries, batch)
        else:
            self._go_on()

    def _write(self, entries: list[Entry], batch: Batch) -> None:
        self._do(partial(self._commit, batch, self._clock.time()), partial(self._finish, entries, batch))

    def _is_wanted(self, entry: Entry) -> bool:
        gone = next((put.stream for put in entry.puts if not self._owner.has_stream(put.stream)), None)
        if gone is not None:
            entry.fail(StreamNotFoundError(gone))
        return gone is None

    def _batch(self, entries: list[Entry]) -> Batch:
        puts = [put for entry in entries for put in entry.puts]
        now = self._clock.monotonic()
        if not self._dirty or (puts and not self._more and now - self._saved_at < GATHER):
            return Batch(puts)
        self._saved_at = now
        progress, removing = self._owner.progress()
        removed = list(islice(removing, REMOVED_AT_ONCE))
        self._dirty = self._more = len(removed) == REMOVED_AT_ONCE
        return Batch(puts, progress, removed)

    def _commit(self, batch: Batch, now: float) -> Committed:
        began = self._clock.monotonic()
        outcome = self._store.commit(batch, now)
        self.commit_seconds.observe(self._clock.monotonic() - began)
        return outcome

    def _do(self, job: Callable[[], _T], finish: "Callable[[DeskFuture[_T]], None]") -> None:
        self._busy = True
        self._rests.begin()
        loop = asyncio.get_running_loop()
        submit(self._desk, job).add_done_callback(lambda done: call_soon(loop, finish, done))

    def _is_free(self) -> None:
        self._busy = False
        self._rests.end()

    def _finish(self, entries: list[Entry], batch: Batch, done: "DeskFuture[Committed]") -> None:
        self._is_free()
        error = done.exception()
        if isinstance(error, StreamNotFoundError):
            self._write_without(error, entries, batch)
            return
        if error is not None:
            self._dirty = self._dirty or bool(batch.progress or batch.removed)
            self._fail(entries, error)
            return
        self.full = False
        outcome = done.result()
        again = sum(one.duplicate for one in outcome.placed)
        self.duplicates += again
        self.stored += len(outcome.placed) - again
        told = self._owner.committed(batch, outcome)
        if told is None:
            self._answer_all(entries, outcome)
        else:
            told.add_done_callback(lambda _: self._answer_all(entries, outcome))
        self._go_on()

    def _answer_all(self, entries: list[Entry], outcome: Committed) -> None:
        place = 0
        for entry in entries:
            if not entry.done.done():
                entry.done.set_result(outcome.placed[place : place + len(entry.puts)])
            place += len(entry.puts)

    def _answer(self, asked: "asyncio.Future[_T]", done: "DeskFuture[_T]") -> None:
        self._is_free()
        error = done.exception()
        if error is not None and (not isinstance(error, TektonError) or isinstance(error, StorageUnknownError)):
            self._stop_for(error)
        if not asked.done():
            if error is not None:
                asked.set_exception(error)
            else:
                asked.set_result(done.result())
        self._go_on()

    def _go_on(self) -> None:
        if self._queue or self._jobs or self._more:
            self._call()
        elif self._dirty:
            self.note_progress()

    # Refusals

    def _write_without(self, error: StreamNotFoundError, entries: list[Entry], batch: Batch) -> None:
        """The store does not have a stream that its owner has: that is for those who publish to it, and nobody else."""
        others: list[Entry] = []
        for entry in entries:
            if any(put.stream == error.stream for put in entry.puts):
                entry.fail(error)
            else:
                others.append(entry)
        if len(others) == len(entries):
            self._fail(entries, error)
            return
        self._write(others, batch._replace(puts=[put for entry in others for put in entry.puts]))

    def _fail(self, entries: list[Entry], error: BaseException) -> None:
        if not isinstance(error, StorageError) or isinstance(error, StorageUnknownError):
            failure = self._stop_for(error)
            self._queue.refuse(entries, failure)
            return
        self.full = isinstance(error, StorageFullError)
        self._queue.refuse(entries, error)
        self._quiet()
        self._alarm = asyncio.get_running_loop().call_later(RETRY_AFTER, self._call)
        if self._jobs:
            self._call()

    def _stop_for(self, error: BaseException) -> StorageError:
        failure = error if isinstance(error, StorageError) else StorageUnknownError(f"commit failed: {error!r}")
        self.stop(failure)
        self._owner.stopped(failure)
        return failure

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[_T], None], argument: _T) -> None:
    """Have *callback* called on *loop*, from any thread; nothing when that is closed."""
    try:
        loop.call_soon_threadsafe(callback, argument)
    except RuntimeError:
        pass
