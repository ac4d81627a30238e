"""Who else uses the database: the processes that hold SQLite's locks on it, as far as the system tells.

The locks of a database in WAL mode are bytes of `tekton.db-shm`; Linux lists the holders of such locks. Elsewhere,
and for file systems that number their files differently in that list, nobody is found.
"""

import os
from pathlib import Path

# See os_unix.c and wal.c of SQLite: eight locks from byte 120 on, of which the first is the writer's.
_WRITER = range(120, 121)
_READERS = range(123, 128)


def writers(database: Path) -> list[str]:
    """The other processes that hold the right to write: `sqlite3 (process 123)`."""
    return _holders(database, _WRITER)


def readers(database: Path) -> list[str]:
    """The other processes that are in the middle of reading, and so need the log as it is."""
    return _holders(database, _READERS)


def _holders(database: Path, lock: range) -> list[str]:
    try:
        file = os.stat(f"{database}-shm")
        lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return []
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    pids = {pid for line in lines if (pid := _holder(line.split(), place, lock)) is not None}
    return [f"{_name(pid)} (process {pid})" for pid in sorted(pids - {os.getpid()})]


def _holder(fields: list[str], place: str, lock: range) -> int | None:
    # 1: POSIX  ADVISORY  READ 4711 08:01:131 124 124; a second field of "->" marks one that only waits.
    if len(fields) != 8 or fields[1] != "POSIX" or fields[5] != place:
        return None
    last = lock.stop if fields[7] == "EOF" else int(fields[7])
    return int(fields[4]) if int(fields[6]) < lock.stop and last >= lock.start else None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a program"
