"""Restoring: a sound backup or nothing, the old state or the new one, and nothing that ever was comes again."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.backup import BackupWriter, back_up_offline
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.restore import INCARNATION_GAP, REVISION_GAP, Present, Restoration, Restored
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Loaded, Mutation, Papers
from tekton.core.component_lifecycle.witness import Witness
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import BackupError, SchemaVersionError, StorageCorruptError, StorageLockedError

NOW = 1_700_000_000.0
STAMP = "20231114T221320Z"
RESTORER = Path(__file__).with_name("restorer.py")


def mutation(revision: int, name: str) -> Mutation:
    entry = HistoryEntry(
        revision=revision, at=NOW, kind="state", component_id=name, instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    return Mutation(revision, NOW, "state", name, "one", msgspec.json.encode(entry).decode(), f'{{"name":"{name}"}}')


@contextmanager
def opened(directory: Path) -> Iterator[tuple[SqliteStore, Loaded]]:
    store = SqliteStore(directory)
    loaded = store.open()
    try:
        yield store, loaded
    finally:
        store.close()


def load(directory: Path) -> Loaded:
    with opened(directory) as (_, loaded):
        return loaded


def records(*names: str) -> list[str]:
    return [f'{{"name":"{name}"}}' for name in names]


def restore(directory: Path, backup: Path) -> Restored:
    with Restoration(directory, backup, NOW) as restoration:
        return restoration.carry_out()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory as a killed process leaves it: `kept` was registered before the backup, `lost` after it."""
    live = tmp_path / "live"
    directory = tmp_path / "data"
    directory.mkdir()
    with opened(live) as (store, _):
        store.commit([mutation(1, "kept")])
        BackupWriter(live, tmp_path / "backup.db", NOW).run()
        store.commit([mutation(2, "lost")])
        for name in ("tekton.db", "tekton.db-wal", "witness"):
            shutil.copy(live / name, directory / name)
    return directory


@pytest.fixture
def backup(data: Path) -> Path:
    return data.parent / "backup.db"


def image(directory: Path) -> dict[str, bytes]:
    """The contents of the files that matter."""
    ours = ("tekton.db", "tekton.db-wal", "witness")
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name in ours}


def test_a_restore_brings_back_the_backup_and_keeps_what_was_there(data: Path, backup: Path) -> None:
    restored = restore(data, backup)

    assert restored.kept == data / f"tekton.db.before-restore-{STAMP}"
    assert load(data).records == records("kept")
    assert {path.name for path in data.iterdir()} == {"tekton.db", "witness", "LOCK", restored.kept.name}
    with database.reading(restored.kept) as old:
        database.check(old, restored.kept)
        assert database.mark_of(old).revision == 2


def test_what_will_be_lost_is_known_before_it_is(data: Path, backup: Path) -> None:
    before = image(data)

    with Restoration(data, backup, NOW) as restoration:
        assert restoration.present == Present(revision=2, lost=1, problem=None)
        assert (restoration.backup_revision, restoration.last_change) == (1, NOW)

    assert image(data) == before
    assert load(data).records == records("kept", "lost")


def test_no_revision_incarnation_or_identity_comes_again(data: Path, backup: Path) -> None:
    old = load(data)
    witness = Witness(data / "witness").newest()
    assert witness is not None

    restored = restore(data, backup)

    new = load(data)
    mark = Witness(data / "witness").newest()
    assert mark is not None
    assert restored.revision == new.revision == old.revision + REVISION_GAP
    assert new.incarnation == old.incarnation + INCARNATION_GAP + 1
    assert mark.identity != witness.identity


def revoked(about: str, issued_up_to: int | None) -> DocumentChange:
    return DocumentChange("revocation", about, msgspec.json.encode({"issued_up_to": issued_up_to}))


def key(name: str, expires_at: float | None = None) -> DocumentChange:
    return DocumentChange("api_key", name, msgspec.json.encode({"expires_at": expires_at}))


def documents(directory: Path) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(body)
        for of_kind in load(directory).documents.values()
        for name, body in of_kind.items()
    }


