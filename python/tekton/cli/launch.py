"""Starting the guard, which runs everything else, and telling why it ended when it should not have."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

from tekton.cli.instance import Instance
from tekton.cli.problems import ControlPlaneError
from tekton.supervisor import logs

_EVIDENCE_LINES = 8


class GuardProcess:
    """The guard of an instance, as a child of this process.

    It runs in a session of its own: a Ctrl-C in the terminal reaches only us, and we ask it to stop, once.
    """

    def __init__(self, instance: Instance, arguments: Sequence[str]) -> None:
        """Start it. *arguments* are those of the control plane. Raises OSError."""
        self._instance = instance
        self._logged_before = self._log_end()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - read when the guard has ended
        self._process = subprocess.Popen(
            _command(instance, arguments),
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, within: float | None = None) -> int | None:
        """Its exit code as soon as it has ended; None when it has not ended *within* that many seconds."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Ask it to stop everything in order; the second time, to kill what is left."""
        self._process.send_signal(signal.SIGTERM)

    def failure(self, exit_code: int) -> ControlPlaneError:
        """The error that tells why it ended."""
        return ControlPlaneError(exit_code, self.evidence(), str(self._instance.log))

    def evidence(self) -> list[str]:
        """The last that it and the control plane have said since the start."""
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").splitlines()
        return [*self._logged(), *said][-_EVIDENCE_LINES:]

    def _log_end(self) -> int:
        try:
            return logs.end_of(self._instance.log)
        except OSError:
            return 0  # what is wrong with the directory is for the guard to tell

    def _logged(self) -> list[str]:
        try:
            return logs.evidence(self._instance.log, self._logged_before, _EVIDENCE_LINES)
        except OSError:
            return []


def _command(instance: Instance, arguments: Sequence[str]) -> list[str]:
    guard = [sys.executable, "-m", "tekton.supervisor.guard", "--data-dir", str(instance.data_dir)]
    return [*guard, "--", sys.executable, "-m", "tekton.service.main", *arguments]
