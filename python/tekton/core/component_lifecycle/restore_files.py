"""The files of a database, as a restore moves them about."""

import os
import shutil
from pathlib import Path

from tekton.utils.tekton_errors import BackupError


def put_aside(present: Path, kept: Path) -> None:
    """Give what is there its other name, if there is anything."""
    # The log goes before its database: it must never lie beside another one.
    for old, new in ((_log_of(present), _log_of(kept)), (present, kept)):
        if old.exists():
            old.rename(new)
    _shared_memory_of(present).unlink(missing_ok=True)


def stage(backup: Path, staged: Path) -> None:
    """Make *staged* a copy of *backup*, for its owner only. Raises BackupError for what is none."""
    if not backup.is_file():
        raise BackupError(str(backup), "there is no such file")
    if _has_content(_log_of(backup)):
        raise BackupError(str(backup), "not a backup but a database in use: its log lies beside it")
    remove(staged)
    _copy(backup, staged)


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1024 * 1024)


def sync(path: Path) -> None:
    """Have the file at *path* on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a database, and what lies beside it."""
    for each in (path, _log_of(path), _shared_memory_of(path), path.with_name(f"{path.name}-journal")):
        each.unlink(missing_ok=True)


def remove_empty_log(path: Path) -> None:
    """Remove the log that whoever reads a database makes beside it, if there is none: it is empty."""
    if not _has_content(_log_of(path)):
        _log_of(path).unlink(missing_ok=True)
        _shared_memory_of(path).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _shared_memory_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
