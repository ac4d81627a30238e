"""How a process ended."""

import os
import signal
from typing import NamedTuple


class Exit(NamedTuple):
    """The end of a process: by `code`, or by `signal`."""

    code: int | None
    signal: int | None

    @classmethod
    def of(cls, status: int) -> "Exit":
        """From the status that `waitpid` gives."""
        code = os.waitstatus_to_exitcode(status)
        return cls(code, None) if code >= 0 else cls(None, -code)

    @property
    def clean(self) -> bool:
        """True for exit code 0."""
        return self.code == 0

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit {self.code}"
        try:
            return f"killed by signal {self.signal} ({signal.Signals(self.signal).name})"
        except ValueError:
            return f"killed by signal {self.signal}"
