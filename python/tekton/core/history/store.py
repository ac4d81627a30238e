"""Telemetry that is kept: what history asks of a store, and the store in memory.

Nothing that is kept here is a promise. Rules that every store keeps (one conformance suite runs over all of them):

* `append` never blocks and never raises for want of room. What cannot be kept is dropped, the oldest first, and
  counted.
* A row has the wall-clock time that its writer gave it, and a number: rows are numbered in the order in which they
  came. Reads are by time, and by number where times are equal.
* A read sees every row that was appended before it and has not been dropped.
* Rows go when they are too old, or when together they take too much room: then those of the kind that takes the most
  of it in proportion to its share. Of a kind with `keeps_last`, the last row about a key stays as long as there is
  anything else to drop, however old it is, so that what holds can be told as of any time since `known_since`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from tekton.clock import SYSTEM_CLOCK, Clock

Kind = Literal["span", "sample", "state"]

ROW_BYTES: Final = 160
"""What a row takes beside its texts, roughly: its numbers, and its places in the indexes."""

ALWAYS: Final = -math.inf
FOREVER: Final = math.inf


class Rules(NamedTuple):
    """How a kind is kept: its *share* of the room when that is scarce, and whether the last row of each key stays."""

    share: float
    keeps_last: bool = False


KINDS: Final[dict[Kind, Rules]] = {
    "span": Rules(share=0.5),
    "sample": Rules(share=0.25),
    "state": Rules(share=0.25, keeps_last=True),
}


class Row(NamedTuple):
    """One thing that was noted *at* a time (wall-clock seconds) about *key*; *body* is JSON.

    *trace* names the trace that it belongs to, if any. A row that *ends* says that from then on there is nothing to
    know about the key. *seq* is given by the store.
    """

    at: float
    key: str
    body: bytes
    trace: str = ""
    ends: bool = False
    seq: int = 0


class Status(NamedTuple):
    """How a store is. *path* is None for one in memory, *problem* says why a disk is not used at the moment.

    *begun_anew* counts how often everything was lost since the store was opened; *total* are the rows that it was
    given, those that were *dropped* among them.
    """

    path: str | None
    size_bytes: int
    dropped: dict[Kind, int]
    problem: str | None = None
    begun_anew: int = 0
    total: Mapping[Kind, int] = MappingProxyType({})


class TelemetryStore(Protocol):
    """Keeps rows by kind, time, key and trace. One event loop, or thread, uses it at a time."""

    def append(self, kind: Kind, rows: Sequence[Row]) -> None:
        """Keep *rows*, soon. O(rows); a row whose time is no number is dropped."""
        ...

    async def read(
        self,
        kind: Kind,
        since: float = ALWAYS,
        until: float = FOREVER,
        limit: int = 1000,
        *,
        key: str | None = None,
        trace: str | None = None,
        oldest_first: bool = False,
    ) -> list[Row]:
        """Up to *limit* rows with `since <= at < until`, newest first unless *oldest_first*."""
        ...

    async def latest(self, kind: Kind, at: float, since: float = ALWAYS) -> list[Row]:
        """Of each key the row that was written last among those with `since <= row.at <= at`, in order of the keys.

        Keys of which that row says that they end are left out. O(all rows of the kind).
        """
        ...

    async def known_since(self, kind: Kind) -> float:
        """From when on the rows of *kind* are complete, as far as it was running and nothing was dropped unwritten."""
        ...

    def status(self) -> Status:
        """Where and how much it keeps, and what it has lost."""
        ...

    async def tidy(self) -> None:
        """Drop what is too old or too much; to be called once a minute or so."""
        ...

    async def close(self) -> None:
        """Keep what has been appended, and stop. Closing twice does nothing; rows that come later are dropped."""
        ...


def size_of(row: Row) -> int:
    """The bytes that *row* is counted as."""
    return len(row.body) + len(row.key) + len(row.trace) + ROW_BYTES


def is_timed(row: Row) -> bool:
    """False for a row that has no time."""
    return math.isfinite(row.at)


class Wanted(NamedTuple):
    """What `TelemetryStore.read` is asked for."""

    since: float
    until: float
    limit: int
    key: str | None
    trace: str | None
    oldest_first: bool

    def of(self, rows: Iterable[Row]) -> list[Row]:
        """Those of *rows* that are wanted, in order."""
        found = [row for row in rows if self._fits(row)]
        found.sort(key=_place, reverse=not self.oldest_first)
        return found[: max(0, self.limit)]

    def _fits(self, row: Row) -> bool:
        return self.since <= row.at < self.until and self.key in (None, row.key) and self.trace in (None, row.trace)


def last_of_each(rows: Iterable[Row], at: float, since: float) -> dict[str, Row]:
    """The last written of *rows*, which are in that order, by key; those that end are among them."""
    return {row.key: row for row in rows if since <= row.at <= at}


def alive(last: dict[str, Row]) -> list[Row]:
    """Those that do not end, in order of their keys."""
    return [last[key] for key in sorted(last) if not last[key].ends]


class MemoryTelemetryStore:
    """A store that lives as long as the object. All rows together take *size_bytes* at most, and get *age* seconds old.

    For tests, and for systems that keep no history on disk. Reads look at all rows.
    """

    def __init__(self, *, size_bytes: int = 16 << 20, age: float = 86_400.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limit = size_bytes
        self._age = age
        self._clock = clock
        self._rows: dict[Kind, list[Row]] = {kind: [] for kind in KINDS}
        self._sizes: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._since: dict[Kind, float] = dict.fromkeys(KINDS, clock.time())
        self._dropped: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._total: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._seq = 0
        self._closed = False

    def append(self, kind: Kind, rows: Sequence[Row]) -> None:
        """See TelemetryStore."""
        self._total[kind] += len(rows)
        for row in rows:
            if self._closed or not is_timed(row):
                self._dropped[kind] += 1
                continue
            self._seq += 1
            self._rows[kind].append(row._replace(seq=self._seq))
            self._sizes[kind] += size_of(row)
        self._make_room()

    async def read(
        self,
        kind: Kind,
        since: float = ALWAYS,
        until: float = FOREVER,
        limit: int = 1000,
        *,
        key: str | None = None,
        trace: str | None = None,
        oldest_first: bool = False,
    ) -> list[Row]:
        """See TelemetryStore."""
        return Wanted(since, until, limit, key, trace, oldest_first).of(self._rows[kind])

    async def latest(self, kind: Kind, at: float, since: float = ALWAYS) -> list[Row]:
        """See TelemetryStore."""
        return alive(last_of_each(self._rows[kind], at, since))

    async def known_since(self, kind: Kind) -> float:
        """See TelemetryStore."""
        return self._since[kind]

    def status(self) -> Status:
        """See TelemetryStore."""
        return Status(None, sum(self._sizes.values()), dict(self._dropped), total=dict(self._total))

    async def tidy(self) -> None:
        """See TelemetryStore."""
        horizon = self._clock.time() - self._age
        for kind in KINDS:
            self._forget(kind, horizon)
        self._make_room()

    async def close(self) -> None:
        """See TelemetryStore."""
        self._closed = True

    def _make_room(self) -> None:
        while (surplus := sum(self._sizes.values()) - self._limit) > 0:
            # A tenth more than must be: the next row need not make room again.
            self._shrink(surplus + self._limit // 10)

    def _shrink(self, surplus: int) -> None:
        """Drop rows of *surplus* bytes of one kind: superseded ones where the last ones stay, else the oldest."""
        for kind in sorted(KINDS, key=lambda kind: self._sizes[kind] / KINDS[kind].share, reverse=True):
            if KINDS[kind].keeps_last:
                if self._forget(kind, self._time_after(kind, surplus)):
                    return
            elif self._rows[kind]:
                self._drop_oldest(kind, surplus)
                return
        self._drop_oldest(max(KINDS, key=self._sizes.__getitem__), surplus)

    def _drop_oldest(self, kind: Kind, surplus: int) -> None:
        rows, count = self._rows[kind], 0
        while surplus > 0 and count < len(rows):
            surplus -= size_of(rows[count])
            count += 1
        self._keep(kind, rows[count:], math.nextafter(max(row.at for row in rows[:count]), FOREVER))

    def _time_after(self, kind: Kind, size_bytes: int) -> float:
        """The time before which rows of *kind* take *size_bytes*."""
        size, at = 0, ALWAYS
        for row in sorted(self._rows[kind], key=_place):
            at, size = row.at, size + (0 if row.at < self._since[kind] else size_of(row))
            if size > size_bytes:
                break
        return math.nextafter(at, FOREVER)

    def _forget(self, kind: Kind, horizon: float) -> bool:
        """Drop what nobody needs who asks about times after *horizon*; False when there is nothing of that sort."""
        rows = self._rows[kind]
        old = [row for row in rows if row.at < horizon]
        if KINDS[kind].keeps_last:
            kept = {row.seq for row in last_of_each(old, horizon, ALWAYS).values() if not row.ends}
            old = [row for row in old if row.seq not in kept]
        gone = {row.seq for row in old}
        if gone:
            self._keep(kind, [row for row in rows if row.seq not in gone], horizon)
        return bool(gone)

    def _keep(self, kind: Kind, rows: list[Row], horizon: float) -> None:
        self._rows[kind] = rows
        self._sizes[kind] = sum(map(size_of, rows))
        self._since[kind] = max(self._since[kind], min(horizon, self._clock.time()))


def _place(row: Row) -> tuple[float, int]:
    return row.at, row.seq
