"""The SQLite file with the work: how it is opened and written.

What holds of the registry's database (`tekton.core.component_lifecycle.database`) holds of this one: WAL with
`synchronous=FULL`, checksums on all pages, nothing written before the file has proven sound and ours. When it is opened
the events of all open tasks are read, and small tables are looked at; another page that is damaged is found when it is
read. Some of the disk is left to those who need it more, the registry first of all.
"""

import logging
from collections import Counter
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
from tekton.a2a.work.damage import Damage
from tekton.a2a.work.open_bytes import is_held
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
    """A task that is not over, under its number in the file; *size* are the bytes of its events, *held* those of them
    that stay in memory (`open_bytes`)."""

    number: int
    task: Task
    size: int
    held: int


class StoredWork(NamedTuple):
    """What is in memory from the start. The numbers are the highest that tasks and conversations have. There
    are so many tasks, open or over, of each of *owners*, and conversations that each of *initiators* has begun."""

    tasks: list[OpenTask]
    pushes: list[PushConfig]
    last_task: int
    last_conversation: int
    owners: Counter[str]
    initiators: Counter[str]


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
        self._stuck: dict[str, set[int]] = {"task": set(), "conversation": set()}
        self.damage: Final = Damage()

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

    def write(self, batch: WorkBatch) -> StorageCorruptError | None:
        """Write *batch*: on the disk when this returns. The log is moved into the file before, when it is long.

        Returned is why what it deletes is still there, if it is: a page is damaged that this needs.
        """
        self.move_log(idle=False)
        if batch.size:
            self.check_room(batch.size, self._reserve)
        with self.guarded() as connection:
            reach("work.before_begin")
            left = self._write(connection, batch)
        reach("work.after_commit")
        self.wrote(batch.rows, batch.size)
        return left

    def tidy(self) -> bool:
        """Take away some rows of what was deleted, and move the log when it is rather long; True when there is more."""
        more = self._bury()
        self.move_log(idle=True)
        self.check_files()
        return more

    def _write(self, connection: apsw.Connection, batch: WorkBatch) -> StorageCorruptError | None:
        try:
            connection.execute(sql.WRITE, batch.values())
        except apsw.Error as error:
            damage = self._damage_of(error, connection)
            if damage is None or not batch.removes:
                raise
            connection.execute(sql.WRITE, batch.values(removing=False))
            self.damage.note("what leads to something that was to be deleted", damage)
            return damage
        return None

    def _damage_of(self, error: apsw.Error, connection: apsw.Connection) -> StorageCorruptError | None:
        """The damage that *error* is, if it is one and nothing was done."""
        damage = database.translated(error, self.path)
        return damage if isinstance(damage, StorageCorruptError) and not connection.in_transaction else None

    def _bury(self) -> bool:
        tasks = self._bury_some("task", sql.DEAD_TASKS, sql.BURY_TASKS)
        return self._bury_some("conversation", sql.DEAD_CONVERSATIONS, sql.BURY_CONVERSATIONS) or tasks

    def _bury_some(self, kind: str, dead: str, bury: str) -> bool:
        """Take away some rows of what was deleted, but of what lies on a damaged page; False: there was nothing."""
        stuck = self._stuck[kind]
        with self.guarded() as connection:
            numbers = [number for (number,) in connection.execute(dead, (_json(sorted(stuck)),))]
        if numbers and not self._bury_these(bury, numbers):
            for number in numbers:
                if not self._bury_these(bury, [number]):
                    stuck.add(number)
        return bool(numbers)

    def _bury_these(self, bury: str, numbers: list[int]) -> bool:
        """False, and nothing is done, when a page that this needs is damaged: nobody needs to have it done."""
        with self.guarded() as connection:
            try:
                with connection:
                    connection.execute(bury, {"numbers": _json(numbers), "most": _BURIED})
            except apsw.Error as error:
                if (damage := self._damage_of(error, connection)) is None:
                    raise
                self.damage.note("some of what was deleted", damage)
                return False
        self.wrote(_BURIED // 4, 0)
        return True

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
        last_task, last_conversation = numbers
        owners, initiators = (_counted(connection, one) for one in (sql.TASKS_BY_OWNER, sql.TALKS_BY_INITIATOR))
        return StoredWork(tasks, pushes, last_task, last_conversation, owners, initiators)


class _GapError(Exception):
    """Events of a task are missing."""


def _counted(connection: apsw.Connection, question: str) -> Counter[str]:
    rows: Any = connection.execute(question).fetchall()
    return Counter(dict(rows))


def _json(numbers: list[int]) -> str:
    return _encode(numbers).decode()


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
        size = held = 0
        events: list[TaskEvent] = []
        for _, place, body in rows:
            if place != len(events) + 1:
                raise _GapError(f"the event {len(events) + 1} of {task_id} is missing")
            events.append(event_of(task_id, place, body))
            length = len(body.encode())
            size += length
            held += length if is_held(events[-1].change) else 0
        yield OpenTask(number, fold(events), size, held)
    if ids:
        raise _GapError(f"the events of {min(ids.values())} are missing")
