"""Streams on disk: one SQLite file, written by one thread at a time, with what is known of it in memory.

* A batch is one SQL statement; SQLite's own transaction around it is the commit.
* What is dropped is gone for readers with the commit; its rows go a few at a time.
* Whether a message came before is told from memory, where the newest ids are, and else from an index on the disk.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams import stream_sql as sql
from tekton.bus.streams.batch import ConsumerRow, MessageRow, Rows, encode
from tekton.bus.streams.kept_stream import Change, KeptStream
from tekton.bus.streams.store import Batch, Committed, LoadedStream, Page, Placed, Share, StreamState, Tidied
from tekton.bus.streams.stream_file import StreamFile
from tekton.bus.streams.stream_reader import StreamReader
from tekton.bus.streams.stream_sql import place
from tekton.core.component_lifecycle.database import CHECKSUM_VFS
from tekton.utils.tekton_errors import StreamNotFoundError

FILE_NAME: Final = "bus.db"
RESERVE_BYTES: Final = 64 << 20
"""So much of the disk is left to others."""
_OLDEST: Final = 1000
_SWEPT: Final = 8192
"""How many rows go in one transaction when there is time."""

_decode_numbers = msgspec.json.Decoder(frozenset[int]).decode
_decode_known = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_oldest = msgspec.json.Decoder(list[tuple[int, int, int]]).decode


class SqliteStreamStore:
    """A StreamStore in the file at *path*, which is created if it is missing.

    *reserve_bytes* of the disk are left free. *vfs* names SQLite's layer of files, and *exclusive* does without memory
    that is shared, and so without reading: both are for tests with failing disks.
    """

    threaded = True

    def __init__(
        self, path: Path, *, reserve_bytes: int = RESERVE_BYTES, vfs: str = CHECKSUM_VFS, exclusive: bool = False
    ) -> None:
        self._reserve = reserve_bytes
        self._file = StreamFile(path, vfs, exclusive=exclusive)
        self._reader = StreamReader(path, vfs, self._number_of)
        self._streams: dict[str, KeptStream] = {}

    # Writing

    def open(self) -> list[LoadedStream]:
        """See StreamStore. Reads what is small: streams and consumers."""
        found = self._file.open()
        self._streams = {
            one.name: KeptStream(one.number, one.name, one.settings, one.state, one.known) for one in found
        }
        return [LoadedStream(one.name, one.settings, one.state, one.consumers) for one in found]

    def commit(self, batch: Batch, now: float) -> Committed:
        """See StreamStore."""
        self._file.usable()
        if batch.puts:
            self._file.check_room(sum(len(put.body) for put in batch.puts), self._reserve)
        changes: dict[str, Change] = {}
        messages, bodies, placed = self._place(batch, changes)
        removed = self._remove(batch, changes)
        for change in changes.values():
            change.trim()
        streams = [change.row(_micros(now)) for change in changes.values()]
        self._file.write(Rows(messages, bodies, streams, self._consumers(batch), removed))
        return Committed(placed, {name: change.accept() for name, change in changes.items()})

    def put_stream(self, name: str, settings: StreamSettings, now: float) -> StreamState:
        """See StreamStore."""
        [(number,)] = self._file.ask(sql.PUT_STREAM, (name, encode(settings).decode()))
        kept = self._streams.setdefault(name, KeptStream(number, name, settings, StreamState(), 0))
        kept.settings = settings
        change = Change(kept, self._oldest)
        change.trim()
        self._file.write(Rows(streams=[change.row(_micros(now))]))
        return change.accept()

    def delete_stream(self, name: str) -> None:
        """See StreamStore."""
        if (number := self._number_of(name)) is not None:
            self._file.change(sql.DELETE_STREAM, {"number": number})
            del self._streams[name]

    def delete_consumer(self, stream: str, consumer: str) -> None:
        """See StreamStore."""
        if (number := self._number_of(stream)) is not None:
            self._file.change(sql.DELETE_CONSUMER, (number, consumer))

    def tidy(self, now: float, *, aged: bool) -> Tidied:
        """See StreamStore. Moves the log into the file, too, when it has got long enough for that."""
        states = self._expire(_micros(now)) if aged else {}
        more = self._sweep(_micros(now)) + self._bury() >= _SWEPT
        self._file.move_log(idle=True)
        self._file.check_files()
        return Tidied(states, more)

    def close(self) -> None:
        """See StreamStore. Moves the log into the file, unless the store has stopped."""
        self._reader.close()
        self._file.close()

    # Reading

    def read(self, stream: str, after: int, pattern: str, most: int, size: int) -> Page:
        """See StreamStore."""
        return self._reader.read(stream, after, pattern, most, size)

    def pick(self, stream: str, sequences: Sequence[int]) -> list[Envelope]:
        """See StreamStore."""
        return self._reader.pick(stream, sequences)

    def before(self, stream: str, at: float) -> int:
        """See StreamStore."""
        return self._reader.before(stream, at)

    def first(self, stream: str) -> int | None:
        """See StreamStore."""
        return self._reader.first(stream)

    def count(self, stream: str, after: int, pattern: str, most: int) -> int:
        """See StreamStore."""
        return self._reader.count(stream, after, pattern, most)

    def shares(self, stream: str) -> list[Share]:
        """See StreamStore."""
        return self._reader.shares(stream)

    def oldest(self, stream: str, subject: str, after: int, most: int) -> list[tuple[int, int]]:
        """See StreamStore."""
        return self._reader.oldest(stream, subject, after, most)

    # What a batch is made of

    def _place(self, batch: Batch, changes: dict[str, Change]) -> tuple[list[MessageRow], bytes, list[Placed]]:
        known = self._known(batch)
        rows: list[MessageRow] = []
        bodies: list[bytes] = []
        placed: list[Placed] = []
        start = 1
        for number, (stream, envelope, body, time) in enumerate(batch.puts):
            change = self._change(changes, stream)
            kept, at, id_, size = change.kept, _micros(time), envelope.message.message_id, len(body)
            sequence = change.known(id_, kept.horizon(at)) or known.get(number)
            if sequence is not None:
                placed.append(Placed(sequence, duplicate=True))
                continue
            sequence = change.add(id_, size, at)
            rows.append((place(kept.number, sequence), at, envelope.subject, envelope.reply, start, size, id_))
            bodies.append(body)
            placed.append(Placed(sequence, duplicate=False))
            start += size
        return rows, b"".join(bodies), placed

    def _known(self, batch: Batch) -> dict[int, int]:
        """The sequences of the puts whose id is on the disk, for streams of which not all ids are in memory.

        Raises StreamNotFoundError.
        """
        asked: list[tuple[str, int, int]] = []
        numbers: list[int] = []
        for number, put in enumerate(batch.puts):
            kept = self._streams.get(put.stream)
            if kept is None:
                raise StreamNotFoundError(put.stream)
            horizon = kept.horizon(_micros(put.at))
            if not kept.ids.knows_all(horizon):
                asked.append((put.envelope.message.message_id, kept.number, horizon))
                numbers.append(number)
        if not asked:
            return {}
        [(found,)] = self._file.ask(sql.KNOWN_IDS, (encode(asked).decode(),))
        return {numbers[key]: sequence for key, sequence in _decode_known(found)}

    def _remove(self, batch: Batch, changes: dict[str, Change]) -> list[int]:
        """Note what is done with; the places of it."""
        done: dict[str, list[int]] = {}
        for stream, sequence in batch.removed:
            kept = self._streams.get(stream)
            if kept is not None and sequence > kept.state.dropped:
                done.setdefault(stream, []).append(sequence)
        places = [place(self._streams[stream].number, one) for stream, some in done.items() for one in some]
        sizes = self._file.ask(sql.REMOVED, (encode(places).decode(),)) if places else ()
        there = {number: counts for number, *counts in sizes}
        for stream, some in done.items():
            change = self._change(changes, stream)
            change.remove(frozenset(some), *there.get(change.kept.number, (0, 0)))
        return places

    def _consumers(self, batch: Batch) -> list[ConsumerRow]:
        return [(number, *one[1:]) for one in batch.progress if (number := self._number_of(one.stream)) is not None]

    def _change(self, changes: dict[str, Change], stream: str) -> Change:
        change = changes.get(stream)
        if change is None:
            change = changes[stream] = Change(self._streams[stream], self._oldest)
        return change

    def _oldest(self, number: int, behind: int, last: int) -> list[tuple[int, int, int]]:
        [(found,)] = self._file.ask(sql.OLDEST, (place(number, behind), place(number, last), _OLDEST))
        return _decode_oldest(found)

    def _number_of(self, stream: str) -> int | None:
        kept = self._streams.get(stream)
        return None if kept is None else kept.number

    # Tidying

    def _expire(self, now: int) -> dict[str, StreamState]:
        """Drop what is too old."""
        changes = [Change(kept, self._oldest) for kept in self._streams.values()]
        old = [change for change in changes if change.trim(change.kept.too_old(now))]
        if old:
            self._file.write(Rows(streams=[change.row(now) for change in old]))
        return {change.kept.name: change.accept() for change in old}

    def _sweep(self, now: int) -> int:
        """Take away some rows of what was dropped, or of ids that are forgotten; how many."""
        horizons = [(kept.number, kept.horizon(now)) for kept in self._streams.values()]
        [(stale,)] = self._file.ask(sql.STALE, (encode(horizons).decode(),))
        numbers = _decode_numbers(stale)
        if not numbers:
            return 0
        before = self._file.changes()
        streams = [
            (kept.number, *kept.state, _SWEPT, kept.horizon(now))
            for kept in self._streams.values()
            if kept.number in numbers
        ]
        self._file.write(Rows(streams=streams))
        return self._file.changes() - before

    def _bury(self) -> int:
        """Take away some rows of a stream that was deleted; how many."""
        graves = self._file.ask(sql.GRAVE)
        return self._file.change(sql.BURY, {"number": graves[0][0], "most": _SWEPT}) if graves else 0


def _micros(at: float) -> int:
    return round(at * 1e6)
