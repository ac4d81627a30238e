"""The SQLite file behind telemetry: its tables, how rows get in and out, and how it stays within its size.

* One table for each kind, so that a flood of one does not slow down the others. Times are whole microseconds.
* Rows go in, and come out, with one SQL statement for all of them: each return from C to Python may wait a whole switch
  interval for a busy event loop. They travel as a JSON array of their numbers and texts, and one blob of all bodies.
* WAL with `synchronous=NORMAL`: the last seconds may be missing after a power cut, but nothing is damaged.
* `max_page_count` is the promise that the file stays below its size; rows are dropped before it is reached. The log is
  kept short, and counted.

Everything here blocks and raises apsw.Error, OSError or StorageError; see `sqlite_store` for what then happens.
"""

import math
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from tekton.core.component_lifecycle import database
from tekton.core.history import telemetry_sql as sql
from tekton.core.history.store import KINDS, ROW_BYTES, Kind, Row, Wanted
from tekton.core.private_files import SQLITE_SUFFIXES, make_private
from tekton.utils.tekton_errors import SchemaVersionError, StorageCorruptError, StorageError

APPLICATION_ID: Final = 0x54454B48  # "TEKH"
SCHEMA_VERSION: Final = 1

_PAGE: Final = 4096
_MOST_LOG_PAGES: Final = 1024
_FLOOR_PAGES: Final = 256
"""So many it may have as long as the disk has any: less is no use to anybody."""
_CHUNKS_AT_ONCE: Final = 8
_BUSY_TIMEOUT_MS: Final = 250
_FOREVER_US: Final = 1 << 62

_decode_places = msgspec.json.Decoder(list[tuple[int, str, str, int, int, int]]).decode
_encode = msgspec.json.Encoder().encode


