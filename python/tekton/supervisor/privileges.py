"""What a component may do: the user that it runs as, and the most that it may use.

`resolve_user` and `Limits` are made by the control plane; the rest runs between fork and exec, in the child.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

if sys.platform != "win32":
    import grp
    import pwd
    import resource


CONTROL_PLANE_SECRETS: Final = frozenset({"TEKTON_SECURITY_JWT_SECRET"})
"""Variables that are settings of the control plane and secret. A component that is to have one has it in its `env`."""


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


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """*environment* for a process that is not the control plane: without the secrets that are its alone."""
    return {name: value for name, value in environment.items() if name not in CONTROL_PLANE_SECRETS}


def set_limit(name: str, value: int) -> None:
    """Limit this process and all that it becomes. Raises OSError or ValueError when that is not permitted."""
    resource.setrlimit(getattr(resource, _RESOURCES[name]), (value, value))
