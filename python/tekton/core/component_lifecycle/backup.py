"""Copies of a data directory's database, and of those that go with it.

A backup is one SQLite file, and one for each `Companion`: compact, checksummed, and checked before it gets its name.
Each is written through a connection of its own, so that the one which commits goes on meanwhile; it shows one moment.
See `restore` for the way back.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.companion import Companion
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.restore import finish_restore, stamps
from tekton.core.component_lifecycle.witness import Witness, sync_directory, verify
from tekton.utils.tekton_errors import BackupError, BackupExistsError

FOLDER = "backups"

_UNFINISHED = ".unfinished"


class Backup(msgspec.Struct, frozen=True):
    """A backup that was written: where, up to which revision, and its size in bytes.

    `also` are the files beside it that belong to it; their bytes are counted, too.
    """

    path: str
    revision: int
    size_bytes: int
    also: list[str] = []


class BackupWriter:
    """Writes one backup of the database in *data_dir* to *path*, and beside it one of each of *companions*.

    Without *path* it goes to a new file in `backups/`, named after *now* (wall-clock seconds).
    """

    def __init__(self, data_dir: Path, path: Path | None, now: float, companions: Sequence[Companion] = ()) -> None:
        self._data_dir = data_dir
        self._source = data_dir / "tekton.db"
        self._wanted = path
        self._now = now
        self._companions = [one for one in companions if (data_dir / one.file).exists()]
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
            for each in (path, *(one.beside(path) for one in self._companions)):
                if each.exists():
                    raise BackupExistsError(str(each))
            if not path.parent.is_dir():
                raise BackupError(str(path), f"there is no directory {path.parent}")
            return self._write(path)

    def interrupt(self) -> None:
        """Make `run`, in another thread, end soon."""
        self._interrupted = True

    def _write(self, path: Path) -> Backup:
        unfinished = _unfinished(path)
        also: list[Path] = []
        try:
            with self._reading(self._source) as source:
                version = database.schema_version(source, self._source, len(database.MIGRATIONS))
                database.copy_to(source, unfinished, lambda: self._interrupted)
            with self._reading(unfinished) as copy:
                database.check_any(copy, unfinished, version)
                revision = database.mark_of(copy).revision
            for one in self._companions:
                one.copy(self._data_dir, _unfinished(one.beside(path)), lambda: self._interrupted)
            for one in self._companions:
                _publish(_unfinished(one.beside(path)), one.beside(path))
                also.append(one.beside(path))
            # This makes a backup of them.
            _publish(unfinished, path)
        except BaseException as error:
            for each in also:
                each.unlink(missing_ok=True)
            if isinstance(error, apsw.InterruptError):
                raise BackupError(str(path), "the backup was interrupted") from error
            raise
        finally:
            for each in (path, *(one.beside(path) for one in self._companions)):
                _unfinished(each).unlink(missing_ok=True)
        size = sum(each.stat().st_size for each in (path, *also))
        return Backup(str(path), revision, size, [str(each) for each in also])

    @contextmanager
    def _reading(self, path: Path) -> Iterator[apsw.Connection]:
        with database.reading(path) as connection:
            if self._interrupted:
                raise apsw.InterruptError
            connection.set_progress_handler(lambda: self._interrupted, database.STEPS_AT_ONCE)
            yield connection


def back_up_offline(data_dir: Path, path: Path | None, now: float, companions: Sequence[Companion] = ()) -> Backup:
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
        return BackupWriter(data_dir, path, now, companions).run()


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


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + _UNFINISHED)


def _publish(unfinished: Path, path: Path) -> None:
    """Give a finished file its name, unless something has it."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise BackupExistsError(str(path)) from None
    except OSError:  # a file system without links
        unfinished.rename(path)
    sync_directory(path.parent)
