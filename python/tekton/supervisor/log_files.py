"""Opening a log: a regular file, whatever somebody has put in its place.

Who may write the directory of a log can replace it: by a link to a file that only we may read, by a pipe that keeps
whoever opens it waiting, by a device. So nothing is waited for, and a link is followed only if it belongs to us or to
root, and only to the file that it named when we looked at it.
"""

import errno
import os
import stat
import sys
from typing import Final

_CAREFULLY: Final = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"))


def open_log_file(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Open the log *path*. Raises FileNotFoundError when there is none, and OSError for what is not a regular file."""
    try:
        file = os.open(path, flags | _CAREFULLY)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        file = os.open(_target(os.fspath(path)), flags | _CAREFULLY)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
        if sys.platform != "win32":
            os.set_blocking(file, True)
    except BaseException:
        os.close(file)
        raise
    return file


def _target(path: str) -> str:
    """Where a link leads that is not a stranger's. What is a link there again is not followed."""
    if sys.platform != "linux":
        raise OSError(errno.ELOOP, "it is a link", path)
    # A link cannot be changed, only replaced: what is read here belongs to the owner that is seen here.
    link = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(link).st_uid not in (0, os.geteuid()):
            raise OSError(errno.ELOOP, "it is a link that belongs to somebody else", path)
        return os.path.join(os.path.dirname(path), os.readlink("", dir_fd=link))
    finally:
        os.close(link)
