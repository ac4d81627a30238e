"""A batch of messages as one statement: the values that `stream_sql` takes apart."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tekton.bus.bus import ConsumerSettings

encode = msgspec.json.Encoder().encode

MessageRow = tuple[int, int, str, str | None, int, int, str]
"""Place, microseconds, subject, reply, where the body begins (from 1), its length, the id of the message."""
StreamRow = tuple[int, int, int, int, int, int, int]
"""Number, messages, size, last, dropped; how many old rows go at most, and up to which time ids do."""
ConsumerRow = tuple[int, str, ConsumerSettings, int, Sequence[tuple[int, int]], int, int, int, str]
"""Number of the stream, and the members of Progress from the name on."""


class Rows(NamedTuple):
    """What is written. *removed* are places."""

    messages: Sequence[MessageRow] = ()
    bodies: bytes = b""
    streams: Sequence[StreamRow] = ()
    consumers: Sequence[ConsumerRow] = ()
    removed: Sequence[int] = ()

    def values(self) -> tuple[object, ...]:
        """The values for `stream_sql.WRITE`."""
        arrays = (self.messages, self.streams, self.consumers, self.removed)
        messages, *others = (encode(one).decode() if one else None for one in arrays)
        return messages, self.bodies, *others
