"""The credentials of the components that Tekton runs: one each, in a file that nobody else can read.

A component finds the file by TEKTON_CREDENTIAL_FILE and proves with its content that it is that component, and no more.
The credentials are renewed by themselves: the file is replaced, and what stood in it before holds for as long again.
Who is refused reads the file anew.

Their digests, not they themselves, are kept in `run/credentials.json`, so that a control plane that replaces a crashed
one knows those that its components still have. Files of components that run as another user cannot lie in the run
directory, which only its owner can enter: they are below `/run`, or in the data directory where that is not possible.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import msgspec

from tekton.supervisor.privileges import Identity, UnknownUserError, resolve_user

RENEW_AFTER: Final = 43_200.0
"""Seconds after which a credential is succeeded by another one; then it holds for as long once more."""

_RUNTIME_FILES: Final = Path("/run")
_logger = logging.getLogger("tekton.security")


class _Issued(msgspec.Struct, frozen=True):
    """A credential by its digest. `ends_at` is when it ceases to hold; None for the one that is in the file."""

    component_id: str
    issued_at: float
    ends_at: float | None = None


class _Kept(msgspec.Struct, frozen=True):
    run_id: str
    issued: dict[str, _Issued]


class Proven(NamedTuple):
    """What a credential proves: that somebody is that component, until `ends_at`."""

    component_id: str
    ends_at: float | None


class ComponentCredentials:
    """The credentials of one run of the guard, *run_id*, of the data directory *data_dir*.

    *now* is in wall-clock seconds. `provide`, `renew` and `discard` block for as long as the disk does; they may be
    called in threads. `epoch` grows whenever a credential gets an end.
    """

    def __init__(self, data_dir: Path, run_id: str, now: Callable[[], float]) -> None:
        self.epoch = 0
        self._own = data_dir / "run" / "credentials"
        self._of_others = (_RUNTIME_FILES / f"tekton-{_digest(str(data_dir))[:16]}", data_dir / "credentials")
        self._index = data_dir / "run" / "credentials.json"
        self._run_id = run_id
        self._now = now
        self._lock = Lock()
        self._issued = self._load()
        self._places: dict[str, tuple[Path, Identity | None]] = {}

    def identify(self, credential: str) -> Proven | None:
        """Whose *credential* it is; None when it is nobody's, or no longer. O(1), and not by comparing secrets."""
        found = self._issued.get(_digest(credential))
        if found is None or (found.ends_at is not None and found.ends_at <= self._now()):
            return None
        return Proven(found.component_id, found.ends_at)

    def path(self, component_id: str) -> Path | None:
        """The file of a component that has been provided with one."""
        place = self._places.get(component_id)
        return None if place is None else place[0]

    def provide(self, component_id: str, user: str | None) -> Path | None:
        """See to it that the file of a component that runs as *user* has a credential that is not old.

        None, and a warning in the log, when that is not possible: the component then has no credential.
        """
        with self._lock:
            try:
                identity = None if user is None else resolve_user(user)
                place = self._place(component_id, None if identity is None or identity.ours else identity)
                if self._is_due(component_id) or not place[0].exists():
                    self._renew(component_id, *place)
            except (OSError, UnknownUserError) as error:
                _logger.warning("%s gets no credential of its own: %s", component_id, error)
                return None
            self._places[component_id] = place
            return place[0]

    def renew(self) -> None:
        """Replace the credentials that are old. What cannot be written now is tried again the next time."""
        with self._lock:
            for component_id, place in self._places.items():
                if not self._is_due(component_id):
                    continue
                try:
                    self._renew(component_id, *place)
                except OSError as error:
                    _logger.warning("the credential of %s was not renewed: %s", component_id, error)

    def discard(self) -> None:
        """Forget all of them: the run ends."""
        with self._lock:
            for path, _ in self._places.values():
                path.unlink(missing_ok=True)
            self._index.unlink(missing_ok=True)
            for directory in (self._own, *self._of_others):
                _remove_if_empty(directory)
            self._places, self._issued = {}, {}
            self.epoch += 1

    def _is_due(self, component_id: str) -> bool:
        current = (one for one in self._issued.values() if one.component_id == component_id and one.ends_at is None)
        newest = max((one.issued_at for one in current), default=None)
        return newest is None or not 0 <= self._now() - newest < RENEW_AFTER

    def _renew(self, component_id: str, path: Path, reader: Identity | None) -> None:
        credential = secrets.token_urlsafe(32)
        now = self._now()
        before = self._issued
        issued = {digest: _succeeded(one, component_id, now) for digest, one in before.items()}
        live = {digest: one for digest, one in issued.items() if one.ends_at is None or one.ends_at > now}
        live[_digest(credential)] = _Issued(component_id, now)
        written = _written_for(path, credential.encode(), reader)
        # Known, also to who replaces us, before anybody can show it. Not synchronised: a power cut ends the run.
        index = _written_for(self._index, msgspec.json.encode(_Kept(self._run_id, live)), None)
        index.replace(self._index)
        self._issued = live
        self.epoch += 1
        try:
            written.replace(path)
        except OSError:
            self._issued = before
            raise

    def _place(self, component_id: str, reader: Identity | None) -> tuple[Path, Identity | None]:
        if reader is None:
            _make(self._own, 0o700)
            return self._own / component_id, None
        first, second = self._of_others
        try:
            _make(first, 0o711)
        except OSError:
            _make(second, 0o711)
            return second / component_id, reader
        return first / component_id, reader

    def _load(self) -> dict[str, _Issued]:
        try:
            kept = msgspec.json.decode(self._index.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return kept.issued if kept.run_id == self._run_id else {}


def _succeeded(one: _Issued, component_id: str, now: float) -> _Issued:
    if one.component_id != component_id or one.ends_at is not None:
        return one
    return msgspec.structs.replace(one, ends_at=now + RENEW_AFTER)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _make(directory: Path, mode: int) -> None:
    """Have *directory*, ours and with that *mode*. Raises OSError, also for one of somebody else."""
    directory.mkdir(mode, exist_ok=True)
    status = directory.lstat()
    if not directory.is_dir() or directory.is_symlink() or status.st_uid != os.geteuid():
        raise PermissionError(1, "is not ours", str(directory))
    directory.chmod(mode)


def _written_for(path: Path, content: bytes, reader: Identity | None) -> Path:
    """A file beside *path*, to take its place, with *content* that *reader* (or else who we are) alone can read."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        if reader is not None:
            os.fchown(descriptor, reader.uid, reader.gid)
        file.write(content)
    return temporary


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        pass  # there is none, or something else lies in it
