"""From the head to the committed view: batches, revisions, publication, undo.

Rules of this file:

* One batch is with the store at a time; what arrives meanwhile is the next batch (group commit).
* Commands are published when their batch is durable, in order, each before its caller is answered.
* Observations are published at once and made durable behind. The batch in flight leaves a gap of revisions below
  itself for them, so revisions stay in publication order. An observation about a component with a command on
  its way takes its turn behind that command.
* A batch that the store refused (disk full) is undone newest first, with everything queued behind it.
* A batch whose outcome is unknown stops the queue for good.

All methods run on one event loop; only `_write` runs in the worker thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future as WorkerFuture
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from tekton.core.component_lifecycle.store import HistoryEntry, Mutation, RegistryStore
from tekton.core.events import ChangeFeed
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.utils.tekton_errors import StorageError, StorageFullError, StorageUnknownError

MAX_BATCH = 512
REVISION_GAP = 1024
"""Revisions left free below a batch for observations that are published while it is being written."""

Key = tuple[str, str]


class Step(NamedTuple):
    """One change to be: `record` is the component after it, its revision still to be given."""

    kind: str
    previous: ComponentState | None
    record: ComponentRecord


class _Entry:
    """Steps that become visible together: a command with its caller, or an observation that waits its turn."""

    __slots__ = ("changes", "done", "key", "steps", "undo")

    def __init__(
        self, key: Key, steps: Sequence[Step], undo: Callable[[], None] | None, done: "asyncio.Future[None] | None"
    ) -> None:
        self.key = key
        self.steps = steps
        self.undo = undo
        self.done = done
        self.changes: list[Change] = []


class _Flight(NamedTuple):
    """A batch that is with the store. `base` is its lowest revision."""

    entries: list[_Entry]
    observed: list[Change]
    base: int
    written: "WorkerFuture[None]"


class CommitQueue:
    """Carries steps to the store and publishes them to the view (*apply*) and the feed.

    *exists* tells whether the head still knows an instance, after an undo.
    """

    def __init__(
        self,
        store: RegistryStore,
        feed: ChangeFeed,
        apply: Callable[[Change], None],
        exists: Callable[[Key], bool],
    ) -> None:
        self._store = store
        self._feed = feed
        self._apply = apply
        self._exists = exists
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tekton-store")
        self._pending: list[_Entry] = []
        self._unsaved: list[Change] = []
        self._underway: Counter[Key] = Counter()
        self._flight: _Flight | None = None
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self._idle: list[asyncio.Future[None]] = []
        self._failure: StorageError | None = None
        self._failure_listeners: list[Callable[[StorageError], None]] = []
        self._full = False

    @property
    def failure(self) -> StorageError | None:
        """What stopped the queue, if anything did."""
        return self._failure

    @property
    def full(self) -> bool:
        """True after the store refused a batch for want of space, until one succeeds."""
        return self._full

    def add_failure_listener(self, listener: Callable[[StorageError], None]) -> None:
        """Call *listener* when a commit of unknown outcome has stopped the queue."""
        self._failure_listeners.append(listener)

    def underway(self, key: Key) -> bool:
        """True when a command about *key* has not been published yet."""
        return self._underway[key] > 0

    async def command(self, key: Key, steps: Sequence[Step], undo: Callable[[], None]) -> None:
        """Make *steps* durable and visible; return when both are true.

        Raises StorageFullError after calling *undo*, and StorageUnknownError when the outcome is not known.
        Cancelling the caller does not take the command back.
        """
        if self._failure is not None:
            undo()
            raise self._failure
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Entry(key, steps, undo, done))
        await done

    async def settled(self, key: Key) -> None:
        """Wait until every command about *key* has been published; raise if the last of them was refused."""
        entries = [*(self._flight.entries if self._flight else ()), *self._pending]
        for entry in reversed(entries):
            if entry.key == key and entry.done is not None:
                await asyncio.shield(entry.done)
                return

    def observe(self, key: Key, step: Step) -> None:
        """Publish *step* now and make it durable behind, or queue it behind the commands about *key*."""
        revision = self._feed.revision + 1
        in_gap = self._flight is None or revision < self._flight.base
        if self.underway(key) or not in_gap:
            self._enqueue(_Entry(key, (step,), None, None))
        else:
            self._publish_observation(step)
            self._schedule()

    async def flush(self) -> None:
        """Wait until nothing is on its way to the store."""
        self._collect_orphan()
        while self._flight or self._pending or (self._unsaved and not self._full and not self._failure):
            self._schedule()
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """Read the history of a component from the store, newest first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._store.history, component_id, limit, before)

    def close(self) -> None:
        """Close the store after what it is doing now. Nothing may be submitted afterwards."""
        self._failure = self._failure or _closed()
        self._worker.submit(self._store.close)
        self._worker.shutdown(wait=True)

    def abandon(self) -> None:
        """Close the store of a registry that nobody closed. What was acknowledged is durable already.

        Called by the garbage collector, at any point of any thread, or when the interpreter ends: so it waits for
        nothing and takes no lock of the executor.
        """
        self._failure = self._failure or _closed()
        flight = self._flight
        if flight is None or flight.written.done():
            self._store.close()
        else:
            flight.written.add_done_callback(lambda _: self._store.close())

    def _enqueue(self, entry: _Entry) -> None:
        self._underway[entry.key] += 1
        self._pending.append(entry)
        self._schedule()

    def _schedule(self) -> None:
        """Start the next batch at the end of this turn of the loop, so that what is submitted in one turn shares it."""
        self._collect_orphan()
        loop = asyncio.get_running_loop()
        if self._flight is None and self._scheduled is not loop:
            self._scheduled = loop
            loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = None
        if self._flight is not None or self._failure is not None:
            return
        entries, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
        observed = [] if self._full and not entries else self._unsaved
        if not entries and not observed:
            return
        if observed:
            self._unsaved = []
        base = self._feed.revision + REVISION_GAP
        changes = _give_revisions(entries, base)
        written = self._worker.submit(self._write, [*observed, *changes])
        self._flight = flight = _Flight(entries, observed, base, written)
        written.add_done_callback(lambda _: _call_soon(loop, self._finish, flight))

    def _write(self, changes: list[Change]) -> None:
        self._store.commit([_mutation(change) for change in changes])

    def _finish(self, flight: _Flight) -> None:
        if self._flight is not flight:
            return
        self._flight = None
        error = flight.written.exception()
        if error is None:
            self._full = False
            self._publish(flight.entries)
        elif isinstance(error, StorageError) and not isinstance(error, StorageUnknownError):
            self._full = isinstance(error, StorageFullError)
            self._unsaved = flight.observed + self._unsaved
            self._refuse(flight.entries, error)
        else:
            self._stop(flight.entries, error)
        if self._pending or (self._unsaved and not self._full):
            self._schedule()
        elif self._flight is None:
            self._wake_idle()

    def _publish(self, entries: list[_Entry]) -> None:
        for entry in entries:
            self._leave(entry)
            for change in entry.changes:
                self._show(change)
            if entry.done is not None and not entry.done.done():
                entry.done.set_result(None)

    def _refuse(self, entries: list[_Entry], error: StorageError) -> None:
        refused, self._pending = [*entries, *self._pending], []
        for entry in reversed(refused):
            if entry.undo is not None:
                entry.undo()
        for entry in refused:
            self._leave(entry)
            if entry.done is None:
                if self._exists(entry.key):
                    self._publish_observation(entry.steps[0])
            elif not entry.done.done():
                entry.done.set_exception(error)

    def _stop(self, entries: list[_Entry], error: BaseException) -> None:
        failure = error if isinstance(error, StorageError) else StorageUnknownError(f"commit failed: {error!r}")
        self._failure = failure
        for listener in self._failure_listeners:
            listener(failure)
        abandoned, self._pending = [*entries, *self._pending], []
        for entry in abandoned:
            self._leave(entry)
            if entry.done is not None and not entry.done.done():
                entry.done.set_exception(failure)

    def _publish_observation(self, step: Step) -> None:
        change = _change(step, self._feed.revision + 1)
        self._show(change)
        self._unsaved.append(change)

    def _show(self, change: Change) -> None:
        self._apply(change)
        self._feed.publish(change)

    def _leave(self, entry: _Entry) -> None:
        self._underway[entry.key] -= 1
        if not self._underway[entry.key]:
            del self._underway[entry.key]

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, []
        for future in idle:
            if not future.done():
                future.set_result(None)

    def _collect_orphan(self) -> None:
        """Finish a batch whose event loop was closed before it could be told (two `asyncio.run` in a row)."""
        if self._flight is not None and self._flight.written.done():
            self._finish(self._flight)


