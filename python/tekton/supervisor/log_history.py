"""The past of many logs as one: their lines in the order of the times in them, page by page, the newest page first.

Logs are read backwards and merged as far as a page needs. A line without a time has that of the line before it; one
before the first time of its log that of the line behind it; and a log whose lines show none at all stands at the time
at which it was last written. Within a log, lines keep their order whatever their times say.

One look reads 16 MiB and takes two seconds at most, and its page holds 4 MiB at most. When that is not enough it says
so, and the next one goes on at the same place: a cursor knows how much of each log has been looked through, in
positions that outlive a rotation.
"""

import heapq
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from tekton.clock import Clock
from tekton.supervisor.log_lines import LogLine, read_line
from tekton.supervisor.logs import block_before
from tekton.utils.log_query import Query, Seen

MOST_READ: Final = 16 * 1024 * 1024
MOST_GIVEN: Final = 4 * 1024 * 1024
LONGEST_LOOK: Final = 2.0
MOST_LOGS: Final = 300
"""A cursor has no room for more."""

_SMALLEST_BLOCK: Final = 4 * 1024
_LARGEST_BLOCK: Final = 64 * 1024
_LONGEST_LINE: Final = 64 * 1024
_BLOCKS_AHEAD: Final = 4
"""So much of a log is read in search of the time, or (at least 64 KiB) the beginning, of one line."""
_LINE_COST: Final = 100
"""Bytes that a line takes beside its text."""
_DISORDER: Final = 60.0
"""Seconds by which a line may stand behind a later one and still be found by `since`."""

Positions = Mapping[str, int]
Stop = Literal["bytes", "time", "size", "logs"]


class Entry(NamedTuple):
    """A line of a log: of which unit, when (as far as that can be told), and where it begins."""

    unit: str
    time: float | None
    line: LogLine
    start: int
    place: float
    """Seconds since 1970 that order it among the lines of other logs."""


class HistoryPage(NamedTuple):
    """Lines, oldest first; where the next page begins; and why the look was shorter than asked for, if it was.

    `bytes` and `time`: it had to read, or took, too much. `size`: these lines are many bytes. `logs`: there are too
    many logs for a cursor.
    """

    entries: list[Entry]
    rest: Positions
    stopped: Stop | None = None


class CursorError(ValueError):
    """The text is no cursor."""


def encode_cursor(rest: Positions) -> str | None:
    """Where the next page begins, as a text; None when there is none, or for more than 300 logs."""
    if not rest or len(rest) > MOST_LOGS:
        return None
    packed = msgspec.msgpack.encode({_short(unit): position for unit, position in rest.items()})
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_cursor(text: str, units: Mapping[str, Path]) -> dict[str, int]:
    """The positions in *units* that *text* means. Raises CursorError for what `encode_cursor` has not made."""
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        known = msgspec.msgpack.decode(packed, type=dict[bytes, int])
    except (ValueError, msgspec.DecodeError) as error:
        raise CursorError("that is no cursor of a page") from error
    if any(position < 0 for position in known.values()):
        raise CursorError("that is no cursor of a page")
    return {unit: known[_short(unit)] for unit in units if _short(unit) in known}


def read_page(
    logs: Mapping[str, Path], query: Query, limit: int, *, clock: Clock, before: Positions | None = None
) -> HistoryPage:
    """The last *limit* lines of *logs*, by unit, that *query* wants. Reads files.

    With *before*, only what stands before these positions, and nothing of logs that are not named there. A log that
    cannot be read has no lines.
    """
    units = [unit for unit in logs if query.wants_unit(unit) and (before is None or unit in before)]
    return _Look({unit: logs[unit] for unit in units}, query, limit, clock, before or {}).page()


