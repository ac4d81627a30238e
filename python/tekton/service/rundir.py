"""The run directory: how clients on this machine find the control plane and prove that they may control it.

`<data dir>/run` is open to its owner only. It holds the Unix socket, the local credential, and `control.json`,
which names the process that serves now.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import msgspec


class ControlFile(msgspec.Struct, frozen=True):
    """Who serves this data directory. `started_at` is in wall-clock seconds."""

    pid: int
    url: str
    socket: str
    started_at: float


class RunDirectory:
    """The files in `<data dir>/run`."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "run"
        self.socket = self.path / "control.sock"
        self.credential_file = self.path / "credential"
        self.adhoc_file = self.path / "adhoc.json"
        self._control_file = self.path / "control.json"

    def prepare(self) -> str:
        """Create the directory, remove the socket of an earlier run, and return the credential.

        Only the owner of the data directory's lock may call this.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.socket.unlink(missing_ok=True)
        return self._credential()

    def announce(self, control: ControlFile) -> None:
        """Write `control.json`, whole or not at all."""
        temporary = self._control_file.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(control))
        temporary.rename(self._control_file)

    def last_port(self) -> int:
        """The port of the control plane that last announced itself and has not withdrawn; 0 when there is none."""
        try:
            return urlsplit(msgspec.json.decode(self._control_file.read_bytes(), type=ControlFile).url).port or 0
        except (OSError, ValueError, msgspec.DecodeError):
            return 0

    def withdraw(self) -> None:
        """Remove what `announce` wrote."""
        self._control_file.unlink(missing_ok=True)

    def _credential(self) -> str:
        try:
            known = self.credential_file.read_text().strip()
        except FileNotFoundError:
            known = ""
        if len(known) >= 32:
            return known
        credential = secrets.token_urlsafe(32)
        descriptor = os.open(self.credential_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(credential)
        return credential
