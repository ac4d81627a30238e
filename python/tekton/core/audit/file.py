"""The audit log in a database that nobody needs to have open: of a data directory, or in a backup."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from tekton.core.audit.entry import AuditHead, Row
from tekton.core.audit.heads import Check, SignedHead
from tekton.core.audit.verification import Ends, Verdict, verify
from tekton.core.component_lifecycle import database
from tekton.utils.tekton_errors import StorageError

_ROWS = "SELECT seq, body, hash FROM audit ORDER BY seq"
_ENDS = "SELECT audit_base, audit_base_hash, audit_seq, audit_hash FROM meta"


def verify_file(path: Path, heads: Sequence[SignedHead], check: Check, *, complete: bool) -> Verdict:
    """Verify the audit log in the database at *path*; see `verify`. A control plane may be writing it meanwhile.

    Blocks: about a second for 400,000 entries. Raises StorageCorruptError for what cannot be read, SchemaVersionError,
    and StorageError when there is no such file, or its schema is older than the audit log.
    """
    with _log(path) as connection:
        base, base_hash, seq, digest = _only(connection.execute(_ENDS))
        ends = Ends(AuditHead(base, base_hash), AuditHead(seq, digest))
        return verify(map(Row._make, connection.execute(_ROWS)), ends, heads, check, complete=complete)


@contextmanager
def _log(path: Path) -> Iterator[apsw.Connection]:
    if not path.is_file():
        raise StorageError(f"{path}: there is no such file")
    with database.opening(path), database.reading(path) as connection:
        if database.schema_version(connection, path, len(database.MIGRATIONS)) == 0:
            raise StorageError(f"{path}: an empty file")
        if not connection.table_exists("main", "audit"):
            raise StorageError(f"{path}: written by a Tekton that had no audit log")
        # One moment, whatever is committed meanwhile.
        with connection:
            yield connection


def _only(cursor: apsw.Cursor) -> Any:
    return cursor.fetchall()[0]
