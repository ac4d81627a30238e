"""Rotating a log while processes write to it: its front goes to `<log>.1`, what was there to `<log>.2`, and so on.

Processes have the log open to append to it, so it cannot be replaced. Where the file system can take the front out of
a file (ext4, XFS, F2FS), nothing is lost and writers wait for milliseconds at most. Elsewhere the log is copied and
cut, and what is written in between is lost. When a log grows faster than it can be copied, or there is no room for the
copy, its oldest part is dropped: the disk is not filled, and nobody is stopped.

Together the files take no more than `max_size` x (`keep` + 1), and what is written while this goes on.

Readers find their way by positions, which count all that was ever written: an attribute of the log says how much of it
has been taken away (`removed`). It has no number while the bytes are on their way.
"""

import ctypes
import errno
import os
import re
import sys
import time
from contextlib import suppress
from typing import Final, NamedTuple

from tekton.supervisor.log_files import open_log_file

MOST_KEPT: Final = 20
"""No more rotated files are ever kept of one log."""

_REMOVED: Final = "user.tekton.removed"
_STARTED: Final = "user.tekton.started"
_NUMBERS: Final = re.compile(rb"[0-9]{1,18}(?:\+[0-9]{1,18})?")
_COLLAPSE_RANGE: Final = 0x08
_PIECE: Final = 4 * 1024 * 1024
_CATCH_UP: Final = 3
_ROUNDS: Final = 20
_PATIENCE: Final = 20
_PAUSE: Final = 0.005
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Rotation(NamedTuple):
    """A log of more than `max_size` bytes is rotated; `keep` older files of that size stay."""

    max_size: int = 64 * 1024 * 1024
    keep: int = 3


class OutrunError(Exception):
    """The log grows faster than it is copied."""


def rotate(path: str, rotation: Rotation) -> int:
    """Rotate the log *path* until it is small enough; the number of bytes that had to be dropped. Raises OSError.

    Only one process may do this at a time. It reads and writes as much as the log is long. After twenty rounds with a
    log that is written as fast as that, it leaves the rest to the next call.
    """
    log = open_log_file(path, os.O_RDWR)
    try:
        settle(log, path)
        return _rotate(log, path, rotation)
    finally:
        os.close(log)


def settle(log: int, path: str) -> None:
    """Bring to an end what a process that was killed had begun. At worst some bytes are there twice."""
    if removed(log) is None:
        _shift(path, MOST_KEPT)
        _set_attribute(log, _REMOVED, expected(log))
    _remove(_part(path))


def removed(log: int) -> int | None:
    """The position of the first byte of an open log; None while that is about to change."""
    numbers = _numbers(log, _REMOVED)
    return None if len(numbers) > 1 else sum(numbers)


def expected(log: int) -> int:
    """The position of the first byte once all that has begun is done."""
    return sum(_numbers(log, _REMOVED))


def first_position(log: int) -> int:
    """The position of the first byte of an open log; waits for a moment while that is about to change."""
    for _ in range(_PATIENCE):
        if (position := removed(log)) is not None:
            return position
        time.sleep(_PAUSE)
    return expected(log)


def mark_start(log: int) -> int:
    """Note that a new run begins at the end of an open log; that position."""
    position = first_position(log) + os.fstat(log).st_size
    _set_attribute(log, _STARTED, position)
    return position


def last_start(log: int) -> int | None:
    """The position at which the last run began; None when it is not known."""
    return next(iter(_numbers(log, _STARTED)), None)


def _rotate(log: int, path: str, rotation: Rotation) -> int:
    # What would be moved out of sight at once is not worth a copy.
    excess = os.fstat(log).st_size - rotation.max_size * (rotation.keep + 1)
    dropped = _drop(log, excess) if excess > 0 else 0
    before = sys.maxsize
    for _ in range(_ROUNDS):
        size = os.fstat(log).st_size
        if size <= rotation.max_size:
            break
        if size >= before and size > 2 * rotation.max_size:
            dropped += _drop(log, size - rotation.max_size)
        else:
            try:
                dropped += _move_front(log, path, rotation, size)
            except OutrunError:
                size = 0
        before = size
    return dropped


