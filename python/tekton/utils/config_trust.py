"""Whose configuration is taken without having been named: our own and root's, as sudo and Git have it.

A configuration says which programs run. One that is merely found, in the working directory or above it, may have been
put there by anybody: `/tmp` is above many directories.
"""

import logging
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

_ROOT: Final = 0

_logger = logging.getLogger("tekton.config")


def trusted_users(environ: Mapping[str, str]) -> frozenset[int]:
    """Whose files count as ours: those of this user and of root, and under sudo those of the one who called it."""
    if sys.platform == "win32":
        return frozenset()
    caller = environ.get("SUDO_UID", "") if os.geteuid() == _ROOT else ""
    return frozenset({_ROOT, os.geteuid(), *([int(caller)] if caller.isascii() and caller.isdecimal() else [])})


def all_trusted(paths: Iterable[Path], users: frozenset[int]) -> bool:
    """True when each of these files belongs to *users*, and its directory too, and nobody else may write it.

    What is wrong with the first that does not is told in a warning, once.
    """
    for path in paths:
        if (problem := _problem(path, users)) is not None:
            _tell(str(path), problem)
            return False
    return True


def _problem(path: Path, users: frozenset[int]) -> str | None:
    if sys.platform == "win32":
        return None
    try:
        # A link, and a directory that is one, belongs to who has chosen where it leads.
        owners = {path.lstat().st_uid, path.parent.lstat().st_uid, path.parent.stat().st_uid}
        file = path.stat()
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if strangers := sorted({file.st_uid, *owners} - users):
        return f"it, or its directory, belongs to {_name(strangers[0])}"
    if file.st_mode & stat.S_IWOTH:
        return "everybody may write it"
    if file.st_mode & stat.S_IWGRP and file.st_gid not in (_ROOT, os.getegid()):
        return "another group may write it"
    return None


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@lru_cache(maxsize=64)
def _tell(path: str, problem: str) -> None:
    _logger.warning("%s is not used: %s. If you trust it, name it with --config or TEKTON_CONFIG_FILE", path, problem)
