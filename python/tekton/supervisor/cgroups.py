"""Memory limits by cgroup v2, where one has been delegated to us: one group for each process that has a limit.

The groups are made beside the one that we run in, so the group around both has to be ours and has to hold no process
itself: what systemd gives with `Delegate=yes` and `DelegateSubgroup=main`. Where that is not so, nothing here is
available.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_PREFIX: Final = "tekton-"
_DELEGATED: Final = ("user.delegate", "trusted.delegate")


class MemoryGroups:
    """The groups of one guard. *base* is the directory in which they are made; None: there is none."""

    def __init__(self, base: str | None, owner: str) -> None:
        self._base = base
        self._prefix = f"{_PREFIX}{owner}"
        if base is not None:
            self._remove_leftovers(base)

    @classmethod
    def delegated(cls, owner: str) -> "MemoryGroups":
        """In the cgroup that was delegated to this process. *owner* begins the names, those of earlier runs too."""
        base = base_directory(_lines("/proc/self/cgroup"), _lines("/proc/self/mountinfo"))
        return cls(base if base is not None and _usable(base) else None, owner)

    def make(self, name: str, limit: int) -> str | None:
        """A group whose processes may use *limit* bytes together: its directory; None when it cannot be made."""
        if self._base is None:
            return None
        group = os.path.join(self._base, f"{self._prefix}.{name}")
        try:
            os.mkdir(group)
            _write(group, "memory.max", str(limit))
            # All of it or nothing: a service that has lost one of its processes is of no use.
            _write(group, "memory.oom.group", "1")
        except OSError:
            self.remove(group)
            return None
        return group

    def remove(self, group: str) -> None:
        """Remove a group in which nothing runs any more."""
        with suppress(OSError):
            os.rmdir(group)

    def _remove_leftovers(self, base: str) -> None:
        for name in os.listdir(base):
            if name.startswith(self._prefix):
                self.remove(os.path.join(base, name))


def join(group: str) -> None:
    """Move this process into *group*. Raises OSError."""
    _write(group, "cgroup.procs", "0")


def has_killed(group: str) -> bool:
    """True when the kernel has killed in *group* for want of memory."""
    events = dict(line.split() for line in _lines(os.path.join(group, "memory.events")))
    return int(events.get("oom_kill", 0)) > 0


def base_directory(cgroup: Iterable[str], mountinfo: Iterable[str]) -> str | None:
    """The directory around the cgroup v2 group of a process, from these two files of it in /proc."""
    own = next((line.partition("::")[2] for line in cgroup if line.startswith("0::")), None)
    mount = next((line.split() for line in mountinfo if " - cgroup2 " in line), None)
    if own is None or mount is None:
        return None
    root, place = mount[3], mount[4]
    inside = os.path.relpath(own, root)
    if inside == "." or inside.startswith(".."):
        return None
    return os.path.normpath(os.path.join(place, inside, ".."))


def _usable(base: str) -> bool:
    if not _is_ours(base):
        return False
    if "memory" not in _words(base, "cgroup.subtree_control"):
        with suppress(OSError):
            _write(base, "cgroup.subtree_control", "+memory")
    return "memory" in _words(base, "cgroup.subtree_control")


def _is_ours(base: str) -> bool:
    if not os.access(base, os.W_OK):
        return False
    # Root may write everywhere, but what was not given to us is managed by somebody else.
    return os.geteuid() != 0 or any(_attribute(base, name) == b"1" for name in _DELEGATED)


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except (OSError, AttributeError):
        return b""


def _words(group: str, name: str) -> list[str]:
    return " ".join(_lines(os.path.join(group, name))).split()


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _write(group: str, name: str, text: str) -> None:
    with open(os.path.join(group, name), "w", encoding="utf-8") as file:
        file.write(text)
