"""Commits batches until it is killed, and says so: `try <batch>` before and `done` after each commit.

Each change comes with an entry of the audit log, and some with a document or the key of a request.
"""

import sys
from pathlib import Path
from random import Random

import msgspec

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import draft
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation, Papers
from tekton.core.idempotency import KeyRow
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


def papers(batch: list[Mutation], rng: Random) -> Papers:
    """An entry for each change, which names its revision; intents and outcomes among them."""
    said = [draft(1.0, Attribution("ann"), "commit", one.component_id, detail=str(one.revision)) for one in batch]
    said[0].outcome = rng.choice(("intent", "done"))
    bodies = [rng.choice((None, str(one.revision).encode())) for one in batch]
    documents = [DocumentChange("key", one.component_id, body) for one, body in zip(batch, bodies, strict=True)]
    keys = [KeyRow(one.component_id, "ann", str(one.revision), 1.0, rng.choice((None, "[]"))) for one in batch]
    forgotten = [f"component-{rng.randrange(20)}"]
    return Papers(said, documents if rng.random() < 0.5 else [], keys if rng.random() < 0.5 else [], forgotten)


def main(directory: Path, seed: int, history_limit: int) -> None:
    rng = Random(seed)
    store = SqliteStore(directory, history_limit=history_limit)
    revision = store.open().revision
    say = sys.stdout.buffer
    while True:
        batch = [mutation(revision + number, rng) for number in range(1, rng.choice((2, 2, 5, 40)))]
        revision = batch[-1].revision
        beside = papers(batch, rng)
        say.write(b"try " + msgspec.json.encode((batch, beside)) + b"\n")
        say.flush()
        store.commit(batch, beside)
        say.write(b"done\n")
        say.flush()
        if rng.random() < 0.2:
            store.tidy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
