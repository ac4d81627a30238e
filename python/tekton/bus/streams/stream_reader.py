"""How messages come out of the file with the streams: by a connection of its own, a page at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tekton._native import covers
from tekton.bus.envelope import Envelope
from tekton.bus.streams import stream_sql as sql
from tekton.bus.streams.store import SCANNED_AT_ONCE, Page, Share
from tekton.bus.streams.stream_sql import place, sequence_of
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import MessageError, StorageCorruptError, StreamNotFoundError

_Place = tuple[int, int, str, str | None, int]

_decode_places = msgspec.json.Decoder(list[_Place]).decode
_decode_subjects = msgspec.json.Decoder(list[tuple[str, int]]).decode
_decode_shares = msgspec.json.Decoder(list[Share]).decode
_decode_oldest = msgspec.json.Decoder(list[tuple[int, int]]).decode
_encode = msgspec.json.Encoder().encode


class StreamReader(DatabaseReader):
    """Reads from the file at *path*, of streams whose numbers *number_of* tells. Of any thread, one at a time."""

    def __init__(self, path: Path, vfs: str, number_of: Callable[[str], int | None]) -> None:
        super().__init__(path, vfs)
        self._number_of = number_of

    def read(self, stream: str, after: int, pattern: str, most: int, size: int) -> Page:
        """See StreamStore. One index range."""
        asked: dict[str, Any] = {"number": self._number(stream), "after": after, "most": most, "size": size}
        asked |= {"scanned": SCANNED_AT_ONCE, "glob": _glob(pattern)}
        last, dropped, found = self._unpack(stream, sql.PAGE, asked)
        through = found[-1].sequence if found else max(min(last, max(after, dropped) + SCANNED_AT_ONCE), dropped)
        if "*" in pattern:
            found = [one for one in found if covers(pattern, one.subject)]
        return Page(found, through, dropped)

    def pick(self, stream: str, sequences: Sequence[int]) -> list[Envelope]:
        """See StreamStore."""
        number = self._number(stream)
        places = _encode([place(number, sequence) for sequence in sequences]).decode()
        return self._unpack(stream, sql.PICKED, {"number": number, "after": 0, "places": places})[2]

    def before(self, stream: str, at: float) -> int:
        """See StreamStore."""
        number, high, low = self._state(stream)
        wanted = round(at * 1e6)
        # What is up to `low` is older, what is behind `high` is not.
        while low < high:
            middle = (low + high) // 2
            rows = self.rows(sql.AT, (place(number, middle + 1), place(number, high)))
            if rows and rows[0][1] < wanted:
                low = sequence_of(rows[0][0])
            else:
                high = middle
        return low

    def first(self, stream: str) -> int | None:
        """See StreamStore."""
        number, last, dropped = self._state(stream)
        rows = self.rows(sql.AT, (place(number, dropped + 1), place(number, last)))
        return sequence_of(rows[0][0]) if rows else None

    def count(self, stream: str, after: int, pattern: str, most: int) -> int:
        """See StreamStore."""
        number, last, dropped = self._state(stream)
        begin = max(after, dropped)
        [(subjects,)] = self.rows(sql.SUBJECTS, (place(number, begin), place(number, min(last, begin + most))))
        return sum(many for subject, many in _decode_subjects(subjects) if covers(pattern, subject))

    def shares(self, stream: str) -> list[Share]:
        """See StreamStore."""
        number, last, dropped = self._state(stream)
        [(shares,)] = self.rows(sql.SHARES, (place(number, dropped), place(number, last)))
        return _decode_shares(shares)

    def oldest(self, stream: str, subject: str, after: int, most: int) -> list[tuple[int, int]]:
        """See StreamStore."""
        number, last, dropped = self._state(stream)
        asked = place(number, max(after, dropped)), place(number, last), subject, most
        [(oldest,)] = self.rows(sql.OLDEST_OF, asked)
        return _decode_oldest(oldest)

    def _number(self, stream: str) -> int:
        number = self._number_of(stream)
        if number is None:
            raise StreamNotFoundError(stream)
        return number

    def _state(self, stream: str) -> tuple[int, int, int]:
        """The number of the stream, its last sequence, and that up to which all were dropped."""
        number = self._number(stream)
        rows = self.rows(sql.STATE, (number,))
        if not rows:
            raise StreamNotFoundError(stream)
        return number, *rows[0]

    def _unpack(self, stream: str, question: str, values: Any) -> tuple[int, int, list[Envelope]]:
        rows = self.rows(question, values)
        if not rows:
            raise StreamNotFoundError(stream)
        last, dropped, places, bodies = rows[0]
        try:
            return last, dropped, _envelopes(stream, _decode_places(places), bodies or b"")
        except (MessageError, UnicodeError) as error:
            raise StorageCorruptError(str(self.path), f"a message of {stream} cannot be read: {error}") from error


def _envelopes(stream: str, places: list[_Place], bodies: bytes) -> list[Envelope]:
    envelopes: list[Envelope] = []
    start = 0
    for sequence, at, subject, reply, length in places:
        message = Message.from_json(bodies[start : start + length])
        envelopes.append(Envelope(subject, message, reply, sequence, at / 1e6, 1, stream))
        start += length
    return envelopes


def _glob(pattern: str) -> str | None:
    """What SQLite is to look for: all that matches *pattern*, and, where `*` is in it, perhaps more."""
    if pattern == ">":
        return None
    tokens = ("*" if one in ("*", ">") else one.replace("[", "[[]").replace("?", "[?]") for one in pattern.split("."))
    return ".".join(tokens)
