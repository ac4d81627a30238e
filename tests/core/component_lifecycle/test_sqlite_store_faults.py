"""What a fault of the disk does to the store: which ones stop it, which ones refuse one batch, and what is said."""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from tekton import failpoints
from tekton.core.component_lifecycle import database, log_keeper
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import (
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

Fail = Callable[[str, int], None]

HINT = "make the data directory writable; nothing has to be restarted"


def mutation(revision: int) -> Mutation:
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="state", component_id="rhetor", instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = msgspec.json.encode({"revision": revision}).decode()
    return Mutation(revision, 1.0, "state", "rhetor", "one", msgspec.json.encode(entry).decode(), record)


@pytest.fixture
def fail() -> Iterator[Fail]:
    """Makes a failpoint raise a system error, until another one is named."""

    def arm(point: str, number: int) -> None:
        failpoints.arm({point: failpoints.Action("error", number)})

    yield arm
    failpoints.arm({})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An open store with one change."""
    store = SqliteStore(tmp_path / "data")
    store.open()
    store.commit([mutation(1)])
    yield store
    store.close()


@pytest.fixture
def data(store: SqliteStore, tmp_path: Path) -> Path:
    return tmp_path / "data"


def revisions(store: SqliteStore) -> list[int]:
    return [entry.revision for entry in store.history("rhetor", 100, None)]


def reopened(directory: Path) -> list[int]:
    store = SqliteStore(directory)
    store.open()
    try:
        return revisions(store)
    finally:
        store.close()


# What stops the store.


@pytest.mark.parametrize(
    ("point", "why"),
    [("store.before_begin", "commit failed: "), ("store.before_witness", "the witness could not be written: ")],
)
def test_a_store_that_an_io_error_has_stopped_says_which_and_why(
    store: SqliteStore, data: Path, fail: Fail, point: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    fail(point, errno.EIO)

    with pytest.raises(StorageUnknownError) as stopped:
        store.commit([mutation(2)])

    said = str(stopped.value)
    assert said.startswith(f"{data / 'tekton.db'}: {why}")
    assert os.strerror(errno.EIO) in said
    assert said.endswith("; the store has stopped")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL] == [said]
    failpoints.arm({})
    for refused in (lambda: store.commit([mutation(3)]), lambda: store.history("rhetor", 1, None), store.tidy):
        with pytest.raises(StorageUnknownError) as again:
            refused()
        assert str(again.value) == said


def test_a_stopped_store_leaves_its_log_for_the_next_start(store: SqliteStore, data: Path, fail: Fail) -> None:
    fail("store.after_commit", errno.EIO)
    with pytest.raises(StorageUnknownError):
        store.commit([mutation(2)])
    failpoints.arm({})
    database_before = (data / "tekton.db").read_bytes()

    store.close()

    assert (data / "tekton.db-wal").stat().st_size > 0
    assert (data / "tekton.db").read_bytes() == database_before
    assert reopened(data) == [2, 1]


def test_a_log_that_cannot_be_moved_stops_the_store(store: SqliteStore, data: Path, fail: Fail) -> None:
    fail("checkpoint.before", errno.EIO)

    with pytest.raises(StorageUnknownError, match="moving the log into the database failed: "):
        store.tidy()

    failpoints.arm({})
    store.close()
    assert reopened(data) == [1]


def test_a_database_that_is_deleted_while_nothing_is_written_stops_the_store(store: SqliteStore, data: Path) -> None:
    (data / "tekton.db").unlink()

    with pytest.raises(StorageUnknownError, match=r"tekton\.db: the database file was moved or deleted; "):
        store.tidy()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_log_that_is_deleted_or_replaced_stops_the_store_and_what_was_in_it_is_saved(
    store: SqliteStore, data: Path, replaced: bool
) -> None:
    store.tidy()
    store.commit([mutation(2)])
    log = data / "tekton.db-wal"
    log.rename(data / "taken-away")
    if replaced:
        log.write_bytes(b"")

    with pytest.raises(StorageUnknownError, match=r"tekton\.db: its log was moved or deleted; "):
        store.tidy()

    store.close()
    log.unlink(missing_ok=True)
    (data / "tekton.db-shm").unlink(missing_ok=True)
    assert reopened(data) == [2, 1]


def test_a_log_that_was_deleted_and_cannot_be_saved_stops_the_store_for_the_first_reason(
    store: SqliteStore, data: Path, fail: Fail
) -> None:
    store.tidy()
    (data / "tekton.db-wal").unlink()
    fail("checkpoint.before", errno.EIO)

    with pytest.raises(StorageUnknownError, match="its log was moved or deleted"):
        store.tidy()


# What refuses one batch, or nothing.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_without_room_a_batch_is_refused_by_name_and_the_next_is_taken(
    store: SqliteStore, data: Path, fail: Fail, number: int
) -> None:
    fail("store.before_begin", number)

    with pytest.raises(StorageFullError) as refusal:
        store.commit([mutation(2)])

    said = f"{data / 'tekton.db'}: no room to write ({os.strerror(number)}); nothing was changed"
    assert str(refusal.value) == said
    assert refusal.value.hint != HINT
    failpoints.arm({})
    store.commit([mutation(3)])
    assert revisions(store) == [3, 1]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_who_may_not_write_is_told_what_to_do(store: SqliteStore, fail: Fail, number: int) -> None:
    fail("store.before_begin", number)

    with pytest.raises(StorageFullError, match=os.strerror(number)) as refusal:
        store.commit([mutation(2)])

    assert refusal.value.hint == HINT


def test_a_witness_without_room_may_lag_behind(
    store: SqliteStore, data: Path, fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    fail("store.before_witness", errno.ENOSPC)

    with caplog.at_level(logging.WARNING, "tekton.store"):
        store.commit([mutation(2)])

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the witness of revision 2 could not be written"
    ]
    assert store.unwitnessed == 1
    store.close()
    assert reopened(data) == [2, 1]


def test_a_log_that_cannot_be_moved_for_want_of_room_stays_where_it_is(
    store: SqliteStore, data: Path, fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    fail("checkpoint.before", errno.ENOSPC)

    with caplog.at_level(logging.WARNING, "tekton.store"):
        store.tidy()

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith(f"{data / 'tekton.db'}: the log could not be moved into the database: ")
    store.commit([mutation(2)])
    assert revisions(store) == [2, 1]


def test_a_log_that_somebody_else_is_moving_is_left_to_him(
    store: SqliteStore, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader, mover = database.connect(data / "tekton.db"), database.connect(data / "tekton.db")
    reader.execute("BEGIN")
    for one in (reader, mover):
        assert one.execute("SELECT count(*) FROM changes").get == 1
    met: list[int] = []

    def tidy_meanwhile(calls: int) -> bool:
        met.append(calls)
        store.tidy()
        return False

    mover.set_busy_handler(tidy_meanwhile)
    with caplog.at_level(logging.WARNING, "tekton.store"), pytest.raises(apsw.BusyError):
        # It has to wait for the reader, with the log in its hands.
        mover.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_RESTART)
    reader.close()
    mover.close()

    assert met == [0]
    assert ["the log could not be moved" in record.getMessage() for record in caplog.records] == [True]
    store.commit([mutation(2)])
    assert revisions(store) == [2, 1]


def test_a_batch_before_which_the_log_is_too_long_moves_it(
    store: SqliteStore, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "BUSY_PAGES", 1)
    fail("checkpoint.before", errno.EIO)

    with pytest.raises(StorageUnknownError, match="moving the log"):
        store.commit([mutation(2)])


# What SQLite says, in our words.


def error_of(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (apsw.SQLITE_CORRUPT, StorageCorruptError),
        (apsw.SQLITE_NOTADB, StorageCorruptError),
        (apsw.SQLITE_ERROR, StorageCorruptError),
        (apsw.SQLITE_IOERR_DATA, StorageCorruptError),
        (apsw.SQLITE_IOERR_SHORT_READ, StorageCorruptError),
        (apsw.SQLITE_IOERR_READ, StorageError),
        (apsw.SQLITE_CANTOPEN, StorageError),
        (apsw.SQLITE_BUSY, StorageError),
        (apsw.SQLITE_FULL, StorageFullError),
    ],
)
def test_an_error_of_sqlite_becomes_one_of_ours(code: int, kind: type[StorageError]) -> None:
    error = error_of(code)
    error.args = ("what it says",)

    with pytest.raises(StorageError) as caught, database.opening(Path("some.db")):
        raise error

    assert type(caught.value) is kind
    assert str(caught.value).startswith("some.db: ")
    assert "what it says" in str(caught.value)


def test_only_what_is_damaged_is_called_so() -> None:
    for code, damaged in ((apsw.SQLITE_IOERR_DATA, True), (apsw.SQLITE_IOERR_READ, False)):
        with pytest.raises(StorageError) as caught, database.opening(Path("some.db")):
            raise error_of(code)
        assert ("a page is damaged" in str(caught.value)) is damaged


def test_an_error_of_the_system_names_its_file_or_else_the_database() -> None:
    for error, kind, said in (
        (OSError(errno.EIO, "broken", "/a/witness"), StorageError, "/a/witness: broken"),
        (OSError(errno.EIO, "broken"), StorageError, "some.db: broken"),
        (OSError(errno.ENOSPC, "full", "/a/witness"), StorageFullError, "/a/witness: full"),
        (OSError(errno.EACCES, "denied"), StorageError, "some.db: denied"),
    ):
        with pytest.raises(StorageError) as caught, database.opening(Path("some.db")):
            raise error
        assert (type(caught.value), str(caught.value)) == (kind, said)


@pytest.mark.parametrize(
    ("code", "number", "full"),
    [
        (apsw.SQLITE_FULL, 0, True),
        (apsw.SQLITE_READONLY, 0, True),
        (apsw.SQLITE_IOERR_WRITE, errno.EROFS, True),
        (apsw.SQLITE_IOERR_WRITE, errno.EIO, False),
        (apsw.SQLITE_IOERR_DIR_FSYNC, errno.ENOSPC, False),
        (apsw.SQLITE_BUSY, errno.ENOSPC, False),
    ],
)
def test_room_is_missing_only_if_nothing_can_have_been_written(code: int, number: int, full: bool) -> None:
    assert database.is_full(error_of(code), number) is full


# What is not as it should be, by name.


@pytest.mark.parametrize("damage", [b"", b"not a database, " * 1000, bytes(4096)])
def test_damage_of_the_database_names_the_file(store: SqliteStore, data: Path, damage: bytes) -> None:
    store.close()
    (data / "tekton.db").write_bytes(damage)

    with pytest.raises(StorageCorruptError) as caught:
        SqliteStore(data).open()

    assert caught.value.path == str(data / "tekton.db")


def test_damage_inside_of_the_database_names_the_file(store: SqliteStore, data: Path) -> None:
    store.close()
    with database.reading(data / "tekton.db") as connection:
        connection.execute("DELETE FROM components")

    with pytest.raises(StorageCorruptError, match="the record of rhetor is missing") as caught:
        SqliteStore(data).open()

    assert caught.value.path == str(data / "tekton.db")


def test_damage_of_the_witness_names_the_file(store: SqliteStore, data: Path) -> None:
    store.close()
    (data / "witness").write_bytes(bytes(1024))

    with pytest.raises(StorageCorruptError, match="remove it to accept the database") as caught:
        SqliteStore(data).open()

    assert caught.value.path == str(data / "witness")


def test_where_a_database_is_missing_none_is_made(store: SqliteStore, data: Path) -> None:
    store.close()
    (data / "tekton.db").unlink()

    for _ in range(2):
        with pytest.raises(StorageCorruptError, match="acknowledged changes are missing"):
            SqliteStore(data).open()

    assert (data / "tekton.db").stat().st_size == 0


def test_a_store_brings_its_database_to_its_own_schema(store: SqliteStore, data: Path) -> None:
    store.close()
    later = SqliteStore(data, migrations=[*database.MIGRATIONS, "ALTER TABLE meta ADD COLUMN note TEXT"])

    assert later.open().revision == 1
    later.close()

    with pytest.raises(SchemaVersionError) as refusal:
        SqliteStore(data).open()
    assert (refusal.value.found, refusal.value.supported) == (len(database.MIGRATIONS) + 1, len(database.MIGRATIONS))
    with database.reading(data / f"tekton.db.v{len(database.MIGRATIONS)}") as before:
        assert database.mark_of(before).revision == 1
