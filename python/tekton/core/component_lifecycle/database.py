"""The SQLite database file: how it is opened, what is in it, and what SQLite's errors mean.

What Tekton asks of SQLite, and why:

* WAL with `synchronous=FULL`: a commit is on the disk when it returns (NORMAL loses commits in a power cut).
* The checksum VFS: every page carries a checksum, so that damage is an error and never an answer. It works only
  when 8 bytes per page are reserved before the first page is written; whether it works is asserted.
* SQLite 3.51.3 or newer: older ones can damage a database while its log is reset.
* Normal locking: `sqlite3 -readonly tekton.db` works at any time. A shell that writes leaves wrong checksums.
* Until a database has proven sound and ours, nothing is written, not even when it is closed.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import apsw.sqlite_extra

from tekton.core.audit.entry import EMPTY, AuditHead
from tekton.core.component_lifecycle.papers_digest import PapersDigest, read_digest
from tekton.core.component_lifecycle.witness import Mark, sync_directory
from tekton.failpoints import reach
from tekton.utils.tekton_errors import SchemaVersionError, StorageCorruptError, StorageError, StorageFullError

APPLICATION_ID = 0x54454B54  # "TEKT"
CHECKSUM_VFS = "cksmvfs"
BUSY_TIMEOUT = 2.0
_OLDEST_SQLITE = (3, 51, 3)
_WAL_KEPT_BYTES = 8 * 1024 * 1024
_CACHE_KIB = 16 * 1024
_PAGES_AT_ONCE = 1024
STEPS_AT_ONCE = 10_000
"""Steps of SQLite's machine between two questions whether to go on: a few milliseconds."""

_VERSION_1 = """
    CREATE TABLE components (
        component_id TEXT NOT NULL,
        instance_uuid TEXT NOT NULL,
        record TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (component_id, instance_uuid)
    ) WITHOUT ROWID;
    CREATE TABLE changes (
        revision INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        component_id TEXT NOT NULL,
        instance_uuid TEXT NOT NULL,
        change TEXT NOT NULL
    );
    CREATE INDEX changes_of_component ON changes (component_id, revision);
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        incarnation INTEGER NOT NULL,
        identity BLOB NOT NULL,
        chain BLOB NOT NULL,
        kept INTEGER NOT NULL -- rows in changes
    );
    INSERT INTO meta VALUES (1, 0, 0, 0, randomblob(16), zeroblob(32), 0);
"""

_VERSION_2 = """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        hash BLOB NOT NULL
    );
    CREATE TABLE audit_open ( -- intents of which nothing has come yet
        seq INTEGER PRIMARY KEY
    );
    CREATE TABLE documents (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    ALTER TABLE meta ADD COLUMN audit_seq INTEGER NOT NULL DEFAULT 0; -- of the newest entry
    ALTER TABLE meta ADD COLUMN audit_hash BLOB NOT NULL DEFAULT x'{zeros}';
    ALTER TABLE meta ADD COLUMN audit_kept INTEGER NOT NULL DEFAULT 0; -- rows in audit
    ALTER TABLE meta ADD COLUMN audit_base INTEGER NOT NULL DEFAULT 0; -- of the newest entry that was dropped
    ALTER TABLE meta ADD COLUMN audit_base_hash BLOB NOT NULL DEFAULT x'{zeros}';
""".replace("{zeros}", "00" * 32)

_VERSION_3 = """
    CREATE TABLE idempotency_keys (
        id TEXT PRIMARY KEY,
        subject TEXT NOT NULL,
        request TEXT NOT NULL,
        at REAL NOT NULL,
        answer TEXT -- NULL: what came of it is not known (yet)
    );
"""

_VERSION_4 = """
    ALTER TABLE meta ADD COLUMN papers BLOB; -- digest of documents and idempotency_keys; NULL: of no batch yet
"""

MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
"""The script at position n takes schema n to n + 1. Released scripts are never changed.

None of them adds or removes rows of `components` and `changes`: that is verified before a step is committed.
"""

_MARK = "SELECT sequence, revision, incarnation, identity, chain FROM meta"
_SOUND = (
    ("PRAGMA integrity_check(1)", "ok"),
    (
        """
        SELECT 'the history is not ' || kept || ' changes up to revision ' || revision FROM meta
        WHERE (kept, revision) IS NOT (SELECT count(*), coalesce(max(revision), 0) FROM changes)
        """,
        None,
    ),
    (
        """
        SELECT 'the audit log is not ' || audit_kept || ' entries up to ' || audit_seq FROM meta
        WHERE (audit_kept, audit_seq, audit_hash) IS NOT (
            SELECT (SELECT count(*) FROM audit), coalesce(max(seq), audit_base), coalesce(hash, audit_base_hash)
            FROM (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1)
        )
        """,
        None,
    ),
    (
        """
        SELECT 'the record of ' || component_id || ' is older than its history' FROM components WHERE revision < (
            SELECT revision FROM changes
            WHERE component_id = components.component_id AND instance_uuid = components.instance_uuid
            ORDER BY revision DESC LIMIT 1
        ) LIMIT 1
        """,
        None,
    ),
    (
        """
        SELECT 'the record of ' || component_id || ' is missing' FROM changes
        WHERE kind NOT IN ('deregistered', 'restored') AND NOT EXISTS (
            SELECT 1 FROM components
            WHERE component_id = changes.component_id AND instance_uuid = changes.instance_uuid
        ) AND NOT EXISTS (
            SELECT 1 FROM changes AS later
            WHERE later.component_id = changes.component_id AND later.revision > changes.revision
                AND later.instance_uuid = changes.instance_uuid
        ) LIMIT 1
        """,
        None,
    ),
    (
        """
        SELECT 'the record of ' || component_id || ' has a hole' FROM components
        WHERE octet_length(record) > 900 AND instr(CAST(record AS BLOB), x'00')
        UNION ALL
        SELECT 'the history of ' || component_id || ' has a hole' FROM changes
        WHERE octet_length(change) > 900 AND instr(CAST(change AS BLOB), x'00')
        UNION ALL
        SELECT 'the answer to a request of ' || subject || ' has a hole' FROM idempotency_keys
        WHERE octet_length(answer) > 900 AND instr(CAST(answer AS BLOB), x'00')
        LIMIT 1
        """,
        None,
    ),
)
"""Questions to a sound database of the newest schema, with the answers.

The last one finds pages of zeros, which have the right checksum: JSON has no zero bytes. They can hide only in the
continuation pages of long texts.
"""


def connect(path: Path, *, exclusive: bool = False, vfs: str = CHECKSUM_VFS) -> apsw.Connection:
    """A connection to the database at *path*, created empty if it is missing, that has not written anything yet.

    *exclusive* keeps every other process out, for file systems without shared memory.
    """
    load_checksums()
    connection = apsw.Connection(str(path), vfs=vfs)
    keep_log_on_close(connection, keep=True)
    # SQLite would not say that it has failed; see `log_keeper`.
    connection.wal_autocheckpoint(0)
    connection.set_busy_timeout(int(BUSY_TIMEOUT * 1000))
    if exclusive:
        connection.pragma("locking_mode", "exclusive")
    return connection


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """A connection for reading a database that exists: a log beside it is read, too, and left as it is."""
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()


def mark_of(connection: apsw.Connection) -> Mark:
    """The mark in a database that has a schema."""
    return Mark._make(connection.execute(_MARK).fetchall()[0])


def audit_head_of(connection: apsw.Connection) -> AuditHead:
    """The newest entry of the audit log in a database that has a schema, of any version."""
    if not connection.table_exists("main", "audit"):
        return EMPTY
    return AuditHead._make(connection.execute("SELECT audit_seq, audit_hash FROM meta").fetchall()[0])


