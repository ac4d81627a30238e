"""The SQLite file with the work: how it is opened and written.

What holds of the registry's database (`tekton.core.component_lifecycle.database`) holds of this one: WAL with
`synchronous=FULL`, checksums on all pages, nothing written before the file has proven sound and ours. When it is opened
the events of all open tasks are read, and small tables are looked at; another page that is damaged is found when it is
read. Some of the disk is left to those who need it more, the registry first of all.
"""

import logging
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from tekton.a2a.push_store import PushConfig
from tekton.a2a.task import Task, fold
from tekton.a2a.task_event import Change, TaskEvent
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.work_batch import WorkBatch
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.database_file import DatabaseFile
from tekton.failpoints import reach
from tekton.utils.tekton_errors import StorageCorruptError, TaskError

__all__ = ["OpenTask", "StoredWork", "WorkFile", "body_of", "event_of"]

RESERVE_BYTES: Final = 64 << 20
"""So much of the disk is left to others."""
_BURIED: Final = 2048
"""How many rows of what was deleted go in one transaction."""

_logger = logging.getLogger("tekton.work")


class _Body(msgspec.Struct, array_like=True):
    """An event as it stands in the file."""

    at: float
    epoch: int
    change: Change


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Body).decode
_decode_config = msgspec.json.Decoder(PushConfig).decode


class OpenTask(NamedTuple):
    """A task that is not over, under its number in the file; *size* are the bytes of its events."""

    number: int
    task: Task
    size: int


class StoredWork(NamedTuple):
    """What is in memory from the start. The numbers are the highest that tasks and conversations have; there
    are *known* tasks, open or over."""

    tasks: list[OpenTask]
    pushes: list[PushConfig]
    last_task: int
    last_conversation: int
    known: int


class WorkFile(DatabaseFile):
    """The file at *path*, for one thread at a time. *reserve_bytes* of its disk are left free.

    After `open` its methods raise StorageFullError, or StorageError when another process holds the file, with nothing
    done; and StorageUnknownError when it has stopped.
    """

    def __init__(
        self,
        path: Path,
        reserve_bytes: int = RESERVE_BYTES,
        *,
        vfs: str = database.CHECKSUM_VFS,
        exclusive: bool = False,
    ) -> None:
        super().__init__(path, _logger, vfs=vfs, exclusive=exclusive)
        self._reserve = reserve_bytes

    def open(self) -> StoredWork:
        """Open it, and create it if it is missing. Reads the events of all open tasks.

        Raises StorageCorruptError, SchemaVersionError, StorageFullError, StorageError.
        """
        with database.opening(self.path):
            try:
                return self._prepare(self.connect())
            except BaseException:
                self.close()
                raise

    def write(self, batch: WorkBatch) -> None:
        """Write *batch*: on the disk when this returns. The log is moved into the file before, when it is long."""
        self.move_log(idle=False)
        if batch.size:
            self.check_room(batch.size, self._reserve)
        with self.guarded() as connection:
            reach("work.before_begin")
            connection.execute(sql.WRITE, batch.values())
        reach("work.after_commit")
        self.wrote(batch.rows, batch.size)

    def tidy(self) -> bool:
        """Take away some rows of what was deleted, and move the log when it is rather long; True when there is more."""
        more = self._bury()
        self.move_log(idle=True)
        self.check_files()
        return more

    def _bury(self) -> bool:
        with self.guarded() as connection:
            graves: Any = connection.execute(sql.GRAVES).fetchall()[0]
        for is_one, bury in zip(graves, (sql.BURY_TASKS, sql.BURY_CONVERSATIONS)):
            if is_one:
                with self.guarded() as connection, connection:
                    connection.execute(bury, {"most": _BURIED})
                self.wrote(_BURIED // 4, 0)
        return any(graves)

    def _prepare(self, connection: apsw.Connection) -> StoredWork:
        path = self.path
        version = database.schema_version(connection, path, len(sql.MIGRATIONS), application=sql.APPLICATION_ID)
        database.prepare(connection, path, version, sql.MIGRATIONS, application=sql.APPLICATION_ID)
        if str(connection.pragma("checksum_verification")) != "1":
            raise StorageCorruptError(str(path), "its pages have no checksums")
        if (beyond := connection.execute(sql.BEYOND).get) is not None:
            raise StorageCorruptError(str(path), f"it has {beyond}")
        stored = self._load(connection)
        self.keep_log()
        connection.execute(sql.WRITER)
        return stored

    def _load(self, connection: apsw.Connection) -> StoredWork:
        try:
            tasks = list(_open_tasks(connection))
            pushes = [_decode_config(config) for (config,) in connection.execute(sql.PUSHES)]
        except (msgspec.MsgspecError, UnicodeError, TaskError, _GapError) as error:
            raise StorageCorruptError(str(self.path), f"what it says of a task makes no sense: {error}") from error
        numbers: Any = connection.execute(sql.NUMBERS).fetchall()[0]
        return StoredWork(tasks, pushes, *numbers)


class _GapError(Exception):
    """Events of a task are missing."""


def body_of(event: TaskEvent) -> bytes:
    """What is kept of *event* beside its number."""
    return _encode(_Body(event.at, event.epoch, event.change))


def event_of(task_id: str, number: int, body: str) -> TaskEvent:
    """The event that *body* is. Raises msgspec.MsgspecError."""
    read = _decode(body)
    return TaskEvent(task_id, number, read.at, read.epoch, read.change)


def _open_tasks(connection: apsw.Connection) -> Iterator[OpenTask]:
    opened: Any = connection.execute(sql.OPEN_TASKS).fetchall()
    ids: dict[int, str] = dict(opened)
    for number, rows in groupby(connection.execute(sql.OPEN_EVENTS), key=lambda row: row[0]):
        task_id = ids.pop(number)
        size = 0
        events: list[TaskEvent] = []
        for _, place, body in rows:
            if place != len(events) + 1:
                raise _GapError(f"the event {len(events) + 1} of {task_id} is missing")
            events.append(event_of(task_id, place, body))
            size += len(body)
        yield OpenTask(number, fold(events), size)
    if ids:
        raise _GapError(f"the events of {min(ids.values())} are missing")
