"""Telling those who listen what is stored by now: much of it in several turns, as if it were published.

    streams = Streams(store, clock, Telling(live).tell)

What a commit stores is more than a turn has room for. Told at once, it would be too much for who keeps up with
everything else.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.turn import parts


class Telling:
    """Tells *live*, in order."""

    def __init__(self, live: LiveBus) -> None:
        self._live = live
        self._waiting: deque[Sequence[Envelope]] = deque()
        self._last: asyncio.Future[None] | None = None

    def tell(self, envelopes: Sequence[Envelope]) -> "asyncio.Future[None] | None":
        """Tell *envelopes* at once, as far as there is room in the turn, and the rest in the next ones.

        Returns a future, unless all is told by now, also of what came before. What is done when that is done comes
        behind all of it.
        """
        turn = self._live.turn
        for part, size in parts(envelopes):
            if not self._waiting and turn.has_room(len(part), size):
                self._live.deliver(part)
            else:
                self._waiting.append(part)
                self._last = turn.reserve(len(part), size)
                self._last.add_done_callback(self._go_on)
        return self._last if self._waiting else None

    def _go_on(self, _: "asyncio.Future[None]") -> None:
        self._live.deliver(self._waiting.popleft())