def _closed() -> StorageError:
    return StorageError("the registry is closed")


def _give_revisions(entries: list[_Entry], base: int) -> list[Change]:
    changes: list[Change] = []
    for entry in entries:
        entry.changes = [_change(step, base + len(changes) + offset) for offset, step in enumerate(entry.steps)]
        changes.extend(entry.changes)
    return changes


def _change(step: Step, revision: int) -> Change:
    record = step.record
    # Nobody but the head has seen this record yet; its revision is known only now.
    msgspec.structs.force_setattr(record, "revision", revision)
    return Change(
        revision=revision,
        at=record.changed_at,
        kind=step.kind,
        component_id=record.component_id,
        instance_uuid=record.instance_uuid,
        previous=step.previous,
        state=record.state,
        reason=record.reason,
        record=record,
    )


_encode = msgspec.json.Encoder().encode


def _mutation(change: Change) -> Mutation:
    entry = HistoryEntry(
        revision=change.revision,
        at=change.at,
        kind=change.kind,
        component_id=change.component_id,
        instance_uuid=change.instance_uuid,
        previous=change.previous,
        state=change.state,
        reason=change.reason,
    )
    return Mutation(
        revision=change.revision,
        at=change.at,
        kind=change.kind,
        component_id=change.component_id,
        instance_uuid=change.instance_uuid,
        change=_encode(entry).decode(),
        record=None if change.kind == "deregistered" else _encode(change.record).decode(),
    )


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[_Flight], None], flight: _Flight) -> None:
    try:
        loop.call_soon_threadsafe(callback, flight)
    except RuntimeError:
        # That loop is closed; the next one finds the finished batch in `_collect_orphan`.
        pass
