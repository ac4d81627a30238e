"""What process 1 of a container has to do beside its work: pass signals on, and reap whom nobody waits for.

A process whose parent has ended becomes a child of process 1 (what an engine runs in the container to ask how it is,
say), and stays there as a zombie until it is waited for. A program that takes care of its own children only cannot do
that. So it runs as a child of a process that does nothing else.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_PASSED_ON: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
)


def below_process_one(run: Callable[[], int]) -> int:
    """The exit code of *run*. Called in process 1, it runs in a child, and this returns when that has ended.

    The child gets the signals that process 1 gets; who was killed by signal N has the exit code 128 + N.
    """
    return run() if os.getpid() != 1 else attended(run)


def attended(run: Callable[[], int]) -> int:
    """The exit code of *run* in a child, while this process reaps and passes signals on, and does nothing else."""
    heard = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    child = os.fork()
    if child == 0:
        _take_terminal()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return run()
    while True:
        signum = signal.sigwait(heard)
        if signum != signal.SIGCHLD:
            # It may have ended just now.
            with suppress(ProcessLookupError):
                os.kill(child, signum)
        elif (status := _reaped(child)) is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _reaped(child: int) -> int | None:
    """Wait for all that have ended; the status of *child* if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _take_terminal() -> None:
    """Have the Ctrl-C of a terminal to oneself: passed on besides, it would come twice, and the second one kills."""
    os.setpgid(0, 0)
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with suppress(OSError):  # there is no terminal
        os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)
