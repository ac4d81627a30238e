"""Tidying up: soon after something was written, and now and then in any case."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tekton.bus.streams.store import StreamState, StreamStore, Tidied
from tekton.bus.streams.writer import StreamWriter
from tekton.clock import Clock
from tekton.core.history.steadiness import Steadiness

_logger = logging.getLogger("tekton.bus")

AFTER: Final = 1.0
"""Seconds after which the store tidies up when something was written."""
EVERY: Final = 30.0
"""Seconds after which it does in any case."""
PAUSE: Final = 0.05
"""Seconds after which it goes on where there is more to do."""


class Tidying:
    """Has *store* tidied between the batches of *writer*; *changed* is told what streams were changed by it.

    What is too old goes only when the clock has run evenly for a while: one that jumps does not age anything.
    """

    def __init__(
        self, store: StreamStore, writer: StreamWriter, clock: Clock, changed: Callable[[dict[str, StreamState]], None]
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._changed = changed
        self._steadiness = Steadiness(clock)
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False

    def soon(self) -> None:
        """Something was written."""
        self._within(AFTER)

    def begin(self) -> None:
        """Tidy up now and then, from now on."""
        self._within(EVERY)

    def stop(self) -> None:
        """Tidy up no more."""
        self._busy = True
        if self._timer is not None:
            self._timer.cancel()

    def _within(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        if self._busy or (self._timer is not None and self._timer.when() <= loop.time() + delay):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._tidy)

    def _tidy(self) -> None:
        self._timer = None
        self._busy = True
        now, aged = self._clock.time(), self._steadiness.lasts()
        self._writer.alone(lambda: self._store.tidy(now, aged=aged)).add_done_callback(self._tidied)

    def _tidied(self, tidied: "asyncio.Future[Tidied]") -> None:
        error = None if tidied.cancelled() else tidied.exception()
        if self._writer.failure is not None:
            return
        self._busy = False
        if error is not None:
            _logger.warning("the streams could not be tidied: %s", error)
        else:
            self._changed(tidied.result().states)
        self._within(PAUSE if error is None and tidied.result().more else EVERY)
