"""The durable store: one SQLite database in a data directory, with one owner.

    tekton.db   components (the records by instance), changes (the history), meta (the mark)
    witness     how far the database has come (see `witness`)
    LOCK        the owner (see `directory_lock`)

Rules of this file:

* A batch is one SQL statement, and so one call into SQLite: each return from C to Python may wait a whole switch
  interval for a busy event loop to let go of the interpreter. The batch travels as one JSON array; a temporary
  trigger, which is not in the file, takes it apart. SQLite's own transaction around the statement is the commit.
* The commit is acknowledged after the witness is written.
* What cannot be written for want of room or of permission is rolled back, and the store goes on. Any other failure
  of reading or writing: the store stops for good. A failed sync is never repeated, for the system may have forgotten
  what it did not write.
"""

import ctypes
import errno
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import apsw
import msgspec

from tekton.core.component_lifecycle import database, lock_holders
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.log_keeper import LogKeeper
from tekton.core.component_lifecycle.restore import finish_restore
from tekton.core.component_lifecycle.store import HistoryEntry, Loaded, Mutation, decode_history_entry
from tekton.core.component_lifecycle.witness import ORIGIN, Mark, Witness, sync_directory, verify
from tekton.failpoints import reach
from tekton.utils.tekton_errors import StorageError, StorageFullError, StorageUnknownError

_logger = logging.getLogger("tekton.store")

HISTORY_LIMIT = 200_000
_MAX_PRUNED = 256
"""How many changes a batch takes from a history that is too long, beside those that it adds: a limit that was lowered
must not hold up a commit."""

# The columns of a Mutation, by position. Everything below reads them with `value ->> n`.
# An upsert that comes late (its revision is below what was committed before) asks the history whether a later change
# of its instance has overtaken it; within a batch the comparisons of revisions do.
_WRITER = """
    CREATE TEMP VIEW batch (mutations, sequence, revision, incarnation, identity, chain, kept, surplus)
        AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE false;

    CREATE TEMP TRIGGER write_batch INSTEAD OF INSERT ON batch BEGIN
        INSERT INTO changes
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM jsonb_each(new.mutations);

        INSERT INTO components
            SELECT value ->> 3, value ->> 4, value ->> 6, value ->> 0
            FROM jsonb_each(new.mutations)
            WHERE value ->> 6 IS NOT NULL AND (
                value ->> 0 > (SELECT revision FROM meta)
                OR NOT EXISTS (
                    SELECT 1 FROM changes
                    WHERE component_id = value ->> 3 AND revision > value ->> 0 AND instance_uuid = value ->> 4
                )
            )
            ON CONFLICT DO UPDATE SET record = excluded.record, revision = excluded.revision
                WHERE excluded.revision > components.revision;

        DELETE FROM components
            WHERE (component_id, instance_uuid) IN (
                SELECT value ->> 3, value ->> 4 FROM jsonb_each(new.mutations) WHERE value ->> 6 IS NULL
            )
            AND revision < (
                SELECT revision FROM changes
                WHERE component_id = components.component_id AND instance_uuid = components.instance_uuid
                ORDER BY revision DESC LIMIT 1
            );

        DELETE FROM changes WHERE revision IN (SELECT revision FROM changes ORDER BY revision LIMIT new.surplus);

        UPDATE meta SET sequence = new.sequence, revision = new.revision, incarnation = new.incarnation,
            chain = new.chain, kept = new.kept;
    END;
"""
_WRITE = "INSERT INTO batch VALUES (jsonb(?), ?, ?, ?, ?, ?, ?, ?)"
_META = "SELECT sequence, revision, incarnation, identity, chain, kept FROM meta"
_RECORDS = "SELECT record FROM components ORDER BY component_id, instance_uuid"
_HISTORY = "SELECT change FROM changes WHERE component_id = ? AND revision < ? ORDER BY revision DESC LIMIT ?"
_MAX_REVISION = (1 << 63) - 1

_encode = msgspec.json.Encoder().encode


