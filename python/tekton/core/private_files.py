"""Files that only their owner may read."""

import os
from pathlib import Path
from typing import Final

MODE: Final = 0o600
SQLITE_SUFFIXES: Final = ("", "-wal", "-shm")
"""What the names of the files of a SQLite database in WAL mode end in."""

_OTHERS: Final = 0o077


def make_private(database: Path) -> None:
    """See to it that only its owner may read the SQLite *database*, if that is us; it is created if it is missing.

    SQLite gives the files beside it the rights that it has. To be called before it is opened here: a descriptor that is
    closed takes all locks away that the process has on the file. Raises OSError.
    """
    if not database.exists():
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, MODE))
    for suffix in SQLITE_SUFFIXES:
        tighten(database.with_name(database.name + suffix))


def open_privately(path: str, flags: int) -> int:
    """An opener for `open`: a file that is created is its owner's alone."""
    return os.open(path, flags, MODE)


def tighten(path: Path) -> None:
    """Take the rights of others from the file at *path*, if there is one and it is ours. Raises OSError."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if os.name != "nt" and found.st_mode & _OTHERS and found.st_uid == os.geteuid():
        os.chmod(path, found.st_mode & 0o700)
