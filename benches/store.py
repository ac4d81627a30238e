"""Durable commits of the registry's store, beside what the disk can do and beside row-by-row writing.

    python benches/store.py [--seconds 1] [--directory DIR]

Contenders, each acknowledging a batch when it is on the disk:

* `store`: `SqliteStore.commit`, with history, page checksums and witness.
* `executemany`: the same tables and the same connection settings, written row by row in one transaction, without
  witness and retention: how one would write it with a database module.
* `append`: the same bytes appended to a file, then fdatasync: no database at all, a lower bound.

Each is measured on an idle interpreter and beside a thread that never lets go of it voluntarily (as a busy event
loop would not), with the interpreter's own switch interval and with a short one. Figures are changes per second;
ratios are medians over rounds in which the contenders take turns. Wall time: waiting for the disk is the point.
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from _measure import gate, parser, section, verdict
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import Mutation

SIZES = (1, 64, 512)
COMPONENTS = 2000
CHANGE = (
    '{"revision":123456,"at":1764000000.123,"kind":"state","component_id":"component","instance_uuid":'
    '"00000000-0000-4000-8000-000000000000","previous":"starting","state":"ready","reason":null}'
)
RECORD = '{"component_id":"component","metadata":{"text":"' + "x" * 450 + '"},"state":"ready"}'

Commit = Callable[[Sequence[Mutation]], None]


def make_batches(size: int) -> Iterator[list[Mutation]]:
    revisions = count(1)
    while True:
        yield [_mutation(revision) for revision, _ in zip(revisions, range(size))]


def _mutation(revision: int) -> Mutation:
    number = revision % COMPONENTS
    instance = f"00000000-0000-4000-8000-{number:012d}"
    return Mutation(revision, 1764000000.0, "state", f"component-{number}", instance, CHANGE, RECORD)


@contextmanager
def store(directory: Path) -> Iterator[Commit]:
    opened = SqliteStore(directory / "store")
    opened.open()
    try:
        yield opened.commit
    finally:
        opened.close()


@contextmanager
def executemany(directory: Path) -> Iterator[Commit]:
    path = directory / "rows.db"
    connection = database.connect(path)
    database.prepare(connection, path, database.schema_version(connection, path, 1))

    def commit(batch: Sequence[Mutation]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)",
            ((m.revision, m.at, m.kind, m.component_id, m.instance_uuid, m.change) for m in batch),
        )
        connection.executemany(
            "INSERT INTO components VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, "
            "revision = excluded.revision WHERE excluded.revision > components.revision",
            ((m.component_id, m.instance_uuid, m.record, m.revision) for m in batch),
        )
        connection.execute("UPDATE meta SET revision = ?", (batch[-1].revision,))
        connection.execute("COMMIT")

    try:
        yield commit
    finally:
        connection.close()


@contextmanager
def append(directory: Path) -> Iterator[Commit]:
    encode = msgspec.json.Encoder().encode
    with (directory / "log").open("ab", buffering=0) as file:

        def commit(batch: Sequence[Mutation]) -> None:
            file.write(encode(batch))
            os.fdatasync(file.fileno())

        yield commit


@contextmanager
def busy_interpreter(switch_interval: float | None) -> Iterator[None]:
    """A thread that computes, and *switch_interval* (seconds); neither when it is None."""
    if switch_interval is None:
        yield
        return
    before, stop = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(switch_interval)
    thread = threading.Thread(target=_compute, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)


def _compute(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(500))


def measure(directory: Path, size: int, seconds: float) -> dict[str, list[float]]:
    """Seconds per batch, by contender and round."""
    with store(directory) as ours, executemany(directory) as rows, append(directory) as raw:
        contenders = {"append": raw, "store": ours, "executemany": rows}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        end = time.perf_counter() + seconds
        batches = make_batches(size)
        while time.perf_counter() < end:
            turn = [next(batches) for _ in range(max(1, 32 // size))]
            for name, commit in contenders.items():
                start = time.perf_counter()
                for batch in turn:
                    commit(batch)
                times[name].append((time.perf_counter() - start) / len(turn))
    return times


def report(title: str, size: int, times: dict[str, list[float]]) -> None:
    section(f"durable commits, batches of {size}, {title}")
    ours = times["store"]
    for name, mine in times.items():
        rates = sorted(size / taken for taken in mine)
        what = "SqliteStore.commit" if name == "store" else name
        gate(what, statistics.median(rates), unit="changes/s", spread=(rates[0], rates[-1]))
    for name in ("executemany", "append"):
        ratio = statistics.median(its / mine for mine, its in zip(ours, times[name]))
        gate("SqliteStore.commit", ratio, against=name)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=1.0, help="per measurement")
    arguments.add_argument("--directory", help="where to write; its file system is what is measured")
    options = arguments.parse_args()
    for title, interval in (("idle", None), ("busy, switch 5 ms", 0.005), ("busy, switch 0.5 ms", 0.0005)):
        for size in SIZES:
            with tempfile.TemporaryDirectory(dir=options.directory) as directory, busy_interpreter(interval):
                report(title, size, measure(Path(directory), size, options.seconds))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
