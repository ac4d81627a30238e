"""Becoming another program: fork, prepare, execute, and say exactly what went wrong if it cannot be done.

Only the guard does this: it is small (a fork copies little) and single-threaded (Python may run between fork and
exec, and a parent-death signal, which follows the forking *thread*, follows the guard).
"""

import errno
import os
import shutil
import signal
from typing import NamedTuple, NoReturn

from tekton.supervisor import prctl

LOG_ROTATE_BYTES = 64 * 1024 * 1024
"""A log larger than this is moved to `<name>.1` when its process is started anew."""


class Command(NamedTuple):
    """A program to run. The environment is complete; `keep` is a descriptor that the program inherits."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    die_with_parent: bool = True
    keep: int | None = None


class Spawned(NamedTuple):
    """A process on its way. `outcome` is a pipe that ends when the program runs, or tells why it does not."""

    pid: int
    outcome: int
    log_offset: int


def spawn(command: Command) -> Spawned:
    """Fork and let the child become *command*. Does not wait for it. Raises OSError (log file, fork)."""
    log, log_offset = open_log(command.log)
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
    return Spawned(pid, receive, log_offset)


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


def open_log(path: str) -> tuple[int, int]:
    """Open the log *path* to append to it, readable by its owner only; the descriptor and the size so far."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    _rotate(path)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return log, os.fstat(log).st_size


def _rotate(path: str) -> None:
    try:
        if os.path.getsize(path) > LOG_ROTATE_BYTES:
            os.replace(path, f"{path}.1")
    except FileNotFoundError:
        pass


def _become(command: Command, log: int, report: int, parent: int) -> NoReturn:
    stage = "prepare"
    try:
        signal.set_wakeup_fd(-1)
        _default_signals()
        os.setsid()
        if command.die_with_parent:
            prctl.die_with_parent(parent, signal.SIGKILL)
        _connect_streams(log)
        if command.keep is not None:
            os.set_inheritable(command.keep, True)
        stage = "chdir"
        os.chdir(command.cwd)
        stage = "exec"
        os.execvpe(command.argv[0], command.argv, command.env)
    except OSError as error:
        os.write(report, f"{stage} {error.errno or 0}".encode())
    except BaseException:
        # Nothing may leave this function: two processes would go on as the guard.
        os.write(report, f"{stage} {errno.EINVAL}".encode())
    finally:
        os._exit(127)


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


def _explain(stage: str, code: int, command: Command) -> str:
    text = os.strerror(code) if code else "unknown error"
    match stage:
        case "exec":
            return _explain_exec(code, text, command)
        case "chdir":
            return f"working directory {command.cwd}: {text}"
        case _:
            return f"could not prepare the process: {text}"


def _explain_exec(code: int, text: str, command: Command) -> str:
    program = _locate(command)
    if code == errno.ENOENT and program:
        return f"{program}: the interpreter that its first line names does not exist"
    if code == errno.ENOENT:
        return f"command not found: {command.argv[0]}"
    if code == errno.EACCES:
        return f"not executable: {program or command.argv[0]}"
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
