"""Writing records beside the program: who logs puts a record into a queue, and one thread writes them.

* A call never waits: not for the disk, not for a reader that has stopped reading, not for another caller.
* The queue is bounded: by 8,192 records, and by 16 million characters in those that are long. What does not fit is
  dropped, the newest first, and counted; when there is room again the log says how many records of whom are missing.
* From half full on, each logger gets in 128 records for every 256 that are written, so that one that floods does not
  push out the others; the last eighth is for errors.
* What cannot be written (a full disk) is dropped and counted likewise, and the next line begins on a line of its own.
* `flush` waits until all that was logged before is written, for as long as it is told and no longer.
* In a forked child the queue begins empty, with a thread of its own. At the end of the interpreter all is written;
  after that, records are written by whoever logs them. Who leaves by `os._exit` calls `flush_all` before.
"""

import io
import logging
import os
import select
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TextIO

from tekton.utils.log_context import FIELDS
from tekton.utils.log_record import LONG, is_settled, settled
from tekton.utils.trace_context import CURRENT, TraceContext

CAPACITY: Final = 8192
LONG_CAPACITY: Final = 16 * 1024 * 1024
SHARE: Final = 128
AT_ONCE: Final = 2 * SHARE
GATHER: Final = 0.004
"""Seconds for which the writer lets records gather, so that it is not woken for each of them."""
LAST_FLUSH: Final = 1.0
"""Seconds for which `flush` waits when it is not told. The end of a program waits twice as long at most."""

_NAMED: Final = 5


class LineFormatter(Protocol):
    """What makes a line of a record and of what its context says."""

    def line(self, record: logging.LogRecord, bound: Mapping[str, object], trace: TraceContext | None) -> str:
        """Without a line break at the end."""
        ...


_Entry = tuple[logging.LogRecord, Mapping[str, object], TraceContext | None, int]
_Item = _Entry | threading.Event | None
"""A record with what its context says and its size, if it is long; who waits for it; or the end."""


