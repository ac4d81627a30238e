"""Cuts the power under the real store, checksums and witness included, and checks what is left. Prints JSON.

    python tests/scenarios/store_power_cuts.py [--cuts 200] [--seed 1] [--lies 0.1]

A program of its own because the simulated disk has to be SQLite's default file system before the checksum layer is
loaded over it. Each seed is a life of one disk: several cuts one after another, each at a random operation of opening,
migrating, committing, checkpointing or closing. After each, every acknowledged batch must be there, and the batch that
was under way must be there wholly or not at all. An in-memory store that gets the same batches says what "there" means.

With `--lies`, syncs are skipped now and then. Then changes may be missing, but the store must say so.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import apsw
import msgspec

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import AuditEntry, AuditHead, Draft, Outcome, draft
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import database, log_keeper
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
from tekton.utils.tekton_errors import StorageCorruptError, StorageError

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


class ViolationError(Exception):
    """The store broke its promise."""


class Life:
    """One disk and the directory with the witness, from empty until its last power cut."""

    def __init__(self, disk: PowerCutDisk, directory: Path, seed: int) -> None:
        self.disk = disk
        self.directory = directory
        self.rng = Random(seed)
        self.acknowledged: list[Batch] = []
        self.underway: Batch = ([], NO_PAPERS)
        self.revision = 0
        self.witnesses: list[bytes] = []
        self.migrations = [*database.MIGRATIONS]
        self.doing = "nothing"
        log_keeper.IDLE_PAGES = self.rng.choice((1, 30, 200))
        log_keeper.BUSY_PAGES = 2 * log_keeper.IDLE_PAGES
        disk.clear(seed)
        disk.powersafe = self.rng.random() < 0.5

    def run_until_cut(self) -> None:
        """Use the store until the power goes off, somewhere."""
        if self.rng.random() < 0.3:
            self.migrations = [*database.MIGRATIONS, UPGRADE]
        self.disk.cut_after(self.rng.randrange(1, self.rng.choice((12, 60, 400))))
        store = self.make_store()
        try:
            while not self.disk.off:
                self.doing = "opening" if self.is_upgraded() else "migrating"
                store.open()
                self.witnesses = [self.witness()]
                self.commit_some(store)
                self.doing = "closing"
                store.close()
        except StorageError:
            if not self.disk.off:
                raise
        finally:
            store.close()

    def commit_some(self, store: SqliteStore) -> None:
        for _ in range(self.rng.randrange(1, 80)):
            self.doing = "committing"
            self.underway = self.make_batch()
            store.commit(*self.underway)
            self.acknowledged.append(self.underway)
            self.underway = ([], NO_PAPERS)
            self.witnesses.append(self.witness())
            if self.rng.random() < 0.2:
                self.doing = "checkpointing"
                store.tidy()
            if self.rng.random() < 0.05:
                self.doing = "trimming"
                store.trim_audit(store.audit_head.seq)

    def lose_power(self, *, keep_witness: bool) -> None:
        """Of the witness, whose writes are not synced, each sector may be as it was at any time since the opening."""
        self.disk.lose_power(self.rng)
        if self.witnesses and not keep_witness:
            sectors = [self.rng.choice(self.witnesses)[at : at + SECTOR] for at in (0, SECTOR)]
            (self.directory / "witness").write_bytes(b"".join(sectors))

    def verify(self) -> None:
        """Open the store and compare. Raises StorageCorruptError when the store found a loss itself."""
        store = self.make_store()
        found = state(store)
        without, complete = self.expected(self.acknowledged), self.expected([*self.acknowledged, self.underway])
        if found not in (without.as_trimmed(found), complete.as_trimmed(found)):
            raise ViolationError(f"neither {len(self.acknowledged)} batches nor those and the one under way")
        if found == complete.as_trimmed(found):
            self.acknowledged.append(self.underway)
        self.underway = ([], NO_PAPERS)
        entered = sum(len(papers.audit) for _, papers in self.acknowledged)
        if not found.head.seq == entered == sum(len(batch) for batch, _ in self.acknowledged):
            raise ViolationError(f"{found.head.seq} entries of the audit log for {entered} changes")

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


def run(disk: PowerCutDisk, seed: int, cuts: int, outcomes: Counter[str], places: Counter[str]) -> None:
    """Live through up to *cuts* power cuts and count the outcomes, and what was being done."""
    with tempfile.TemporaryDirectory() as directory:
        life = Life(disk, Path(directory), seed)
        for _ in range(cuts):
            try:
                # A lie may come out only when the page that it has cost is used again.
                life.run_until_cut()
                places[life.doing] += 1
                life.lose_power(keep_witness=disk.lies > 0)
                life.verify()
            except StorageCorruptError as error:
                if not disk.lies:
                    raise ViolationError(f"refused after an honest power cut: {error}") from error
                outcomes["detected"] += 1
                return
            outcomes["whole"] += 1


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cuts", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--lies", type=float, default=0.0)
    options = arguments.parse_args()
    disk = PowerCutDisk("simulated", default=True)
    database.copy_to = vacuum_into
    disk.lies = options.lies
    outcomes: Counter[str] = Counter()
    places: Counter[str] = Counter()
    logging.disable()
    violations: list[str] = []
    seed = options.seed
    while outcomes.total() + len(violations) < options.cuts:
        try:
            run(disk, seed, 4, outcomes, places)
        except (ViolationError, StorageError) as error:
            violations.append(f"seed {seed}: {error}")
        seed += 1
    print(json.dumps({**outcomes, "while": places, "operations": disk.operations, "violations": violations}))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
