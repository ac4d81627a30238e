"""Other databases in the data directory that go into a backup, each as a file of its own beside it.

The backup `tekton.db` of a directory with `bus.db` has `tekton.bus.db` beside it. A restore takes both, or, where there
is none, leaves the other database as it is. Each of the two shows one moment, but not the same one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.restore_files import remove_empty_log
from tekton.utils.tekton_errors import BackupError, StorageCorruptError, StorageError


class Companion(NamedTuple):
    """A database: its file in the data directory, what a backup of it has in its name, and what it has to be.

    *counts* asks it for a number that grows by one with each of what *unit* names.
    """

    file: str
    mark: str
    application: int
    migrations: Sequence[str]
    unit: str
    counts: str

    def beside(self, backup: Path) -> Path:
        """Where it is, or would be, beside *backup*."""
        return backup.with_name(f"{backup.stem}.{self.mark}{backup.suffix}")

    def copy(self, data_dir: Path, target: Path, interrupted: Callable[[], bool]) -> None:
        """Write a checked copy of it to *target*, while it is used. Raises the storage errors, apsw.InterruptError."""
        source = data_dir / self.file
        with _telling(source), database.reading(source) as connection:
            self._version(connection, source)
            database.copy_to(connection, target, interrupted)
        with _telling(source), database.reading(target) as copy:
            copy.set_progress_handler(interrupted, database.STEPS_AT_ONCE)
            _check_pages(copy, source)

    def prove(self, staged: Path, backup: Path) -> None:
        """Check all of *staged*, a copy of *backup*, and bring it to the newest schema.

        Raises BackupError for what is no sound backup of it, SchemaVersionError, and StorageError.
        """
        try:
            with database.opening(staged):
                self._prove(staged)
        except StorageCorruptError as error:
            raise BackupError(str(backup), error.evidence) from error

    def lost(self, data_dir: Path, staged: Path) -> int | None:
        """How many of its units *data_dir* has that *staged*, a backup that was proven, does not.

        None when they cannot be counted: what is there is damaged, of an older schema, or has fewer than the backup, so
        that it cannot be what the backup was made of.
        """
        present = data_dir / self.file
        if not present.exists():
            return 0
        try:
            had, has = self._counted(staged), self._counted(present)
        except StorageError:
            return None
        return has - had if has >= had else None

    def _counted(self, path: Path) -> int:
        with database.opening(path):
            try:
                with database.reading(path) as connection:
                    self._version(connection, path)
                    found: int = connection.execute(self.counts).get
            finally:
                remove_empty_log(path)
        return found

    def _prove(self, staged: Path) -> None:
        connection = database.connect(staged)
        try:
            if (version := self._version(connection, staged)) == 0:
                raise StorageCorruptError(str(staged), "empty")
            database.prepare(connection, staged, version, self.migrations, save=_no_copy, application=self.application)
            _check_pages(connection, staged)
            connection.pragma("journal_mode", "delete")
        finally:
            connection.close()

    def _version(self, connection: apsw.Connection, path: Path) -> int:
        return database.schema_version(connection, path, len(self.migrations), application=self.application)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """As `database.opening`, but an interruption stays one."""
    try:
        with database.opening(path):
            yield
    except StorageError as error:
        if isinstance(error.__cause__, apsw.InterruptError):
            raise error.__cause__ from None
        raise


def _check_pages(connection: apsw.Connection, path: Path) -> None:
    if str(connection.pragma("checksum_verification")) != "1":
        raise StorageCorruptError(str(path), "its pages have no checksums")
    if (found := connection.execute("PRAGMA integrity_check(1)").get) != "ok":
        raise StorageCorruptError(str(path), " ".join(str(found).split()))


def _no_copy(connection: apsw.Connection, path: Path) -> None:
    """The staged database is a copy already."""
    del connection, path
