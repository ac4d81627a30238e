"""The SQLite file with the streams: how it is opened and written, and what its faults mean.

What holds of the registry's database (`tekton.core.component_lifecycle.database`) holds of this one: WAL with
`synchronous=FULL`, checksums on all pages, nothing written before the file has proven sound and ours. Of a file that is
opened only the tables are looked at that are small; a page of messages that is damaged is found when it is read.

* What cannot be written for want of room or of permission is rolled back, and the file goes on. Any other failure of
  reading or writing stops it for good. A failed sync is never repeated, for the system may have forgotten what it did
  not write.
* Some of the disk is left to those who need it more, the registry first of all.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.streams import stream_sql as sql
from tekton.bus.streams.batch import Rows
from tekton.bus.streams.store import Progress, StreamState
from tekton.core.component_lifecycle import database, lock_holders
from tekton.core.component_lifecycle.log_keeper import LogKeeper
from tekton.core.private_files import make_private
from tekton.utils.tekton_errors import StorageCorruptError, StorageError, StorageFullError, StorageUnknownError

_logger = logging.getLogger("tekton.bus")

_LOOK_EVERY: Final = 1 << 20
"""Bytes after which is looked again how much of the disk is left."""

_decode_pending = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_stream = msgspec.json.Decoder(StreamSettings).decode
_decode_consumer = msgspec.json.Decoder(ConsumerSettings).decode


class StoredStream(NamedTuple):
    """A stream as it is in the file. *known* is the time of its newest id, in microseconds."""

    number: int
    name: str
    settings: StreamSettings
    state: StreamState
    known: int
    consumers: list[Progress]


class StreamFile:
    """The file at *path*, for one thread at a time. *reserve_bytes* of its disk are left free.

    After `open` its methods raise StorageFullError, or StorageError when another process holds the file, with nothing
    done; and StorageUnknownError when it has stopped.
    """

    def __init__(self, path: Path, reserve_bytes: int, vfs: str, *, exclusive: bool) -> None:
        self._path = path
        self._reserve = reserve_bytes
        self._vfs = vfs
        self._exclusive = exclusive
        self._unlooked = _LOOK_EVERY
        self._connection: apsw.Connection | None = None
        self._log: LogKeeper | None = None
        self._failure: StorageUnknownError | None = None

    def open(self) -> list[StoredStream]:
        """Open it, and create it if it is missing. What is in it but for the messages.

        Raises StorageCorruptError, SchemaVersionError, StorageFullError, StorageError.
        """
        self._failure = None
        with database.opening(self._path):
            if self._vfs == database.CHECKSUM_VFS:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                make_private(self._path)
            connection = database.connect(self._path, exclusive=self._exclusive, vfs=self._vfs)
            try:
                streams = self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        self._connection, self._log = connection, LogKeeper(connection, self._path)
        return streams

    def close(self) -> None:
        """Close it, its log moved into it unless it has stopped. Closing twice does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # What an error left behind is evidence, and the next start's to recover.
            with suppress(apsw.Error):
                connection.close()
        self._log = None

    def check(self) -> None:
        """Raise when it is closed or has stopped."""
        self._usable()

    def check_room(self, size: int) -> None:
        """Raise StorageFullError when there is none for *size* bytes."""
        self._unlooked += size
        if self._unlooked < _LOOK_EVERY:
            return
        if shutil.disk_usage(self._path.parent).free < self._reserve:
            least = f"{self._reserve >> 20} MiB"
            raise StorageFullError(f"{self._path}: less than {least} of the disk are free; nothing was stored")
        self._unlooked = 0

    def ask(self, question: str, values: Any = ()) -> Any:
        """The rows that answer *question*, which may also write."""
        connection = self._usable()
        with self._guarded(connection):
            return connection.execute(question, values).fetchall()

    def write(self, rows: Rows) -> None:
        """Write *rows*: on the disk when this returns. The log is moved into the file before, when it is long."""
        connection = self._usable()
        self.move_log(idle=False)
        with self._guarded(connection):
            connection.execute(sql.WRITE, rows.values())
        self.wrote(len(rows.messages) // 16 + len(rows.consumers), len(rows.bodies))

    def change(self, statements: str, values: Any) -> int:
        """Do *statements* as one. How many rows they changed."""
        connection = self._usable()
        before = connection.total_changes()
        with self._guarded(connection), connection:
            connection.execute(statements, values)
        self.wrote(1, 0)
        return connection.total_changes() - before

    def wrote(self, rows: int, size: int) -> None:
        """Note what was written, so that the log is moved in time."""
        connection = self._usable()
        if self._log is not None:
            self._log.wrote(rows, size)
        if database.was_removed(connection):
            raise self._stop(connection, "the file was moved or deleted")

    def changes(self) -> int:
        """How many rows were changed since it was opened."""
        return self._usable().total_changes()

    def move_log(self, *, idle: bool) -> None:
        """Move the log into the file when it is long, or already when it is rather long and the time is there."""
        connection = self._usable()
        if self._log is None or not self._log.is_due(idle=idle):
            return
        self.check_files()
        try:
            self._log.move()
        except (apsw.Error, OSError) as error:
            # With neither a sync failed nor a page damaged, the log is as good as it was.
            if not isinstance(error, apsw.BusyError) and not _cannot_be_written(connection, error):
                raise self._stop(connection, f"moving the log into the file failed: {error}") from error
            _logger.warning("%s: the log could not be moved into the file: %s", self._path, error)

    def check_files(self) -> None:
        """Stop when somebody has taken away what belongs to it."""
        connection = self._usable()
        if database.was_removed(connection):
            raise self._stop(connection, "the file was moved or deleted")
        if self._log is not None and self._log.was_removed():
            # Nobody else can read it any more, so what is in it goes where the next start will find it.
            with suppress(apsw.Error, OSError):
                self._log.move()
            raise self._stop(connection, "its log was moved or deleted")

    def _prepare(self, connection: apsw.Connection) -> list[StoredStream]:
        path = self._path
        version = database.schema_version(connection, path, len(sql.MIGRATIONS), application=sql.APPLICATION_ID)
        database.prepare(connection, path, version, sql.MIGRATIONS, application=sql.APPLICATION_ID)
        if str(connection.pragma("checksum_verification")) != "1":
            raise StorageCorruptError(str(path), "its pages have no checksums")
        if (beyond := connection.execute(sql.BEYOND).get) is not None:
            raise StorageCorruptError(str(path), f"the stream {beyond} has messages behind its last one")
        try:
            streams = _load(connection)
        except msgspec.MsgspecError as error:
            raise StorageCorruptError(str(path), f"a stream or a consumer cannot be read: {error}") from error
        database.keep_log_on_close(connection, keep=False)
        connection.execute(sql.WRITER)
        return streams

    @contextmanager
    def _guarded(self, connection: apsw.Connection) -> Iterator[None]:
        """Whatever goes wrong in here has either changed nothing, or stops the file."""
        try:
            yield
        except (apsw.Error, OSError) as error:
            raise self._refused(connection, error) from error

    def _refused(self, connection: apsw.Connection, error: apsw.Error | OSError) -> StorageError:
        if _cannot_be_written(connection, error):
            number = connection.system_errno if isinstance(error, apsw.Error) else error.errno
            reason = os.strerror(number) if number else "the disk is full"
            return StorageFullError(f"{self._path}: no room to write ({reason}); nothing was stored")
        if isinstance(error, apsw.BusyError):
            who = ", ".join(lock_holders.writers(self._path)) or "another process"
            return StorageError(f"{self._path}: busy, {who} is writing to it; nothing was stored")
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


def _load(connection: apsw.Connection) -> list[StoredStream]:
    streams: list[StoredStream] = []
    rows: list[Any] = connection.execute(sql.STREAMS).fetchall()
    for number, name, settings, messages, size, last, dropped, known in rows:
        consumers: list[Any] = connection.execute(sql.CONSUMERS, (number,)).fetchall()
        state = StreamState(messages, size, last, dropped)
        kept = [_progress(name, row) for row in consumers]
        streams.append(StoredStream(number, name, _decode_stream(settings), state, known, kept))
    return streams


def _progress(stream: str, row: tuple[Any, ...]) -> Progress:
    name, settings, cursor, pending, *counts = row
    return Progress(stream, name, _decode_consumer(settings), cursor, _decode_pending(pending), *counts)


def _cannot_be_written(connection: apsw.Connection, error: apsw.Error | OSError) -> bool:
    if isinstance(error, apsw.Error):
        return database.is_full(error, connection.system_errno)
    return database.is_no_room(error)
