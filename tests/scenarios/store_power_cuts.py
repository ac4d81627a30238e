"""Cuts the power under the real store, checksums and witness included, and checks what is left. Prints JSON.

    python tests/scenarios/store_power_cuts.py [--cuts 200] [--seed 1] [--lies 0.1]

What a cut is, and what must be there after it, is told in `power_cuts.py`. Here the witness is beside the database, and
now and then the database is migrated.

With `--lies`, syncs are skipped now and then. Then changes may be missing, but the store must say so.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec
from power_cuts import Life, ViolationError, campaign

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import AuditEntry, AuditHead, Draft, Outcome, draft
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import (
    NO_PAPERS,
    HistoryEntry,
    MemoryStore,
    Mutation,
    Papers,
    RegistryStore,
)
from tekton.core.idempotency import KeyRow, KnownKey
from tekton.core.lifecycle import ComponentState
from tekton.testing.powercut import SECTOR, PowerCutDisk

HISTORY_LIMIT = 60
COMPONENTS = 12
UPGRADE = """
    UPDATE components SET record = record || ' ';
    UPDATE changes SET at = at + 1;
    CREATE TABLE upgraded AS SELECT revision FROM changes;
    UPDATE components SET record = rtrim(record);
"""
"""A migration that touches every page and changes nothing that can be read."""

AUDIT_LIMIT = 100

Batch = tuple[list[Mutation], Papers]


class State(NamedTuple):
    """All that can be read."""

    records: list[str]
    histories: list[list[HistoryEntry]]
    documents: dict[str, dict[str, bytes]]
    audit: list[AuditEntry]
    head: AuditHead
    open_intents: list[AuditEntry]
    keys: list[tuple[KnownKey, str | None]]

    def as_trimmed(self, other: "State") -> "State":
        """This, without those old entries of the audit log that *other* does not have either, if it has enough."""
        kept = len(other.audit) if len(other.audit) >= AUDIT_LIMIT else len(self.audit)
        oldest = self.audit[:kept][-1].seq if self.audit else 0
        intents = [entry for entry in self.open_intents if entry.seq >= oldest]
        return self._replace(audit=self.audit[:kept], open_intents=intents)


class StoreLife(Life[SqliteStore, Batch, State]):
    """The life of a disk, and of the directory with the witness."""

    def __init__(self, disk: PowerCutDisk, directory: Path, seed: int) -> None:
        super().__init__(disk, directory, seed, nothing=([], NO_PAPERS))
        self.revision = 0
        self.witnesses: list[bytes] = []
        self.migrations = [*database.MIGRATIONS]

    def run_until_cut(self) -> None:
        if self.rng.random() < 0.3:
            self.migrations = [*database.MIGRATIONS, UPGRADE]
        super().run_until_cut()

    def open(self, store: SqliteStore) -> None:
        self.doing = "opening" if self.is_upgraded() else "migrating"
        store.open()
        self.witnesses = [self.witness()]

    def commit(self, store: SqliteStore, batch: Batch) -> None:
        store.commit(*batch)

    def rest(self, store: SqliteStore) -> None:
        self.witnesses.append(self.witness())
        if self.rng.random() < 0.2:
            self.doing = "checkpointing"
            store.tidy()
        if self.rng.random() < 0.05:
            self.doing = "trimming"
            store.trim_audit(store.audit_head.seq)

    def lose_power(self) -> None:
        """Of the witness, whose writes are not synced, each sector may be as it was at any time since the opening.

        On a disk that lies it stays as it is: it is what finds that out.
        """
        super().lose_power()
        if self.witnesses and not self.disk.lies:
            sectors = [self.rng.choice(self.witnesses)[at : at + SECTOR] for at in (0, SECTOR)]
            (self.directory / "witness").write_bytes(b"".join(sectors))

    def verify(self) -> State:
        found = super().verify()
        entered = sum(len(papers.audit) for _, papers in self.acknowledged)
        if not found.head.seq == entered == sum(len(batch) for batch, _ in self.acknowledged):
            raise ViolationError(f"{found.head.seq} entries of the audit log for {entered} changes")
        return found

    def found(self) -> State:
        return state(self.make_store())

    def as_visible(self, expected: State, found: State) -> State:
        return expected.as_trimmed(found)

    def expected(self, batches: Sequence[Batch]) -> State:
        model = MemoryStore(HISTORY_LIMIT)
        model.open()
        for batch, papers in batches:
            model.commit(batch, papers)
        model.close()
        return state(model)

    def make_batch(self) -> Batch:
        batch = [self.make_mutation() for _ in range(self.rng.choice((1, 1, 2, 3, 8, 20)))]
        self.rng.shuffle(batch)
        return batch, Papers([self.make_entry(one) for one in batch], self.make_documents(), *self.make_keys())

    def make_entry(self, mutation: Mutation) -> Draft:
        """One for each change."""
        outcome: Outcome = "intent" if self.rng.random() < 0.1 else "done"
        by = Attribution("ann", "token", "x" * self.rng.choice((0, 10, 900)))
        return draft(1.0, by, "commit", mutation.component_id, outcome=outcome, detail=str(mutation.revision))

    def make_documents(self) -> list[DocumentChange]:
        bodies = (None, b"short", bytes(6000))
        number = self.rng.choice((0, 0, 1, 3))
        return [DocumentChange("key", name(self.rng.randrange(5)), self.rng.choice(bodies)) for _ in range(number)]

    def make_keys(self) -> tuple[list[KeyRow], list[str]]:
        """Rows of requests, with large answers and without, and some whose time is over."""
        answers = (None, "[200]", "x" * 6000)
        number = self.rng.choice((0, 0, 1, 3))
        ids = [name(self.rng.randrange(8)) for _ in range(number)]
        rows = [KeyRow(one, "ann", str(self.revision), float(self.revision), self.rng.choice(answers)) for one in ids]
        return rows, [name(self.rng.randrange(8)) for _ in range(number // 2)]

    def make_mutation(self) -> Mutation:
        self.revision += self.rng.choice((1, 1, 1, 50))
        component, instance = name(self.rng.randrange(COMPONENTS)), f"instance-{self.rng.randrange(2)}"
        entry = HistoryEntry(
            revision=self.revision, at=1.0, kind="state", component_id=component, instance_uuid=instance,
            previous=None, state=ComponentState.READY, reason=None,
        )  # fmt: skip
        text = msgspec.json.encode(entry).decode()
        record = json.dumps({"of": self.revision, "text": "x" * self.rng.choice((10, 400, 6000))})
        kept = None if self.rng.random() < 0.2 else record
        kind = "state" if kept else "deregistered"
        return Mutation(self.revision, 1.0, kind, component, instance, text, kept)

    def make_store(self) -> SqliteStore:
        # What a cut has left of the copy that is made before a migration.
        self.disk.files.pop(str(self.directory / f"tekton.db.v{len(database.MIGRATIONS)}.new"), None)
        return SqliteStore(
            self.directory,
            history_limit=HISTORY_LIMIT,
            audit_limit=AUDIT_LIMIT,
            exclusive=True,
            migrations=tuple(self.migrations),
        )

    def is_upgraded(self) -> bool:
        """False when the next opening has to migrate (or to make) a database."""
        header = self.disk.content(self.directory / "tekton.db")[60:64]
        return int.from_bytes(header, "big") == len(self.migrations)

    def witness(self) -> bytes:
        return (self.directory / "witness").read_bytes()


def state(store: RegistryStore) -> State:
    """What a store holds; it is opened for that."""
    loaded = store.open()
    try:
        histories = [store.history(name(number), 1000, None) for number in range(COMPONENTS)]
        audit = store.read_audit(AuditQuery(), 10_000, None).entries
        keys = [(key, store.kept_answer(key.id)) for key in loaded.keys]
        return State(loaded.records, histories, loaded.documents, audit, store.audit_head, loaded.open_intents, keys)
    finally:
        store.close()


def vacuum_into(connection: apsw.Connection, path: Path) -> None:
    """The copy that is made before a migration. apsw cannot make it as the store does (it crashes when the backup
    interface meets an error of a disk that is written in Python)."""
    connection.execute("VACUUM INTO ?", (f"{path}.new",))


def name(number: int) -> str:
    return f"component-{number}"


if __name__ == "__main__":
    database.copy_to = vacuum_into
    sys.exit(campaign(__doc__, StoreLife, cuts_per_life=4, may_lie=True))
