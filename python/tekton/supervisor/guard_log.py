"""What the guard has to say. It goes to the log of the control plane: a terminal can block, a file does not."""

import os
import sys
import time

from tekton.clock import Clock
from tekton.supervisor.spawn import open_log_or_null


class GuardLog:
    """Appends lines to a file. When that cannot be written, it says so once and goes on."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._file, _, problem = open_log_or_null(path)
        self._clock = clock
        if problem is not None:
            complain(f"the log cannot be written: {problem}")

    def say(self, text: str) -> None:
        """Add a line to the file."""
        self._write("WARNING", text)

    def complain(self, text: str) -> None:
        """Say it to the person who started the guard, too. Only before and after the guard's work: it may block."""
        self._write("ERROR", text)
        complain(text)

    def _write(self, level: str, text: str) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.time()))
        try:
            os.write(self._file, f"{at} {level} tekton.guard: {text}\n".encode())
        except OSError:
            # A full disk must not fell the guard.
            pass


def complain(text: str) -> None:
    """A line on standard error, if that is still there."""
    try:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"tekton: {text}\n".encode())
    except OSError:
        pass