class _Look:
    def __init__(self, logs: Mapping[str, Path], query: Query, limit: int, clock: Clock, before: Positions) -> None:
        block = min(max(MOST_READ // 4 // max(len(logs), 1), _SMALLEST_BLOCK), _LARGEST_BLOCK)
        self._readers = [_Backwards(unit, path, before.get(unit), block) for unit, path in reversed(list(logs.items()))]
        self._query = query
        self._limit = limit
        self._clock = clock
        self._deadline = clock.monotonic() + LONGEST_LOOK
        self._found: list[Entry] = []
        self._size = 0
        self._taken = 0

    def page(self) -> HistoryPage:
        heads: list[tuple[float, int, Entry]] = []
        for number, reader in enumerate(self._readers):
            self._push(heads, number, reader)
        stopped: Stop | None = None
        while heads and len(self._found) < self._limit and stopped is None:
            _, number, entry = heads[0]
            reader = self._readers[number]
            self._consider(entry, reader)
            heapq.heappop(heads)
            self._push(heads, number, reader)
            stopped = self._has_enough()
        rest = {reader.unit: reader.position for reader in self._readers if not reader.ended}
        if len(rest) > MOST_LOGS:
            stopped = "logs"
        return HistoryPage(self._found[::-1], rest, stopped if rest else None)

    def _push(self, heads: list[tuple[float, int, Entry]], number: int, reader: "_Backwards") -> None:
        before = reader.taken
        entry = reader.next()
        self._taken += reader.taken - before
        if entry is not None:
            heapq.heappush(heads, (-entry.place, number, entry))

    def _consider(self, entry: Entry, reader: "_Backwards") -> None:
        reader.position = entry.start
        if self._query.since is not None and entry.place < self._query.since - _DISORDER:
            reader.end()
        elif self._query.wants(Seen(entry.unit, entry.time, entry.line)):
            self._found.append(entry)
            self._size += len(entry.line.text)

    def _has_enough(self) -> Stop | None:
        if self._size > MOST_GIVEN:
            return "size"
        if self._taken > MOST_READ:
            return "bytes"
        return "time" if self._clock.monotonic() > self._deadline else None


class _Backwards:
    """The lines of one log, the last one first. `position`: what stands before it has not been looked at yet."""

    def __init__(self, unit: str, path: Path, end: int | None, block: int) -> None:
        self.unit = unit
        self.taken = 0
        """Bytes that were read."""
        self.ended = False
        self._path = path
        self._block = block
        self._most_ahead = _BLOCKS_AHEAD * block
        self._at = end
        self._entries = self._read()
        self.position = end if end is not None else 0

    def next(self) -> Entry | None:
        """The line before the one that it gave last; None when there is no more."""
        entry = None if self.ended else next(self._entries, None)
        self.ended = entry is None
        return entry

    def end(self) -> None:
        """No more lines are wanted."""
        self.ended = True

    def _read(self) -> Iterator[Entry]:
        place = self._written_last()
        undated: list[tuple[int, LogLine]] = []
        size = 0
        for start, line in self._lines():
            if line.time is None and size < self._most_ahead:
                undated.append((start, line))
                size += len(line.text) + _LINE_COST
                continue
            place = place if line.time is None else line.time
            for earlier_start, earlier in undated:
                yield Entry(self.unit, line.time, earlier, earlier_start, place)
            yield Entry(self.unit, line.time, line, start, place)
            undated, size = [], 0
        for start, line in undated:
            yield Entry(self.unit, None, line, start, place)

    def _lines(self) -> Iterator[tuple[int, LogLine]]:
        """The lines and where they begin; one without end comes in pieces."""
        rest, first = b"", True
        while True:
            start, data = self._before()
            if first:
                self.position = start + len(data)
                first = False
            if not data:
                break
            self._at = start
            data += rest
            # The first line may have begun before this block.
            cut = data.find(b"\n") + 1 or len(data)
            rest = data[:cut]
            yield from _split_backwards(data[cut:], start + cut)
            if len(rest) > max(self._most_ahead, _LONGEST_LINE):
                yield from _split_backwards(rest, start)
                rest = b""
        yield from _split_backwards(rest, self._at or 0)

    def _before(self) -> tuple[int, bytes]:
        try:
            start, data = block_before(self._path, self._at, self._block)
        except OSError:  # something else in its place
            return 0, b""
        self.taken += len(data)
        return start, data

    def _written_last(self) -> float:
        try:
            return os.stat(self._path).st_mtime
        except OSError:
            return 0.0


def _split_backwards(data: bytes, start: int) -> Iterator[tuple[int, LogLine]]:
    """The lines of *data*, which begins at position *start*, the last one first."""
    end = len(data) - data.endswith(b"\n")
    while data:
        cut = data.rfind(b"\n", 0, end) + 1
        yield start + cut, read_line(data[cut:end].decode("utf-8", errors="replace").rstrip("\r"))
        if cut == 0:
            return
        end = cut - 1


def _short(unit: str) -> bytes:
    return blake2b(unit.encode(), digest_size=6).digest()
