"""Becoming another program: fork, prepare, execute, and say exactly what went wrong if it cannot be done.

Only the guard does this: it is small (a fork copies little) and single-threaded (Python may run between fork and
exec, and a parent-death signal, which follows the forking *thread*, follows the guard).
"""

import errno
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, NoReturn

from tekton.supervisor import cgroups, prctl
from tekton.supervisor.log_rotation import mark_start
from tekton.supervisor.privileges import Identity, Limits, set_limit

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Command(NamedTuple):
    """A program to run. The environment is complete; `keep` is a descriptor that the program inherits.

    With a `group` (a directory of cgroups), that limits its memory, and nothing else does.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    die_with_parent: bool = True
    keep: int | None = None
    identity: Identity | None = None
    limits: Limits = Limits()
    group: str | None = None


class Spawned(NamedTuple):
    """A process on its way. `outcome` is a pipe that ends when the program runs, or tells why it does not.

    `log_problem` says why its output is not kept; None when it is.
    """

    pid: int
    outcome: int
    log_offset: int
    log_problem: str | None


class OpenLog(NamedTuple):
    """A log to write to, and the position at which it ends; with a `problem`, it is /dev/null."""

    descriptor: int
    position: int
    problem: str | None = None


def spawn(command: Command) -> Spawned:
    """Fork and let the child become *command*. Does not wait for it. Raises OSError (fork)."""
    log, log_offset, log_problem = open_log_or_null(command.log, command.identity)
    receive, report = os.pipe()
    parent = os.getpid()
    # A signal between fork and exec must not run the handlers of the guard in its child.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(command, log, report, parent)
    except OSError:
        os.close(receive)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(report)
        os.close(log)
    return Spawned(pid, receive, log_offset, log_problem)


class Failure(NamedTuple):
    """Why a program does not run: a sentence, and the number of the error behind it."""

    reason: str
    errno: int


def read_outcome(outcome: int, command: Command) -> Failure | None:
    """None when *command* runs, else why not. Closes *outcome*. Waits until the child has come that far."""
    with open(outcome, "rb") as pipe:
        stage, _, code = pipe.read().decode().partition(" ")
    if not stage:
        return None
    return Failure(_explain(stage, int(code), command), int(code))


def open_log_or_null(path: str, owner: Identity | None = None) -> OpenLog:
    """Open the log *path*, or what swallows everything if that is not possible: nobody dies for want of a log."""
    try:
        return open_log(path, owner)
    except OSError as error:
        problem = f"{path}: {error.strerror or error}"
        return OpenLog(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 0, problem)


def open_log(path: str, owner: Identity | None = None) -> OpenLog:
    """Open the log *path* to append to it. It is made readable by *owner* (or ourselves) only. Raises OSError."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    # Of a pipe nobody knows whether it is ever read: not to wait for that, and not to write to it.
    log = os.open(path, _APPENDING | (os.O_NOFOLLOW if _is_given_away(owner) else 0), 0o600)
    try:
        kind = os.fstat(log).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISCHR(kind):
            raise OSError(errno.EINVAL, "it is not a regular file")
        os.set_blocking(log, True)
        if not _has_room(log):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _give(log, owner)
        return OpenLog(log, mark_start(log))
    except BaseException:
        os.close(log)
        raise


def _is_given_away(owner: Identity | None) -> bool:
    # What a link leads to must never become somebody else's.
    return owner is not None and not owner.ours


def _give(log: int, owner: Identity | None) -> None:
    """Make an open log that of *owner*, or take it back from who had it before."""
    status = os.fstat(log)
    uid, gid = (owner.uid, owner.gid) if owner is not None else (os.geteuid(), os.getegid())
    if status.st_uid == uid or status.st_nlink != 1 or not stat.S_ISREG(status.st_mode):
        return
    # Programs open /dev/stderr again. If it is not permitted, the process will not run either.
    with suppress(OSError):
        os.fchown(log, uid, gid)
        os.fchmod(log, 0o600)


