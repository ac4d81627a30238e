"""The guard: a small process that starts, owns and reaps every process of a Tekton system.

    python -m tekton.supervisor.guard --data-dir DIR [--drain-timeout SECONDS] -- CONTROL PLANE COMMAND...
    python -m tekton.supervisor.guard --data-dir DIR --attached

It keeps the control plane running and every component alive while the control plane restarts; when it ends, nothing
that it started is left. With `--attached` it serves a control plane that runs already and is at the other end of the
inherited socket `TEKTON_GUARD_FD`; it ends when that socket closes.

SIGTERM or SIGINT stops in order: the control plane is asked, then what is left. A second one kills at once. SIGHUP is
passed on to the control plane, which reads its configuration anew.
Exit codes: that of the control plane when it ended by itself (0, 8, 75, 78; 73 when it has never served) or failed to
come up too often in a row, 0 after an orderly stop, 73 when the data directory cannot be written, 75 when it has a
guard already, 127 when the control plane cannot be executed, 128 + N after a second signal N.
Only the standard library is used here, in one thread.
"""

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.process_exit import leave
from tekton.supervisor import procfs
from tekton.supervisor.anchor import anchored
from tekton.supervisor.guard_log import GuardLog, complain
from tekton.supervisor.guard_loop import Guard, Settings

EXIT_CANNOT_WRITE: Final = 73
EXIT_IN_USE: Final = 75
_SWEEP_LIMIT: Final = 5.0
_POLL: Final = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a guard with these command-line arguments; the exit code."""
    options = _parse(arguments)
    data_dir = os.path.realpath(options.data_dir)
    try:
        return _take_charge(options, data_dir)
    except OSError as error:
        complain(f"{error.filename or data_dir} cannot be used: {error.strerror or error}")
        return EXIT_CANNOT_WRITE


def _take_charge(options: argparse.Namespace, data_dir: str) -> int:
    settings = _settings(options, data_dir)
    _tidy_descriptors()
    run_dir = os.path.join(data_dir, "run")
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    os.makedirs(run_dir, mode=0o700, exist_ok=True)
    if not _lock(run_dir, SYSTEM_CLOCK, options.lock_timeout):
        complain(f"{data_dir} is in use by {_owner(run_dir)}")
        return EXIT_IN_USE
    log = GuardLog(os.path.join(data_dir, "logs", "tekton.log"), SYSTEM_CLOCK)
    _kill_leftovers(data_dir, log, SYSTEM_CLOCK)
    return _run(settings, log, os.path.join(run_dir, "guard.json"))


def data_dir_mark(data_dir: str) -> str:
    """What the marks of all processes of a data directory begin with. *data_dir* is a real path."""
    return hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16] + "."


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tekton.supervisor.guard", allow_abbrev=False)
    parser.add_argument("--data-dir", required=True, help="where the system keeps its state")
    parser.add_argument("--drain-timeout", type=float, default=60.0, help="seconds for an orderly stop (default 60)")
    parser.add_argument("--lock-timeout", type=float, default=2.0, help="seconds to wait for a guard that is ending")
    parser.add_argument("--failed-starts", type=int, default=60, help="in a row, before giving up (default 60)")
    parser.add_argument("--attached", action="store_true", help="serve the control plane at TEKTON_GUARD_FD")
    parser.add_argument("command", nargs="*", help="the control plane, after --")
    options = parser.parse_args(arguments)
    if options.attached == bool(options.command):
        parser.error("either --attached, or the command of the control plane after --")
    if options.attached and not os.environ.get("TEKTON_GUARD_FD", "").isdigit():
        parser.error("--attached needs a descriptor in TEKTON_GUARD_FD")
    return options


def _settings(options: argparse.Namespace, data_dir: str) -> Settings:
    attached_fd = os.environ.pop("TEKTON_GUARD_FD", None)
    return Settings(
        data_dir=data_dir,
        run_id=data_dir_mark(data_dir) + secrets.token_hex(8),
        public_pid=os.getpid(),
        environment=_base_environment(),
        control_plane=options.command,
        attached_fd=int(attached_fd) if options.attached and attached_fd else None,
        drain_timeout=options.drain_timeout,
        failed_starts=options.failed_starts,
    )


def _base_environment() -> dict[str, str]:
    # A component's "python" is ours (it has Tekton), unless the user has activated an environment of their own.
    path = os.environ.get("PATH", os.defpath)
    ours = os.path.dirname(sys.executable)
    parts = [path, ours] if "VIRTUAL_ENV" in os.environ else [ours, path]
    return {**os.environ, "PATH": os.pathsep.join(parts), "TEKTON_GUARD_PID": str(os.getpid())}


def _lock(run_dir: str, clock: Clock, patience: float) -> bool:
    """Take the lock that the anchor and the guard hold together until both have ended."""
    lock = os.open(os.path.join(run_dir, "guard.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = clock.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A guard that is just ending is waited for.
            if clock.monotonic() >= give_up_at:
                return False
            time.sleep(_POLL)
        else:
            return True


def _owner(run_dir: str) -> str:
    try:
        with open(os.path.join(run_dir, "guard.json"), encoding="utf-8") as file:
            return f"a Tekton guard (pid {json.load(file)['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another Tekton guard"


def _tidy_descriptors() -> None:
    """Descriptors 0 to 2 exist; no other one (of whoever started us) reaches a component."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    for name in os.listdir("/dev/fd"):
        try:
            os.set_inheritable(int(name), int(name) <= 2)
        except OSError:
            pass


def _kill_leftovers(data_dir: str, log: GuardLog, clock: Clock) -> None:
    """Kill what an earlier run left behind. We hold the lock, so everything with our mark is a leftover."""
    ourselves = (os.getpid(), os.getppid())
    give_up_at = clock.monotonic() + _SWEEP_LIMIT
    while (left := procfs.marked(data_dir_mark(data_dir), exclude=ourselves)) and clock.monotonic() < give_up_at:
        log.say(f"killing {len(left)} processes that an earlier run left: {[process.pid for process in left]}")
        procfs.kill_all(left)
        time.sleep(_POLL)


def _run(settings: Settings, log: GuardLog, guard_file: str) -> int:
    _write_guard_file(guard_file, settings)
    try:
        code = anchored(lambda: _guard(settings, log, guard_file), lambda: _close(settings.attached_fd), SYSTEM_CLOCK)
    finally:
        _remove(guard_file)
    if code == 128 + signal.SIGKILL:
        complain("the guard was killed; everything that it had started was killed too")
    return code


def _guard(settings: Settings, log: GuardLog, guard_file: str) -> int:
    try:
        return Guard(settings, log).run()
    finally:
        _remove(guard_file)


def _write_guard_file(path: str, settings: Settings) -> None:
    content = {"pid": settings.public_pid, "started_at": SYSTEM_CLOCK.time(), "run_id": settings.run_id}
    temporary = f"{path}.new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(temporary, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


if __name__ == "__main__":
    leave(main())
