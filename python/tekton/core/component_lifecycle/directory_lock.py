"""One owner per data directory.

The lock is the operating system's and goes with the process, however it ends; the file `LOCK` stays. It contains
the owner's process id while the lock is held. Two locks on one directory exclude each other within a process too.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

from tekton.core.private_files import MODE, tighten
from tekton.utils.tekton_errors import StorageLockedError

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes, and then nobody can read them: lock one that is never written.
    _FAR = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class DirectoryLock:
    """The exclusive right to the files in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "LOCK"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting. Raises StorageLockedError with the owner's pid, or OSError."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, MODE)
        try:
            _lock(fd)
        except (BlockingIOError, PermissionError) as error:
            owner = _read_pid(fd)
            os.close(fd)
            raise StorageLockedError(str(self._path.parent), owner) from error
        with suppress(OSError):
            tighten(self._path)
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. Does nothing when it is not held."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.ftruncate(fd, 0)
            os.close(fd)


def _read_pid(fd: int) -> int | None:
    # The owner writes its pid just after it has locked: for a moment there is none.
    text = os.read(fd, 32).strip()
    return int(text) if text.isdigit() else None