class QueueHandler(logging.Handler):
    """Hands records to the thread that writes them to *stream*, as *form* makes lines of them."""

    def __init__(self, stream: TextIO, form: LineFormatter, *, capacity: int = CAPACITY) -> None:
        super().__init__()
        self.form = form
        self.stream = stream
        self._capacity = capacity
        self._half = capacity // 2
        self._for_errors = capacity - capacity // 8
        self.records: Counter[str] = Counter()
        """How many were written, by level."""
        self.missing = 0
        """How many were not: for want of room, or because the disk was full."""
        self._closed = False
        self.begin()
        _alive.add(self)

    def begin(self) -> None:
        """Begin with an empty queue, and without a thread. For who has just been forked."""
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._size = self._queue.qsize
        self._put = self._queue.put
        self._easy = 0
        # Re-entrant: a signal handler may log while its thread is counting.
        self._counting = threading.RLock()
        self._shares: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._unwritten = 0
        self._long = 0
        self._hurry = threading.Event()
        self._torn = False
        self._thread: threading.Thread | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take *record*. Unlike that of other handlers, it takes no lock."""
        if self.filters:
            found: object = self.filter(record)
            if not found:
                return False
            # Since Python 3.12 a filter may put another record in its place.
            record = found if isinstance(found, logging.LogRecord) else record
        # Until there is a thread, nothing is easy.
        if self._size() < self._easy and is_settled(record):
            self._put((record, FIELDS.get(), CURRENT.get(), 0))
        else:
            self._take(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """What `handle` does, without the filters."""
        self._take(record)

    def flush(self) -> None:
        """Wait until all that was logged before is written, or one second."""
        self.written(LAST_FLUSH)

    def written(self, timeout: float) -> bool:
        """Wait until all that was logged before is written, at most *timeout* seconds; whether it is."""
        if self._thread is None or threading.current_thread() is self._thread:
            return True
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout)

    def close(self) -> None:
        """Write what is there. What is logged later is written at once, by its caller."""
        if not self._closed:
            self._closed = self.written(LAST_FLUSH)
            self._easy = 0
            _alive.discard(self)
            self._queue.put(None)
        super().close()

    def _take(self, record: logging.LogRecord) -> None:
        size = 0
        if not is_settled(record):
            record, size = settled(record)
        entry = (record, FIELDS.get(), CURRENT.get(), size if size > LONG else 0)
        if self._closed or not self._has_thread():
            self._write([entry])
        elif self._admits(record, entry[3]):
            self._queue.put(entry)

    def _admits(self, record: logging.LogRecord, size: int) -> bool:
        with self._counting:
            if self._has_room(record, size):
                self._long += size
                return True
            self._lost[record.name] += 1
            self.missing += 1
            return False

    def _has_room(self, record: logging.LogRecord, size: int) -> bool:
        waiting = self._size()
        if waiting < self._half:
            return self._long + size <= LONG_CAPACITY
        if waiting >= (self._capacity if record.levelno >= logging.ERROR else self._for_errors):
            return False
        self._shares[record.name] += 1
        return self._shares[record.name] <= SHARE and self._long + size <= LONG_CAPACITY

    def _has_thread(self) -> bool:
        with self._counting:
            if self._thread is None:
                self._thread = _started(self._run, self._queue)
                self._easy = self._half if self._thread is not None else 0
        return self._thread is not None

    def _run(self, queue: "SimpleQueue[_Item]") -> None:
        while (first := queue.get()) is not None:
            if not isinstance(first, threading.Event):
                self._hurry.wait(GATHER)
            self._hurry.clear()
            self._write_all(first, queue)

    def _write_all(self, item: _Item, queue: "SimpleQueue[_Item]") -> None:
        """Write *item* and what waits behind it, some at a time."""
        entries: list[_Entry] = []
        waiting: list[threading.Event] = []
        try:
            while True:
                if isinstance(item, threading.Event):
                    waiting.append(item)
                elif item is not None:
                    entries.append(item)
                else:
                    queue.put(None)
                    break
                if len(entries) >= AT_ONCE:
                    self._write(entries)
                    entries = []
                item = queue.get_nowait()
        except Empty:
            pass
        self._write(entries)
        for event in waiting:
            event.set()

    def _write(self, entries: "list[_Entry]") -> None:
        with self._counting:
            self._shares.clear()
            self._long -= sum(size for *_, size in entries)
            lost, self._lost = self._lost, Counter()
            unwritten, self._unwritten = self._unwritten, 0
        lines = [self._line(*entry) for entry in entries]
        if lost or unwritten:
            lines.append(self._line(_loss(lost, unwritten), {}, None, 0))
        if not lines:
            return
        written = self._write_lines([f"{line}\n".encode("utf-8", "backslashreplace") for line in lines])
        self.records.update(record.levelname for record, *_ in entries[:written])
        if written < len(lines):
            with self._counting:
                self._unwritten += unwritten + max(len(entries) - written, 0)
                self.missing += max(len(entries) - written, 0)
                self._lost.update(lost)

    def _line(
        self, record: logging.LogRecord, bound: Mapping[str, object], trace: TraceContext | None, size: int
    ) -> str:
        del size
        try:
            return self.form.line(record, bound, trace)
        except Exception as error:
            # No record is lost because of what is in it, or of who should have written it down.
            text = f"{record.levelname} {record.name}: {record.msg!r} (not written as it should be: {error!r})"
            return ascii(text)[1:-1]

    def _write_lines(self, lines: list[bytes]) -> int:
        """Write *lines*, as many as can be; how many those are."""
        data = (b"\n" if self._torn else b"") + b"".join(lines)
        done = 0
        try:
            if type(self.stream) is io.TextIOWrapper:
                # The file itself: what a full disk has not taken would stay in a buffer, and come out in pieces.
                descriptor = self.stream.fileno()
                while done < len(data):
                    done += _write(descriptor, memoryview(data)[done:])
            else:
                self.stream.write(data.decode())
                self.stream.flush()
        except Exception:  # a full disk, a stream that was closed, one that somebody has made
            self._torn = self._torn or data[:done][-1:] not in (b"", b"\n")
            ends = accumulate(map(len, lines), initial=len(data) - sum(map(len, lines)))
            return sum(end <= done for end in ends) - 1 if done else 0
        self._torn = False
        return len(lines)


_alive: "weakref.WeakSet[QueueHandler]" = weakref.WeakSet()


def flush_all(timeout: float = LAST_FLUSH) -> bool:
    """Flush every handler, each for at most *timeout* seconds; whether all is written."""
    written = [handler.written(timeout) for handler in list(_alive)]
    return all(written)


def records_written() -> Counter[str]:
    """How many records the handlers of this program have written, by level."""
    found: Counter[str] = Counter()
    for handler in list(_alive):
        # A copy: its thread goes on counting.
        found.update(handler.records.copy())
    return found


def records_missing() -> int:
    """How many records they have not written: for want of room, or because the disk was full."""
    return sum(handler.missing for handler in list(_alive))


def _begin_anew() -> None:
    for handler in list(_alive):
        handler.begin()
    if (multiprocessing := sys.modules.get("multiprocessing.util")) is not None and _alive:
        # Its processes end by `os._exit`, after what was registered there; what is registered yet it throws away.
        multiprocessing.register_after_fork(flush_all, partial(multiprocessing.Finalize, None, exitpriority=0))


if hasattr(os, "register_at_fork"):
    # What the parent has not written yet it writes itself, and its thread is not there in the child.
    os.register_at_fork(after_in_child=_begin_anew)


def _started(run: "Callable[[SimpleQueue[_Item]], None]", queue: "SimpleQueue[_Item]") -> threading.Thread | None:
    thread = threading.Thread(target=run, args=(queue,), name="log-writer", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter ends
        return None
    return thread


def _loss(lost: "Counter[str]", unwritten: int) -> logging.LogRecord:
    """The record that tells of records that are missing."""
    loggers = [f"{name} {count}" for name, count in lost.most_common(_NAMED)]
    others = lost.total() - sum(count for _, count in lost.most_common(_NAMED))
    parts = [*loggers, *([f"others {others}"] if others else []), *([f"not written {unwritten}"] if unwritten else [])]
    message = "%d records are missing from this log: %s"
    total = lost.total() + unwritten
    return logging.LogRecord("tekton.log", logging.WARNING, "", 0, message, (total, ", ".join(parts)), None)


def _write(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # somebody who shares the terminal has made it so
        select.select([], [descriptor], [], 1.0)
        return 0
