"""How often somebody may do something: token buckets by name, in bounded memory.

A bucket is one number, the instant at which it will be full again (the virtual scheduling of ITU-T I.371, also called
GCRA). Who is not known has a full bucket, so that only those need be remembered who have asked lately. They are
remembered in two generations: when the young one has got large, it becomes the old one, and the old one is forgotten.
"""

from typing import Final

REMEMBERED: Final = 65_536
"""Names in both generations together, at most about 10 MiB."""

_ROUNDING: Final = 1e-6
"""Seconds that rounding may make of an instant, on a clock that has run for years."""


class TokenBuckets:
    """For each name *rate* tokens a second, of which *burst* at most are kept.

    Of more than half of *remembered* names that ask within `burst / rate` seconds, some begin anew with a full bucket:
    so many together need no single one of them to be fast. Every call is O(1).
    """

    __slots__ = ("_half", "_old", "_span", "_step", "_young")

    def __init__(self, rate: float, burst: float, remembered: int = REMEMBERED) -> None:
        self._step = 1.0 / rate
        self._span = burst / rate
        self._half = remembered // 2
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, name: str, now: float) -> float:
        """Take a token of *name* at *now*, seconds on any clock that never goes back.

        Returns 0.0, or, when there is none, the seconds until there is one; then nothing has changed.
        """
        full = self._young.get(name)
        if full is None:
            full = self._recall(name)
        full = (full if full > now else now) + self._step  # noqa: FURB136 - half the time of max()
        wait = full - now - self._span
        if wait > _ROUNDING:
            return wait
        self._young[name] = full
        return 0.0

    def wait(self, name: str, now: float) -> float:
        """What `take` would return at *now*, without taking anything."""
        full = self._young.get(name) or self._old.get(name, 0.0)
        wait = max(full, now) + self._step - now - self._span
        return wait if wait > _ROUNDING else 0.0

    def _recall(self, name: str) -> float:
        """What the old generation knows of a name that the young one does not; from now on the young one does."""
        full = self._old.pop(name, 0.0)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[name] = full
        return full
