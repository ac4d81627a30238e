"""Copies of a data directory's database.

A backup is one SQLite file: compact, checksummed, and checked before it gets its name. It is written through a
connection of its own, so that the one which commits goes on meanwhile; it shows one moment. See `restore` for the way
back.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.restore import finish_restore, stamps
from tekton.core.component_lifecycle.witness import Witness, sync_directory, verify
from tekton.utils.tekton_errors import BackupError, BackupExistsError

FOLDER = "backups"

_UNFINISHED = ".unfinished"


class Backup(msgspec.Struct, frozen=True):
    """A backup that was written: where, up to which revision, and its size in bytes."""

    path: str
    revision: int
    size_bytes: int


class BackupWriter:
    """Writes one backup of the database in *data_dir* to *path*.

    Without *path* it goes to a new file in `backups/`, named after *now* (wall-clock seconds).
    """

    def __init__(self, data_dir: Path, path: Path | None, now: float) -> None:
        self._data_dir = data_dir
        self._source = data_dir / "tekton.db"
        self._wanted = path
        self._now = now
        self._interrupted = False

    def run(self) -> Backup:
        """Write it, and read all of it again; blocks as long as that takes, while commits go on.

        Raises BackupExistsError when something is at the path, BackupError when there is nothing to back up or
        `interrupt` was called, StorageFullError, StorageCorruptError when the database is damaged, or StorageError.
        Then nothing is left of it.
        """
        if not self._source.exists():
            raise BackupError(str(self._data_dir), "there is no database to back up")
        with database.opening(self._source):
            path = self._wanted or _new_name(self._data_dir / FOLDER, self._now)
            if path.exists():
                raise BackupExistsError(str(path))
            if not path.parent.is_dir():
                raise BackupError(str(path), f"there is no directory {path.parent}")
            return self._write(path)

    def interrupt(self) -> None:
        """Make `run`, in another thread, end soon."""
        self._interrupted = True

    def _write(self, path: Path) -> Backup:
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            with self._reading(self._source) as source:
                version = database.schema_version(source, self._source, len(database.MIGRATIONS))
                database.copy_to(source, unfinished, lambda: self._interrupted)
            with self._reading(unfinished) as copy:
                database.check_any(copy, unfinished, version)
                revision = database.mark_of(copy).revision
            _publish(unfinished, path)
        except apsw.InterruptError as error:
            raise BackupError(str(path), "the backup was interrupted") from error
        finally:
            unfinished.unlink(missing_ok=True)
        return Backup(str(path), revision, path.stat().st_size)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[apsw.Connection]:
        with database.reading(path) as connection:
            if self._interrupted:
                raise apsw.InterruptError
            connection.set_progress_handler(lambda: self._interrupted, database.STEPS_AT_ONCE)
            yield connection


def back_up_offline(data_dir: Path, path: Path | None, now: float) -> Backup:
    """Write a backup of a directory in which nothing runs; see `BackupWriter`.

    Raises StorageLockedError when something runs there, and StorageCorruptError when acknowledged changes are missing.
    """
    source = data_dir / "tekton.db"
    if not data_dir.is_dir():
        raise BackupError(str(data_dir), "there is no database to back up")
    with _owning(data_dir):
        if source.exists():
            with database.opening(source), database.reading(source) as connection:
                database.schema_version(connection, source, len(database.MIGRATIONS))
                verify(database.mark_of(connection), Witness(data_dir / "witness").newest(), source)
        return BackupWriter(data_dir, path, now).run()


@contextmanager
def _owning(data_dir: Path) -> Iterator[None]:
    lock = DirectoryLock(data_dir)
    with database.opening(data_dir):
        lock.acquire()
        try:
            finish_restore(data_dir)
            yield
        finally:
            lock.release()


def _new_name(folder: Path, now: float) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    for unfinished in folder.glob(f"*{_UNFINISHED}*"):  # of a process that was killed
        unfinished.unlink(missing_ok=True)
    return next(path for stamp in stamps(now) if not (path := folder / f"tekton-{stamp}.db").exists())


def _publish(unfinished: Path, path: Path) -> None:
    """Give a finished file its name, unless something has it."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise BackupExistsError(str(path)) from None
    except OSError:  # a file system without links
        unfinished.rename(path)
    sync_directory(path.parent)