class SqliteStore:
    """The store in *data_dir*, which is created if it is missing.

    Keeps the newest *history_limit* changes; a limit that was lowered is reached step by step. *exclusive* shuts out
    read-only shells too; it is for file systems on which processes cannot share memory. *vfs* names SQLite's layer of
    files, *migrations* are the steps to the newest schema: both are for tests, with failing disks and future schemas.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        history_limit: int = HISTORY_LIMIT,
        exclusive: bool = False,
        vfs: str = database.CHECKSUM_VFS,
        migrations: Sequence[str] = database.MIGRATIONS,
    ) -> None:
        self._directory = data_dir
        self._path = data_dir / "tekton.db"
        self._history_limit = history_limit
        self._exclusive = exclusive
        self._vfs = vfs
        self._migrations = migrations
        self._lock = DirectoryLock(data_dir)
        self._witness = Witness(data_dir / "witness")
        self._connection: apsw.Connection | None = None
        self._log: LogKeeper | None = None
        self._mark = ORIGIN
        self._kept = 0
        self._failure: StorageUnknownError | None = None

    def open(self) -> Loaded:
        """See RegistryStore. Reads and checks the whole database (about 4 s per GB)."""
        with database.opening(self._directory):
            _make_directory(self._directory)
            self._lock.acquire()
        try:
            with database.opening(self._path):
                finish_restore(self._directory)
                return self._open()
        except BaseException:
            self.close()
            raise

    def commit(self, batch: Sequence[Mutation]) -> None:
        """See RegistryStore."""
        connection = self._usable()
        self._move_log(connection, idle=False)
        content = _encode(batch)
        revision = max((mutation.revision for mutation in batch), default=0)
        mark = self._mark.after(content, revision=revision, incarnation=self._mark.incarnation)
        self._write(connection, content.decode(), mark, len(batch))

    def tidy(self) -> None:
        """See RegistryStore. Moves the log into the database when it has got long enough for that."""
        connection = self._usable()
        self._move_log(connection, idle=True)
        self._check_files(connection)

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """See RegistryStore. One index range; reads *limit* rows."""
        connection = self._usable()
        bound = _MAX_REVISION if before is None else before
        with database.opening(self._path):
            rows = connection.execute(_HISTORY, (component_id, bound, max(0, limit))).fetchall()
        return [decode_history_entry(str(change)) for (change,) in rows]

    def close(self) -> None:
        """See RegistryStore. Moves the log into the database, unless the store has stopped."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # What an error left behind is evidence, and the next start's to recover.
            with suppress(apsw.Error):
                connection.close()
        self._log = None
        self._witness.close()
        self._lock.release()

    def _open(self) -> Loaded:
        self._failure = None
        witnessed = self._witness.newest()
        self._connection = connection = database.connect(self._path, exclusive=self._exclusive, vfs=self._vfs)
        version = database.schema_version(connection, self._path, len(self._migrations))
        if version == 0:
            verify(ORIGIN, witnessed, self._path)
        database.prepare(connection, self._path, version, self._migrations)
        database.check(connection, self._path)
        *mark, kept = connection.execute(_META).fetchall()[0]
        self._mark, self._kept = Mark._make(mark), msgspec.convert(kept, int)
        verify(self._mark, witnessed, self._path)
        if version and witnessed is None:
            _logger.warning("%s has no witness: taking it at revision %d", self._path, self._mark.revision)
        database.keep_log_on_close(connection, keep=False)
        connection.execute(_WRITER)
        self._log = LogKeeper(connection, self._path)
        self._count_incarnation(connection)
        records = [record for (record,) in connection.execute(_RECORDS)]
        return Loaded(records, self._mark.revision, self._mark.incarnation)

    def _count_incarnation(self, connection: apsw.Connection) -> None:
        incarnation = self._mark.incarnation + 1
        mark = self._mark.after(b"incarnation %d" % incarnation, revision=0, incarnation=incarnation)
        connection.execute(_WRITE, ("[]", *mark, self._kept, 0))
        self._mark = mark
        self._witness.open(mark)

    def _write(self, connection: apsw.Connection, mutations: str, mark: Mark, added: int) -> None:
        surplus = max(0, min(self._kept + added - self._history_limit, added + _MAX_PRUNED))
        kept = self._kept + added - surplus
        try:
            reach("store.before_begin")
            connection.execute(_WRITE, (mutations, *mark, kept, surplus))
        except (apsw.Error, OSError) as error:
            raise self._refused(connection, error) from error
        try:
            reach("store.after_commit")
            self._witness.write(mark)
            reach("store.after_witness")
        except OSError as error:
            # The commit stands. A witness that lags behind it is allowed, one on a failing disk is not.
            if not database.is_no_room(error):
                raise self._stop(connection, f"the witness could not be written: {error}") from error
            _logger.warning("the witness of revision %d could not be written: %s", mark.revision, error)
        self._mark, self._kept = mark, kept
        if self._log is not None:
            self._log.wrote(added, len(mutations))
        if _was_removed(connection):
            raise self._stop(connection, "the database file was moved or deleted")

    def _move_log(self, connection: apsw.Connection, *, idle: bool) -> None:
        if self._log is None or not self._log.is_due(idle=idle):
            return
        self._check_files(connection)
        try:
            self._log.move()
        except (apsw.Error, OSError) as error:
            # With neither a sync failed nor a page damaged, the log is as good as it was.
            if not isinstance(error, apsw.BusyError) and not _cannot_be_written(connection, error):
                raise self._stop(connection, f"moving the log into the database failed: {error}") from error
            _logger.warning("%s: the log could not be moved into the database: %s", self._path, error)

    def _check_files(self, connection: apsw.Connection) -> None:
        if _was_removed(connection):
            raise self._stop(connection, "the database file was moved or deleted")
        if self._log is not None and self._log.was_removed():
            # Nobody else can read it any more, so what is in it goes where the next start will find it.
            with suppress(apsw.Error, OSError):
                self._log.move()
            raise self._stop(connection, "its log was moved or deleted")

    def _refused(self, connection: apsw.Connection, error: apsw.Error | OSError) -> Exception:
        if _cannot_be_written(connection, error):
            return _full(self._path, connection.system_errno if isinstance(error, apsw.Error) else error.errno)
        if isinstance(error, apsw.BusyError):
            who = ", ".join(lock_holders.writers(self._path)) or "another process"
            _logger.warning("%s: %s has held the right to write for %g s", self._path, who, database.BUSY_TIMEOUT)
            return StorageError(f"{self._path}: busy, {who} is writing to it; nothing was changed")
        if isinstance(error, apsw.ConstraintError):
            return ValueError(f"a batch that cannot be stored: {error}")
        return self._stop(connection, f"commit failed: {error}")

    def _stop(self, connection: apsw.Connection, reason: str) -> StorageUnknownError:
        database.keep_log_on_close(connection, keep=True)
        self._failure = StorageUnknownError(f"{self._path}: {reason}; the store has stopped")
        _logger.critical("%s", self._failure)
        return self._failure

    def _usable(self) -> apsw.Connection:
        if self._failure is not None:
            raise StorageUnknownError(str(self._failure))
        if self._connection is None:
            raise StorageError(f"{self._path}: the store is closed")
        return self._connection


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(directory.parent)


def _cannot_be_written(connection: apsw.Connection, error: apsw.Error | OSError) -> bool:
    if isinstance(error, apsw.Error):
        return database.is_full(error, connection.system_errno)
    return database.is_no_room(error)


def _full(path: Path, number: int | None) -> StorageFullError:
    reason = os.strerror(number) if number else "the disk is full"
    error = StorageFullError(f"{path}: no room to write ({reason}); nothing was changed")
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        error.hint = "make the data directory writable; nothing has to be restarted"
    return error


def _was_removed(connection: apsw.Connection) -> bool:
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    return bool(moved.value)
