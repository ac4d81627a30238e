"""Spans that have ended and wait to be passed on: at most so many, and whoever brings one more goes on at once."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from tekton.core.tracing.span import Span, size_of

LIMIT: Final = 8192
ROOM: Final = 8 * 1024 * 1024
"""Characters of the spans that wait, together: most have a few hundred, but who sends them may make them long."""


class SpanBuffer:
    """At most *limit* spans, of *room* characters. `dropped` counts those for which there was no room.

    Safe from any thread.
    """

    def __init__(self, limit: int = LIMIT, room: int = ROOM) -> None:
        self.dropped = 0
        self._limit = limit
        self._room = room
        self._waiting: deque[Span] = deque()
        # A span may end where another one is being added: in a signal handler, or as garbage is collected.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, span: Span) -> None:
        """Keep *span* until it is taken; when there are too many already, let it go."""
        size = size_of(span)
        with self._lock:
            if len(self._waiting) >= self._limit or self._room < size:
                self.dropped += 1
            else:
                self._room -= size
                self._waiting.append(span)

    def put_back(self, spans: Sequence[Span]) -> None:
        """Give back what was taken, and could not be passed on."""
        with self._lock:
            self._room -= sum(map(size_of, spans))
            self._waiting.extendleft(reversed(spans))

    def take(self, most: int = LIMIT, room: int = ROOM) -> list[Span]:
        """Up to *most* spans, oldest first, of *room* characters unless one alone is longer. They are the caller's."""
        taken: list[Span] = []
        with self._lock:
            while self._waiting and len(taken) < most:
                size = size_of(self._waiting[0])
                room -= size
                if taken and room < 0:
                    break
                self._room += size
                taken.append(self._waiting.popleft())
        return taken
