"""The durable store: one SQLite database in a data directory, with one owner.

    tekton.db   components (the records by instance), changes (the history), audit, documents, idempotency_keys,
                meta (the mark)
    witness     how far the database has come (see `witness`)
    LOCK        the owner (see `directory_lock`)

Rules of this file:

* A batch is one SQL statement, and so one call into SQLite: each return from C to Python may wait a whole switch
  interval for a busy event loop to let go of the interpreter. The batch travels as JSON arrays; temporary triggers,
  which are not in the file, take them apart. SQLite's own transaction around the statement is the commit.
* The commit is acknowledged after the witness is written.
* What cannot be written is rolled back, or stops the store: see `database_file`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from tekton.core.audit.entry import EMPTY, AuditEntry, AuditHead, Row
from tekton.core.audit.query import SCANNED_AT_ONCE, AuditPage, AuditQuery
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.database_file import DatabaseFile
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.documents import Bodies
from tekton.core.component_lifecycle.papers_digest import PapersDigest
from tekton.core.component_lifecycle.restore import finish_restore
from tekton.core.component_lifecycle.sqlite_batch import WRITE, WRITER, AuditState, Batch
from tekton.core.component_lifecycle.store import (
    NO_PAPERS,
    HistoryEntry,
    Loaded,
    Mutation,
    Papers,
    decode_history_entry,
)
from tekton.core.component_lifecycle.witness import ORIGIN, Mark, Witness, sync_directory, verify
from tekton.core.idempotency import KnownKey
from tekton.failpoints import reach

_logger = logging.getLogger("tekton.store")

HISTORY_LIMIT = 200_000
AUDIT_LIMIT = 1_000_000
_MAX_PRUNED = 256
"""How many changes a batch takes from a history that is too long, beside those that it adds: a limit that was lowered
must not hold up a commit. Likewise for the audit log."""

_META = """
    SELECT sequence, revision, incarnation, identity, chain, kept, audit_seq, audit_hash, audit_kept, audit_base
    FROM meta
"""
_RECORDS = "SELECT record FROM components ORDER BY component_id, instance_uuid"
_HISTORY = "SELECT change FROM changes WHERE component_id = ? AND revision < ? ORDER BY revision DESC LIMIT ?"
_DOCUMENTS = "SELECT kind, id, body FROM documents"
_KEYS = "SELECT id, subject, request, at, octet_length(answer) FROM idempotency_keys ORDER BY at, id"
_ENTRIES = """
    SELECT seq, body, hash, coalesce(
        (SELECT hash FROM audit AS earlier WHERE earlier.seq < found.seq ORDER BY earlier.seq DESC LIMIT 1),
        (SELECT audit_base_hash FROM meta)
    )
"""
_AUDIT = f"""
    {_ENTRIES} FROM (SELECT * FROM audit WHERE seq < :before ORDER BY seq DESC LIMIT {SCANNED_AT_ONCE}) AS found
    WHERE (:actor IS NULL OR body ->> 1 = :actor) AND (:action IS NULL OR body ->> 5 = :action)
        AND (:target IS NULL OR body ->> 6 = :target) AND (:since IS NULL OR body ->> 0 >= :since)
    ORDER BY seq DESC LIMIT :limit
"""
_LAST_SCANNED = f"""
    SELECT seq FROM audit WHERE seq < ? AND EXISTS (SELECT 1 FROM audit AS e WHERE e.seq < audit.seq)
    ORDER BY seq DESC LIMIT 1 OFFSET {SCANNED_AT_ONCE - 1}
