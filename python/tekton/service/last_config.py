"""The configuration that holds, kept for the control plane that replaces us if we crash.

It reads the files anew, and somebody may be editing them just then. Mistakes in them must not end what runs: then the
configuration in `run/config.json` holds on. It is that of one run of the guard; its owner alone can read it, because it
holds secrets.
"""

import logging
from pathlib import Path
from typing import Any

import msgspec

from tekton.service.private_file import write_privately
from tekton.utils.tekton_config import TektonConfig

_logger = logging.getLogger("tekton.system")


class _Kept(msgspec.Struct, frozen=True):
    run_id: str
    config: TektonConfig


class _GuardFile(msgspec.Struct, frozen=True):
    """`guard.json`, as far as it matters here."""

    run_id: str


class LastConfig:
    """The file in the run directory *path*. Its methods block for as long as the disk does."""

    def __init__(self, path: Path) -> None:
        self._path = path / "config.json"
        self._guard_file = path / "guard.json"

    def keep(self, config: TektonConfig) -> None:
        """Keep *config* for this run of the guard. That this failed is logged: it does not hold up anything."""
        run_id = self._run_id()
        if run_id is None:
            return
        try:
            write_privately(self._path, msgspec.json.encode(_Kept(run_id, config), enc_hook=_as_text))
        except OSError as error:
            _logger.warning("%s cannot be written: %s", self._path, error.strerror)

    def find(self) -> TektonConfig | None:
        """The configuration that held last in this run of the guard."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept, dec_hook=_from_text)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return kept.config if kept.run_id == self._run_id() else None

    def discard(self) -> None:
        """Forget it: the run ends."""
        self._path.unlink(missing_ok=True)

    def _run_id(self) -> str | None:
        try:
            return msgspec.json.decode(self._guard_file.read_bytes(), type=_GuardFile).run_id
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


def _as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _from_text(kind: type, value: Any) -> object:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind.__name__)
