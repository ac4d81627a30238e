"""The SQLite file with the streams: how it is opened and written, and what its faults mean.

What holds of the registry's database (`tekton.core.component_lifecycle.database`) holds of this one: WAL with
`synchronous=FULL`, checksums on all pages, nothing written before the file has proven sound and ours. Of a file that is
opened only the tables are looked at that are small; a page of messages that is damaged is found when it is read.

* What cannot be written is rolled back, or stops it: see `database_file`.
* Some of the disk is left to those who need it more, the registry first of all.
"""

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.streams import stream_sql as sql
from tekton.bus.streams.batch import Rows
from tekton.bus.streams.store import Progress, StreamState
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.database_file import DatabaseFile
from tekton.utils.tekton_errors import StorageCorruptError

_logger = logging.getLogger("tekton.bus")

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


class StreamFile(DatabaseFile):
    """The file at *path*, for one thread at a time.

    After `open` its methods raise StorageFullError, or StorageError when another process holds the file, with nothing
    done; and StorageUnknownError when it has stopped.
    """

    def __init__(self, path: Path, vfs: str, *, exclusive: bool) -> None:
        super().__init__(path, _logger, vfs=vfs, exclusive=exclusive)

    def open(self) -> list[StoredStream]:
        """Open it, and create it if it is missing. What is in it but for the messages.

        Raises StorageCorruptError, SchemaVersionError, StorageFullError, StorageError.
        """
        with database.opening(self.path):
            try:
                return self._prepare(self.connect())
            except BaseException:
                self.close()
                raise

    def ask(self, question: str, values: Any = ()) -> Any:
        """The rows that answer *question*, which may also write."""
        with self.guarded() as connection:
            return connection.execute(question, values).fetchall()

    def write(self, rows: Rows) -> None:
        """Write *rows*: on the disk when this returns. The log is moved into the file before, when it is long."""
        self.move_log(idle=False)
        with self.guarded() as connection:
            connection.execute(sql.WRITE, rows.values())
        self.wrote(len(rows.messages) // 16 + len(rows.consumers), len(rows.bodies))

    def change(self, statements: str, values: Any) -> int:
        """Do *statements* as one. How many rows they changed."""
        before = self.changes()
        with self.guarded() as connection, connection:
            connection.execute(statements, values)
        self.wrote(1, 0)
        return connection.total_changes() - before

    def changes(self) -> int:
        """How many rows were changed since it was opened."""
        return self.usable().total_changes()

    def _prepare(self, connection: apsw.Connection) -> list[StoredStream]:
        path = self.path
        version = database.schema_version(connection, path, len(sql.MIGRATIONS), application=sql.APPLICATION_ID)
        application = sql.APPLICATION_ID
        database.prepare(connection, path, version, sql.MIGRATIONS, save=_copy, application=application)
        if str(connection.pragma("checksum_verification")) != "1":
            raise StorageCorruptError(str(path), "its pages have no checksums")
        if (beyond := connection.execute(sql.BEYOND).get) is not None:
            raise StorageCorruptError(str(path), f"the stream {beyond} has messages behind its last one")
        try:
            streams = _load(connection)
        except msgspec.MsgspecError as error:
            raise StorageCorruptError(str(path), f"a stream or a consumer cannot be read: {error}") from error
        self.keep_log()
        connection.execute(sql.WRITER)
        return streams


def _copy(connection: apsw.Connection, path: Path) -> None:
    """It may be as large as all streams may: a copy of it must not take what a migration and others need."""
    size = connection.pragma("page_count") * connection.pragma("page_size")
    if shutil.disk_usage(path.parent).free >= 2 * size:
        database.copy_to(connection, path)
    else:
        _logger.warning(
            "no copy of the streams is made before they are migrated: less than %d bytes are free", 2 * size
        )


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
