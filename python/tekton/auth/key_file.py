"""A file of signing keys in `keys/` of the data directory: `signing.json` has those that sign tokens; beside it are the
public halves of retired ones.

Only its owner may read it, and one that others could have read or written is refused. It is replaced whole, under a
lock on its directory: two processes that want to create it at once end with the same keys, and whoever is killed in
between leaves what was there before.
"""

import base64
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tekton.auth.keys import MAX_KEYS, PUBLISH_DELAY, KeyRing, SigningKey
from tekton.auth.retired_keys import decode_retired, encode_retired
from tekton.auth.terms import MAX_LIFE
from tekton.utils.tekton_errors import KeyFileError

_MAX_BYTES: Final = 64 * 1024
_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    private: str
    published_at: float
    signs_from: float


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: list[_Entry]


class KeyFile:
    """The signing keys of a data directory. Every method blocks for as long as the disk does.

    *name* is that of the file, *retired* of the one with the public halves of keys that were left out; None: nobody
    needs them any more. The rest is as for `KeyRing`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "signing.json",
        retired: str | None = "retired.jsonl",
        max_life: float = MAX_LIFE,
        publish_delay: float = PUBLISH_DELAY,
    ) -> None:
        self.path: Final = data_dir / "keys" / name
        self.retired_path: Final = None if retired is None else self.path.with_name(retired)
        self._max_life = max_life
        self._publish_delay = publish_delay

    def load_or_create(self, now: float) -> KeyRing:
        """The keys that are there; if there are none, a first one. Raises KeyFileError; then nothing has changed."""
        with _translated(self.path):
            keys = _read(self.path)
            if keys is None:
                with _locked(self.path.parent):
                    keys = _read(self.path)
                    if keys is None:
                        keys = [SigningKey.generate(now, now)]
                        _write(self.path, keys)
        return self._ring(keys)

    def rotate(self, ring: KeyRing, now: float, *, overlap: bool = True) -> None:
        """`add` a new key to the file, then to *ring*, which this file has loaded.

        Raises as that does, and then *ring* is as before.
        """
        ring.replace(self.add(now, overlap=overlap))

    def add(self, now: float, *, overlap: bool = True) -> list[SigningKey]:
        """Add a new key to the file; the keys that it has then, of which the new one is the last.

        It is durable before anybody sees it. Of those that are left out the public halves are kept. *overlap*: see
        `KeyRing.rotated`. Raises KeyRotationError as that does, and KeyFileError; then nothing has changed.
        """
        with _translated(self.path), _locked(self.path.parent):
            stored = self.load()
            keys = self._ring(stored).rotated(now, overlap=overlap)
            if self.retired_path is not None:
                left = {key.kid for key in keys}
                _append(self.retired_path, encode_retired(key for key in stored if key.kid not in left))
            _write(self.path, keys)
        return keys

    def load(self) -> list[SigningKey]:
        """The keys that the file has now. Raises KeyFileError, also when there is none."""
        with _translated(self.path):
            stored = _read(self.path)
        if stored is None:
            raise KeyFileError(str(self.path), "has been deleted")
        return stored

    def load_retired(self) -> list[SigningKey]:
        """The public halves of keys that were left out, as far as they are kept, oldest first. Raises KeyFileError."""
        if self.retired_path is None:
            return []
        with _translated(self.retired_path):
            content = _content(self.retired_path, stat.S_IWGRP | stat.S_IWOTH)
        return [] if content is None else decode_retired(content)

    def reload(self, ring: KeyRing) -> None:
        """Have *ring* be what the file says now. Raises KeyFileError, and then it is as before."""
        ring.replace(self.load())

    def signature(self) -> tuple[int, int, int] | None:
        """Something that is different after the file has changed; None while there is none. Costs one `stat`."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _ring(self, keys: Sequence[SigningKey]) -> KeyRing:
        return KeyRing(keys, max_life=self._max_life, publish_delay=self._publish_delay)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be used: {error.strerror}") from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other writers out. The lock is the operating system's: it goes with a process that is killed."""
    directory.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _refuse_foreign(directory, os.fstat(descriptor), stat.S_IWGRP | stat.S_IWOTH)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_foreign(path: Path, status: os.stat_result, forbidden: int) -> None:
    if status.st_uid != os.geteuid():
        raise KeyFileError(str(path), f"belongs to the user {status.st_uid}, not to {os.geteuid()}, who runs this")
    if mode := status.st_mode & forbidden:
        raise KeyFileError(str(path), f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}, bits {mode:04o})")


def _content(path: Path, forbidden: int, limit: int = -1) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(str(path), "is no file")
        _refuse_foreign(path, status, forbidden)
        return file.read(limit)


def _append(path: Path, lines: bytes) -> None:
    if not lines:
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _FILE_MODE), "wb", buffering=0) as file:
        # An empty line is none, and what a crash has left of one must not spoil these.
        file.write(b"\n" + lines)
        os.fsync(file.fileno())


def _read(path: Path) -> list[SigningKey] | None:
    content = _content(path, stat.S_IRWXG | stat.S_IRWXO, _MAX_BYTES + 1)
    if content is None:
        return None
    try:
        return _decode(content)
    except (ValueError, msgspec.MsgspecError) as error:
        raise KeyFileError(str(path), "has no keys that can be read") from error


def _write(path: Path, keys: Sequence[SigningKey]) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)  # what somebody left who was killed while writing
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_encode(keys))
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)


def _encode(keys: Sequence[SigningKey]) -> bytes:
    entries = [_Entry(_encode_private(key), key.published_at, key.signs_from) for key in keys]
    return msgspec.json.encode(_Document(1, entries))


def _encode_private(key: SigningKey) -> str:
    if not isinstance(key.private, Ed25519PrivateKey):
        raise TypeError("only key pairs are stored")
    return base64.b64encode(key.private.private_bytes_raw()).decode()


def _decode(content: bytes) -> list[SigningKey]:
    document = msgspec.json.decode(content, type=_Document)
    if document.version != 1 or not 0 < len(document.keys) <= MAX_KEYS:
        raise ValueError("another version, or no keys")
    keys = [_decode_entry(entry) for entry in document.keys]
    if len({key.kid for key in keys}) < len(keys):
        raise ValueError("the same key twice")
    return keys


def _decode_entry(entry: _Entry) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(entry.private, validate=True))
    return SigningKey.of_pair(private, entry.published_at, entry.signs_from)
