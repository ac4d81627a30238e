"""A SQLite file that is written by one thread at a time: when it stops, and what can be said of it then.

* What cannot be written for want of room or of permission is rolled back, and the file goes on. Any other failure of
  reading or writing stops it for good. A failed sync is never repeated, for the system may have forgotten what it did
  not write.
* Its log is moved into it when there is time, or when it gets long (`log_keeper`). A file that has stopped keeps it: it
  is evidence, and the next start's to recover.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import Logger
from pathlib import Path
from typing import Final

import apsw

from tekton.core.component_lifecycle import database, lock_holders
from tekton.core.component_lifecycle.log_keeper import LogKeeper
from tekton.core.private_files import make_private
from tekton.utils.tekton_errors import StorageError, StorageFullError, StorageUnknownError

_LOOK_EVERY: Final = 1 << 20
"""Bytes after which is looked again how much of the disk is left."""


class DatabaseFile:
    """The file at *path*; what happens to it is told to *logger*.

    *vfs* names SQLite's layer of files, and *exclusive* keeps every other process out and does without memory that is
    shared: both are for tests with failing disks, and for file systems that cannot do that.
    """

    def __init__(
        self, path: Path, logger: Logger, *, vfs: str = database.CHECKSUM_VFS, exclusive: bool = False
    ) -> None:
        self.path: Final = path
        self._logger = logger
        self._vfs = vfs
        self._exclusive = exclusive
        self._connection: apsw.Connection | None = None
        self._log: LogKeeper | None = None
        self._failure: StorageUnknownError | None = None
        self._unlooked = _LOOK_EVERY

    def connect(self) -> apsw.Connection:
        """Open it, and create it if it is missing: nothing is written yet. Raises apsw.Error and OSError."""
        self._failure = None
        if self._vfs == database.CHECKSUM_VFS:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What prevents it is SQLite's to report.
            with suppress(OSError):
                make_private(self.path)
        self._connection = database.connect(self.path, exclusive=self._exclusive, vfs=self._vfs)
        return self._connection

    def keep_log(self) -> None:
        """It has proven sound: from now on look after its log."""
        connection = self.usable()
        database.keep_log_on_close(connection, keep=False)
        self._log = LogKeeper(connection, self.path)

    def close(self) -> None:
        """Close it, its log moved into it unless it has stopped. Closing twice does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(apsw.Error):
                connection.close()
        self._log = None

    def usable(self) -> apsw.Connection:
        """The connection. Raises StorageUnknownError when it has stopped, StorageError when it is closed."""
        if self._failure is not None:
            raise StorageUnknownError(str(self._failure))
        if self._connection is None:
            raise StorageError(f"{self.path}: the store is closed")
        return self._connection

    @contextmanager
    def guarded(self) -> Iterator[apsw.Connection]:
        """Whatever goes wrong in here has either changed nothing, or stops the file.

        Raises StorageFullError, or StorageError when another process holds the file, with nothing done; else
        StorageUnknownError.
        """
        connection = self.usable()
        try:
            yield connection
        except (apsw.Error, OSError) as error:
            raise self._refused(connection, error) from error

    def check_room(self, size: int, reserve: int) -> None:
        """Raise StorageFullError when *size* bytes would leave others less than *reserve* bytes of the disk."""
        self._unlooked += size
        if self._unlooked < _LOOK_EVERY:
            return
        if shutil.disk_usage(self.path.parent).free < reserve:
            raise StorageFullError(
                f"{self.path}: less than {reserve >> 20} MiB of the disk are free; nothing was changed"
            )
        self._unlooked = 0

    def wrote(self, rows: int, size: int) -> None:
        """Note that *rows*, of *size* bytes, were written."""
        if self._log is not None:
            self._log.wrote(rows, size)
        if database.was_removed(self.usable()):
            raise self.stop("the database file was moved or deleted")

    def move_log(self, *, idle: bool) -> None:
        """Move the log into the file when it is long, or already when it is rather long and there is time."""
        connection = self.usable()
        if self._log is None or not self._log.is_due(idle=idle):
            return
        self.check_files()
        try:
            self._log.move()
        except (apsw.Error, OSError) as error:
            # With neither a sync failed nor a page damaged, the log is as good as it was.
            if not isinstance(error, apsw.BusyError) and not _cannot_be_written(connection, error):
                raise self.stop(f"moving the log into the database failed: {error}") from error
            self._logger.warning("%s: the log could not be moved into the database: %s", self.path, error)

    def check_files(self) -> None:
        """Stop when somebody has taken away what belongs to it."""
        if database.was_removed(self.usable()):
            raise self.stop("the database file was moved or deleted")
        if self._log is not None and self._log.was_removed():
            # Nobody else can read it any more, so what is in it goes where the next start will find it.
            with suppress(apsw.Error, OSError):
                self._log.move()
            raise self.stop("its log was moved or deleted")

    def stop(self, reason: str) -> StorageUnknownError:
        """Do nothing any more. The error that says so, to be raised."""
        database.keep_log_on_close(self.usable(), keep=True)
        self._failure = StorageUnknownError(f"{self.path}: {reason}; the store has stopped")
        self._logger.critical("%s", self._failure)
        return self._failure

    def _refused(self, connection: apsw.Connection, error: apsw.Error | OSError) -> StorageError:
        if _cannot_be_written(connection, error):
            return _full(self.path, connection.system_errno if isinstance(error, apsw.Error) else error.errno)
        if isinstance(error, apsw.BusyError):
            who = ", ".join(lock_holders.writers(self.path)) or "another process"
            self._logger.warning("%s: %s has held the right to write for %g s", self.path, who, database.BUSY_TIMEOUT)
            return StorageError(f"{self.path}: busy, {who} is writing to it; nothing was changed")
        return self.stop(f"commit failed: {error}")


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
