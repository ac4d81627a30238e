"""What the registry asks of a store, and the store that forgets.

Rules that every store keeps (one conformance suite runs over all of them):

* A batch is applied wholly or not at all, and is durable when `commit` returns.
* Revisions are unique, mostly increasing, with gaps. A mutation may arrive after one with a higher revision; of
  two mutations of one instance the one with the higher revision decides, whatever the order of arrival (as long
  as the history that is kept reaches back to it).
* After a StorageUnknownError nothing is accepted any more: what is stored is known only after a new start.
"""

import os
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

import msgspec

from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import StorageError, StorageLockedError


class Mutation(msgspec.Struct, frozen=True, array_like=True):
    """One change to keep.

    `change` is the JSON of a `HistoryEntry`; `record` the JSON of the ComponentRecord after the change, or None
    when the instance is gone, which is what the kind "deregistered" means and no other. The stores keep both texts as
    they are.
    """

    revision: int
    at: float
    kind: str
    component_id: str
    instance_uuid: str
    change: str
    record: str | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One past change of a component, as `get_history` returns it. `at` is in wall-clock seconds."""

    revision: int
    at: float
    kind: str
    component_id: str
    instance_uuid: str
    previous: ComponentState | None
    state: ComponentState
    reason: str | None


class Loaded(NamedTuple):
    """What a store knew when it was opened.

    `records` are the JSON texts of the records, by component id and instance; `revision` is the highest one
    committed, `incarnation` counts the times the store was opened, from 1.
    """

    records: list[str]
    revision: int
    incarnation: int


class RegistryStore(Protocol):
    """Keeps mutations. All methods block; `commit`, `tidy` and `history` are called from one thread at a time."""

    def open(self) -> Loaded:
        """Take possession, count the incarnation (durably) and load.

        Raises StorageLockedError when it is open already, SchemaVersionError, StorageCorruptError when what is
        stored is damaged or incomplete, StorageFullError or StorageError when it cannot be opened for writing.
        """
        ...

    def commit(self, batch: Sequence[Mutation]) -> None:
        """Apply *batch*; it is durable when this returns. An empty one shows whether there is room to write.

        Raises StorageFullError, or StorageError when another process holds the database, with nothing of the
        batch applied: later commits may succeed. Raises ValueError, likewise without effect, for a revision
        that was used before. Raises StorageUnknownError when the outcome is open; the store has stopped then.
        """
        ...

    def tidy(self) -> None:
        """Do what can wait until there is nothing to commit, such as shortening a log.

        Raises StorageUnknownError when that has stopped the store. What was committed stays committed.
        """
        ...

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """Up to *limit* changes of *component_id* with revisions below *before*, newest first.

        Only the newest changes are kept (a limit of the store). Raises StorageCorruptError rather than return
        what is damaged.
        """
        ...

    def close(self) -> None:
        """Give the store free. Closing twice does nothing; a closed store can be opened again."""
        ...


decode_history_entry = msgspec.json.Decoder(HistoryEntry).decode


class MemoryStore:
    """A store that lives as long as the object: for tests, and for registries without a data directory.

    Keeps the newest *history_limit* changes. `history` looks at all of them.
    """

    def __init__(self, history_limit: int = 10_000) -> None:
        self._history_limit = history_limit
        self._records: dict[tuple[str, str], str] = {}
        self._changes: list[Mutation] = []
        self._revision = 0
        self._incarnation = 0
        self._opened = False

    def open(self) -> Loaded:
        if self._opened:
            raise StorageLockedError("memory", os.getpid())
        self._opened = True
        self._incarnation += 1
        return Loaded([self._records[key] for key in sorted(self._records)], self._revision, self._incarnation)

    def commit(self, batch: Sequence[Mutation]) -> None:
        self._check_open()
        self._check_unused([mutation.revision for mutation in batch])
        for mutation in batch:
            insort(self._changes, mutation, key=_revision)
        for mutation in batch:
            self._apply(mutation)
        del self._changes[: max(0, len(self._changes) - self._history_limit)]

    def tidy(self) -> None:
        pass

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        self._check_open()
        end = len(self._changes) if before is None else bisect_left(self._changes, before, key=_revision)
        found = [change for change in self._changes[:end] if change.component_id == component_id]
        return [decode_history_entry(change.change) for change in reversed(found[max(0, len(found) - limit) :])]

    def close(self) -> None:
        self._opened = False

    def _check_open(self) -> None:
        if not self._opened:
            raise StorageError("the store is closed")

    def _check_unused(self, revisions: list[int]) -> None:
        if len(set(revisions)) != len(revisions):
            raise ValueError("a revision was used twice")
        for revision in revisions:
            at = bisect_left(self._changes, revision, key=_revision)
            if at < len(self._changes) and self._changes[at].revision == revision:
                raise ValueError(f"revision {revision} was used before")

    def _apply(self, mutation: Mutation) -> None:
        self._revision = max(self._revision, mutation.revision)
        key = (mutation.component_id, mutation.instance_uuid)
        later = takewhile(lambda change: change.revision > mutation.revision, reversed(self._changes))
        if any((change.component_id, change.instance_uuid) == key for change in later):
            return
        if mutation.record is None:
            self._records.pop(key, None)
        else:
            self._records[key] = mutation.record


def _revision(mutation: Mutation) -> int:
    return mutation.revision
