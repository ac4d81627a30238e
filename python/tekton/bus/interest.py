"""Who wants to know: is there anybody who listens to something, and who is told when that changes.

feed = live.interest.watch("tekton.metrics", turn_on_or_off)
live.interest.wanted("tekton.logs.engram")
"""

import logging
from collections.abc import Callable, Iterable

from tekton._native import is_valid_pattern, overlaps
from tekton.bus.bus import INBOX, REQUESTS, RESERVED

Listener = Callable[[bool], None]

_logger = logging.getLogger("tekton.bus")


def is_wild(pattern: str) -> bool:
    """Does *pattern* begin with a wildcard? Then it matches nothing that begins with a reserved token."""
    return pattern.startswith(("*", ">"))


def is_reserved(pattern: str) -> bool:
    """Is the first token of *pattern* (or of a subject) a reserved one?"""
    return pattern.partition(".")[0] in (RESERVED, INBOX)


def is_request(pattern: str) -> bool:
    """Is *pattern* (or a subject) about what is asked of a component? Patterns that do not say so match none of it."""
    first, *rest = pattern.split(".", 2)
    return len(rest) == 2 and rest[0] == REQUESTS and first not in (RESERVED, INBOX)


def share_subjects(pattern: str, other: str) -> bool:
    """Is there a subject that both patterns hear? Raises ValueError for what is no pattern."""
    if (is_wild(pattern) and is_reserved(other)) or (is_wild(other) and is_reserved(pattern)):
        return False
    if is_request(pattern) is not is_request(other):
        return False
    return overlaps(pattern, other)


class Watch:
    """One who asked, and how many of the patterns that are listened to concern him."""

    __slots__ = ("count", "listener", "pattern")

    def __init__(self, pattern: str, listener: Listener) -> None:
        self.pattern = pattern
        self.listener = listener
        self.count = 0


class Interest:
    """The patterns that are listened to, each once."""

    def __init__(self) -> None:
        self._patterns: dict[str, None] = {}
        self._watches: dict[Watch, None] = {}

    def wanted(self, pattern: str) -> bool:
        """Does anybody listen to a subject that *pattern* matches? O(patterns). Raises ValueError for no pattern."""
        return pattern in self._patterns or any(self._of(pattern))

    def watch(self, pattern: str, listener: Listener) -> Callable[[], None]:
        """Call *listener* with what `wanted(pattern)` says, whenever that changes; returns what ends it.

        It is called while somebody subscribes or leaves, so it has to be quick; what it raises is logged. Raises
        ValueError for what is no pattern.
        """
        watch = Watch(pattern, listener)
        watch.count = sum(self._of(pattern))
        self._watches[watch] = None
        return lambda: self._watches.pop(watch, None)

    def begin(self, pattern: str) -> None:
        """Somebody listens to *pattern*, and nobody did."""
        self._patterns[pattern] = None
        self._count(pattern, 1)

    def end(self, pattern: str) -> None:
        """Nobody listens to *pattern* any more."""
        del self._patterns[pattern]
        self._count(pattern, -1)

    def _of(self, pattern: str) -> Iterable[bool]:
        if not is_valid_pattern(pattern):
            raise ValueError(f"{pattern[:64]!r} is no pattern")
        return (share_subjects(pattern, other) for other in self._patterns)

    def _count(self, pattern: str, change: int) -> None:
        for watch in tuple(self._watches):
            if share_subjects(watch.pattern, pattern):
                before = watch.count
                watch.count += change
                if not before or not watch.count:
                    _tell(watch)


def _tell(watch: Watch) -> None:
    try:
        watch.listener(watch.count > 0)
    except Exception:
        _logger.exception("a listener for interest in %s failed", watch.pattern)
