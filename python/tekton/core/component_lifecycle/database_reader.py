"""How a database is read while another connection writes to it."""

import threading
from pathlib import Path
from typing import Any, Final

import apsw

from tekton.core.component_lifecycle import database

_CACHE_KIB: Final = 4 * 1024


class DatabaseReader:
    """Reads from the file at *path*, through a connection of its own. Of any thread, one at a time."""

    def __init__(self, path: Path, vfs: str = database.CHECKSUM_VFS) -> None:
        self.path: Final = path
        self._vfs = vfs
        self._connection: apsw.Connection | None = None
        self._lock = threading.Lock()

    def rows(self, question: str, values: Any = ()) -> list[Any]:
        """The rows that answer *question*. Raises StorageCorruptError rather than give what is damaged."""
        with database.opening(self.path), self._lock:
            if self._connection is None:
                self._connection = database.connect(self.path, vfs=self._vfs)
                self._connection.pragma("cache_size", -_CACHE_KIB)
            return self._connection.execute(question, values).fetchall()

    def close(self) -> None:
        """Close the file. It is opened again when something is asked."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
