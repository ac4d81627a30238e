"""The store on disk: its files, its shell, and what damage, full disks and failing syncs do to it."""

import errno
import logging
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import draft
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation, Papers
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import (
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

FLIPS = int(os.environ.get("TEKTON_BIT_FLIPS", "60"))
SHELL = shutil.which("sqlite3")


def mutation(revision: int, component: int = 0, size: int = 100) -> Mutation:
    name, instance = f"component-{component}", "one"
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="state", component_id=name, instance_uuid=instance,
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = msgspec.json.encode({"revision": revision, "text": "x" * size}).decode()
    return Mutation(revision, 1.0, "state", name, instance, msgspec.json.encode(entry).decode(), record)


def fill(store: SqliteStore, batches: int, first: int = 1) -> None:
    """*batches* batches of four changes each, of forty components."""
    for number in range(batches):
        revisions = range(first + 4 * number, first + 4 * number + 4)
        store.commit([mutation(revision, revision % 40) for revision in revisions])


@contextmanager
def opened(directory: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(directory)
    store.open()
    try:
        yield store
    finally:
        store.close()


def contents(directory: Path) -> tuple[list[str], int, list[list[HistoryEntry]]]:
    """All that can be read: records, highest revision, histories."""
    store = SqliteStore(directory)
    try:
        loaded = store.open()
        return loaded.records, loaded.revision, [store.history(f"component-{n}", 1000, None) for n in range(40)]
    finally:
        store.close()


def image(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name in ("tekton.db", "tekton.db-wal")}


def crashed_copy(store_directory: Path, to: Path) -> Path:
    """The files as a killed process leaves them: with the log, without the shared memory."""
    to.mkdir()
    for name in ("tekton.db", "tekton.db-wal", "witness"):
        shutil.copy(store_directory / name, to / name)
    return to


def shell(path: Path, sql: str) -> str:
    assert SHELL is not None
    return subprocess.run([SHELL, "-readonly", path, sql], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A directory in which a process was killed after thirty batches, all of them still in the log."""
    with opened(tmp_path / "live") as store:
        fill(store, 30)
        return crashed_copy(tmp_path / "live", tmp_path / "crashed")


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A directory that was closed properly after thirty batches."""
    with opened(tmp_path / "closed") as store:
        fill(store, 30)
    return tmp_path / "closed"


def test_a_missing_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "some" / "where"):
        pass

    assert (tmp_path / "some" / "where").stat().st_mode & 0o777 == 0o700


def test_closing_leaves_one_database_file_without_a_log(closed: Path) -> None:
    assert sorted(path.name for path in closed.iterdir()) == ["LOCK", "tekton.db", "witness"]


def test_a_killed_store_comes_back_whole(crashed: Path) -> None:
    records, revision, histories = contents(crashed)

    assert (len(records), revision) == (40, 120)
    assert sum(map(len, histories)) == 120


@pytest.mark.skipif(SHELL is None, reason="no sqlite3 shell")
def test_a_readonly_shell_reads_the_running_database(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 5)

        assert shell(tmp_path / "tekton.db", "SELECT count(*), max(revision) FROM changes") == "20|20"
        assert shell(tmp_path / "tekton.db", "PRAGMA integrity_check") == "ok"

        fill(store, 1, first=21)


@pytest.mark.skipif(SHELL is None, reason="no sqlite3 shell")
def test_a_readonly_shell_reads_the_closed_database(closed: Path) -> None:
    assert shell(closed / "tekton.db", "SELECT count(*) FROM components") == "40"
    assert shell(closed / "tekton.db", "SELECT revision, incarnation FROM meta") == "120|1"


def test_writers_wait_for_another_process_and_then_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    with opened(tmp_path) as store:
        fill(store, 1)
        other = database.connect(tmp_path / "tekton.db")
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StorageError, match="busy"):
            store.commit([mutation(9)])

        other.execute("ROLLBACK")
        other.close()
        store.commit([mutation(10)])
    assert contents(tmp_path)[1] == 10


def test_a_reader_does_not_hold_up_writers(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 1)
        other = database.connect(tmp_path / "tekton.db")
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM changes").get == 4

        fill(store, 1, first=5)

        assert other.execute("SELECT count(*) FROM changes").get == 4
        other.close()


def test_a_history_that_has_become_too_long_is_shortened_step_by_step(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit([mutation(revision) for revision in range(1, 1001)])
    lengths = []
    for revision in range(1001, 1006):
        store = SqliteStore(tmp_path, history_limit=100)
        store.open()
        store.commit([mutation(revision)])
        lengths.append(len(store.history("component-0", 10_000, None)))
        store.close()

    assert lengths == [744, 488, 232, 100, 100]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    text = b"These are the notes of somebody else.\n" * 100
    (tmp_path / "tekton.db").write_bytes(text)

    with pytest.raises(StorageCorruptError):
        SqliteStore(tmp_path).open()

    assert image(tmp_path) == {"tekton.db": text}


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    foreign = apsw.Connection(str(tmp_path / "tekton.db"))
    foreign.execute("CREATE TABLE notes (text)")
    foreign.close()
    before = image(tmp_path)

    with pytest.raises(StorageCorruptError, match="not a database of Tekton"):
        SqliteStore(tmp_path).open()

    assert image(tmp_path) == before


def test_a_newer_schema_is_refused_and_left_alone(closed: Path) -> None:
    connection = database.connect(closed / "tekton.db")
    connection.pragma("user_version", 99)
    connection.close()
    before = image(closed)

    with pytest.raises(SchemaVersionError) as caught:
        SqliteStore(closed).open()

    assert (caught.value.found, caught.value.supported) == (99, len(database.MIGRATIONS))
    assert image(closed) == before


def test_a_refused_directory_is_not_locked(closed: Path) -> None:
    whole = (closed / "tekton.db").read_bytes()
    (closed / "tekton.db").write_bytes(b"damaged" * 1000)
    store = SqliteStore(closed)
    with pytest.raises(StorageCorruptError):
        store.open()

    (closed / "tekton.db").write_bytes(whole)

    assert store.open().revision == 120
    store.close()


def test_a_deleted_log_is_noticed(crashed: Path) -> None:
    (crashed / "tekton.db-wal").unlink()
    before = (crashed / "tekton.db").read_bytes()

    with pytest.raises(StorageCorruptError, match=r"revision 0 .* witness says 120"):
        SqliteStore(crashed).open()

    assert (crashed / "tekton.db").read_bytes() == before


def test_a_truncated_log_is_noticed(crashed: Path) -> None:
    log = crashed / "tekton.db-wal"
    for kept in (0.99, 0.5, 0.0):
        os.truncate(log, int(log.stat().st_size * kept))
        with pytest.raises(StorageCorruptError, match="acknowledged changes are missing"):
            SqliteStore(crashed).open()


def test_the_log_of_another_database_is_noticed(crashed: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "other") as store:
        fill(store, 40, first=1000)
        shutil.copy(tmp_path / "other" / "tekton.db-wal", crashed / "tekton.db-wal")

    with pytest.raises(StorageCorruptError):
        SqliteStore(crashed).open()


def test_a_deleted_database_is_noticed(closed: Path) -> None:
    (closed / "tekton.db").unlink()

    with pytest.raises(StorageCorruptError, match="acknowledged changes are missing"):
        SqliteStore(closed).open()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_truncated_database_is_noticed(closed: Path, kept: float) -> None:
    size = (closed / "tekton.db").stat().st_size
    os.truncate(closed / "tekton.db", int(size * kept) // 4096 * 4096)

    with pytest.raises(StorageCorruptError):
        SqliteStore(closed).open()


def test_an_older_database_under_a_newer_witness_is_noticed(closed: Path) -> None:
    older = (closed / "tekton.db").read_bytes()
    with opened(closed) as store:
        fill(store, 1, first=121)
    (closed / "tekton.db").write_bytes(older)

    with pytest.raises(StorageCorruptError, match=r"revision 120 .* witness says 124"):
        SqliteStore(closed).open()


def test_without_a_witness_the_database_is_taken_once_with_a_warning(
    closed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (closed / "witness").unlink()

    with caplog.at_level(logging.WARNING, "tekton.store"):
        assert contents(closed)[1] == 120
        assert contents(closed)[1] == 120

    assert [record.getMessage() for record in caplog.records] == [
        f"{closed / 'tekton.db'} has no witness: taking it at revision 120"
    ]


def test_a_record_that_is_missing_is_noticed(closed: Path) -> None:
    # A disk that never wrote a page serves the one before: it may have the right checksum, and no rows.
    connection = database.connect(closed / "tekton.db")
    connection.execute("DELETE FROM components WHERE component_id = 'component-7'")
    connection.close()

    with pytest.raises(StorageCorruptError, match="the record of component-7 is missing"):
        SqliteStore(closed).open()


def test_a_page_of_zeros_is_noticed(tmp_path: Path) -> None:
    # Zeros have the right checksum; they are what a file system leaves of a page that was never written.
    with opened(tmp_path / "whole") as store:
        store.commit([mutation(number, number, size=9000) for number in range(1, 11)])
    content = (tmp_path / "whole" / "tekton.db").read_bytes()

    for start in range(0, len(content), 4096):
        damaged = shutil.copytree(tmp_path / "whole", tmp_path / f"damaged-{start}")
        (damaged / "tekton.db").write_bytes(content[:start] + bytes(4096) + content[start + 4096 :])
        with pytest.raises(StorageCorruptError):
            SqliteStore(damaged).open()


@pytest.mark.parametrize("name", ["tekton.db", "tekton.db-wal"])
def test_a_flipped_bit_is_never_served(crashed: Path, closed: Path, tmp_path: Path, name: str) -> None:
    source = closed if name == "tekton.db" else crashed
    whole = shutil.copytree(source, tmp_path / "whole")
    expected = contents(shutil.copytree(source, tmp_path / "read"))
    rng = random.Random(name)
    noticed = 0

    for number in range(FLIPS):
        damaged = shutil.copytree(whole, tmp_path / f"damaged-{number}")
        content = bytearray((damaged / name).read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (damaged / name).write_bytes(content)
        try:
            assert contents(damaged) == expected
        except StorageCorruptError:
            noticed += 1

    # The rest fell on bytes that nothing is read from (free pages, frames written again later).
    assert noticed > FLIPS * 0.8


def test_damage_that_comes_while_running_is_not_served(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 30)
    with opened(tmp_path) as store:
        content = bytearray((tmp_path / "tekton.db").read_bytes())
        for page in range(1, len(content) // 4096):
            content[page * 4096 + 2000] ^= 1
        (tmp_path / "tekton.db").write_bytes(content)
        evict(store)

        with pytest.raises(StorageCorruptError) as caught:
            [store.history(f"component-{n}", 1000, None) for n in range(40)]
        assert caught.value.path == str(tmp_path / "tekton.db")


def evict(store: SqliteStore) -> None:
    """Make SQLite forget the pages it has read."""
    connection = store._file._connection
    assert connection is not None
    connection.release_memory()


def test_checksums_missing_from_a_database_are_noticed(closed: Path, tmp_path: Path) -> None:
    plain = apsw.Connection(str(closed / "tekton.db"), vfs="unix")
    other = tmp_path / "other"
    other.mkdir()
    dump = apsw.Connection(str(other / "tekton.db"), vfs="unix")
    for (sql,) in plain.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"):
        dump.execute(str(sql))
    dump.pragma("application_id", database.APPLICATION_ID)
    dump.pragma("user_version", 1)
    dump.close()
    plain.close()

    with pytest.raises(StorageCorruptError, match="checksums"):
        SqliteStore(other).open()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_size_limit_refuses_the_batch_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 10)
        log = (tmp_path / "tekton.db-wal").stat().st_size
        with file_size_limit(log + 8192), pytest.raises(StorageFullError, match="no room"):
            store.commit([mutation(1000, 1), mutation(1001, 2, size=50_000)])

        assert len(store.history("component-1", 100, None)) == 1
        store.commit([mutation(2000, 3)])

    _, revision, histories = contents(tmp_path)
    assert revision == 2000
    assert sum(map(len, histories)) == 41


@pytest.fixture
def small_disk(tmp_path: Path, memory_disk: Any) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with memory_disk(tmp_path / "disk", "size=2m") as mount:
        yield mount


def test_a_full_disk_refuses_commits_until_there_is_room(small_disk: Path) -> None:
    acknowledged: list[int] = []
    with opened(small_disk) as store:
        fill_up(small_disk / "ballast", leave=256 * 1024)
        revision = 0
        for _ in range(100):
            revision += 1
            try:
                store.commit([mutation(revision, size=20_000)])
            except StorageFullError:
                break
            acknowledged.append(revision)
        assert 0 < len(acknowledged) < 99
        with pytest.raises(StorageFullError):
            store.commit([mutation(revision + 1, size=20_000)])
        assert [entry.revision for entry in store.history("component-0", 1000, None)] == acknowledged[::-1]

        (small_disk / "ballast").unlink()
        store.commit([mutation(revision + 2)])
        acknowledged.append(revision + 2)

    _, _, histories = contents(small_disk)
    assert [entry.revision for entry in histories[0]] == acknowledged[::-1]


def test_a_full_disk_leaves_neither_an_entry_of_the_audit_log_nor_what_it_tells_of(small_disk: Path) -> None:
    committed = 0
    with opened(small_disk) as store:
        fill_up(small_disk / "ballast", leave=256 * 1024)
        for number in range(1, 2000):
            said = draft(1.0, Attribution("ann"), "put", str(number), detail="x" * 900)
            papers = Papers([said] * 5, [DocumentChange("key", str(number), bytes(1000))])
            try:
                store.commit([mutation(number, number, size=1000)], papers)
            except StorageFullError:
                break
            committed = number
        head = store.audit_head
        assert 0 < committed < 1999
        assert head.seq == 5 * committed

        (small_disk / "ballast").unlink()
        store.commit([], Papers([draft(1.0, Attribution("ann"), "after", "")]))
        assert store.audit_head.seq == head.seq + 1

    store = SqliteStore(small_disk)
    loaded = store.open()
    assert len(loaded.records) == len(loaded.documents["key"]) == committed
    page = store.read_audit(AuditQuery(), 10_000, None)
    assert [entry.seq for entry in page.entries] == list(range(head.seq + 1, 0, -1))
    assert page.entries[0].previous_hash == head.hash.hex()
    store.close()


def fill_up(path: Path, leave: int) -> None:
    free = os.statvfs(path.parent)
    path.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))


class FailingDisk(apsw.VFS):
    """Passes everything on to the checksummed files, until it is told which operation fails how."""

    def __init__(self) -> None:
        database.load_checksums()
        super().__init__("failing", database.CHECKSUM_VFS)
        self.sync_fails = False
        self.write_fails = False
        self.syncs_after_failure = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(database.CHECKSUM_VFS, name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.sync_fails:
            self._disk.syncs_after_failure += 1
            raise failure(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.write_fails:
            raise failure(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)


def failure(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.fixture
def failing_disk() -> Iterator[FailingDisk]:
    disk = FailingDisk()
    yield disk
    disk.unregister()


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_an_io_error_stops_the_store_for_good(tmp_path: Path, failing_disk: FailingDisk, operation: str) -> None:
    store = SqliteStore(tmp_path, vfs="failing", exclusive=True)
    store.open()
    fill(store, 3)

    setattr(failing_disk, f"{operation}_fails", True)
    with pytest.raises(StorageUnknownError, match="stopped"):
        store.commit([mutation(100)])
    setattr(failing_disk, f"{operation}_fails", False)

    for attempt in range(101, 104):
        with pytest.raises(StorageUnknownError):
            store.commit([mutation(attempt)])
    assert failing_disk.syncs_after_failure <= 1
    store.close()
    assert contents(tmp_path)[1] in (12, 100)


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_an_io_error_while_the_log_is_moved_stops_the_store(
    tmp_path: Path, failing_disk: FailingDisk, operation: str
) -> None:
    store = SqliteStore(tmp_path, vfs="failing", exclusive=True)
    store.open()
    fill(store, 3)

    setattr(failing_disk, f"{operation}_fails", True)
    with pytest.raises(StorageUnknownError, match="moving the log into the database failed"):
        store.tidy()
    setattr(failing_disk, f"{operation}_fails", False)

    store.close()
    assert failing_disk.syncs_after_failure <= 1
    assert contents(tmp_path)[1] == 12


def test_a_sync_that_fails_for_want_of_room_has_an_unknown_outcome() -> None:
    assert not database.is_full(failure(apsw.SQLITE_IOERR_FSYNC), errno.ENOSPC)
    assert database.is_full(failure(apsw.SQLITE_IOERR_WRITE), errno.ENOSPC)
    assert not database.is_full(failure(apsw.SQLITE_IOERR_WRITE), errno.EIO)


def test_a_stopped_store_can_be_opened_again(tmp_path: Path, failing_disk: FailingDisk) -> None:
    store = SqliteStore(tmp_path, vfs="failing", exclusive=True)
    store.open()
    failing_disk.sync_fails = True
    with pytest.raises(StorageUnknownError):
        fill(store, 1)
    failing_disk.sync_fails = False
    store.close()

    assert store.open().incarnation == 2
    fill(store, 1, first=50)
    store.close()


def test_a_database_deleted_under_the_store_stops_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 1)
        (tmp_path / "tekton.db").unlink()

        with pytest.raises(StorageUnknownError, match="moved or deleted"):
            fill(store, 1, first=5)
        with pytest.raises(StorageUnknownError):
            fill(store, 1, first=9)


def test_a_directory_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="file"):
        SqliteStore(tmp_path / "file" / "data").open()
