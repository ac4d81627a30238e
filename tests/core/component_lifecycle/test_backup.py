"""Backups: one moment, complete, checked, and never in the place of something else."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
import pytest

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.backup import BackupWriter, back_up_offline
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import (
    BackupError,
    BackupExistsError,
    SchemaVersionError,
    StorageCorruptError,
    StorageLockedError,
)

NOW = 1_700_000_000.0
NAME = "tekton-20231114T221320Z.db"


def batch(revision: int, size: int = 4) -> list[Mutation]:
    """Changes of *size* components that belong together: every record of the batch names the same revision."""
    return [mutation(revision + number, f"component-{number}", revision) for number in range(size)]


def mutation(revision: int, name: str, mark: int) -> Mutation:
    entry = HistoryEntry(
        revision=revision, at=NOW, kind="state", component_id=name, instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = msgspec.json.encode({"mark": mark, "text": "x" * 2000}).decode()
    return Mutation(revision, NOW, "state", name, "one", msgspec.json.encode(entry).decode(), record)


@contextmanager
def opened(directory: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(directory)
    store.open()
    try:
        yield store
    finally:
        store.close()


def marks(backup: Path) -> set[int]:
    """The marks in the records of a backup."""
    with database.reading(backup) as connection:
        return {
            msgspec.json.decode(record)["mark"] for (record,) in connection.execute("SELECT record FROM components")
        }


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_backup_is_one_file_for_its_owner_and_sound(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit(batch(1))

        backup = BackupWriter(tmp_path, None, NOW).run()

    path = tmp_path / "backups" / NAME
    assert (backup.path, backup.revision, backup.size_bytes) == (str(path), 4, path.stat().st_size)
    assert files(path.parent) == {NAME}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with database.reading(path) as connection:
        database.check(connection, path)
    assert marks(path) == {1}


def test_two_backups_of_one_second_have_two_names(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit(batch(1))

        first, second = (BackupWriter(tmp_path, None, NOW).run().path for _ in range(2))

    assert first != second
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "notes"
    taken.write_text("mine")
    with opened(tmp_path / "data") as store:
        store.commit(batch(1))

        with pytest.raises(BackupExistsError):
            BackupWriter(tmp_path / "data", taken, NOW).run()

    assert taken.read_text() == "mine"
    assert files(tmp_path) == {"notes", "data"}


def test_a_name_that_is_taken_while_the_backup_is_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "copy"

    def check_slowly(connection: apsw.Connection, path: Path) -> None:
        taken.write_text("mine")

    data = tmp_path / "data"
    with opened(data) as store:
        store.commit(batch(1))
        monkeypatch.setattr(database, "check", check_slowly)

        with pytest.raises(BackupExistsError):
            BackupWriter(data, taken, NOW).run()

    assert taken.read_text() == "mine"
    assert files(tmp_path) == {"copy", "data"}


def test_a_backup_under_load_has_all_that_was_acknowledged_before_and_nothing_by_halves(tmp_path: Path) -> None:
    acknowledged = 0
    stop = threading.Event()
    begun = threading.Event()

    def write(store: SqliteStore) -> None:
        nonlocal acknowledged
        while not stop.is_set():
            store.commit(batch(acknowledged + 1, size=20))
            acknowledged += 20
            begun.set()

    with opened(tmp_path) as store:
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        begun.wait(10)
        found = []
        try:
            while len(found) < 10 or found[-1][2] == found[0][0]:  # until commits have gone on
                before = acknowledged
                found.append((before, BackupWriter(tmp_path, None, NOW).run(), acknowledged))
        finally:
            stop.set()
            writer.join()

    for before, backup, after in found:
        assert before <= backup.revision <= after + 20
        assert marks(Path(backup.path)) == {backup.revision - 19}


def test_an_interrupted_backup_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit(batch(1))
        writer = BackupWriter(tmp_path, None, NOW)
        writer.interrupt()

        with pytest.raises(BackupError, match="interrupted"):
            writer.run()

    assert files(tmp_path / "backups") == set()


def test_what_a_killed_backup_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "tekton-1.db.unfinished.new").write_text("half")
    with opened(tmp_path) as store:
        store.commit(batch(1))

        BackupWriter(tmp_path, None, NOW).run()

    assert files(tmp_path / "backups") == {NAME}


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit(batch(1, size=40))
    content = bytearray((tmp_path / "tekton.db").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "tekton.db").write_bytes(content)

    with pytest.raises(StorageCorruptError):
        back_up_offline(tmp_path, None, NOW)

    assert files(tmp_path / "backups") == set()


def test_an_offline_backup_has_what_a_killed_process_left_in_the_log(tmp_path: Path) -> None:
    with opened(tmp_path / "live") as store:
        store.commit(batch(1))
        (tmp_path / "crashed").mkdir()
        for name in ("tekton.db", "tekton.db-wal", "witness"):
            (tmp_path / "crashed" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    log = (tmp_path / "crashed" / "tekton.db-wal").read_bytes()

    backup = back_up_offline(tmp_path / "crashed", tmp_path / "copy.db", NOW)

    assert backup.revision == 4
    assert marks(tmp_path / "copy.db") == {1}
    assert (tmp_path / "crashed" / "tekton.db-wal").read_bytes() == log


def test_an_offline_backup_of_a_database_that_lacks_changes_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit(batch(1))
        before = (tmp_path / "tekton.db").read_bytes()
        store.commit(batch(5))
    (tmp_path / "tekton.db").write_bytes(before)

    with pytest.raises(StorageCorruptError, match="acknowledged changes are missing"):
        back_up_offline(tmp_path, None, NOW)


def test_an_offline_backup_needs_the_directory_for_itself(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(StorageLockedError) as caught:
        back_up_offline(tmp_path, None, NOW)

    assert caught.value.owner_pid == os.getpid()


@pytest.mark.parametrize("exists", [False, True])
def test_where_there_is_no_database_there_is_no_backup(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "data"
    if exists:
        directory.mkdir()

    with pytest.raises(BackupError, match="no database"):
        back_up_offline(directory, None, NOW)

    assert not (directory / "tekton.db").exists()
    if exists:
        lock = DirectoryLock(directory)
        lock.acquire()
        lock.release()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(BackupError, match=r"there is no directory .*/nowhere$"):
        BackupWriter(tmp_path, tmp_path / "nowhere" / "copy.db", NOW).run()


def test_the_database_of_a_newer_tekton_is_not_backed_up(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with database.reading(tmp_path / "tekton.db") as connection:
        connection.pragma("user_version", len(database.MIGRATIONS) + 1)

    with pytest.raises(SchemaVersionError):
        back_up_offline(tmp_path, None, NOW)


def test_a_copy_of_a_database_larger_than_the_cache_has_all_its_checksums(tmp_path: Path) -> None:
    """SQLite's own VACUUM INTO wrote pages without any when its cache was full, and nobody could read the copy."""
    with opened(tmp_path) as store:
        for number in range(12):
            names = [f"component-{number}-{each}" for each in range(500)]
            store.commit([mutation(500 * number + at, name, 1) for at, name in enumerate(names, 1)])
        backup = BackupWriter(tmp_path, None, NOW).run()

    assert backup.size_bytes > 24 * 1024 * 1024
    with database.reading(Path(backup.path)) as connection:
        database.check(connection, Path(backup.path))


def test_a_backup_leaves_out_the_room_that_is_not_used(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.commit([mutation(revision, f"component-{revision}", 1) for revision in range(1, 501)])
        gone = [mutation(revision, f"component-{revision - 500}", 1) for revision in range(501, 1001)]
        store.commit([msgspec.structs.replace(each, kind="deregistered", record=None) for each in gone])

        backup = BackupWriter(tmp_path, None, NOW).run()
        store.tidy()

    assert backup.size_bytes < 400_000 < (tmp_path / "tekton.db").stat().st_size
