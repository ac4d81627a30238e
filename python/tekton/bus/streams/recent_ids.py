"""The ids of the messages that a stream got last: whether one came before can mostly be told without the disk."""

import math
from typing import Final

MOST: Final = 32_768


class RecentIds:
    """At least half of MOST ids, those that came last. Times are whole microseconds.

    *unknown* is a time up to which there may be others on the disk.
    """

    def __init__(self, unknown: float = -math.inf) -> None:
        self._new: dict[str, tuple[int, int]] = {}
        self._old: dict[str, tuple[int, int]] = {}
        self._newest_new = self._newest_old = -math.inf
        self._unknown = unknown

    def find(self, id_: str, horizon: float) -> int | None:
        """The sequence of the message with that id, if one came after *horizon*, and is known here."""
        found = self._new.get(id_) or self._old.get(id_)
        return found[0] if found is not None and found[1] > horizon else None

    def knows_all(self, horizon: float) -> bool:
        """Are all known that came after *horizon*?"""
        return self._unknown <= horizon

    def add(self, id_: str, sequence: int, at: int) -> None:
        """A message has come."""
        if len(self._new) >= MOST // 2:
            self._unknown = max(self._unknown, self._newest_old)
            self._old, self._new = self._new, {}
            self._newest_old, self._newest_new = self._newest_new, -math.inf
        self._new[id_] = sequence, at
        self._newest_new = max(self._newest_new, at)
