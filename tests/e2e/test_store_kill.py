"""Kills a process that commits, again and again. `TEKTON_KILL_ROUNDS` sets how often (10; more at night)."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from tekton.core.audit.entry import GENESIS, AuditEntry, AuditHead
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, Mutation, Papers, RegistryStore
from tekton.core.idempotency import KnownKey

ROUNDS = int(os.environ.get("TEKTON_KILL_ROUNDS", "10"))
WRITER = Path(__file__).with_name("store_writer.py")
HISTORY_LIMIT = 500

Batch = tuple[list[Mutation], Papers]
Batches = list[Batch]
decode_batch = msgspec.json.Decoder(Batch).decode


def kill_a_writer(directory: Path, seed: int) -> tuple[Batches, Batch | None]:
    """Let a writer run for a random number of commits, kill it, and return what it said it had done and tried."""
    command = [sys.executable, str(WRITER), str(directory), str(seed), str(HISTORY_LIMIT)]
    acknowledged: Batches = []
    tried: Batch | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        patience = Random(seed).randrange(1, 120)
        for line in writer.stdout:
            # What was said before the killing counts; it may still come out of the pipe after it.
            if not line.endswith(b"\n"):
                # Killed while it said what it was going to try: it has not begun.
                break
            word, _, batch = line.partition(b" ")
            if word == b"try":
                tried = decode_batch(batch)
            elif word == b"done\n":
                assert tried is not None
                acknowledged.append(tried)
                tried = None
            patience -= 1
            if patience == 0:
                writer.kill()
    assert acknowledged or tried, "the writer did not even begin"
    return acknowledged, tried


class Contents(NamedTuple):
    records: list[str]
    histories: list[list[HistoryEntry]]
    documents: dict[str, dict[str, bytes]]
    audit: list[AuditEntry]
    head: AuditHead
    open_intents: list[AuditEntry]
    keys: list[KnownKey]


def contents(store: RegistryStore) -> Contents:
    loaded = store.open()
    histories = [store.history(f"component-{number}", 1000, None) for number in range(20)]
    audit: list[AuditEntry] = []
    page = store.read_audit(AuditQuery(), 1_000_000, None)
    while audit.extend(page.entries) or page.before is not None:
        page = store.read_audit(AuditQuery(), 1_000_000, page.before)
    head = store.audit_head
    store.close()
    return Contents(loaded.records, histories, loaded.documents, audit, head, loaded.open_intents, loaded.keys)


def commit_all(store: RegistryStore, batches: Sequence[Batch]) -> None:
    store.open()
    for batch, papers in batches:
        store.commit(batch, papers)
    store.close()


def test_a_killed_writer_loses_no_acknowledged_change_and_tears_none(tmp_path: Path) -> None:
    expected = MemoryStore(HISTORY_LIMIT)
    committed = 0
    for seed in range(ROUNDS):
        acknowledged, tried = kill_a_writer(tmp_path, seed)
        commit_all(expected, acknowledged)

        found = contents(SqliteStore(tmp_path, history_limit=HISTORY_LIMIT))

        if tried and found != contents(expected):
            commit_all(expected, [tried])
            acknowledged.append(tried)
        assert found == contents(expected), f"round {seed}"
        # An entry for each change, and a change for each entry.
        committed += sum(len(batch) for batch, _ in acknowledged)
        assert len(found.audit) == found.head.seq == committed
        check_chain(found)


def check_chain(found: Contents) -> None:
    """No entry is missing, moved or changed, whatever was killed."""
    previous = GENESIS.hex()
    for entry in reversed(found.audit):
        assert entry.previous_hash == previous
        previous = entry.hash
    assert previous == found.head.hash.hex()
