"""Commits batches until it is killed, and says so: `try <batch>` before and `done` after each commit."""

import sys
from pathlib import Path
from random import Random

import msgspec

from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import ComponentState


def mutation(revision: int, rng: Random) -> Mutation:
    component = f"component-{rng.randrange(20)}"
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="state", component_id=component, instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = None if rng.random() < 0.1 else '{"text":"' + "x" * rng.choice((10, 500, 9000)) + '"}'
    kind = "state" if record else "deregistered"
    return Mutation(revision, 1.0, kind, component, "one", msgspec.json.encode(entry).decode(), record)


def main(directory: Path, seed: int, history_limit: int) -> None:
    rng = Random(seed)
    store = SqliteStore(directory, history_limit=history_limit)
    revision = store.open().revision
    say = sys.stdout.buffer
    while True:
        batch = [mutation(revision + number, rng) for number in range(1, rng.choice((2, 2, 5, 40)))]
        revision = batch[-1].revision
        say.write(b"try " + msgspec.json.encode(batch) + b"\n")
        say.flush()
        store.commit(batch)
        say.write(b"done\n")
        say.flush()
        if rng.random() < 0.2:
            store.tidy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
