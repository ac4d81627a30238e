"""A stream as the store in a file keeps it in memory, and what a batch makes of it before it is written."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.batch import StreamRow
from tekton.bus.streams.recent_ids import RecentIds
from tekton.bus.streams.store import StreamState

Oldest = Callable[[int, int, int], list[tuple[int, int, int]]]
"""Of the stream with a number: the oldest messages behind a sequence up to another one: sequence, size, time."""

SWEPT: Final = 256
"""How many old rows a batch takes away, beside twice those that it adds: what is left is for when there is time."""


class KeptStream:
    """The stream *number*, whose newest id is of the time *known*."""

    def __init__(self, number: int, name: str, settings: StreamSettings, state: StreamState, known: int) -> None:
        self.number = number
        self.name = name
        self.settings = settings
        self.state = state
        self.ids = RecentIds(known or -math.inf)
        self.oldest: deque[tuple[int, int, int]] = deque()
        """The oldest messages, or some of them."""

    def horizon(self, now: int) -> int:
        """Ids of this time or before are forgotten."""
        return now - round(self.settings.dedupe_window * 1e6)

    def too_old(self, now: int) -> int:
        """Messages of this time or before are."""
        return now - round(self.settings.max_age * 1e6)


class Change:
    """What a batch makes of *kept*. Nothing is changed there before `accept`."""

    def __init__(self, kept: KeptStream, oldest: Oldest) -> None:
        self.kept = kept
        self.messages, self.size, self.last, self.dropped = kept.state
        self._added: list[tuple[int, int, int]] = []
        self._ids: dict[str, tuple[int, int]] = {}
        self._removed: frozenset[int] = frozenset()
        self._oldest = oldest
        self._gone = self._gone_added = 0

    @property
    def state(self) -> StreamState:
        """How the stream is afterwards."""
        return StreamState(self.messages, self.size, self.last, self.dropped)

    def row(self, now: int) -> StreamRow:
        """What is written of it, at *now*."""
        return self.kept.number, *self.state, 2 * len(self._added) + SWEPT, self.kept.horizon(now)

    def known(self, id_: str, horizon: int) -> int | None:
        """The sequence of the message with that id, if it is known here."""
        mine = self._ids.get(id_)
        if mine is not None and mine[1] > horizon:
            return mine[0]
        return self.kept.ids.find(id_, horizon)

    def add(self, id_: str, size: int, at: int) -> int:
        """A new message. Its sequence."""
        self.last += 1
        self.messages += 1
        self.size += size
        self._ids[id_] = self.last, at
        self._added.append((self.last, size, at))
        return self.last

    def remove(self, sequences: frozenset[int], messages: int, size: int) -> None:
        """*sequences* are done with; so many of them were there, and took so much."""
        self._removed = sequences
        self.messages -= messages
        self.size -= size

    def trim(self, too_old: float = -math.inf) -> bool:
        """Drop the oldest ones, as many as are too many, or too old. False when that is none."""
        before, settings = self.dropped, self.kept.settings
        while self.messages:
            sequence, size, at = self._first()
            if self.messages <= settings.max_messages and self.size <= settings.max_bytes and at > too_old:
                break
            self._skip()
            self.dropped = sequence
            self.messages -= 1
            self.size -= size
        return self.dropped > before

    def accept(self) -> StreamState:
        """It is written."""
        kept = self.kept
        kept.state = self.state
        for id_, (sequence, at) in self._ids.items():
            kept.ids.add(id_, sequence, at)
        for _ in range(self._gone):
            kept.oldest.popleft()
        if self._removed:
            # Some of them may be in there.
            kept.oldest.clear()
        return kept.state

    def _first(self) -> tuple[int, int, int]:
        """The oldest message that is not dropped yet; there is one."""
        while (one := self._next())[0] in self._removed:
            self._skip()
        return one

    def _next(self) -> tuple[int, int, int]:
        oldest = self.kept.oldest
        if self._gone >= len(oldest):
            behind = max(self.dropped, oldest[-1][0] if oldest else 0)
            oldest.extend(self._oldest(self.kept.number, behind, self.kept.state.last))
        return oldest[self._gone] if self._gone < len(oldest) else self._added[self._gone_added]

    def _skip(self) -> None:
        if self._gone < len(self.kept.oldest):
            self._gone += 1
        else:
            self._gone_added += 1
