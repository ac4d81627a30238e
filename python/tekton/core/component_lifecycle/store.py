"""What the registry asks of a store, and the store that forgets.

Rules that every store keeps (one conformance suite runs over all of them):

* A batch is applied wholly or not at all, and is durable when `commit` returns.
* Revisions are unique, mostly increasing, with gaps. A mutation may arrive after one with a higher revision; of
  two mutations of one instance the one with the higher revision decides, whatever the order of arrival (as long
  as the history that is kept reaches back to it).
* Entries of the audit log are numbered and chained by the store, in the order in which they are committed. They and
  the changes of documents are part of the batch that they come with.
* After a StorageUnknownError nothing is accepted any more: what is stored is known only after a new start.
"""

import os
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import NamedTuple, Protocol

import msgspec

from tekton.core.audit.entry import EMPTY, AuditEntry, AuditHead, Draft, Row, chained
from tekton.core.audit.query import SCANNED_AT_ONCE, AuditPage, AuditQuery
from tekton.core.component_lifecycle.documents import Bodies, DocumentChange, apply
from tekton.core.idempotency import KeyRow, KnownKey
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


class Papers(NamedTuple):
    """What a batch carries beside its mutations: entries for the audit log, and changes of documents.

    And `keys` of requests, the last row of each counts; the rows of `forgotten` ones are removed before.
    """

    audit: Sequence[Draft] = ()
    documents: Sequence[DocumentChange] = ()
    keys: Sequence[KeyRow] = ()
    forgotten: Sequence[str] = ()


NO_PAPERS = Papers()


class Loaded(NamedTuple):
    """What a store knew when it was opened.

    `records` are the JSON texts of the records, by component id and instance; `revision` is the highest one
    committed, `incarnation` counts the times the store was opened, from 1. `open_intents` are the entries of the
    audit log that say what was about to be done, and of which none says what came of it. `keys` are those of requests,
    oldest first.
    """

    records: list[str]
    revision: int
    incarnation: int
    documents: Bodies
    open_intents: list[AuditEntry]
    keys: list[KnownKey]


class RegistryStore(Protocol):
    """Keeps mutations, audit log and documents. All methods block, and are called from one thread at a time.

    That does not hold for `audit_head`, which tells the newest committed entry of the audit log at any time.
    """

    unwitnessed: int
    """How many batches were committed whose witness could not be written (`witness`)."""

    @property
    def audit_head(self) -> AuditHead: ...

    def open(self) -> Loaded:
        """Take possession, count the incarnation (durably) and load.

        Raises StorageLockedError when it is open already, SchemaVersionError, StorageCorruptError when what is
        stored is damaged or incomplete, StorageFullError or StorageError when it cannot be opened for writing.
        """
        ...

    def commit(self, batch: Sequence[Mutation], papers: Papers = NO_PAPERS) -> None:
        """Apply *batch* and *papers*; they are durable when this returns. None at all shows whether there is room.

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

    def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> AuditPage:
        """Up to *limit* entries that *query* means, with numbers below *before*, newest first.

        Looks at 10,000 entries at most. Raises as `history`.
        """
        ...

    def kept_answer(self, id: str) -> str | None:  # noqa: A002
        """The answer in the row of a key; None when there is none, or no such row. Raises as `history`."""
        ...

    def trim_audit(self, signed: int) -> bool:
        """Drop some entries of the audit log up to *signed*, as far as there are more than the store's limit.

        True when there are more to drop. To be called when a head at or after *signed* has been signed and kept
        elsewhere: what is dropped then is still vouched for. Raises as `commit`.
        """
        ...

    def close(self) -> None:
        """Give the store free. Closing twice does nothing; a closed store can be opened again."""
        ...


decode_history_entry = msgspec.json.Decoder(HistoryEntry).decode


class MemoryStore:
    """A store that lives as long as the object: for tests, and for registries without a data directory.

    Keeps the newest *history_limit* changes, and at least *audit_limit* entries of the audit log. `history` looks at
    all of them.
    """

    def __init__(self, history_limit: int = 10_000, audit_limit: int = 10_000) -> None:
        self.unwitnessed = 0
        self._history_limit = history_limit
        self._audit_limit = audit_limit
        self._audit: list[Row] = []
        self._audit_base = EMPTY
        self._documents: Bodies = {}
        self._keys: dict[str, KeyRow] = {}
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
        return Loaded(
            [self._records[key] for key in sorted(self._records)],
            self._revision,
            self._incarnation,
            {kind: dict(bodies) for kind, bodies in self._documents.items() if bodies},
            self._open_intents(),
            [_known(row) for row in sorted(self._keys.values(), key=lambda row: (row.at, row.id))],
        )

    @property
    def audit_head(self) -> AuditHead:
        return AuditHead(self._audit[-1].seq, self._audit[-1].hash) if self._audit else self._audit_base

    def commit(self, batch: Sequence[Mutation], papers: Papers = NO_PAPERS) -> None:
        self._check_open()
        self._check_unused([mutation.revision for mutation in batch])
        for mutation in batch:
            insort(self._changes, mutation, key=_revision)
        for mutation in batch:
            self._apply(mutation)
        del self._changes[: max(0, len(self._changes) - self._history_limit)]
        for change in papers.documents:
            apply(self._documents, change)
        self._audit += chained(self.audit_head, papers.audit)
        for id_ in papers.forgotten:
            self._keys.pop(id_, None)
        self._keys |= {row.id: row for row in papers.keys}

    def tidy(self) -> None:
        pass

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        self._check_open()
        end = len(self._changes) if before is None else bisect_left(self._changes, before, key=_revision)
        found = [change for change in self._changes[:end] if change.component_id == component_id]
        return [decode_history_entry(change.change) for change in reversed(found[max(0, len(found) - limit) :])]

    def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> AuditPage:
        self._check_open()
        end = len(self._audit)
        if before is not None:
            end = bisect_left(self._audit, before, key=lambda row: row.seq)
        first = max(0, end - SCANNED_AT_ONCE)
        meant = ((at, one) for at in range(end - 1, first - 1, -1) if query.takes(one := self._entry(at)))
        found = list(islice(meant, max(0, limit)))
        last = found[-1][0] if len(found) == limit and found else first
        return AuditPage([entry for _, entry in found], self._audit[last].seq if last else None)

    def kept_answer(self, id: str) -> str | None:  # noqa: A002
        self._check_open()
        row = self._keys.get(id)
        return None if row is None else row.answer

    def trim_audit(self, signed: int) -> bool:
        self._check_open()
        surplus = max(0, len(self._audit) - self._audit_limit)
        dropped = list(takewhile(lambda row: row.seq <= signed, self._audit[:surplus]))
        if dropped:
            self._audit_base = AuditHead(dropped[-1].seq, dropped[-1].hash)
            del self._audit[: len(dropped)]
        return False

    def close(self) -> None:
        self._opened = False

    def _entry(self, at: int) -> AuditEntry:
        return self._audit[at].entry(self._audit[at - 1].hash if at else self._audit_base.hash)

    def _open_intents(self) -> list[AuditEntry]:
        entries = [self._entry(at) for at in range(len(self._audit))]
        concluded = {entry.intent for entry in entries}
        return [entry for entry in entries if entry.outcome == "intent" and entry.seq not in concluded]

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


def _known(row: KeyRow) -> KnownKey:
    return KnownKey(row.id, row.subject, row.request, row.at, None if row.answer is None else len(row.answer.encode()))


def _revision(mutation: Mutation) -> int:
    return mutation.revision
