"""Kills a process that commits, again and again. `TEKTON_KILL_ROUNDS` sets how often (10; more at night)."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, Mutation, RegistryStore

ROUNDS = int(os.environ.get("TEKTON_KILL_ROUNDS", "10"))
WRITER = Path(__file__).with_name("store_writer.py")
HISTORY_LIMIT = 500

Batches = list[list[Mutation]]
decode_batch = msgspec.json.Decoder(list[Mutation]).decode


def kill_a_writer(directory: Path, seed: int) -> tuple[Batches, list[Mutation]]:
    """Let a writer run for a random number of commits, kill it, and return what it said it had done and tried."""
    command = [sys.executable, str(WRITER), str(directory), str(seed), str(HISTORY_LIMIT)]
    acknowledged: Batches = []
    tried: list[Mutation] = []
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
                acknowledged.append(tried)
                tried = []
            patience -= 1
            if patience == 0:
                writer.kill()
    assert acknowledged or tried, "the writer did not even begin"
    return acknowledged, tried


def contents(store: RegistryStore) -> tuple[list[str], list[list[HistoryEntry]]]:
    records = store.open().records
    histories = [store.history(f"component-{number}", 1000, None) for number in range(20)]
    store.close()
    return records, histories


def commit_all(store: RegistryStore, batches: Sequence[Sequence[Mutation]]) -> None:
    store.open()
    for batch in batches:
        store.commit(batch)
    store.close()


def test_a_killed_writer_loses_no_acknowledged_change_and_tears_none(tmp_path: Path) -> None:
    expected = MemoryStore(HISTORY_LIMIT)
    for seed in range(ROUNDS):
        acknowledged, tried = kill_a_writer(tmp_path, seed)
        commit_all(expected, acknowledged)

        found = contents(SqliteStore(tmp_path, history_limit=HISTORY_LIMIT))

        if tried and found != contents(expected):
            commit_all(expected, [tried])
        assert found == contents(expected), f"round {seed}"