"""
_OPEN_INTENTS = f"{_ENTRIES} FROM audit AS found WHERE seq IN (SELECT seq FROM audit_open) ORDER BY seq"
_OLDEST = "SELECT max(seq), count(*) FROM (SELECT seq FROM audit WHERE seq <= ? ORDER BY seq LIMIT ?)"
_MAX_REVISION = (1 << 63) - 1
_MAX_TRIMMED = 1000
"""How many entries of the audit log are dropped in one go."""


class SqliteStore:
    """The store in *data_dir*, which is created if it is missing.

    Keeps the newest *history_limit* changes; a limit that was lowered is reached step by step. Of the audit log it
    keeps *audit_limit* entries, and all that no signed head vouches for. *exclusive* shuts out
    read-only shells too; it is for file systems on which processes cannot share memory. *vfs* names SQLite's layer of
    files, *migrations* are the steps to the newest schema: both are for tests, with failing disks and future schemas.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        history_limit: int = HISTORY_LIMIT,
        audit_limit: int = AUDIT_LIMIT,
        exclusive: bool = False,
        vfs: str = database.CHECKSUM_VFS,
        migrations: Sequence[str] = database.MIGRATIONS,
    ) -> None:
        self.unwitnessed = 0
        self._directory = data_dir
        self._path = data_dir / "tekton.db"
        self._history_limit = history_limit
        self._audit_limit = audit_limit
        self._file = DatabaseFile(self._path, _logger, vfs=vfs, exclusive=exclusive)
        self._migrations = migrations
        self._lock = DirectoryLock(data_dir)
        self._witness = Witness(data_dir / "witness")
        self._mark = ORIGIN
        self._kept = 0
        self._audit = AuditState(EMPTY, 0, 0)
        self._papers = PapersDigest()

    def open(self) -> Loaded:
        """See RegistryStore. Reads and checks the whole database (about 4 s per GB)."""
        with database.opening(self._directory):
            _make_directory(self._directory)
            self._lock.acquire()
        try:
            with database.opening(self._path):
                finish_restore(self._directory)
                return self._open()
        except BaseException:
            self.close()
            raise

    @property
    def audit_head(self) -> AuditHead:
        """See RegistryStore."""
        return self._audit.head

    def commit(self, batch: Sequence[Mutation], papers: Papers = NO_PAPERS) -> None:
        """See RegistryStore."""
        self._file.move_log(idle=False)
        self._write(Batch.of(batch, papers, self._mark, self._audit, self._papers))

    def tidy(self) -> None:
        """See RegistryStore. Moves the log into the database when it has got long enough for that."""
        self._file.move_log(idle=True)
        self._file.check_files()

    def history(self, component_id: str, limit: int, before: int | None) -> list[HistoryEntry]:
        """See RegistryStore. One index range; reads *limit* rows."""
        connection = self._file.usable()
        bound = _MAX_REVISION if before is None else before
        with database.opening(self._path):
            rows = connection.execute(_HISTORY, (component_id, bound, max(0, limit))).fetchall()
        return [decode_history_entry(str(change)) for (change,) in rows]

    def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> AuditPage:
        """See RegistryStore. Reads 10,000 rows at most."""
        connection = self._file.usable()
        bound = _MAX_REVISION if before is None else before
        asked = {**query._asdict(), "before": bound, "limit": max(0, limit)}
        asked["since"] = None if query.since is None else int(query.since * 1e6)
        with database.opening(self._path):
            entries = [_entry(columns) for columns in connection.execute(_AUDIT, asked)]
            if len(entries) == limit and entries:
                further = connection.execute("SELECT 1 FROM audit WHERE seq < ? LIMIT 1", (entries[-1].seq,)).get
                return AuditPage(entries, entries[-1].seq if further else None)
            return AuditPage(entries, connection.execute(_LAST_SCANNED, (bound,)).get)

    def kept_answer(self, id: str) -> str | None:  # noqa: A002
        """See RegistryStore. Reads one row."""
        connection = self._file.usable()
        with database.opening(self._path):
            found = connection.execute("SELECT answer FROM idempotency_keys WHERE id = ?", (id,)).get
        return None if found is None else str(found)

    def trim_audit(self, signed: int) -> bool:
        """See RegistryStore. Drops up to 1000 entries."""
        connection = self._file.usable()
        surplus = self._audit.kept - self._audit_limit
        if surplus <= 0:
            return False
        with database.opening(self._path):
            found: Any = connection.execute(_OLDEST, (signed, min(surplus, _MAX_TRIMMED))).fetchall()[0]
        base, dropped = found
        if not dropped:
            return False
        self._write(Batch.trimming(self._mark, self._audit, self._papers, base, dropped))
        return bool(dropped == _MAX_TRIMMED)

    def close(self) -> None:
        """See RegistryStore. Moves the log into the database, unless the store has stopped."""
        self._file.close()
        self._witness.close()
        self._lock.release()

    def _open(self) -> Loaded:
        witnessed = self._witness.newest()
        connection = self._file.connect()
        version = database.schema_version(connection, self._path, len(self._migrations))
        if version == 0:
            verify(ORIGIN, witnessed, self._path)
        database.prepare(connection, self._path, version, self._migrations)
        self._papers = database.check(connection, self._path)
        meta: Any = connection.execute(_META).fetchall()[0]
        *mark, self._kept, seq, digest, entries, base = meta
        self._mark = Mark._make(mark)
        self._audit = AuditState(AuditHead(seq, digest), entries, base)
        verify(self._mark, witnessed, self._path)
        if version and witnessed is None:
            _logger.warning("%s has no witness: taking it at revision %d", self._path, self._mark.revision)
        self._file.keep_log()
        connection.execute(WRITER)
        self._count_incarnation(connection)
        records = [record for (record,) in connection.execute(_RECORDS)]
        intents = [_entry(columns) for columns in connection.execute(_OPEN_INTENTS)]
        keys: list[KnownKey] = [KnownKey._make(columns) for columns in connection.execute(_KEYS)]
        return Loaded(records, self._mark.revision, self._mark.incarnation, _documents(connection), intents, keys)

    def _count_incarnation(self, connection: apsw.Connection) -> None:
        batch = Batch.opening(self._mark, self._audit, self._papers)
        connection.execute(WRITE, batch.values(self._kept, 0))
        self._mark = batch.mark
        self._witness.open(batch.mark)

    def _write(self, batch: Batch) -> None:
        mark, added = batch.mark, batch.added
        surplus = max(0, min(self._kept + added - self._history_limit, added + _MAX_PRUNED))
        kept = self._kept + added - surplus
        with self._file.guarded() as connection:
            reach("store.before_begin")
            try:
                connection.execute(WRITE, batch.values(kept, surplus))
            except apsw.ConstraintError as error:
                raise ValueError(f"a batch that cannot be stored: {error}") from error
        try:
            reach("store.after_commit")
            self._witness.write(mark)
            reach("store.after_witness")
        except OSError as error:
            # The commit stands. A witness that lags behind it is allowed, one on a failing disk is not.
            if not database.is_no_room(error):
                raise self._file.stop(f"the witness could not be written: {error}") from error
            self.unwitnessed += 1
            _logger.warning("the witness of revision %d could not be written: %s", mark.revision, error)
        self._mark, self._kept, self._audit = mark, kept, batch.audit
        self._papers.accept(batch.papers)
        self._file.wrote(added + batch.entered, len(batch.mutations))


def _documents(connection: apsw.Connection) -> Bodies:
    bodies: Bodies = {}
    for kind, id_, body in connection.execute(_DOCUMENTS):
        bodies.setdefault(str(kind), {})[str(id_)] = msgspec.convert(body, bytes)
    return bodies


def _entry(columns: tuple[Any, ...]) -> AuditEntry:
    *row, previous = columns
    return Row._make(row).entry(previous)


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(directory.parent)
