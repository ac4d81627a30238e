"""The write-ahead log of the database: when it is moved into the database, and who keeps it from that.

SQLite would do this by itself, inside a commit, and would not say that a sync has failed: the next time it syncs again,
the system has forgotten what it did not write, the sync succeeds, and the log that still had it is overwritten. So the
store does it: when there is nothing else to do, or between two batches when the log gets long. The first failed sync
stops the store, like that of a commit.
"""

import logging
import os
from pathlib import Path

import apsw

from tekton.core.component_lifecycle import lock_holders
from tekton.failpoints import reach

_logger = logging.getLogger("tekton.store")

PAGE = 4096
IDLE_PAGES = 1000
"""The log is moved from this length on when there is nothing to write (4 MiB)."""
BUSY_PAGES = 8 * IDLE_PAGES
"""The log is moved from this length on before the next batch is written (32 MiB)."""
WARN_BYTES = 256 * 1024 * 1024
"""A log of this size is complained about, and again each time that it has doubled."""


class LogKeeper:
    """Looks after the log of the database at *path*, through the only *connection* that writes to it."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._database = path
        self._log = path.with_name(path.name + "-wal")
        # What an earlier run has left is moved as soon as there is time.
        self._written = IDLE_PAGES
        self._warn_bytes = WARN_BYTES
        self._inode = self._look()

    def wrote(self, changes: int, size_bytes: int) -> None:
        """Note a batch, by an upper estimate of its pages: to ask SQLite would cost every batch a switch of threads."""
        self._written += 8 + 4 * changes + 3 * (size_bytes // PAGE)

    def is_due(self, *, idle: bool) -> bool:
        """True when the log should be moved before anything else is done."""
        return self._written >= (IDLE_PAGES if idle else BUSY_PAGES)

    def move(self) -> None:
        """Move into the database what no reader needs any more. Raises apsw.Error, and OSError from a failpoint."""
        # Whatever comes of it, the next try is as many pages away.
        self._written = 0
        reach("checkpoint.before")
        pages, moved = self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
        reach("checkpoint.after")
        if moved < pages:
            self._complain(pages * (PAGE + 24))
        else:
            self._warn_bytes = WARN_BYTES

    def was_removed(self) -> bool:
        """True when somebody has deleted the log, or put another file in its place. We still have the old one."""
        return self._inode is not None and self._look() != self._inode

    def _look(self) -> int | None:
        try:
            return os.stat(self._log).st_ino
        except OSError:
            return None

    def _complain(self, size_bytes: int) -> None:
        if size_bytes < self._warn_bytes:
            return
        self._warn_bytes = 2 * size_bytes
        who = ", ".join(lock_holders.readers(self._database)) or "a reader"
        _logger.warning("%s has grown to %d MiB: %s keeps it", self._log, size_bytes >> 20, who)
