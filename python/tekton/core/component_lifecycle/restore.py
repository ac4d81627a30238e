"""A backup in the place of the database.

* Nothing is touched before the backup has been copied beside the database, and proven sound there.
* One rename decides: until `tekton.db.restore-<time>` stands in the directory the old state holds, from then on the
  new one. What is left to do then is done by the restore itself or, when that was killed, by the next one who opens
  the directory (`finish_restore`); each step of it may be done twice.
* What was there before is kept, as `tekton.db.before-restore-<time>`.
* Other databases that lie beside the backup (`companion.py`) take their places with it, by the same decision.
* Nothing repeats. What was acknowledged after the backup is lost, so a restored database has a new identity, and its
  revisions and incarnations begin far above any that can have been seen: whoever watches from an old position is told
  to begin anew. The audit log goes on with an entry about the restore, whose number no lost entry can have had.
* Nothing that was taken back is given again: what the database that was there knows of revocations, and of keys that
  have been removed or have got an end since the backup, goes into the restored one.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import apsw
import msgspec

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import AuditHead, Row, chained, draft
from tekton.core.audit.query import RESTORE
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.companion import Companion
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.papers_digest import read_digest
from tekton.core.component_lifecycle.restore_files import put_aside, remove, stage, sync
from tekton.core.component_lifecycle.store import HistoryEntry
from tekton.core.component_lifecycle.witness import Mark, Witness, sync_directory, verify
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import BackupError, StorageCorruptError, StorageError

REVISION_GAP = 1 << 40
"""Added to the highest known revision: more than a system makes between its last backup and the loss of its disk
(ten thousand million a day for a hundred days), and small beside the 2^53 that JSON carries."""

INCARNATION_GAP = 1000
"""Added to the highest known incarnation, for the starts that nothing which is left knows of."""

AUDIT_GAP = 1 << 32
"""Added to the highest known number of an entry of the audit log where the database that was there cannot be used."""

_DOCUMENTS = "SELECT kind, id, body FROM documents WHERE kind IN ('revocation', 'api_key')"
_REVOKE = """
    INSERT INTO documents VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = excluded.body
    WHERE ?4 OR coalesce(CAST(excluded.body AS TEXT) ->> 'issued_up_to', 1e99)
        > coalesce(CAST(body AS TEXT) ->> 'issued_up_to', 1e99)
"""
_END_KEY = """
    UPDATE documents SET body = ?3
    WHERE (kind, id) = (?1, ?2) AND coalesce(CAST(?3 AS TEXT) ->> 'expires_at', 1e99)
        < coalesce(CAST(body AS TEXT) ->> 'expires_at', 1e99)
