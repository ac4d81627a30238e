"""A disk that misbehaves when it is told to, in virtual time.

`FaultyStore` is full, or ends in a commit of unknown outcome. `VirtualWorker` does the work of the registry's store
without a thread, after a delay on the clock of the running loop; it can be cut off in the middle of a commit, as a
process that is killed.

    store = FaultyStore(MemoryStore())
    registry = ComponentRegistry(store=store, executor=VirtualWorker(delay=lambda: 0.02))
    store.full = True
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from tekton.core.audit.entry import AuditHead
from tekton.core.audit.query import AuditPage, AuditQuery
from tekton.core.component_lifecycle.store import NO_PAPERS, HistoryEntry, Loaded, Mutation, Papers, RegistryStore
from tekton.utils.tekton_errors import StorageFullError, StorageUnknownError

_T = TypeVar("_T")


class FaultyStore:
    """A `RegistryStore` over another one. Faults come from outside:

    `full`: commits are refused for want of room. `fail_next`: the next commit ends with an unknown outcome, `applied`
    or `lost`; after that nothing is accepted until the store is opened again. `refused` counts.
    """

    def __init__(self, store: RegistryStore) -> None:
        self.full = False
        self.fail_next: str | None = None
        self.refused = 0
        self.unwitnessed = 0
        self._store = store
        self._stopped = False

    def open(self) -> Loaded:
        """See `RegistryStore.open`."""
        self._stopped = False
        return self._store.open()

    @property
    def audit_head(self) -> AuditHead:
        """See `RegistryStore.audit_head`."""
        return self._store.audit_head

    def commit(self, batch: Sequence[Mutation], papers: Papers = NO_PAPERS) -> None:
        """See `RegistryStore.commit`."""
        if self._stopped:
            raise StorageUnknownError("the store has stopped")
        if self.fail_next is not None:
            self._fail(batch, papers)
        if self.full:
            self.refused += 1
            raise StorageFullError("the disk is full")
        self._store.commit(batch, papers)

    def tidy(self) -> None:
        """See `RegistryStore.tidy`."""
        self._store.tidy()

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """See `RegistryStore.history`."""
        return self._store.history(component_id, limit, before)

    def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> AuditPage:
        """See `RegistryStore.read_audit`."""
        return self._store.read_audit(query, limit, before)

    def kept_answer(self, id: str) -> str | None:  # noqa: A002
        """See `RegistryStore.kept_answer`."""
        return self._store.kept_answer(id)

    def trim_audit(self, signed: int) -> bool:
        """See `RegistryStore.trim_audit`."""
        return self._store.trim_audit(signed)

    def close(self) -> None:
        """See `RegistryStore.close`."""
        self._store.close()

    def stop(self) -> None:
        """Accept nothing any more."""
        self._stopped = True

    def _fail(self, batch: Sequence[Mutation], papers: Papers) -> None:
        fate, self.fail_next = self.fail_next, None
        if fate == "applied":
            self._store.commit(batch, papers)
        self.stop()
        raise StorageUnknownError("the disk failed in a commit")


class VirtualWorker(Executor):
    """Does one thing at a time, in order, each *delay()* virtual seconds after the last (default: at once)."""

    virtual = True
    """Tells `VirtualTimeLoop` not to hold time until the work is done."""

    def __init__(self, delay: Callable[[], float] = lambda: 0.0) -> None:
        self._delay = delay
        self._work: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """See `Executor.submit`."""
        future: Future[_T] = Future()
        self._work.append((future, partial(fn, *args, **kwargs)))
        if len(self._work) == 1:
            self._schedule()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Do what is left at once."""
        while self._work:
            self._do_next()

    def cut(self, *, applied: bool) -> None:
        """End as a killed process does: what is being done has its effect if *applied*, the rest is never begun."""
        work, self._work = self._work, []
        if applied and work:
            work[0][1]()
        for future, _ in work:
            future.set_exception(StorageUnknownError("the process ended in the middle of a commit"))

    def _schedule(self) -> None:
        delay = self._delay()
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._on_time)
        else:
            self._do_next()

    def _on_time(self) -> None:
        if self._work:
            self._do_next()
        if self._work:
            self._schedule()

    def _do_next(self) -> None:
        future, work = self._work[0]
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        finally:
            self._work.pop(0)
