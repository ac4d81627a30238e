"""One log for all who listen to the same pattern: publishing is one append, whoever reads has a place in it.

What all have read is dropped at once; what some have not is dropped when they are beyond their limits (`cursor.py`).
That is looked after every so many messages, so that who does not read costs the publisher nothing. So a log holds at
most what the most patient of its cursors may have waiting, and `STEP` messages or `STEP_SIZE` bytes more.

When those leave who have not read all, what only they have needed goes at the latest when the others have read all,
with the next look, or when so many have left that looking costs each of them little (`LEAVERS`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tekton.bus.envelope import Envelope

if TYPE_CHECKING:
    from tekton.bus.cursor import Cursor

STEP = 128
"""After how many messages the cursors are looked at."""
STEP_SIZE = 128 * 1024
"""After how many bytes they are."""
LEAVERS = 8
"""Where so many listen, one has to leave without having read all for it to be looked what nobody needs any more."""

Sleepers = dict["asyncio.Future[None]", None]


class Channel:
    """The log of a pattern, and the cursors on it. Positions count from the first message that there ever was."""

    __slots__ = (
        "_dropped",
        "_gone",
        "_left",
        "_look_at",
        "_look_at_size",
        "base",
        "behind",
        "cursors",
        "end",
        "entries",
        "groups",
        "pattern",
        "sleeping",
        "total",
    )

    def __init__(self, pattern: str, left: Callable[["Channel"], object]) -> None:
        """*left* is called when the last cursor has gone."""
        self.pattern = pattern
        self.entries: list[Envelope] = []
        self.base = 0
        """The position of the first entry."""
        self.end = 0
        self.total = 0
        """The bytes of all up to `end`."""
        self.cursors: dict[Cursor, None] = {}
        self.groups: dict[str, Cursor] = {}
        """The cursors of the queue groups, by name; they are among `cursors`."""
        self.behind = 0
        """How many of the cursors have not read all."""
        self.sleeping: Sleepers = {}
        """Who waits for the next message, queue groups aside."""
        self._left = left
        self._dropped = 0
        self._gone = 0  # who have left without having read all since it was looked what nobody needs any more
        self._look_at = STEP
        self._look_at_size = STEP_SIZE

    @property
    def held(self) -> int:
        """The bytes of what is in the log."""
        return self.total - self._dropped

    def extend(self, envelopes: Sequence[Envelope], size: int) -> None:
        """Append *envelopes*, *size* bytes in all, and wake who waits. Amortized O(envelopes + who is woken)."""
        self.entries += envelopes
        self.end += len(envelopes)
        self.total += size
        self.behind = len(self.cursors)
        if len(self.entries) > self._look_at or self.total - self._dropped > self._look_at_size:
            self._look()
        if self.sleeping:
            wake_all(self.sleeping)
        if self.groups:
            for group in self.groups.values():
                group.wake(len(envelopes))

    def read(self, position: int, count: int) -> list[Envelope]:
        """The *count* messages at *position*."""
        start = position - self.base
        return self.entries[start : start + count]

    def read_rest(self, position: int) -> list[Envelope]:
        """What there is from *position* on, for the last one who was behind and now is not."""
        # Nobody else wants it: the list itself can be given away.
        batch = self.entries[position - self.base :] if position > self.base else self.entries
        self._clear()
        return batch

    def caught_up(self) -> None:
        """One who was behind has read all."""
        self.behind -= 1
        if not self.behind:
            self._clear()

    def leave(self, cursor: "Cursor") -> None:
        """*cursor* reads no more."""
        del self.cursors[cursor]
        if cursor.group is not None:
            del self.groups[cursor.group]
        if cursor.position < self.end:
            self.caught_up()
            self._gone += 1
            if LEAVERS * self._gone >= len(self.cursors):
                self._trim()
        if not self.cursors:
            self._left(self)

    def _clear(self) -> None:
        self.behind = 0
        self.entries = []
        self.base = self.end
        self._dropped = self.total

    def _look(self) -> None:
        for cursor in tuple(self.cursors):
            cursor.keep_up()
        self._trim()
        self._look_at = len(self.entries) + STEP
        self._look_at_size = self.held + STEP_SIZE

    def _trim(self) -> None:
        """Drop what every cursor has behind it. O(cursors)."""
        self._gone = 0
        gone = min((cursor.position for cursor in self.cursors), default=self.end) - self.base
        if gone > 0:
            self._dropped += Envelope.measure(self.entries[:gone])
            del self.entries[:gone]
            self.base += gone


def wake_all(sleeping: Sleepers) -> None:
    """Wake all who wait, and forget them."""
    for future in sleeping:
        if not future.done():
            future.set_result(None)
    sleeping.clear()
