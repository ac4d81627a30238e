"""The wire format of protocol buffers: the fields of a message, one after the other, and nothing copied.

It reads what anybody may have sent. Every length is checked before it is used, nothing recurses, what it holds does not
grow with the message, and after so many fields it goes no further: a few bytes that compress well may have millions. It
knows no message: fields that the caller does not want are passed over by their length.
https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
_GROUP: Final = 3
_END_GROUP: Final = 4
FIXED32: Final = 5

_MAX_TAG: Final = 2**32
_MAX_VARINT: Final = 2**64
_LONGEST_VARINT: Final = 10
_DEEPEST: Final = 100


class WireError(ValueError):
    """These bytes are no message."""


class TooManyFieldsError(ValueError):
    """The limit of a `Reader` is reached."""


Field = tuple[int, int, int, int]
"""`(number, wire type, a, b)`: *a* is a number, or `data[a:b]` the content of a field with a length."""


class Reader:
    """Reads messages in *data*, together at most *limit* fields of them, those of groups included."""

    __slots__ = ("_left", "data")

    def __init__(self, data: bytes, limit: int) -> None:
        self.data = data
        self._left = limit

    def fields(self, at: int, end: int) -> Iterator[Field]:
        """The fields of the message `data[at:end]`, in their order. Groups are passed over.

        Raises WireError and TooManyFieldsError.
        """
        data = self.data
        while at < end:
            self._count()
            tag, at = _varint(data, at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0 or tag >= _MAX_TAG:
                raise WireError("a field has a number that there is not")
            if wire == VARINT:
                value, at = _varint(data, at, end)
                yield number, wire, value, 0
            elif wire == _GROUP:
                at = self._after_group(at, end, number)
            else:
                start, at = _content(data, at, end, wire)
                yield (number, wire, start, at) if wire == LENGTH else (number, wire, _fixed(data, start, at), 0)

    def _count(self) -> None:
        if not self._left:
            raise TooManyFieldsError("more fields than are read of one message")
        self._left -= 1

    def _after_group(self, at: int, end: int, number: int) -> int:
        """Where the group *number*, whose content begins at *at*, is over."""
        data = self.data
        open_ones = [number]
        while open_ones:
            self._count()
            tag, at = _varint(data, at, end)
            number, wire = tag >> 3, tag & 7
            if wire == _GROUP:
                open_ones.append(number)
                if len(open_ones) > _DEEPEST:
                    raise WireError("groups lie too deep in one another")
            elif wire == _END_GROUP:
                if open_ones.pop() != number:
                    raise WireError("a group ends that has not begun")
            else:
                at = _after_value(data, at, end, wire)
            if number == 0 or tag >= _MAX_TAG:
                raise WireError("a field has a number that there is not")
        return at


def _fixed(data: bytes, at: int, end: int) -> int:
    return int.from_bytes(data[at:end], "little")


def signed(value: int) -> int:
    """What an int64 means that was read as a varint."""
    return value - _MAX_VARINT if value >= 2**63 else value


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number that begins at *at*, and where it ends."""
    if at < end and (value := data[at]) < 0x80:
        return value, at + 1
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= end:
            raise WireError("the message breaks off")
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value % _MAX_VARINT, at + place + 1
    raise WireError("a number does not end")


def _after_value(data: bytes, at: int, end: int, wire: int) -> int:
    return _varint(data, at, end)[1] if wire == VARINT else _content(data, at, end, wire)[1]


def _content(data: bytes, at: int, end: int, wire: int) -> tuple[int, int]:
    """Where the content of a field lies that is no varint."""
    if wire == LENGTH:
        length, at = _varint(data, at, end)
    elif wire in (FIXED64, FIXED32):
        length = 8 if wire == FIXED64 else 4
    else:
        raise WireError(f"a field has the wire type {wire}")
    if length > end - at:
        raise WireError("the message breaks off")
    return at, at + length


def field(number: int, content: bytes) -> bytes:
    """A field with a length, written."""
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """*value*, which is not negative, written."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
