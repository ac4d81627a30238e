"""A data directory, seen from outside: who runs in it, where it listens, where its logs are.

Nothing here writes. `run/` and the files in it are made by the guard and the control plane; any of them may be
missing, half-written or left behind by a process that is gone.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tekton.utils.tekton_errors import StorageLockedError


class Instance:
    """The control plane that owns *data_dir*, if one does."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.run_dir = data_dir / "run"
        self.log_dir = data_dir / "logs"
        self.socket = self.run_dir / "control.sock"
        self.log = self.log_dir / "tekton.log"

    @property
    def url(self) -> str | None:
        """Where the control plane last said that it listens."""
        url = self._read("control.json").get("url")
        return url if isinstance(url, str) else None

    @property
    def control_pid(self) -> int | None:
        """The process that last said that it serves."""
        pid = self._read("control.json").get("pid")
        return pid if isinstance(pid, int) else None

    @property
    def credential(self) -> str | None:
        """The owner's bearer token; None when there is none, or when it is not ours to read."""
        try:
            return (self.run_dir / "credential").read_text().strip() or None
        except OSError:
            return None

    @property
    def guard_pid(self) -> int | None:
        """The guard that last said that it holds the directory."""
        pid = self._read("guard.json").get("pid")
        return pid if isinstance(pid, int) else None

    @property
    def owner_pid(self) -> int | None:
        """The process that owns the directory: its guard, or a control plane that runs without one.

        None when nobody does, 0 when somebody does of whom nothing more is known.
        """
        if _is_held(self.run_dir / "guard.lock"):
            return self.guard_pid or 0
        if _is_held(self.data_dir / "LOCK"):
            return _number_in(self.data_dir / "LOCK")
        return None

    @property
    def of_stranger(self) -> Path | None:
        """What of this directory leads to the control plane and belongs neither to us nor to root; None: nothing."""
        if sys.platform == "win32":
            return None
        places = (self.data_dir, self.run_dir, self.socket, self.run_dir / "control.json")
        owners = {place: place.stat().st_uid for place in places if place.exists()}
        return next((place for place, owner in owners.items() if owner not in (0, os.geteuid())), None)

    def refuse_if_owned(self) -> None:
        """Raise StorageLockedError when another instance runs in this directory."""
        owner = self.owner_pid
        if owner is not None:
            raise StorageLockedError(str(self.data_dir), owner or None)

    def log_of(self, component_id: str) -> Path:
        """Where the output of a component is kept."""
        return self.log_dir / f"{component_id}.log"

    def _read(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads((self.run_dir / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


def _is_held(lock: Path) -> bool:
    """True while a process holds *lock*. Whoever takes it in this very moment has to try again, and does."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