def test_what_was_taken_back_since_the_backup_stays_so(tmp_path: Path) -> None:
    directory, backup = tmp_path / "data", tmp_path / "backup.db"
    with opened(directory) as (store, _):
        store.commit([], Papers([], [key("kept"), key("ended"), key("removed"), revoked("subject:back", None)]))
        BackupWriter(directory, backup, NOW).run()
        changes = [key("ended", NOW), DocumentChange("api_key", "removed", None), key("lost with the rest")]
        revocations = [revoked("token:leaked", None), revoked("subject:back", 7)]
        store.commit([], Papers([], [*changes, *revocations]))

    restore(directory, backup)

    assert documents(directory) == {
        "kept": {"expires_at": None},
        "ended": {"expires_at": NOW},
        "token:leaked": {"issued_up_to": None},
        "subject:back": {"issued_up_to": 7},
    }
    restore(tmp_path / "elsewhere", backup)
    assert set(documents(tmp_path / "elsewhere")) == {"kept", "ended", "removed", "subject:back"}


def test_between_databases_that_do_not_follow_one_another_what_takes_more_back_counts(tmp_path: Path) -> None:
    """As after a disk was lost: Tekton has begun anew, and then the backup is found."""
    backup = tmp_path / "backup.db"
    with opened(tmp_path / "lost") as (store, _):
        there = [key("one"), key("two", 5), revoked("subject:a", None), revoked("subject:b", 3)]
        store.commit([], Papers([], there))
        BackupWriter(tmp_path / "lost", backup, NOW).run()
    with opened(tmp_path / "new") as (store, _):
        there = [key("two", 9), revoked("subject:a", 8), revoked("subject:b", None), revoked("subject:c", 1)]
        store.commit([], Papers([], there))

    restore(tmp_path / "new", backup)

    assert documents(tmp_path / "new") == {
        "one": {"expires_at": None},
        "two": {"expires_at": 5},
        "subject:a": {"issued_up_to": None},
        "subject:b": {"issued_up_to": None},
        "subject:c": {"issued_up_to": 1},
    }


def test_a_second_restore_of_the_same_backup_is_above_the_first(data: Path, backup: Path) -> None:
    first = restore(data, backup)
    incarnation = load(data).incarnation

    second = restore(data, backup)

    assert second.revision > first.revision
    assert load(data).incarnation > incarnation
    assert second.kept != first.kept


def test_a_restored_database_goes_on_like_any_other(data: Path, backup: Path) -> None:
    revision = restore(data, backup).revision
    with opened(data) as (store, _):
        store.commit([mutation(revision + 1, "new")])

        history = store.history("kept", 10, None)

    assert [entry.revision for entry in history] == [1]
    assert load(data).records == records("kept", "new")


def test_what_a_restore_kept_can_be_restored(data: Path, backup: Path) -> None:
    kept = restore(data, backup).kept
    assert kept is not None

    restore(data, kept)

    assert load(data).records == records("kept", "lost")


def test_a_backup_is_restored_on_a_machine_that_has_nothing(backup: Path, tmp_path: Path) -> None:
    with Restoration(tmp_path / "new" / "data", backup, NOW) as restoration:
        assert restoration.present == Present()
        restored = restoration.carry_out()

    assert restored.kept is None
    loaded = load(tmp_path / "new" / "data")
    assert (loaded.records, loaded.revision) == (records("kept"), 1 + REVISION_GAP)


def test_a_damaged_database_is_replaced_and_kept_as_it_is_with_its_log(data: Path, backup: Path) -> None:
    (data / "tekton.db").write_bytes(b"rubbish" * 1000)
    before = image(data)
    with pytest.raises(StorageCorruptError):
        SqliteStore(data).open()

    with Restoration(data, backup, NOW) as restoration:
        assert restoration.present.problem is not None
        assert (restoration.present.revision, restoration.present.lost) == (2, None)
        restored = restoration.carry_out()

    assert load(data).records == records("kept")
    assert restored.revision == 2 + REVISION_GAP
    assert restored.kept is not None
    assert restored.kept.read_bytes() == before["tekton.db"]
    log = restored.kept.with_name(restored.kept.name + "-wal")
    assert log.read_bytes() == before["tekton.db-wal"]
    assert restored.kept_files == (restored.kept, log)


def test_a_witness_that_nobody_can_read_is_replaced(data: Path, backup: Path) -> None:
    (data / "witness").write_bytes(b"?" * 1024)

    restore(data, backup)

    assert load(data).records == records("kept")


