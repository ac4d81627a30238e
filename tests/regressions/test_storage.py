"""What plain SQLite does with failing disks, shown to happen, and that the registry's store does not.

Each of these was found by experiment before the store was written. The first half of a test makes the fault happen to a
plain database; if that half fails, SQLite has changed, and the store's answer to it may be thought over again.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec
import pytest

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import StorageCorruptError, StorageUnknownError

FLIPS = 40
PLAIN = "unix"
STRACE = shutil.which("strace")


def mutation(revision: int, text: str = "x") -> Mutation:
    name = f"component-{revision}"
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="state", component_id=name, instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = msgspec.json.encode({"revision": revision, "text": text}).decode()
    return Mutation(revision, 1.0, "state", name, "one", msgspec.json.encode(entry).decode(), record)


def commit(store: SqliteStore, revisions: Sequence[int], size: int = 200) -> None:
    for revision in revisions:
        store.commit([mutation(revision, "x" * size)])


def copy(source: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("tekton.db", "tekton.db-wal", "witness"):
        if (source / name).exists():
            shutil.copy(source / name, to / name)
    return to


def flip(path: Path, byte: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def records(directory: Path) -> list[str]:
    """What the store serves. Raises StorageCorruptError."""
    store = SqliteStore(directory)
    try:
        return store.open().records
    finally:
        store.close()


def plain_check_and_texts(path: Path) -> tuple[object, list[object]]:
    connection = apsw.Connection(str(path), vfs=PLAIN)
    try:
        return (
            connection.execute("PRAGMA integrity_check").get,
            [row for (row,) in connection.execute("SELECT CAST(text AS BLOB) FROM notes")],
        )
    finally:
        connection.close()


def test_a_flipped_bit_that_sqlites_integrity_check_passes_is_never_served(tmp_path: Path) -> None:
    rng = random.Random(3)
    plain = apsw.Connection(str(tmp_path / "plain.db"), vfs=PLAIN)
    plain.execute("CREATE TABLE notes (text)")
    for number in range(50):
        plain.execute("INSERT INTO notes VALUES (?)", (f"{number} " + "x" * 200,))
    plain.close()
    whole = plain_check_and_texts(tmp_path / "plain.db")
    wrong = 0
    for number in range(FLIPS):
        damaged = shutil.copy(tmp_path / "plain.db", tmp_path / f"plain-{number}.db")
        flip(Path(damaged), rng.randrange(4096, (tmp_path / "plain.db").stat().st_size), rng.randrange(8))
        try:
            check, texts = plain_check_and_texts(Path(damaged))
        except apsw.Error:
            continue
        wrong += check == "ok" and texts != whole[1]
    assert wrong > 0

    store = SqliteStore(tmp_path / "live")
    store.open()
    commit(store, range(1, 51))
    store.close()
    expected = records(copy(tmp_path / "live", tmp_path / "read"))
    noticed = 0
    for number in range(FLIPS):
        damaged_directory = copy(tmp_path / "live", tmp_path / f"damaged-{number}")
        path = damaged_directory / "tekton.db"
        flip(path, rng.randrange(path.stat().st_size), rng.randrange(8))
        try:
            assert records(damaged_directory) == expected
        except StorageCorruptError:
            noticed += 1
    assert noticed >= FLIPS * 0.9


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
def test_commits_that_sqlite_drops_with_a_damaged_log_are_missed(tmp_path: Path, damage: str) -> None:
    def spoil(log: Path) -> None:
        if damage == "deleted":
            log.unlink()
        else:
            flip(log, log.stat().st_size // 2, 0)

    plain = apsw.Connection(str(tmp_path / "plain.db"), vfs=PLAIN)
    plain.pragma("journal_mode", "wal")
    plain.execute("CREATE TABLE notes (text)")
    plain.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    for number in range(50):
        plain.execute("INSERT INTO notes VALUES (?)", (f"{number} " + "x" * 200,))
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"plain.db{suffix}", tmp_path / f"crashed.db{suffix}")
    plain.close()
    spoil(tmp_path / "crashed.db-wal")
    check, texts = plain_check_and_texts(tmp_path / "crashed.db")
    assert check == "ok"
    assert len(texts) < 50

    store = SqliteStore(tmp_path / "live")
    store.open()
    commit(store, range(1, 51))
    crashed = copy(tmp_path / "live", tmp_path / "crashed")
    store.close()
    spoil(crashed / "tekton.db-wal")
    with pytest.raises(StorageCorruptError, match="acknowledged changes are missing"):
        records(crashed)


class OneFailedSync(apsw.VFS):
    """A disk whose next sync of a file with this ending fails, once; all others succeed."""

    def __init__(self, name: str, base: str) -> None:
        super().__init__(name, base)
        self.name, self.base = name, base
        self.ending = ""
        self.synced_since = 0

    def fail_next(self, ending: str) -> None:
        self.ending, self.synced_since = ending, 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: OneFailedSync, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.ending and self._name.endswith(self._disk.ending):
            self._disk.ending = ""
            error = apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
            assert isinstance(error, apsw.Error)
            raise error
        self._disk.synced_since += 1
        super().xSync(flags)


@pytest.fixture
def plain_disk() -> Iterator[OneFailedSync]:
    disk = OneFailedSync("one-failed-sync", PLAIN)
    yield disk
    disk.unregister()


@pytest.fixture
def checked_disk() -> Iterator[OneFailedSync]:
    database.load_checksums()
    disk = OneFailedSync("one-failed-sync-checked", database.CHECKSUM_VFS)
    yield disk
    disk.unregister()


def test_after_one_failed_sync_sqlite_goes_on_and_the_store_does_not(
    tmp_path: Path, plain_disk: OneFailedSync, checked_disk: OneFailedSync
) -> None:
    plain = apsw.Connection(str(tmp_path / "plain.db"), vfs=plain_disk.name)
    plain.pragma("locking_mode", "exclusive")
    plain.pragma("journal_mode", "wal")
    plain.pragma("synchronous", "full")
    plain.execute("CREATE TABLE notes (text)")
    plain_disk.fail_next("-wal")
    with pytest.raises(apsw.IOError):
        plain.execute("INSERT INTO notes VALUES (1)")
    plain.execute("INSERT INTO notes VALUES (2)")
    plain.close()

    store = SqliteStore(tmp_path / "live", vfs=checked_disk.name, exclusive=True)
    store.open()
    commit(store, [1, 2])
    checked_disk.fail_next("-wal")
    with pytest.raises(StorageUnknownError):
        commit(store, [3])
    for revision in (4, 5):
        with pytest.raises(StorageUnknownError):
            commit(store, [revision])
    with pytest.raises(StorageUnknownError):
        store.tidy()
    store.close()
    assert checked_disk.synced_since == 0


PLAIN_WRITER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.pragma("journal_mode", "wal")
connection.pragma("synchronous", "full")
connection.wal_autocheckpoint(1)
connection.execute("CREATE TABLE notes (text)")
for number in range(5):
    connection.execute("INSERT INTO notes VALUES (?)", (number,))
    print("committed", flush=True)
"""


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_sqlite_overlooks_a_sync_that_fails_while_the_log_is_moved(tmp_path: Path) -> None:
    assert STRACE is not None
    path = str(tmp_path.resolve() / "plain.db")
    trace = [STRACE, "-f", "-qq", "-o", str(tmp_path / "trace"), "-P", path]
    fault = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=5"]

    outcome = subprocess.run(
        [*trace, *fault, sys.executable, "-c", PLAIN_WRITER, path], capture_output=True, text=True, check=True
    )

    assert outcome.stdout.split() == ["committed"] * 5
    assert "INJECTED" in (tmp_path / "trace").read_text()


def test_a_sync_that_fails_while_the_log_is_moved_stops_the_store(tmp_path: Path, checked_disk: OneFailedSync) -> None:
    store = SqliteStore(tmp_path / "live", vfs=checked_disk.name, exclusive=True)
    store.open()
    commit(store, [1, 2])
    checked_disk.fail_next("tekton.db")
    with pytest.raises(StorageUnknownError, match="moving the log"):
        store.tidy()
    with pytest.raises(StorageUnknownError):
        commit(store, [3])
    store.close()
    assert checked_disk.synced_since == 1, "only the log, before what it holds is moved"
    assert len(records(tmp_path / "live")) == 2
