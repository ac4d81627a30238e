"""The two process attributes that tie a tree of processes together. Linux only; elsewhere nothing happens."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

# Loaded at import: between fork and exec nothing should have to be found and mapped.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

AVAILABLE = _libc is not None
"""False where nothing below has an effect."""


def become_subreaper() -> None:
    """Orphans below this process become its children, instead of those of init."""
    _call(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Name this process (at most 15 bytes are kept) in lists of processes."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Receive *signum* when the parent ends; at once when *parent* has ended already.

    It is the end of the thread that forked which counts, so the parent must be single-threaded.
    """
    _call(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def _call(option: int, value: int) -> None:
    if _libc is not None and _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
