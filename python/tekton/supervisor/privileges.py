"""What a component may do: the user that it runs as, and the most that it may use.

`resolve_user` and `Limits` are made by the control plane; the rest runs between fork and exec, in the child.
"""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

if sys.platform != "win32":
    import grp
    import pwd
    import resource


CONTROL_PLANE_SECRETS: Final = frozenset({"TEKTON_SECURITY_JWT_SECRET"})
"""Variables that are settings of the control plane and secret. A component that is to have one has it in its `env`."""


_FOR_EVERYBODY: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ"})
"""What a process of another user inherits, beside LC_...: what the machine is like, nothing that is ours."""


class UnknownUserError(Exception):
    """There is no such user or group; the text says which."""


class Identity(NamedTuple):
    """A user by its numbers: what a process becomes. `groups` are the supplementary ones, `name` is for people."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def ours(self) -> bool:
        """True when this process is that already."""
        return (self.uid, self.gid) == (os.geteuid(), os.getegid())

    def environment(self) -> dict[str, str]:
        """The variables by which programs find out who they are."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def assume(self) -> None:
        """Become this user, for good. Raises OSError when that is not permitted."""
        if self.ours:
            return
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)


class Limits(NamedTuple):
    """The most that one process may use; None is no limit of ours. `memory` is in bytes.

    `processes` counts all that run as its user, threads included, and does not bind root.
    """

    open_files: int | None = None
    processes: int | None = None
    memory: int | None = None


_RESOURCES: Final = {"open_files": "RLIMIT_NOFILE", "processes": "RLIMIT_NPROC", "memory": "RLIMIT_AS"}


def resolve_user(text: str) -> Identity:
    """The user that *text* names: `name` or `name:group`, each of them may be a number. Raises UnknownUserError.

    May ask a directory service, and wait for it.
    """
    user, _, group = text.partition(":")
    entry = _user(user)
    gid = _group(group) if group else entry.pw_gid
    return Identity(entry.pw_name, entry.pw_uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)), entry.pw_dir)


def _user(text: str) -> "pwd.struct_passwd":
    try:
        return pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except (KeyError, OverflowError) as error:
        raise UnknownUserError(f"there is no user {text}") from error


def _group(text: str) -> int:
    try:
        return int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError as error:
        raise UnknownUserError(f"there is no group {text}") from error


def inherited(environment: Mapping[str, str], identity: Identity | None) -> dict[str, str]:
    """What a process inherits of *environment*, ours: all but the secrets of the control plane, as ourselves.

    As somebody else, next to nothing, as with `su -` or systemd: what stands there may be our secrets, or may make
    programs load what is not theirs.
    """
    if identity is None or identity.ours:
        return {name: value for name, value in environment.items() if name not in CONTROL_PLANE_SECRETS}
    return {name: value for name, value in environment.items() if name in _FOR_EVERYBODY or name.startswith("LC_")}


def exposed_directory(path: str, identity: Identity) -> str | None:
    """The directory on the way to *path*, or *path* itself, in which *identity* may replace what leads there.

    None when there is no such directory, and for root and ourselves, from whom nothing is safe.
    """
    if identity.uid == 0 or identity.ours:
        return None
    ways = dict.fromkeys((os.path.abspath(path), os.path.realpath(path)))
    return next((place for way in ways for place in _parents(way) if _may_replace(place, identity)), None)


def _parents(path: str) -> Iterator[str]:
    while True:
        yield path
        parent = os.path.dirname(path)
        if parent == path:
            return
        path = parent


def _may_replace(directory: str, identity: Identity) -> bool:
    try:
        status = os.stat(directory)
    except FileNotFoundError:
        return False  # it is made by us
    if status.st_uid == identity.uid:
        return True
    # In /tmp and its like everybody may make files, but move those of nobody else.
    if status.st_mode & stat.S_ISVTX:
        return False
    in_group = status.st_gid == identity.gid or status.st_gid in identity.groups
    return bool(status.st_mode & (stat.S_IWGRP if in_group else stat.S_IWOTH))


def set_limit(name: str, value: int) -> None:
    """Limit this process and all that it becomes. Raises OSError or ValueError when that is not permitted."""
    resource.setrlimit(getattr(resource, _RESOURCES[name]), (value, value))
