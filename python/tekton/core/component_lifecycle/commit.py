"""From the head to the committed view: batches, revisions, publication, undo.

Rules of this file:

* One batch is with the store at a time; what arrives meanwhile is the next batch (group commit).
* More than `pending` has room for is refused at once, before anything is changed; see there for the bounds.
* Commands are published when their batch is durable, in order, each before its caller is answered.
* Observations are published at once and made durable behind. The batch in flight leaves a gap of revisions below
  itself for them, so revisions stay in publication order. An observation about an instance with a command on
  its way takes its turn behind that command.
* What the store refused (disk full) is undone newest first, with everything queued behind it. Observations among it
  are facts: they are then made again, in order, in a world in which the refused commands never were.
* A batch whose outcome is unknown stops the queue for good.
* What a caller commands carries its entry of the audit log with it: both are stored, or both are refused.
* A batch has precedence over whatever else wants the event loop and the disk (`tekton.core.precedence`).

All methods run on one event loop at a time; only what the desk does runs in the executor.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from concurrent.futures import Future as WorkerFuture
from contextlib import suppress
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.attribution import current
from tekton.core.audit.entry import AuditHead, Draft
from tekton.core.audit.query import AuditPage, AuditQuery
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.pending import Entry, Pending, give_numbers, give_revisions, papers_of
from tekton.core.component_lifecycle.steps import Before, Fact, Key, Step, change_of, said_of
from tekton.core.component_lifecycle.store import HistoryEntry, RegistryStore
from tekton.core.component_lifecycle.store_desk import StoreDesk
from tekton.core.events import ChangeFeed
from tekton.core.idempotency import Claim, current_claim
from tekton.core.lifecycle import Change
from tekton.core.precedence import Precedence
from tekton.failpoints import reach
from tekton.utils.tekton_errors import StorageBusyError, StorageError, StorageFullError, StorageUnknownError

REVISION_GAP = 1024
"""Revisions left free below a batch for observations that are published while it is being written."""
RETRY_AFTER = 5.0
"""Seconds after which what the store refused to save is offered to it again, if no command has come before."""
PAUSE = 0.05
"""Seconds without a batch after which the store tidies up: those who wait for an answer may ask for more at once."""

Refusal = Literal["busy", "full", "locked", "unknown"]
"""Why a command was refused: too many wait, there is no room, somebody else holds the database, or the store has
stopped."""


class Head(Protocol):
    """What the queue asks of its owner."""

    def show(self, change: Change) -> None:
        """Put *change* into the committed view."""
        ...

    def undo(self, before: Iterable[Before]) -> None:
        """Make the head what it was. *before* is newest first."""
        ...

    def take(self, fact: Fact) -> bool:
        """Observe *fact* again; False when it is not legal."""
        ...

    def show_document(self, change: DocumentChange) -> None:
        """Let a document that was changed be seen."""
        ...


class _Flight(NamedTuple):
    """A batch that is with the store. `base` is its lowest revision."""

    entries: list[Entry]
    observed: list[Change]
    base: int
    written: "WorkerFuture[AuditHead]"


class CommitQueue:
    """Carries steps to the store and publishes them to the view (of *head*) and the feed.

    The store is used in *executor*, which must do one thing at a time, in the order in which it gets them, and is shut
    down in the end; without one, in a thread of its own.
    """

    def __init__(
        self,
        store: RegistryStore,
        feed: ChangeFeed,
        head: Head,
        executor: Executor | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.precedence = Precedence(clock)
        """Taken while a batch is with the store, and a moment after."""
        self.refused: Counter[Refusal] = Counter()
        """How many commands were refused, and why."""
        self._desk = StoreDesk(store, executor, clock)
        self.batch_sizes = self._desk.batch_sizes
        """Changes of components in each batch that the store has got."""
        self.batch_seconds = self._desk.batch_seconds
        """How long it took to make each batch durable."""
        self._store = store
        self._feed = feed
        self._head = head
        self._pending = Pending()
        self._unsaved: list[Change] = []
        self._underway: dict[Key, int] = {}
        self._flight: _Flight | None = None
        self._tidied: WorkerFuture[None] | None = None
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self._attending: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._failure: StorageError | None = None
        self._failure_listeners: list[Callable[[StorageError], None]] = []
        self._full = False
        self._audit_head = store.audit_head

    @property
    def failure(self) -> StorageError | None:
        """What stopped the queue, if anything did."""
        return self._failure

    @property
    def full(self) -> bool:
        """True after the store refused a batch for want of space, until one succeeds; tried again now and then."""
        return self._full

    def add_failure_listener(self, listener: Callable[[StorageError], None]) -> None:
        """Call *listener* when a commit of unknown outcome has stopped the queue."""
        self._failure_listeners.append(listener)

    def admit(self) -> None:
        """Raise StorageBusyError when so much waits for the store that no command can be taken."""
        if self._pending.crowded:
            self.refused["busy"] += 1
            raise StorageBusyError(len(self._pending))

    @property
    def waiting(self) -> int:
        """How many commands and observations wait for the store, those that are with it not counted."""
        return len(self._pending)

    @property
    def unwitnessed(self) -> int:
        """How many batches were stored whose witness could not be written."""
        return self._store.unwitnessed

    def command(self, key: Key, steps: Sequence[Step], before: Sequence[Before]) -> "asyncio.Future[int]":
        """Make *steps* durable and visible; the future is done when both are true.

        To be admitted first. The future fails with StorageFullError after the head was made what it was *before*, and
        with StorageUnknownError when the outcome is not known, which is raised at once when the queue has stopped.
        Cancelling the caller does not take the command back. The audit log says whose it was, if it was a caller's.
        """
        self._check_running(before)
        by = current()
        entry = Entry(key, steps, before, audit=None if by is None else said_of(by, key, steps), claim=_claim())
        caller = entry.new_caller()
        self._enqueue(entry)
        return caller

    @property
    def audit_head(self) -> AuditHead:
        """The newest durable entry of the audit log."""
        return self._audit_head

    def audit(self, draft: Draft) -> "asyncio.Future[int]":
        """Make an entry of the audit log durable; the future gives its number. Raises as `admit` and `command`."""
        return self._submit(lambda: Entry(_NOBODY, (), (), audit=draft, claim=_claim()))

    def note(self, draft: Draft) -> None:
        """Make an entry of the audit log durable behind, as an observation is. Nothing, when the queue has stopped."""
        if self._failure is None:
            self._enqueue(Entry(_NOBODY, (), (), audit=draft, lasting=True))

    def documents(self, changes: Sequence[DocumentChange], draft: Draft) -> "asyncio.Future[int]":
        """Make changed documents durable and visible, with what the audit log says of it. As `admit` and `command`."""
        return self._submit(lambda: Entry(_NOBODY, (), (), audit=draft, documents=changes, claim=_claim()))

    def keep_key(self, claim: Claim) -> "asyncio.Future[int]":
        """Make the row of *claim* durable, with the answer to what was done. Raises as `command`."""
        self._check_running()
        entry = Entry(_NOBODY, (), (), claim=claim)
        caller = entry.new_caller()
        self._enqueue(entry)
        return caller

    async def kept_answer(self, id: str) -> str | None:  # noqa: A002
        """Read from the store what the request with that key was answered with; None when that is not there."""
        self._check_running()
        return await self._desk.ask(partial(self._store.kept_answer, id))

    async def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> AuditPage:
        """Read the audit log from the store, newest first."""
        self._check_running()
        return await self._desk.ask(partial(self._store.read_audit, query, limit, before))

    async def trim_audit(self, signed: int) -> bool:
        """Let the store drop some old entries of the audit log; see there. Raises the storage errors."""
        self._check_running()
        try:
            return await self._desk.ask(partial(self._store.trim_audit, signed))
        except StorageUnknownError as error:
            self._has_stopped(error)
            raise

    async def settled(self, key: Key) -> None:
        """Wait until every command about *key* has been published; raise if the last of them was refused."""
        if key not in self._underway:
            return
        entries = [*(self._flight.entries if self._flight else ()), *self._pending]
        command = next((entry for entry in reversed(entries) if entry.key == key and entry.fact is None), None)
        if command is not None:
            self.carry_on()
            await command.new_caller()

    async def settled_about(self, component_id: str) -> bool:
        """Wait until all that is under way about any instance of the component is published or undone.

        False, at once, when nothing is. O(what is under way).
        """
        entries = [*(self._flight.entries if self._flight else ()), *self._pending]
        last = next((entry for entry in reversed(entries) if entry.key[0] == component_id), None)
        if last is None:
            return False
        self.carry_on()
        with suppress(StorageError):
            await last.new_caller()
        return True

    def observe(self, fact: Fact, step: Step, before: Before) -> None:
        """Publish *step* now and make it durable behind, or queue it behind the commands about its instance."""
        revision = self._feed.revision + 1
        if fact.key in self._underway or (self._flight is not None and revision >= self._flight.base):
            self._enqueue(Entry(fact.key, (step,), (before,), fact))
            return
        change = change_of(step, revision)
        self._unsaved.append(change)
        self._head.show(change)
        self._feed.publish(change)
        self.carry_on()

    def remember(self, fact: Fact) -> None:
        """Keep *fact*, which is not legal now, for the case that a command that made it so is refused."""
        if fact.key in self._underway:
            self._enqueue(Entry(fact.key, (), (), fact))

    async def flush(self) -> None:
        """Wait until what is on its way to the store now has got there, or has been refused."""
        if self._failure is None and (self._flight or self._pending or self._unsaved):
            last = Entry(_NOBODY, (), ())
            caller = last.new_caller()
            self._enqueue(last)
            with suppress(StorageError):
                await caller

    async def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """Read the history of a component from the store, newest first."""
        self._check_running()
        return await self._desk.ask(partial(self._store.history, component_id, limit, before))

    def close(self) -> None:
        """Close the store after what it is doing now. Commands that it has not got are refused, observations saved."""
        self._failure = self._failure or _closed()
        self._refuse([], self._failure)
        unsaved, self._unsaved = self._unsaved, []
        if unsaved:
            self._desk.write(unsaved)
        self._desk.close()

    def abandon(self) -> None:
        """Close the store of a registry that nobody closed. What was acknowledged is durable already.

        Called by the garbage collector, at any point of any thread, or when the interpreter ends: so it waits for
        nothing and takes no lock of the executor.
        """
        self._failure = self._failure or _closed()
        underway = self._flight.written if self._flight is not None else self._tidied
        if underway is None or underway.done():
            self._store.close()
        else:
            underway.add_done_callback(lambda _: self._store.close())

    def carry_on(self) -> None:
        """Let the running loop see to what is pending and in flight. A loop that did so before may be closed by now.

        The next batch starts at the end of this turn of the loop, so that what is submitted in one turn shares it.
        """
        loop = asyncio.get_running_loop()
        if self._flight is not None:
            if self._attending is not loop:
                self._attend(self._flight, loop)
        elif self._scheduled is not loop:
            self._scheduled = loop
            loop.call_soon(self._start, loop)

    def _check_running(self, before: Sequence[Before] = ()) -> None:
        if self._failure is not None:
            self._head.undo(before)
            # Without the frames that earlier callers have left on it.
            raise self._failure.with_traceback(None)

    def _submit(self, make: Callable[[], Entry]) -> "asyncio.Future[int]":
        self._check_running()
        self.admit()
        entry = make()
        caller = entry.new_caller()
        self._enqueue(entry)
        return caller

    def _enqueue(self, entry: Entry) -> None:
        self._underway[entry.key] = self._underway.get(entry.key, 0) + 1
        self._pending.append(entry)
        self.carry_on()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = None
        if self._flight is not None or self._failure is not None or not (self._pending or self._unsaved):
            return
        entries = self._pending.take_batch()
        observed, self._unsaved = self._unsaved, []
        base = self._feed.revision + REVISION_GAP
        changes = [*observed, *give_revisions(entries, base)]
        written = self._desk.write(changes, papers_of(entries))
        self.precedence.begin()
        self._flight = _Flight(entries, observed, base, written)
        self._attend(self._flight, loop)

    def _attend(self, flight: _Flight, loop: asyncio.AbstractEventLoop) -> None:
        self._attending = loop
        flight.written.add_done_callback(lambda _: _call_soon(loop, self._finish, flight))

    def _finish(self, flight: _Flight) -> None:
        if self._flight is not flight:
            return
        error = flight.written.exception()
        self._flight = None
        self.precedence.end()
        if error is None:
            self._full = False
            self._audit_head = flight.written.result()
            self._publish(flight.entries)
        else:
            self._fail(flight, error)
        if error is None and (self._pending or self._unsaved):
            self.carry_on()
        elif self._failure is None:
            self._tidy_later()

    def _tidy_later(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(PAUSE, self._tidy, loop)

    def _tidy(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pause = None
        if self._flight is not None or self._failure is not None:
            return
        self._tidied = self._desk.tidy()
        self._tidied.add_done_callback(
            lambda tidied: _call_soon(loop, self._not_tidied, tidied) if tidied.exception() else None
        )

    def _not_tidied(self, tidied: "WorkerFuture[None]") -> None:
        if (error := tidied.exception()) is not None:
            self._has_stopped(error)

    def _has_stopped(self, error: BaseException) -> None:
        # A batch that is with the store by now will be told the same.
        if self._flight is None and self._failure is None:
            self._stop([], error)

    def _publish(self, entries: list[Entry]) -> None:
        reach("store.before_ack")
        give_numbers(entries, self._audit_head.seq)
        for entry in entries:
            self._leave(entry)
            for document in entry.documents:
                self._head.show_document(document)
            for change in entry.changes:
                self._head.show(change)
        self._feed.publish(*(change for entry in entries for change in entry.changes))
        for entry in entries:
            entry.answer(None)

    def _fail(self, flight: _Flight, error: BaseException) -> None:
        self._unsaved = flight.observed + self._unsaved
        if isinstance(error, StorageError) and not isinstance(error, StorageUnknownError):
            self._full = isinstance(error, StorageFullError)
            self._refuse(flight.entries, error)
            self._try_later()
            return
        self._stop(flight.entries, error)

    def _stop(self, entries: list[Entry], error: BaseException) -> None:
        failure = error if isinstance(error, StorageError) else StorageUnknownError(f"commit failed: {error!r}")
        self._failure = failure
        self._refuse(entries, failure)
        for listener in self._failure_listeners:
            listener(failure)

    def _refuse(self, entries: list[Entry], error: StorageError) -> None:
        """Undo *entries* and what is pending, which all came later."""
        refused = [*entries, *self._pending.take_all()]
        self.refused[_why(error)] += sum(entry.is_command for entry in refused)
        self._head.undo(before for entry in reversed(refused) for before in entry.before)
        for entry in refused:
            self._leave(entry)
            entry.answer(error)
        for entry in refused:
            if entry.fact is not None:
                self._head.take(entry.fact)
            elif entry.lasting and self._failure is None:
                self._underway[entry.key] = self._underway.get(entry.key, 0) + 1
                self._pending.append(entry)

    def _try_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_AFTER, self._try_again, loop)

    def _try_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._full and not (self._flight or self._unsaved or self._pending):
            # Only an attempt can tell whether there is room by now.
            self._enqueue(Entry(_NOBODY, (), ()))
        self._start(loop)

    def _leave(self, entry: Entry) -> None:
        left = self._underway[entry.key] - 1
        if left:
            self._underway[entry.key] = left
        else:
            del self._underway[entry.key]


_NOBODY: Key = ("", "")


def _claim() -> Claim | None:
    """That of the request which submits an entry, if no other entry carries its row."""
    claim = current_claim()
    return None if claim is None else claim.take()


_T = TypeVar("_T")


def _why(error: StorageError) -> Refusal:
    if isinstance(error, StorageUnknownError):
        return "unknown"
    return "full" if isinstance(error, StorageFullError) else "locked"


def _closed() -> StorageError:
    return StorageError("the registry is closed")


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[_T], None], argument: _T) -> None:
    try:
        loop.call_soon_threadsafe(callback, argument)
    except RuntimeError:
        # That loop is closed; the next one attends to the batch in `carry_on`.
        pass
