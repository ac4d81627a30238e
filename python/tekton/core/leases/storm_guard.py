"""The storm guard: when too many leases run out together, we suspect ourselves first.

It is likelier that our network or our intake of heartbeats is at fault than that a third of a system died within a
quarter of a second; expiring them would start a storm of restarts. The rules:

* A storm is at least `STORM_COUNT` and at least `STORM_SHARE` of all leases in one tick, or any lease at all running
  out when nobody has been heard for two thirds of the timeout. Those leases are not expired: their components become
  suspects, with one more full lease.
* A heartbeat ends the suspicion.
* Suspects whose second lease runs out as well expire one per `RELEASE_INTERVAL` as long as the suspects are as many
  as make a storm. When they are fewer, those whose second lease has run out expire at once.

What it is bad at: when really everything has died, it takes long to say so. The suspicion is visible at once.
"""

import logging
from collections.abc import KeysView, Sequence
from typing import NamedTuple

STORM_COUNT = 10
STORM_SHARE = 0.3
RELEASE_INTERVAL = 10.0

Key = tuple[str, str]

_logger = logging.getLogger("tekton.heartbeats")


class Ruling(NamedTuple):
    """What happens to leases that ran out: `expired` are over, `renewed` get another full lease."""

    expired: list[Key]
    renewed: list[Key]


class StormGuard:
    """Rules on the leases that ran out. Keys are (component id, instance)."""

    __slots__ = ("_lapsed", "_next_release", "_suspects")

    def __init__(self) -> None:
        self._suspects: dict[Key, None] = {}
        self._lapsed: dict[Key, None] = {}
        self._next_release = float("-inf")

    @property
    def suspects(self) -> KeysView[Key]:
        """Who is suspected, in the order in which suspicion fell on them."""
        return self._suspects.keys()

    def rule(self, due: Sequence[Key], leases: int, *, silent: bool, now: float) -> Ruling:
        """Decide about *due* of all *leases*; *silent*: nobody has been heard for long. *now*: monotonic seconds."""
        fresh = [key for key in due if key not in self._suspects]
        self._lapsed.update((key, None) for key in due if key in self._suspects)
        if fresh and (_is_storm(len(fresh), leases) or (silent and leases >= STORM_COUNT)):
            self._suspect(fresh, leases)
            return Ruling(self._release(leases, now), fresh)
        return Ruling(self._release(leases, now) + fresh, [])

    def clear(self, key: Key) -> bool:
        """A sign of life of *key*, or its end. Returns True when its second lease had run out too."""
        if key not in self._suspects:
            return False
        del self._suspects[key]
        return self._lapsed.pop(key, _ABSENT) is not _ABSENT

    def _suspect(self, keys: Sequence[Key], leases: int) -> None:
        if not self._suspects:
            _logger.warning(
                "%d of %d heartbeat leases ran out together: suspecting ourselves, nothing is expired or restarted",
                len(keys),
                leases,
                extra={"suspects": [component_id for component_id, _ in keys[:20]]},
            )
        self._suspects.update((key, None) for key in keys)

    def _release(self, leases: int, now: float) -> list[Key]:
        if not self._lapsed:
            return []
        if not _is_storm(len(self._suspects), leases):
            released = list(self._lapsed)
        elif now >= self._next_release:
            released = [next(iter(self._lapsed))]
            self._next_release = now + RELEASE_INTERVAL
        else:
            released = []
        for key in released:
            self.clear(key)
        return released


_ABSENT = object()


def _is_storm(count: int, leases: int) -> bool:
    return count >= STORM_COUNT and count >= STORM_SHARE * leases
