"""The anchor: the outer half of the guard, which answers for everything if the inner half is killed.

The process that the user starts is the anchor. It forks the guard proper, passes signals on, waits, and ends with
the guard's exit code. Both are subreapers, so whatever was started below them, however it detached itself, stays below
them, and either one can kill all of it exactly:

- the guard is killed: its orphans become children of the anchor, which kills them all and ends with 137;
- the anchor is killed: the guard gets its parent-death signal, kills everything and ends.
"""

import os
import signal
import traceback
from collections.abc import Callable
from typing import Final

from tekton.clock import Clock
from tekton.supervisor import prctl, procfs

_PASSED_ON: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_KILL_LIMIT: Final = 10.0
_POLL: Final = 0.02


def anchored(work: Callable[[], int], release: Callable[[], None], clock: Clock) -> int:
    """Run *work* in a child process; its exit code once nothing that it started is left.

    The child begins with the stop signals and SIGCHLD blocked: *work* unblocks them when it can handle them.
    *release* is called in this process, to close what only the child may hold.
    """
    prctl.become_subreaper()
    watched = _watched()
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    anchor = os.getpid()
    guard = os.fork()
    if guard == 0:
        _run(work, anchor)
    release()
    prctl.set_name("tekton-anchor")
    status = _wait_for(guard, watched)
    _kill_descendants(clock)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _run(work: Callable[[], int], anchor: int) -> None:
    code = 70
    try:
        # Out of the terminal's foreground group: a Ctrl-C reaches the anchor, which passes it on once.
        os.setsid()
        prctl.become_subreaper()
        prctl.set_name("tekton-guard")
        prctl.die_with_parent(anchor, signal.SIGTERM)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _watched() -> set[signal.Signals]:
    # What is ignored was ignored on purpose, and a blocked signal would come nevertheless. Not so SIGHUP, which nohup
    # ignores: here it does not mean that a terminal has closed.
    ignored = {signum for signum in _PASSED_ON if signal.getsignal(signum) is signal.SIG_IGN}
    return {*_PASSED_ON, signal.SIGCHLD} - (ignored - {signal.SIGHUP})


def _wait_for(guard: int, watched: set[signal.Signals]) -> int:
    # sigwait rather than handlers and waitpid: a signal between a check and a wait would be noticed too late.
    while True:
        signum = signal.sigwait(watched)
        if signum in _PASSED_ON:
            os.kill(guard, signum)
            continue
        for pid, status in _reap():
            if pid == guard:
                return status


def _reap() -> list[tuple[int, int]]:
    ended = []
    try:
        while (result := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(result)
    except ChildProcessError:
        pass
    return ended


def _kill_descendants(clock: Clock) -> None:
    give_up_at = clock.monotonic() + _KILL_LIMIT
    while (left := procfs.descendants(os.getpid())) and clock.monotonic() < give_up_at:
        procfs.kill_all(left)
        signal.sigtimedwait([signal.SIGCHLD], _POLL)
        _reap()