def _has_room(log: int) -> bool:
    # A program that cannot print often ends. Some file systems (of /dev, for one) count no blocks at all.
    disk = os.fstatvfs(log)
    return disk.f_blocks == 0 or (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) > 0


def _become(command: Command, log: int, report: int, parent: int) -> NoReturn:
    stage = "prepare"
    try:
        for stage in _stages(command, log, parent):  # noqa: B007 - told when it fails
            pass
    except OSError as error:
        os.write(report, f"{stage} {error.errno or 0}".encode())
    except ValueError:
        # So Python tells of a limit that is above the highest one.
        os.write(report, f"{stage} {errno.EPERM}".encode())
    except MemoryError:
        os.write(report, f"memory {errno.ENOMEM}".encode())
    except BaseException:
        # Nothing may leave this function: two processes would go on as the guard.
        os.write(report, f"{stage} {errno.EINVAL}".encode())
    finally:
        os._exit(127)


def _stages(command: Command, log: int, parent: int) -> Iterator[str]:
    """Become *command*, step by step; yields the name of the step that comes next."""
    yield "prepare"
    signal.set_wakeup_fd(-1)
    _default_signals()
    os.setsid()
    _connect_streams(log)
    if command.keep is not None:
        os.set_inheritable(command.keep, True)
    yield from _confine(command)
    yield "prepare"
    if command.die_with_parent:
        # A change of the user would have undone it.
        prctl.die_with_parent(parent, signal.SIGKILL)
    yield "chdir"
    os.chdir(command.cwd)
    if command.limits.memory is not None and command.group is None:
        # The last thing before exec: what we are is larger than what comes.
        yield "memory"
        set_limit("memory", command.limits.memory)
    yield "exec"
    os.execvpe(command.argv[0], command.argv, command.env)


def _confine(command: Command) -> Iterator[str]:
    if command.group is not None:
        yield "group"
        cgroups.join(command.group)
    for name in ("open_files", "processes"):
        if (limit := getattr(command.limits, name)) is not None:
            yield name
            set_limit(name, limit)
    if command.identity is not None:
        yield "user"
        command.identity.assume()


def _default_signals() -> None:
    # exec keeps ignored signals ignored (Python ignores SIGPIPE), and handlers must not run once unblocked.
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(signum) is not signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _connect_streams(log: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


_REASONS = {
    "chdir": "working directory {cwd}: {text}",
    "user": "cannot run as user {user}: {text} (Tekton runs as user {ours})",
    "group": "its memory cannot be limited in {group}: {text}",
    "open_files": "limits.open_files is above what Tekton itself may have",
    "processes": "limits.processes is above what Tekton itself may have",
    "memory": "limits.memory is {fault}",
    "prepare": "could not prepare the process: {text}",
}


def _explain(stage: str, code: int, command: Command) -> str:
    text = os.strerror(code) if code else "unknown error"
    if stage == "exec":
        return _explain_exec(code, text, command)
    return _REASONS[stage].format(
        text=text,
        cwd=command.cwd,
        group=command.group,
        user=command.identity.name if command.identity else "",
        ours=os.geteuid(),
        fault="too little to start a program" if code == errno.ENOMEM else "above what Tekton itself may have",
    )


def _explain_exec(code: int, text: str, command: Command) -> str:
    program = _locate(command)
    if code == errno.ENOENT and program:
        return f"{program}: the interpreter that its first line names does not exist"
    if code == errno.ENOENT:
        return f"command not found: {command.argv[0]}"
    if code == errno.EACCES:
        return f"not executable: {program or command.argv[0]}"
    if code == errno.EAGAIN:
        return "limits.processes: its user has as many already"
    if code == errno.ENOEXEC:
        return f"{program} is not a program (a script needs a '#!' line)"
    return f"{command.argv[0]}: {text}"


def _locate(command: Command) -> str | None:
    """The file that *command* names, executable or not."""
    program = command.argv[0]
    if os.sep in program:
        path = os.path.join(command.cwd, program)
        return path if os.path.exists(path) else None
    return shutil.which(program, os.F_OK, command.env.get("PATH", os.defpath))