def _move_front(log: int, path: str, rotation: Rotation, size: int) -> int:
    """Move at most `max_size` bytes to a file of their own; how many bytes were dropped."""
    for number in range(rotation.keep, MOST_KEPT + 1):
        _remove(f"{path}.{number}")
    length = min(size - 1, rotation.max_size) // _block(log) * _block(log)
    with open(_open_part(path), "wb", buffering=0) as part:
        try:
            _copy(log, part.fileno(), 0, length, outrun_at=size + rotation.max_size)
        except (OSError, OutrunError) as error:
            _remove(_part(path))
            if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
                raise
            return _drop(log, length)
        _take_out(log, path, rotation, length, part.fileno())
        return 0


def _take_out(log: int, path: str, rotation: Rotation, length: int, part: int) -> None:
    """Take what was copied out of the log, and give the copy its name. If that fails, `settle` ends it."""
    start = expected(log)
    if not _collapse(log, start, length):
        length = _copy_rest_and_cut(log, rotation, length, part)
    _shift(path, rotation.keep)
    _trim(path, rotation)
    _set_attribute(log, _REMOVED, start + length)


def _copy_rest_and_cut(log: int, rotation: Rotation, copied: int, part: int) -> int:
    """Where the front cannot be taken out: move everything. Returns how much that is."""
    size = os.fstat(log).st_size
    with suppress(OSError, OutrunError):
        _copy(log, part, copied, size, outrun_at=size + rotation.max_size)
        for _ in range(_CATCH_UP):
            if (grown := os.fstat(log).st_size) > size:
                _copy(log, part, size, grown, outrun_at=grown + rotation.max_size)
                size = grown
    os.ftruncate(log, 0)
    return size


def _drop(log: int, length: int) -> int:
    """Take the oldest *length* bytes out of the log; how many it were."""
    start, length = expected(log), -(-length // _block(log)) * _block(log)
    if not _collapse(log, start, length):
        length = os.fstat(log).st_size
        os.ftruncate(log, 0)
    _set_attribute(log, _REMOVED, start + length)
    return length


def _copy(log: int, part: int, start: int, end: int, outrun_at: int) -> None:
    while start < end:
        if os.fstat(log).st_size > outrun_at:
            raise OutrunError
        piece = os.pread(log, min(_PIECE, end - start), start)
        if not piece:
            return
        start += len(piece)
        while piece:
            piece = piece[os.write(part, piece) :]


def _collapse(log: int, start: int, length: int) -> bool:
    """Take the first *length* bytes, from position *start*, out of the file; False where the file system cannot.

    Readers wait until the caller says where the log begins now. Raises OSError, and then nothing has changed.
    """
    _set_attribute(log, _REMOVED, start, length)
    fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
    if fallocate is None:
        return False
    if fallocate(log, _COLLAPSE_RANGE, ctypes.c_int64(0), ctypes.c_int64(length)) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
        return False
    _set_attribute(log, _REMOVED, start)
    raise OSError(code, os.strerror(code))


def _block(log: int) -> int:
    return max(os.fstat(log).st_blksize, 1)


def _part(path: str) -> str:
    return f"{path}.part"


def _open_part(path: str) -> int:
    nofollow = getattr(os, "O_NOFOLLOW", 0)
    return os.open(_part(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | nofollow, 0o600)


def _shift(path: str, keep: int) -> None:
    names = [_part(path), *(f"{path}.{number}" for number in range(1, keep + 1))]
    if not os.path.exists(names[0]):
        return
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        with suppress(FileNotFoundError):
            os.replace(newer, older)


def _trim(path: str, rotation: Rotation) -> None:
    """Remove the oldest files when all of them are too large, as they are where everything has to be moved."""
    room = rotation.max_size * rotation.keep
    for number in range(1, rotation.keep + 1):
        name = f"{path}.{number}"
        with suppress(FileNotFoundError):
            room -= os.stat(name).st_size
            if room < 0 and number > 1:
                os.unlink(name)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _numbers(log: int, name: str) -> list[int]:
    """What `_set_attribute` has written. Whoever owns the log can write something else: that is not there for us."""
    try:
        text = os.getxattr(log, name)
    except (OSError, AttributeError):
        return []
    return [int(number) for number in text.split(b"+")] if _NUMBERS.fullmatch(text) else []


def _set_attribute(log: int, name: str, *numbers: int) -> None:
    # Without it, readers notice at least that a log has become shorter.
    with suppress(OSError, AttributeError):
        os.setxattr(log, name, b"+".join(b"%d" % number for number in numbers))
