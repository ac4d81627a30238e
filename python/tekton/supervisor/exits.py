"""How a process ended."""

import os
import signal
from typing import Final, Literal, NamedTuple

_MIB: Final = 1024 * 1024


ExitKind = Literal["clean", "error", "signal", "memory"]


class Exit(NamedTuple):
    """The end of a process: by `code`, or by `signal`.

    `memory_limit` is set (bytes) when the kernel has killed it, or some of what it started, because it needed more.
    """

    code: int | None
    signal: int | None
    memory_limit: int | None = None

    @classmethod
    def of(cls, status: int) -> "Exit":
        """From the status that `waitpid` gives."""
        code = os.waitstatus_to_exitcode(status)
        return cls(code, None) if code >= 0 else cls(None, -code)

    @property
    def clean(self) -> bool:
        """True for exit code 0."""
        return self.code == 0

    @property
    def kind(self) -> ExitKind:
        """Exit code 0, another one, a signal, or the kernel for want of memory."""
        if self.memory_limit is not None:
            return "memory"
        return "signal" if self.signal is not None else "clean" if self.clean else "error"

    def __str__(self) -> str:
        if self.memory_limit is not None:
            return f"killed: out of memory, limit {self.memory_limit / _MIB:g} MiB"
        if self.signal is None:
            return f"exit {self.code}"
        try:
            return f"killed by signal {self.signal} ({signal.Signals(self.signal).name})"
        except ValueError:
            return f"killed by signal {self.signal}"
