"""The digest of documents and idempotency keys: what tells an old page of their tables from the right one.

A page that the disk never wrote is an old page, with a checksum that is right. Changes and entries of the audit log are
numbered, so that one which is missing is missed. Documents and keys are not: they have a digest, 8 bytes that are
stored with every batch, beside the mark. It is the exclusive or of the digests of the rows, so that a batch costs as
much as it changes. It guards against disks, not against people: rows with any digest can be made up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

RowName = tuple[str, ...]
"""Kind and id of a document; the id of an idempotency key."""

NOTHING = bytes(8)
_DOCUMENTS = "SELECT kind, id, body FROM documents"
_KEYS = "SELECT id, subject, request, NULL, answer FROM idempotency_keys"


class DigestChange(NamedTuple):
    """What changed rows make of a digest: its new `value`, and the digests of these rows; None: the row is gone."""

    value: bytes
    rows: Mapping[RowName, int | None]


class PapersDigest:
    """The digest as it is in a database. Holds some 150 bytes per row."""

    def __init__(self) -> None:
        self._rows: dict[RowName, int] = {}
        self._value = 0

    @property
    def value(self) -> bytes:
        """8 bytes; NOTHING when there are no rows."""
        return self._value.to_bytes(8)

    def after(self, documents: Iterable[Sequence[Any]], keys: Iterable[Sequence[Any]]) -> DigestChange:
        """What it is when these rows are written. A row whose second (key) or third column (document) is None goes."""
        rows: dict[RowName, int | None] = {}
        for kind, id_, body in documents:
            rows[kind, id_] = None if body is None else _digest(kind, id_, body)
        for id_, *columns in keys:
            # Without the time: SQLite does not promise to give back a number to its last bit.
            rows[id_,] = None if columns[0] is None else _digest(id_, columns[0], columns[1], columns[3])
        value = self._value
        for name, digest in rows.items():
            value ^= self._rows.get(name, 0) ^ (digest or 0)
        return DigestChange(value.to_bytes(8), rows)

    def accept(self, change: DigestChange) -> None:
        """The rows of *change* are written."""
        for name, digest in change.rows.items():
            if digest is None:
                self._rows.pop(name, None)
            else:
                self._rows[name] = digest
        self._value = int.from_bytes(change.value)


def read_digest(execute: Callable[[str], Iterable[Sequence[Any]]]) -> PapersDigest:
    """The digest of what is in a database of the newest schema. Reads all documents and keys, answers included."""
    digest = PapersDigest()
    digest.accept(digest.after(execute(_DOCUMENTS), execute(_KEYS)))
    return digest


def _digest(*columns: object) -> int:
    # The numbers of bytes make it unambiguous.
    content = [column if isinstance(column, bytes) else repr(column).encode() for column in columns]
    return int.from_bytes(blake2b(b"".join(b"%d:%b" % (len(one), one) for one in content), digest_size=8).digest())
