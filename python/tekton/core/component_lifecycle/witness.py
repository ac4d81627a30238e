"""The witness: a small file that knows how far the store has come.

A database alone cannot tell that it is missing its newest changes: without its log, SQLite serves the state
before it and finds nothing wrong. So after each commit, and before the commit is acknowledged, a *mark* is written
beside the database too. On opening the two are compared:

* The database is behind the witness, or has another history: acknowledged changes are missing. Refuse.
* The database is ahead: normal after a crash, for the witness is written last and is not synced.
* There is no witness: it was taken away by hand, or the database is a restored backup. Accept, with a warning.
* There is one that cannot be read: damage, for it is created whole. Refuse; taking it away accepts the database.

The file has two slots in different sectors, written in turn, so that a torn write spoils one at most.
"""

import os
import struct
import zlib
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from tekton.core.private_files import open_privately, tighten
from tekton.failpoints import reach
from tekton.utils.tekton_errors import StorageCorruptError

_SLOT = struct.Struct("<8sQQQ16s32s")
_CHECK = struct.Struct("<I")
_MAGIC = b"tektonw1"
_SECTOR = 512
# hashlib lets go of the interpreter lock for more than this at once, and may wait long to get it back.
_PIECE = 2047


class Mark(NamedTuple):
    """A point in the life of a store: its *sequence*-th transaction.

    `identity` is that of the store (random, 16 bytes), `chain` the SHA-256 of all transactions up to this one.
    """

    sequence: int
    revision: int
    incarnation: int
    identity: bytes
    chain: bytes

    def after(self, content: bytes, *, revision: int, incarnation: int) -> "Mark":
        """The mark of the next transaction, which wrote *content*."""
        digest = sha256(self.chain)
        for start in range(0, len(content), _PIECE):
            digest.update(content[start : start + _PIECE])
        return Mark(self.sequence + 1, max(self.revision, revision), incarnation, self.identity, digest.digest())


ORIGIN = Mark(sequence=0, revision=0, incarnation=0, identity=bytes(16), chain=bytes(32))
"""The mark of a store that does not exist yet."""


class Witness:
    """The file at *path*. `write` needs `open` before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def newest(self) -> Mark | None:
        """The newest mark in the file, None without a file. Raises StorageCorruptError when no slot is valid."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        marks = [mark for start in (0, _SECTOR) if (mark := _decode(content[start : start + _SECTOR]))]
        if not marks:
            raise StorageCorruptError(
                str(self._path), "the witness is damaged; remove it to accept the database as it is"
            )
        return max(marks)

    def open(self, mark: Mark) -> None:
        """Replace the file by one that says *mark*, durably, and keep it open. Raises OSError."""
        self.close()
        fresh = self._path.with_name(self._path.name + ".new")
        with open(fresh, "wb", opener=open_privately) as file:
            file.write(_encode(mark).ljust(_SECTOR, b"\0") * 2)
            file.flush()
            os.fsync(file.fileno())
        tighten(fresh)
        fresh.replace(self._path)
        sync_directory(self._path.parent)
        self._file = self._path.open("r+b", buffering=0)

    def write(self, mark: Mark) -> None:
        """Note *mark* (not synced: a power cut may take it back, which `verify` forgives). Raises OSError."""
        assert self._file is not None, "open comes first"
        reach("store.before_witness")
        self._file.seek(_SECTOR * (mark.sequence % 2))
        self._file.write(_encode(mark))

    def close(self) -> None:
        """Close the file, if it is open."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def verify(stored: Mark, witnessed: Mark | None, database: Path) -> None:
    """Raise StorageCorruptError when *stored*, the mark in *database*, contradicts the *witnessed* one."""
    if witnessed is None:
        return
    if stored.sequence < witnessed.sequence:
        raise StorageCorruptError(
            str(database),
            f"acknowledged changes are missing: the database is at revision {stored.revision} (transaction "
            f"{stored.sequence}), the witness says {witnessed.revision} (transaction {witnessed.sequence})",
        )
    if stored.identity != witnessed.identity or (stored.sequence == witnessed.sequence and stored != witnessed):
        raise StorageCorruptError(
            str(database),
            f"the database at revision {stored.revision} and the witness at revision {witnessed.revision} have "
            "different histories",
        )


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable, where the system can."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encode(mark: Mark) -> bytes:
    body = _SLOT.pack(_MAGIC, *mark)
    return body + _CHECK.pack(zlib.crc32(body))


def _decode(slot: bytes) -> Mark | None:
    body, check = slot[: _SLOT.size], slot[_SLOT.size : _SLOT.size + _CHECK.size]
    if not body.startswith(_MAGIC) or check != _CHECK.pack(zlib.crc32(body)):
        return None
    return Mark._make(_SLOT.unpack(body)[1:])