def load_checksums() -> None:
    """Register the checksum VFS, over what is SQLite's default VFS when this is first called."""
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _OLDEST_SQLITE:
        raise StorageError(f"SQLite {apsw.sqlite_lib_version()} can damage a database; 3.51.3 or newer is needed")
    if CHECKSUM_VFS not in apsw.vfs_names():
        loader = apsw.Connection(":memory:")
        apsw.sqlite_extra.load(loader, "cksumvfs")
        loader.close()


def keep_log_on_close(connection: apsw.Connection, *, keep: bool) -> None:
    """Whether closing leaves the log beside the database as it is, or moves it into the database."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def schema_version(
    connection: apsw.Connection, path: Path, supported: int, *, application: int = APPLICATION_ID
) -> int:
    """The schema version; 0 of a fresh database. Raises when it is not ours or newer than *supported*.

    *application* is the id of the kind of database that it has to be.
    """
    found = connection.pragma("application_id")
    version = connection.pragma("user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if found == 0 and version == 0 and tables == 0:
        return 0
    if found != application:
        raise StorageCorruptError(str(path), "not a database of Tekton")
    if version > supported:
        raise SchemaVersionError(str(path), version, supported)
    return int(version)


def prepare(
    connection: apsw.Connection,
    path: Path,
    version: int,
    migrations: Sequence[str] | None = None,
    *,
    save: "Callable[[apsw.Connection, Path], None] | None" = None,
    application: int = APPLICATION_ID,
) -> None:
    """Bring the database from schema *version* to the newest one, and set it up for writing.

    A database that exists is copied to `<path>.v<version>` before it is migrated, by *save* (`copy_to` if it is not
    given). Each step is one transaction: whatever interrupts it leaves the schema before it.
    """
    migrations = MIGRATIONS if migrations is None else migrations
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", True)
    if version == 0:
        connection.reserve_bytes("main", 8)
        connection.pragma("auto_vacuum", 0)
    elif version < len(migrations):
        (save or copy_to)(connection, path.with_name(f"{path.name}.v{version}"))
    for number in range(version, len(migrations)):
        _migrate(connection, path, migrations[number], number + 1, application)
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StorageError(f"{path}: the file system does not support SQLite's write-ahead log")
    connection.pragma("journal_size_limit", _WAL_KEPT_BYTES)
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -_CACHE_KIB)


def check(connection: apsw.Connection, path: Path) -> PapersDigest:
    """Read every page. Raises StorageCorruptError for the first one that is wrong. The digest of its papers.

    A page that the disk never wrote is an old page, with a checksum that is right. What gives it away is that it does
    not agree with others; that is why tables are compared too.
    """
    if str(connection.pragma("checksum_verification")) != "1":
        raise StorageCorruptError(str(path), "its pages have no checksums")
    for question, answer in _SOUND:
        if (found := connection.execute(question).get) != answer:
            # SQLite's report has several lines.
            raise StorageCorruptError(str(path), " ".join(str(found).split()))
    papers = read_digest(connection.execute)
    if connection.execute("SELECT papers FROM meta").get not in (papers.value, None):
        raise StorageCorruptError(str(path), "documents or idempotency keys are not those that were stored last")
    return papers


def check_any(connection: apsw.Connection, path: Path, version: int) -> None:
    """Check a database of the schema *version*: all of it when that is the newest one, and otherwise its pages."""
    if version == len(MIGRATIONS):
        check(connection, path)
    elif (found := connection.execute("PRAGMA integrity_check(1)").get) != "ok":
        raise StorageCorruptError(str(path), str(found))


def copy_to(connection: apsw.Connection, path: Path, interrupted: Callable[[], bool] = lambda: False) -> None:
    """Write a compact, checksummed copy of the database to *path*, durably and for its owner only.

    The copy shows one moment, whatever is committed meanwhile. What was at *path* is replaced when it is complete.
    Raises apsw.InterruptError soon after *interrupted* answers True.
    """
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _copy_pages(connection, unfinished, interrupted)
        os.fsync(descriptor)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def _copy_pages(connection: apsw.Connection, path: Path, interrupted: Callable[[], bool]) -> None:
    # Not by VACUUM INTO. The checksums are made when a page is written to a file whose first page says so: pages in the
    # log have none, and pages that a full cache writes before the first one get none.
    with reading(path) as copy:
        copy.pragma("synchronous", "off")
        copy.reserve_bytes("main", 8)
        copy.execute("CREATE TABLE first_page (x)")
        copy.set_progress_handler(interrupted, STEPS_AT_ONCE)
        with connection, copy.backup("main", connection, "main") as backup:
            # The transaction keeps the moment for all the steps.
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
            while not backup.done:
                if interrupted():
                    raise apsw.InterruptError
                backup.step(_PAGES_AT_ONCE)
        copy.pragma("journal_mode", "delete")
        if copy.pragma("freelist_count") > copy.pragma("page_count") // 10:
            copy.execute("VACUUM")


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Translate what SQLite and the system raise while the database at *path* is being opened or read."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        kind = StorageFullError if error.errno in _NO_ROOM else StorageError
        raise kind(f"{error.filename or path}: {error.strerror}") from error


def is_full(error: apsw.Error, system_errno: int) -> bool:
    """True when a failed write says that there is no room or no permission, and that nothing of it can come back.

    Not when the failure came from a sync: then a complete commit may be in the log already.
    """
    if isinstance(error, (apsw.FullError, apsw.ReadOnlyError)):
        return True
    return isinstance(error, apsw.IOError) and _detail(error) not in _SYNCS and system_errno in _CANNOT_WRITE


def is_no_room(error: OSError) -> bool:
    """True when the system says that disk, quota or file size limit are exhausted, or that writing is forbidden."""
    return error.errno in _CANNOT_WRITE


_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
_CANNOT_WRITE = _NO_ROOM | {errno.EROFS, errno.EACCES, errno.EPERM}
_SYNCS = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})
_DAMAGE = frozenset({apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS})


_KEPT_TABLES = ("components", "changes")


def _migrate(connection: apsw.Connection, path: Path, script: str, version: int, application: int) -> None:
    reach("migrate.each_step")
    connection.execute("BEGIN IMMEDIATE")
    try:
        before = _count_rows(connection)
        connection.execute(script)
        after = _count_rows(connection)
        if before and before != after:
            raise StorageError(f"{path}: the migration to schema {version} would turn {before} rows into {after}")
        connection.execute(f"PRAGMA application_id = {application}; PRAGMA user_version = {version}; COMMIT")
    except BaseException:
        with suppress(apsw.Error):
            connection.execute("ROLLBACK")
        raise


def _count_rows(connection: apsw.Connection) -> dict[str, int]:
    """The number of rows in each table that no migration adds to or takes from; empty before there are tables."""
    if not connection.table_exists("main", _KEPT_TABLES[0]):
        return {}
    return {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in _KEPT_TABLES}


def was_removed(connection: apsw.Connection) -> bool:
    """True when the file behind *connection* has been moved or deleted."""
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    return bool(moved.value)


def _detail(error: apsw.Error) -> int:
    code: int = getattr(error, "extendedresult", 0)
    return code


def translated(error: apsw.Error, path: Path) -> StorageError:
    """What *error* of SQLite means for the database at *path*."""
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)):
        return StorageCorruptError(str(path), str(error))
    if isinstance(error, apsw.IOError) and _detail(error) in _DAMAGE:
        return StorageCorruptError(str(path), f"a page is damaged ({error})")
    if isinstance(error, apsw.FullError):
        return StorageFullError(f"{path}: {error}")
    return StorageError(f"{path}: {error}")
