"""From those who change something to the file: batches, one at a time.

Rules of this file:

* What comes while a batch is being written is the next batch (group commit). Where nobody waits for it, it is written a
  little later, with what has come by then.
* What waits for the disk is bounded. For what finds no room there is StorageBusyError.
* What the disk has refused stays, in front of all that came later: the next who waits has it tried again, and after a
  while it is tried anyway.
* A batch whose outcome is unknown stops the writer for good.
* What cannot be deleted, because a page is damaged that this needs, stays until the file is opened anew; whoever waits
  for such a batch is told, and all else of it is on the disk.

All methods are called on one event loop, but for what is done at the desk; `admit` may be called before there is one.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol, TypeVar

from tekton.a2a.work.work_batch import WorkBatch
from tekton.clock import Clock
from tekton.core.metrics.tally import Tally
from tekton.failpoints import reach
from tekton.utils.tekton_errors import StorageBusyError, StorageError, StorageFullError, StorageUnknownError

__all__ = ["WorkWriter"]

_T = TypeVar("_T")

MOST_WAITING: Final = 16_384
MOST_WAITING_BYTES: Final = 64 << 20
"""What waits for the disk at most, in changes and in bytes."""
LAZINESS: Final = 0.1
"""Seconds after which is written what nobody waits for."""
RETRY_AFTER: Final = 5.0
"""Seconds after which what the disk has refused is offered to it again, if nobody has waited before."""
PAUSE: Final = 1.0
"""Seconds without a change after which there is time to tidy."""
BREATH: Final = 0.05
"""Seconds until there is more tidied: whoever comes with a change meanwhile waits for one part of it at most."""

COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""The bounds between which the times of commits are counted."""

_logger = logging.getLogger("tekton.work")


class Desk(Protocol):
    """Where blocking work is done, one thing after the other."""

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        """Have *job* done."""
        ...


class File(Protocol):
    """What the writer asks of the file."""

    def write(self, batch: WorkBatch) -> StorageError | None:
        """Have *batch* on the disk. Why what it deletes is still there, if it is."""
        ...

    def tidy(self) -> bool:
        """Do some of what there is time for; True when there is more of it."""
        ...


class WorkWriter:
    """Carries changes to *file*, whose work is done at *desk*."""

    def __init__(self, file: File, desk: Desk, clock: Clock) -> None:
        self._file = file
        self._desk = desk
        self._clock = clock
        self._batches: deque[WorkBatch] = deque()
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._listeners: list[Callable[[StorageError], object]] = []
        self._said = self._durable = self._size = 0
        self._busy = self._called = self._was_refused = False
        self._alarm: asyncio.TimerHandle | None = None
        self.failure: StorageError | None = None
        self.full = False
        self.commit_seconds = Tally(COMMIT_SECONDS)
        """How long it took to have a batch on the disk."""

    @property
    def waiting(self) -> int:
        """How many changes are not on the disk yet."""
        return self._said - self._durable

    def add_failure_listener(self, listener: Callable[[StorageError], object]) -> None:
        """Tell *listener*, once, when nothing is taken any more."""
        self._listeners.append(listener)

    def admit(self, size: int) -> WorkBatch:
        """The batch that a change with *size* bytes has to be put into, now.

        Raises StorageBusyError, and what has stopped the writer: then there is no change.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if self.waiting and (self.waiting >= MOST_WAITING or self._size + size > MOST_WAITING_BYTES):
            raise StorageBusyError(self.waiting)
        if not self._batches or not self._batches[-1].has_room(size):
            self._batches.append(WorkBatch())
        batch = self._batches[-1]
        batch.admit(size)
        self._said += 1
        self._size += size
        if not self._was_refused:
            self._call_later(LAZINESS)
        return batch

    async def flush(self) -> None:
        """Wait until all that has come is on the disk. Raises the storage errors: then it may still get there."""
        if self._durable == self._said:
            return
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._said, done))
        self._call()
        await done

    def stop(self, error: StorageError) -> None:
        """Take nothing any more, and tell *error* to whoever still waits."""
        self._quiet()
        if self.failure is None:
            self.failure = error
        self._answer(error)

    # Writing

    def _call(self) -> None:
        if not self._called and not self._busy:
            self._called = True
            self._quiet()
            asyncio.get_running_loop().call_soon(self._start)

    def _call_later(self, delay: float) -> None:
        if self._called or self._busy:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the first `flush` is early enough
            return
        when = loop.time() + delay
        if self._alarm is None or self._alarm.when() > when:
            self._quiet()
            self._alarm = loop.call_at(when, self._start)

    def _start(self) -> None:
        self._called = False
        self._quiet()
        if self._busy or self.failure is not None:
            return
        if self._batches:
            batch = self._batches.popleft()
            self._do(lambda: self._write(batch), lambda done: self._written(batch, done))
        else:
            self._do(self._file.tidy, self._tidied)

    def _write(self, batch: WorkBatch) -> StorageError | None:
        began = self._clock.monotonic()
        left = self._file.write(batch)
        self.commit_seconds.observe(self._clock.monotonic() - began)
        return left

    def _do(self, job: Callable[[], _T], finish: "Callable[[Future[_T]], None]") -> None:
        self._busy = True
        loop = asyncio.get_running_loop()
        try:
            future = self._desk.submit(job)
        except (RuntimeError, StorageError) as error:  # no thread
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: _call_soon(loop, finish, done))

    def _written(self, batch: WorkBatch, done: "Future[StorageError | None]") -> None:
        self._busy = False
        if (error := done.exception()) is not None:
            self._refused(batch, error)
            return
        reach("work.before_ack")
        self.full = self._was_refused = False
        self._durable += batch.changes
        self._size -= batch.size
        left = done.result()
        batch.settle(removed=left is None)
        self._answer(left, self._durable)
        self._go_on()

    def _tidied(self, done: "Future[bool]") -> None:
        self._busy = False
        if (error := done.exception()) is None:
            self._go_on(BREATH if done.result() else None)
        elif isinstance(error, StorageError) and not isinstance(error, StorageUnknownError):
            _logger.warning("what was deleted is not taken away yet: %s", error)
            self._go_on(RETRY_AFTER)
        else:
            self._stop_for(error)

    def _go_on(self, tidy_after: float | None = PAUSE) -> None:
        if self._flushes:
            self._call()
        elif self._batches:
            self._call_later(LAZINESS)
        elif tidy_after is not None:
            self._call_later(tidy_after)

    # Refusals

    def _refused(self, batch: WorkBatch, error: BaseException) -> None:
        self._batches.appendleft(batch)
        if not isinstance(error, StorageError) or isinstance(error, StorageUnknownError):
            self._stop_for(error)
            return
        self.full, self._was_refused = isinstance(error, StorageFullError), True
        self._answer(error)
        self._call_later(RETRY_AFTER)

    def _stop_for(self, error: BaseException) -> None:
        failure = error if isinstance(error, StorageError) else StorageUnknownError(f"commit failed: {error!r}")
        self.stop(failure)
        for listener in self._listeners:
            listener(failure)

    def _answer(self, error: StorageError | None, up_to: float = math.inf) -> None:
        """Tell those who wait, for what has come *up_to* there, that it is on the disk, or, with *error*, that it is
        not."""
        answered = [one for one in self._flushes if one[0] <= up_to]
        self._flushes = [one for one in self._flushes if one[0] > up_to]
        for _, done in answered:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[_T], None], argument: _T) -> None:
    try:
        loop.call_soon_threadsafe(callback, argument)
    except RuntimeError:  # it is closed
        pass
