"""The last of what was published, so that who comes back can go on where he was."""

from collections import deque
from collections.abc import Sequence

from tekton.bus.envelope import Envelope
from tekton.utils.tekton_errors import CursorExpiredError

MOST = 1000
MOST_SIZE = 16 * 1024 * 1024


class Ring:
    """The newest *most* messages, less when they have more than *most_size* bytes (as JSON).

    They are kept as they were published: what was published together goes together, when there are enough without.
    """

    __slots__ = ("_batches", "_count", "_first", "_most", "_most_size", "_size")

    def __init__(self, first: int, most: int = MOST, most_size: int = MOST_SIZE) -> None:
        """*first* is the position from which on nothing is missing."""
        self._first = first
        self._most = most
        self._most_size = most_size
        self._batches: deque[tuple[Sequence[Envelope], int]] = deque()
        self._count = 0
        self._size = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """The bytes of all that is kept."""
        return self._size

    def extend(self, envelopes: Sequence[Envelope], size: int) -> None:
        """Keep *envelopes*, which nobody changes any more, *size* bytes in all; let go of the oldest."""
        self._batches.append((envelopes, size))
        self._count += len(envelopes)
        self._size += size
        while self._count > self._most or self._size > self._most_size:
            oldest, size = self._batches[0]
            if self._size <= self._most_size and self._count - len(oldest) < self._most:
                return
            self._batches.popleft()
            self._first = oldest[-1].sequence
            self._count -= len(oldest)
            self._size -= size

    def after(self, position: int, last: int) -> list[Envelope]:
        """What came after *position*, in order; *last* is the newest position that there is.

        Raises CursorExpiredError when some of it is gone, or *position* was never given out here.
        """
        if not self._first <= position <= last:
            raise CursorExpiredError(f"position {position} is not known ({self._first} to {last} are)")
        newer: list[Envelope] = []
        for envelopes, _ in reversed(self._batches):
            newer += [envelope for envelope in reversed(envelopes) if envelope.sequence > position]
            if envelopes[0].sequence <= position:
                break
        newer.reverse()
        return newer