"""
_REMOVE_KEYS = "DELETE FROM documents WHERE kind = 'api_key' AND id NOT IN (SELECT value FROM json_each(?))"
_LAST_CHANGE = "SELECT at FROM changes ORDER BY revision DESC LIMIT 1"
_CHANGES_AFTER = "SELECT count(*) FROM changes WHERE revision > ? AND kind <> 'restored'"
_NOTE = "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)"
_RENEW = "UPDATE meta SET sequence = ?, revision = ?, incarnation = ?, identity = ?, chain = ?, kept = kept + 1"
_ENTER = "INSERT INTO audit VALUES (?, ?, ?)"
_RENEW_PAPERS = "UPDATE meta SET papers = ?"
_RENEW_AUDIT = "UPDATE meta SET audit_seq = ?, audit_hash = ?, audit_kept = audit_kept + 1"


class Present(NamedTuple):
    """What the directory holds before a restore.

    `revision` is the highest one that was acknowledged, None when that is not known; `lost` the number of changes that
    the backup does not have, None when they cannot be counted; `problem` why the database cannot be used, if so.
    """

    revision: int | None = None
    lost: int | None = None
    problem: str | None = None


class _TakenBack(NamedTuple):
    """What the database that was there says is not accepted any more: documents, as rows."""

    identity: bytes
    rows: list[tuple[Any, ...]]


class Restored(NamedTuple):
    """A restore that was carried out: the revision at which the database goes on, and the old one's new name.

    *kept_files* are all that was there before, other databases and their logs too.
    """

    revision: int
    kept: Path | None
    kept_files: tuple[Path, ...]


class Restoration:
    """A restore of *backup* into *data_dir*: entered, everything is checked and prepared; `carry_out` does it.

    While it is entered it owns the directory. Left without `carry_out`, it leaves everything as it was. *now* is in
    wall-clock seconds. Of *companions*, those are restored too that lie beside the backup.
    """

    def __init__(self, data_dir: Path, backup: Path, now: float, companions: Sequence[Companion] = ()) -> None:
        self._directory = data_dir
        self._database = data_dir / "tekton.db"
        self._backup = backup
        self._now = now
        self._lock = DirectoryLock(data_dir)
        self._staged = data_dir / "tekton.db.staged"
        self.companions = [one for one in companions if one.beside(backup).is_file()]
        """What is restored besides."""
        self.lost: dict[str, int | None] = {}
        """How much of each of these will be lost, by its file (`Companion.lost`)."""
        self._known: list[Mark] = []
        self._entered: int | None = None
        self._taken_back: _TakenBack | None = None
        self._revision = 0
        self.backup_revision = 0
        self.last_change: float | None = None
        """When the newest change in the backup was made, in wall-clock seconds."""
        self.present = Present()

    def __enter__(self) -> Self:
        """Raises StorageLockedError, BackupError for what is no sound backup, SchemaVersionError, and StorageError."""
        with database.opening(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
        try:
            with database.opening(self._directory):
                finish_restore(self._directory)
                self._prepare()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def carry_out(self) -> Restored:
        """Replace the database. Killed at any point, it leaves the old state or the new one."""
        with database.opening(self._directory):
            if self._database.exists() and self.present.problem is None:
                _merge_log(self._database)
            stamp = next(each for each in stamps(self._now) if not self._kept(each).exists())
            for one in self.companions:
                self._staged_of(one).rename(self._directory / f"{one.file}{_RESTORE}{stamp}")
            sync_directory(self._directory)
            self._staged.rename(self._directory / f"{_DECIDED}{stamp}")
            sync_directory(self._directory)
            finish_restore(self._directory)
        kept = self._kept(stamp)
        return Restored(self._revision, kept if kept.exists() else None, tuple(self._kept_files(stamp)))

    def _leave(self) -> None:
        for staged in (self._staged, *map(self._staged_of, self.companions)):
            remove(staged)
        self._lock.release()

    def _kept(self, stamp: str) -> Path:
        return self._directory / f"{_KEPT}{stamp}"

    def _kept_files(self, stamp: str) -> list[Path]:
        return sorted(file for end in ("", "-wal") for file in self._directory.glob(f"*{_BEFORE}{stamp}{end}"))

    def _staged_of(self, companion: Companion) -> Path:
        return self._directory / f"{companion.file}.staged"

    def _prepare(self) -> None:
        for undecided in self._directory.glob(f"*{_RESTORE}*"):  # of a restore that was killed
            remove(undecided)
        stage(self._backup, self._staged)
        for one in self.companions:
            other, source = self._staged_of(one), one.beside(self._backup)
            stage(source, other)
            one.prove(other, source)
            self.lost[one.file] = one.lost(self._directory, other)
            sync(other)
        staged = database.connect(self._staged)
        try:
            self._prove(staged)
            self.present = self._look()
            self._begin_anew(staged)
        finally:
            staged.close()
        sync(self._staged)

    def _prove(self, staged: apsw.Connection) -> None:
        """Check all of the backup, and bring it to the newest schema."""
        try:
            with database.opening(self._staged):
                version = database.schema_version(staged, self._backup, len(database.MIGRATIONS))
                if version == 0:
                    raise StorageCorruptError(str(self._backup), "empty")
                database.prepare(staged, self._staged, version, save=_no_copy)
                database.check(staged, self._staged)
        except StorageCorruptError as error:
            raise BackupError(str(self._backup), error.evidence) from error
        self.backup_revision = database.mark_of(staged).revision
        self.last_change = staged.execute(_LAST_CHANGE).get

    def _look(self) -> Present:
        """What is there before; remembers every mark that is found."""
        with suppress(StorageCorruptError):
            witnessed = Witness(self._directory / "witness").newest()
            self._known += [witnessed] if witnessed else []
        lost = problem = None
        try:
            lost = self._count_lost() if self._database.exists() else None
        except StorageError as error:
            problem = str(error)
        return Present(max((mark.revision for mark in self._known), default=None), lost, problem)

    def _count_lost(self) -> int:
        path, witnessed = self._database, next(iter(self._known), None)
        with database.opening(path), database.reading(path) as connection:
            version = database.schema_version(connection, path, len(database.MIGRATIONS))
            mark = database.mark_of(connection)
            self._known.append(mark)
            self._entered = database.audit_head_of(connection).seq
            verify(mark, witnessed, path)
            database.check_any(connection, path, version)
            self._taken_back = _taken_back(connection, mark)
            lost: int = connection.execute(_CHANGES_AFTER, (self.backup_revision,)).get
        return lost

    def _begin_anew(self, staged: apsw.Connection) -> None:
        """Give the staged database its new mark, with a note in the history, and fold its log away."""
        old = database.mark_of(staged)
        known = [old, *self._known]
        self._revision = max(mark.revision for mark in known) + REVISION_GAP
        note = _note(self._revision, self._now, f"restored from {self._backup}, which ends at revision {old.revision}")
        mark = Mark(
            sequence=old.sequence + 1,
            revision=self._revision,
            incarnation=max(mark.incarnation for mark in known) + INCARNATION_GAP,
            identity=os.urandom(16),
            chain=hashlib.sha256(old.chain + note.encode()).digest(),
        )
        entry = self._entry(database.audit_head_of(staged), old.revision)
        with database.opening(self._staged):
            with staged:
                staged.execute(_NOTE, (self._revision, self._now, "restored", "", "", note))
                staged.execute(_RENEW, mark)
                staged.execute(_ENTER, entry)
                staged.execute(_RENEW_AUDIT, (entry.seq, entry.hash))
                if self._taken_back is not None:
                    _take_back(staged, self._taken_back, old.identity)
                    staged.execute(_RENEW_PAPERS, (read_digest(staged.execute).value,))
            staged.pragma("journal_mode", "delete")

    def _entry(self, end: AuditHead, revision: int) -> Row:
        """What the audit log, which ends with *end* in the backup, says of the restore."""
        lost = end.seq if self._entered is None else max(end.seq, self._entered)
        if self._entered is None or self.present.problem is not None:
            lost += AUDIT_GAP
        detail = f"a backup that ends with revision {revision} and entry {end.seq}"
        said = draft(self._now, _BY, RESTORE, str(self._backup), detail=detail)
        # It follows the last entry that is left, with a number after those that are not.
        return chained(AuditHead(lost, end.hash), [said])[0]


def _taken_back(connection: apsw.Connection, mark: Mark) -> _TakenBack | None:
    if not connection.table_exists("main", "documents"):
        return None
    return _TakenBack(mark.identity, connection.execute(_DOCUMENTS).fetchall())


def _take_back(staged: apsw.Connection, known: _TakenBack, identity: bytes) -> None:
    # Of its own backup a database is a later state: what it says counts, also that a key or a bar is no more. Of
    # another one nobody knows which is later, and what takes more back counts.
    later = known.identity == identity
    staged.executemany(_REVOKE, ((*row, later) for row in known.rows if row[0] == "revocation"))
    keys = [row for row in known.rows if row[0] == "api_key"]
    staged.executemany(_END_KEY, keys)
    if later:
        staged.execute(_REMOVE_KEYS, (msgspec.json.encode([key[1] for key in keys]).decode(),))


_BY = Attribution("owner", "files")
"""Who can restore is who owns the files."""

_RESTORE = ".restore-"
_BEFORE = ".before-restore-"
_DECIDED = f"tekton.db{_RESTORE}"
_KEPT = f"tekton.db{_BEFORE}"


def finish_restore(data_dir: Path) -> None:
    """Do what is left of a restore that has been decided. Only the owner of the directory's lock may call this.

    Does nothing when there is none, which costs one look at the directory.
    """
    for decided in sorted(data_dir.glob(f"{_DECIDED}*")):
        stamp = decided.name.removeprefix(_DECIDED)
        for other in sorted(data_dir.glob(f"*{_RESTORE}{stamp}")):
            if other != decided:
                present = data_dir / other.name.removesuffix(f"{_RESTORE}{stamp}")
                put_aside(present, data_dir / f"{present.name}{_BEFORE}{stamp}")
                other.rename(present)
        present = data_dir / "tekton.db"
        put_aside(present, data_dir / f"{_KEPT}{stamp}")
        with database.reading(decided) as connection:
            mark = database.mark_of(connection)
        witness = Witness(data_dir / "witness")
        witness.open(mark)
        witness.close()
        sync_directory(data_dir)
        decided.rename(present)
        sync_directory(data_dir)


def stamps(now: float) -> Iterator[str]:
    """Endings for names of files, after the time *now*; the plain one first."""
    time = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    yield f"{time}Z"
    number = 2
    while True:
        yield f"{time}Z-{number}"
        number += 1


def _merge_log(path: Path) -> None:
    """Move the log into the database, so that one file is all of it."""
    connection = database.connect(path)
    try:
        connection.pragma("synchronous", "full")
        connection.pragma("wal_checkpoint(truncate)")
        database.keep_log_on_close(connection, keep=False)
    finally:
        connection.close()


def _note(revision: int, at: float, reason: str) -> str:
    entry = HistoryEntry(
        revision=revision,
        at=at,
        kind="restored",
        component_id="",
        instance_uuid="",
        previous=None,
        state=ComponentState.UNKNOWN,
        reason=reason,
    )
    return msgspec.json.encode(entry).decode()


def _no_copy(connection: apsw.Connection, path: Path) -> None:
    """The staged database is a copy already."""
    del connection, path