def cut(path: Path, part: float, less: int = 0) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part) - less)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 7] ^= 4
    path.write_bytes(content)


def unmark(path: Path) -> None:
    with database.reading(path) as connection:
        connection.pragma("application_id", 7)


def unbalance(path: Path) -> None:
    with database.reading(path) as connection:
        connection.execute("UPDATE meta SET kept = 9")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: cut(path, 0), id="empty"),
        pytest.param(lambda path: cut(path, 0.5), id="half"),
        pytest.param(lambda path: cut(path, 1, less=4096), id="a page less"),
        pytest.param(lambda path: path.write_text("my notes\n" * 999), id="no database"),
        pytest.param(flip, id="one bit"),
        pytest.param(unmark, id="of another program"),
        pytest.param(unbalance, id="incomplete"),
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.with_name("backup.db-wal").write_text("log"), id="in use"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_changes_nothing(
    spoil: Callable[[Path], object], data: Path, backup: Path
) -> None:
    spoil(backup)
    before = image(data)

    with pytest.raises(BackupError) as caught:
        restore(data, backup)

    assert caught.value.path == str(backup)
    assert image(data) == before
    assert {path.name for path in data.iterdir()} <= {*before, "LOCK", "tekton.db-shm"}


def test_the_backup_of_a_newer_tekton_is_refused(data: Path, backup: Path) -> None:
    newest = len(database.MIGRATIONS)
    with database.reading(backup) as connection:
        connection.pragma("user_version", newest + 1)
    before = image(data), backup.read_bytes()

    with pytest.raises(SchemaVersionError) as caught:
        restore(data, backup)

    assert (caught.value.path, caught.value.found, caught.value.supported) == (str(backup), newest + 1, newest)
    assert (image(data), backup.read_bytes()) == before


def test_the_backup_of_an_older_tekton_is_brought_to_the_newest_schema(
    data: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = backup.read_bytes()
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, "CREATE TABLE added (x)"))

    restore(data, backup)

    with database.reading(data / "tekton.db") as connection:
        assert connection.pragma("user_version") == len(database.MIGRATIONS)
        assert connection.table_exists("main", "added")
    assert backup.read_bytes() == before


def test_a_directory_in_use_is_not_touched(data: Path, backup: Path) -> None:
    with opened(data):
        before = image(data)

        with pytest.raises(StorageLockedError):
            restore(data, backup)

        assert image(data) == before


def test_the_directory_is_free_again_after_a_restore_that_was_refused(data: Path, backup: Path) -> None:
    backup.write_text("rubbish")
    with pytest.raises(BackupError):
        restore(data, backup)

    lock = DirectoryLock(data)
    lock.acquire()
    lock.release()


def test_a_restore_killed_at_any_step_leaves_the_old_state_or_the_new_one(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    outcomes = []
    for step in count(1):
        directory = tmp_path / f"step-{step}"
        shutil.copytree(data, directory)
        killed = subprocess.run([sys.executable, RESTORER, directory, backup, str(step)], check=False)
        assert killed.returncode in (0, -9)

        loaded = load(directory)

        if loaded.revision == 2:
            assert loaded.records == records("kept", "lost")
        else:
            assert (loaded.records, loaded.revision) == (records("kept"), 2 + REVISION_GAP)
        outcomes.append(loaded.revision)
        if killed.returncode == 0:
            break
    assert len(outcomes) > 8
    assert outcomes == sorted(outcomes)
    assert outcomes[0] == 2


def test_an_offline_backup_finishes_a_restore_that_was_killed(data: Path, backup: Path, tmp_path: Path) -> None:
    with Restoration(data, backup, NOW):
        decided = data / f"tekton.db.restore-{STAMP}"
        (data / "tekton.db.staged").rename(decided)

    written = back_up_offline(data, tmp_path / "second.db", NOW)

    assert written.revision == 2 + REVISION_GAP
    assert not decided.exists()


def test_a_note_of_the_restore_is_in_the_history(data: Path, backup: Path) -> None:
    revision = restore(data, backup).revision

    connection = apsw.Connection(str(data / "tekton.db"))
    (found,) = connection.execute("SELECT revision, at, change FROM changes WHERE kind = 'restored'").fetchall()
    connection.close()

    assert found[:2] == (revision, NOW)
    assert f"restored from {backup}, which ends at revision 1" in str(found[2])