class TelemetryFile:
    """An open file at *path*, which is created if it is missing, and takes *limit_bytes* with all that belongs to it.

    *now* is when it knows from, if it is new (wall-clock seconds). *reserve_bytes* of the disk are left to others.
    """

    def __init__(self, path: Path, limit_bytes: int, now: float, reserve_bytes: int) -> None:
        self._path = path
        self._reserve = reserve_bytes
        self._log_pages = min(_MOST_LOG_PAGES, max(16, limit_bytes // _PAGE // 8))
        # A batch may make the log twice as long before it is moved; the index of the log is a file of its own.
        self._chunk = max(16, self._log_pages // 4)
        self._most_pages = max(32, limit_bytes // _PAGE - 2 * self._log_pages - 16)
        self._sizes: dict[Kind, float] | None = None
        self._logged_pages = 0
        self.is_cramped = False
        """True when not even the last row of each key has found room."""
        make_private(path)
        database.load_checksums()
        self._connection = apsw.Connection(str(path), vfs=database.CHECKSUM_VFS)
        try:
            self._prepare(now)
            self._next = 1 + max(self._one(f"SELECT coalesce(max(seq), 0) FROM {kind}") for kind in KINDS)
        except BaseException:
            self.close()
            raise

    @property
    def batch(self) -> tuple[int, int]:
        """How many rows, and bytes of rows, should go in at a time."""
        return self._log_pages // 2, self._log_pages * _PAGE // 4

    def size_bytes(self) -> int:
        """What the file takes on the disk, with all that belongs to it."""
        paths = [self._path.with_name(self._path.name + suffix) for suffix in SQLITE_SUFFIXES]
        return sum(path.stat().st_size for path in paths if path.exists())

    def insert(self, kind: Kind, rows: Sequence[Row], now: float) -> None:
        """Add *rows*, making room for them if that is necessary: all of them, or none when it raises."""
        self._check_files()
        size = sum(len(row.body) + len(row.key) + ROW_BYTES for row in rows)
        # Texts stand in the indexes too, and pages are not filled to the brim.
        self._make_room(2 * size // _PAGE + 8, now)
        places, bodies, start = [], [], 1
        for number, row in enumerate(rows, self._next):
            places.append((number, micros(row.at), row.key, row.trace or None, int(row.ends), start, len(row.body)))
            bodies.append(row.body)
            start += len(row.body)
        self._connection.execute(sql.INSERT.format(kind=kind), (_encode(places).decode(), b"".join(bodies)))
        self._next += len(rows)
        if self._sizes is not None:
            self._sizes[kind] += size

    def settle(self) -> None:
        """Move the log when it is long; to be called after each `insert`, whose rows stay whatever comes of it."""
        self._move_log()

    def read(self, kind: Kind, wanted: Wanted) -> list[Row]:
        """See TelemetryStore."""
        named = [column for column in ("key", "trace") if getattr(wanted, column) is not None]
        only = " ".join(f"AND {column} = :{column}" for column in named)
        rows = sql.READ.format(kind=kind, only=only, way="ASC" if wanted.oldest_first else "DESC")
        asked = wanted._asdict() | {"since": micros(wanted.since), "until": micros(wanted.until)}
        return self._unpack(rows, asked | {"limit": max(0, wanted.limit)})

    def latest(self, kind: Kind, at: float, since: float) -> list[Row]:
        """See TelemetryStore."""
        return self._unpack(sql.LATEST.format(kind=kind), (micros(since), micros(at)))

    def known_since(self, kind: Kind) -> float:
        """See TelemetryStore."""
        return int(self._one("SELECT at FROM known_since WHERE kind = ?", kind)) / 1e6

    def forget(self, horizon: float, now: float) -> bool:
        """Drop some of what nobody needs who asks about times after *horizon*; False when there is no more of it."""
        gone = [self._forget(kind, micros(horizon), now) for kind in KINDS]
        self._move_log()
        return any(gone)

    def shrink(self, now: float) -> None:
        """Get below the size, where that was lowered or nothing more may be taken from the disk."""
        self._make_room(0, now)

    def drop_some(self, now: float) -> bool:
        """Drop some of the oldest rows, so that others fit into their place; False when there are none."""
        dropped = self._shrink_one(now)
        self.move_log()
        return dropped

    def move_log(self) -> None:
        """Have the log begin anew: what is written next need not make it longer."""
        self._move_log(always=True)

    def close(self) -> None:
        """Close it. Closing twice does nothing."""
        self._connection.close()

    # Opening

    def _prepare(self, now: float) -> None:
        connection = self._connection
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        version = self._schema_version()
        connection.pragma("synchronous", "normal")
        if version == 0:
            connection.pragma("page_size", _PAGE)
            connection.reserve_bytes("main", 8)
            connection.pragma("auto_vacuum", "incremental")
        if connection.pragma("journal_mode", "wal") != "wal":
            raise StorageError(f"{self._path}: the file system does not support SQLite's write-ahead log")
        if version == 0:
            self._create(now)
        connection.wal_autocheckpoint(0)
        connection.set_wal_hook(self._logged)
        connection.pragma("journal_size_limit", self._log_pages * _PAGE)
        connection.pragma("temp_store", "memory")
        connection.pragma("cache_size", -2048)
        connection.execute(sql.GOING)
        self.move_log()
        self._limit_pages()

    def _schema_version(self) -> int:
        connection = self._connection
        application, version = connection.pragma("application_id"), connection.pragma("user_version")
        if application == 0 and version == 0 and self._one("SELECT count(*) FROM sqlite_schema") == 0:
            return 0
        if application != APPLICATION_ID:
            raise StorageCorruptError(str(self._path), "not a telemetry file of Tekton")
        if version != SCHEMA_VERSION:
            raise SchemaVersionError(str(self._path), int(version), SCHEMA_VERSION)
        if str(connection.pragma("checksum_verification")) != "1":
            raise StorageCorruptError(str(self._path), "its pages have no checksums")
        return int(version)

    def _create(self, now: float) -> None:
        with self._connection:
            self._connection.execute(sql.TABLES, {"now": micros(now)})
            self._connection.execute(
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
            )

    # Room

    def _limit_pages(self) -> None:
        """Tell SQLite how many pages there may be; it knows no less than there are."""
        self._connection.execute(f"PRAGMA max_page_count = {self._most_pages}").fetchall()

    def _make_room(self, needed: int, now: float) -> None:
        """See to it that *needed* pages can be taken."""
        most = self._affordable()
        if self._used() + needed <= most:
            return
        while self._used() + needed > most * 9 // 10 and self._shrink_one(now):
            self._move_log()
        self._give_back(most)

    def _affordable(self) -> int:
        """How many pages the file may have."""
        pages = self._pages()
        if pages >= self._most_pages:
            return self._most_pages
        # The log takes from the disk, too.
        reserve = max(self._reserve, self._log_pages * _PAGE)
        spare = (shutil.disk_usage(self._path.parent).free - reserve) // _PAGE
        return min(self._most_pages, max(_FLOOR_PAGES, pages + max(0, spare)))

    def _give_back(self, most: int) -> None:
        """Give pages that are free back to the disk, where there are more than there should be."""
        if self._pages() > most:
            while (surplus := self._pages() - most) > 0 and self._one("PRAGMA freelist_count"):
                self._connection.execute(f"PRAGMA incremental_vacuum({min(surplus, 256)})").fetchall()
                self._move_log()
            self._move_log(always=True)
            self._limit_pages()

    def _pages(self) -> int:
        return int(self._one("PRAGMA page_count"))

    def _used(self) -> int:
        return self._pages() - int(self._one("PRAGMA freelist_count"))

    def _shrink_one(self, now: float) -> bool:
        """Drop some rows of the kind that takes the most room in proportion to its share; False when there are none."""
        sizes = self._sizes_now()
        for kind in sorted(KINDS, key=lambda kind: sizes[kind] / KINDS[kind].share, reverse=True):
            drop = self._supersede if KINDS[kind].keeps_last else self._drop_first
            if drop(kind, now):
                return True
        if self._affordable() < self._most_pages:
            # It is the disk that is short: what finds no room waits in memory, and nothing is forgotten for it.
            return False
        self.is_cramped = any(self._drop_first(kind, now) for kind in KINDS)
        return self.is_cramped

    def _drop_first(self, kind: Kind, now: float) -> bool:
        return self._drop(kind, sql.FIRST, _FOREVER_US, now)

    def _supersede(self, kind: Kind, now: float) -> bool:
        """Drop rows that have a successor, of the oldest time in which there are any."""
        count = _CHUNKS_AT_ONCE * self._chunk
        while (horizon := self._one(sql.NTH_TIME.format(kind=kind), count)) is not None:
            if self._forget(kind, horizon, now):
                return True
            count *= 4
        return self._forget(kind, micros(now), now)

    def _sizes_now(self) -> dict[Kind, float]:
        if self._sizes is None:
            self._sizes = {kind: self._one(sql.SIZES.format(kind=kind)) for kind in KINDS}
        return self._sizes

    def _forget(self, kind: Kind, horizon: int, now: float) -> bool:
        return self._drop(kind, sql.SUPERSEDED if KINDS[kind].keeps_last else sql.OLD, horizon, now)

    def _drop(self, kind: Kind, rows: str, horizon: int, now: float) -> bool:
        """Drop what *rows* selects; False when that is nothing."""
        asked = {"horizon": horizon, "most": _CHUNKS_AT_ONCE * self._chunk}
        # Looked for once, and deleted in several transactions: each of them takes room in the log.
        self._connection.execute(f"DELETE FROM temp.going; INSERT INTO temp.going {rows.format(kind=kind)}", asked)
        newest = self._one(f"SELECT max(at) FROM {kind} WHERE seq IN temp.going")
        if newest is None:
            return False
        known = horizon if horizon < _FOREVER_US else newest + 1
        self._connection.execute(sql.KNOWN, (min(known, micros(now)), kind))
        chunk = self._chunk
        while self._one("SELECT count(*) FROM temp.going"):
            try:
                self._drop_chunk(kind, chunk)
                self._move_log()
            except apsw.FullError:
                if chunk == 1:
                    raise
                chunk = max(1, chunk // 4)
                self.move_log()
        return True

    def _drop_chunk(self, kind: Kind, count: int) -> None:
        sizes = self._sizes_now()
        size = self._one(sql.SIZES.format(kind=kind) + f" WHERE seq IN ({sql.CHUNK})", count)
        with self._connection:
            self._connection.execute(f"DELETE FROM {kind} WHERE seq IN ({sql.CHUNK})", (count,))
            self._connection.execute(f"DELETE FROM temp.going WHERE seq IN ({sql.CHUNK})", (count,))
        sizes[kind] -= size

    # The log

    def _logged(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        self._logged_pages = pages
        return apsw.SQLITE_OK

    def _move_log(self, *, always: bool = False) -> None:
        if self._logged_pages >= self._log_pages or always:
            pages, moved = self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
            # What has been moved is written over, unless a reader is still at it.
            self._logged_pages = pages if moved < pages else 0

    def _check_files(self) -> None:
        if database.was_removed(self._connection):
            raise StorageCorruptError(str(self._path), "it was moved or deleted")
        if self._logged_pages > 2 * self._log_pages:
            self.move_log()
            if self._logged_pages > 2 * self._log_pages:
                raise StorageError(f"{self._path}: a reader keeps its log from being moved")

    # Rows

    def _one(self, question: str, *values: Any) -> Any:
        return self._connection.execute(question, values).get

    def _unpack(self, rows: str, values: Any) -> list[Row]:
        found: Any = self._connection.execute(sql.PACKED.format(rows=rows), values).fetchall()[0]
        places, bodies = found
        return list(_rows(_decode_places(places), bodies or b""))


def _rows(places: Iterable[tuple[int, str, str, int, int, int]], bodies: bytes) -> Iterable[Row]:
    start = 0
    for at, key, trace, ends, seq, length in places:
        yield Row(at / 1e6, key, bodies[start : start + length], trace, bool(ends), seq)
        start += length


def micros(at: float) -> int:
    """*at* seconds in whole microseconds."""
    if math.isinf(at):
        return _FOREVER_US if at > 0 else -_FOREVER_US
    return max(-_FOREVER_US, min(_FOREVER_US, round(at * 1e6)))


def set_aside(path: Path) -> Path | None:
    """Give the file at *path*, which cannot be used, another name; what had that name goes. Raises OSError.

    None when there is no file any more: then what belonged to it goes, too.
    """
    aside = path.with_name(path.name + ".damaged") if path.exists() else None
    for suffix in SQLITE_SUFFIXES:
        part = path.with_name(path.name + suffix)
        if aside is None:
            part.unlink(missing_ok=True)
            continue
        kept = aside.with_name(aside.name + suffix)
        kept.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.replace(part, kept)
    return aside


def is_damaged(error: Exception) -> bool:
    """True when *error* says that the file cannot be used by us, now or later."""
    if isinstance(error, apsw.Error):
        return isinstance(database.translated(error, Path()), StorageCorruptError)
    return isinstance(error, (StorageCorruptError, SchemaVersionError))
