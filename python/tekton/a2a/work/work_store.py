"""The durable store of work: tasks, conversations and pushes in one SQLite file, with one thread that writes.

    store = await WorkStore.open(data_dir / FILE_NAME)
    tasks = TaskManager(agents, log=store.tasks)
    ...
    await store.close()

It is a file of its own so that however many steps tasks make, the registry's commits are not delayed. The three parts
share its writer: what is queued together is written together, and a `flush` of one is a `flush` of all.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tekton.a2a.work.conversations import SqliteConversationStore
from tekton.a2a.work.open_bytes import OpenBytes
from tekton.a2a.work.pushes import SqlitePushStore
from tekton.a2a.work.task_store import SqliteTaskLog
from tekton.a2a.work.work_file import StoredWork, WorkFile
from tekton.a2a.work.work_sql import FILE_NAME
from tekton.a2a.work.writer import WorkWriter
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.core.history.worker import Worker
from tekton.core.metrics.tally import Tally
from tekton.utils.tekton_errors import StorageError

__all__ = ["FILE_NAME", "WorkStore"]


class WorkStore:
    """What is in an open file; made by `open`."""

    def __init__(self, file: WorkFile, desk: Worker, stored: StoredWork, clock: Clock) -> None:
        self._file = file
        self._desk = desk
        self._writer = WorkWriter(file, desk, clock)
        self._reader, self._searcher = DatabaseReader(file.path), DatabaseReader(file.path)
        self._closed = False
        self.tasks: Final = SqliteTaskLog(self._writer, self._reader, self._searcher, stored, file.damage)
        self.conversations: Final = SqliteConversationStore(
            self._writer, self._reader, stored.last_conversation, stored.initiators, file.damage
        )
        self.push: Final = SqlitePushStore(self._writer, self._reader, self.tasks, stored.pushes)

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock = SYSTEM_CLOCK, make_file: Callable[[Path], WorkFile] = WorkFile
    ) -> "WorkStore":
        """Open the file at *path*, and create it if it is missing. Reads the events of all open tasks.

        *make_file* is for tests, with failing disks. Raises StorageCorruptError, SchemaVersionError, StorageFullError,
        StorageError.
        """
        file, desk = make_file(path), Worker("tekton-work")
        try:
            stored = await asyncio.wrap_future(desk.submit(file.open))
        except BaseException:
            desk.stop()
            raise
        return cls(file, desk, stored, clock)

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is accepted any more, until the file is opened anew."""
        return self._writer.failure

    @property
    def full(self) -> bool:
        """True from when the disk had no room for something until it has."""
        return self._writer.full

    @property
    def waiting(self) -> int:
        """How many changes are not on the disk yet."""
        return self._writer.waiting

    @property
    def open_bytes(self) -> OpenBytes:
        """What open tasks take in memory, and the bounds of that."""
        return self.tasks.open_bytes

    @property
    def damaged(self) -> int:
        """How many tasks, conversations and other things were found since the start that cannot be read."""
        return len(self._file.damage)

    @property
    def commit_seconds(self) -> Tally:
        """How long it took to have a batch on the disk."""
        return self._writer.commit_seconds

    def add_failure_listener(self, listener: Callable[[StorageError], object]) -> None:
        """Tell *listener*, once, when nothing is accepted any more."""
        self._writer.add_failure_listener(listener)

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        await self._writer.flush()

    async def close(self) -> None:
        """Flush, and close the file. Closing twice does nothing.

        Raises the storage errors when something is not on the disk: then that is lost, and the file is closed all the
        same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self._writer.flush()
        finally:
            self._writer.stop(StorageError(f"{self._file.path}: the store is closed"))
            self._reader.close()
            self._searcher.close()
            closed = self._desk.submit(self._file.close)
            self._desk.stop()
            await asyncio.wrap_future(closed)
