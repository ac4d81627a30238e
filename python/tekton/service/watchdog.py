"""The watchdog of the event loop: says what blocks it.

A thread looks at the loop's thread every half of the threshold. When that thread is somewhere else than idle, the loop
is asked for a sign of life, and given the other half for it; without one, the stack of the loop's thread is logged,
once per block, and its length when it has ended. So a block as long as the threshold is always logged, one of half
that length perhaps. An idle loop is not woken.

A block inside native code that keeps the interpreter to itself is noticed only when it has ended. A process that was
stopped as a whole has not blocked its loop; that is for `LeaseClock` to find.
"""

import asyncio
import logging
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.metrics.tally import Tally

LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: the bounds between which the delays of the loop are counted."""

_DEEPEST = 12
_RUN = asyncio.Runner.run.__code__

_logger = logging.getLogger("tekton.watchdog")


class Watchdog:
    """Watches the running loop from `start` to `stop`. *threshold*: seconds, 0.25 by default."""

    def __init__(self, threshold: float = 0.25, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.lags = Tally(LAGS)
        """How long the loop took to give a sign of life, each time that it was asked for one."""
        self.blocks = 0
        """How often it was found blocked."""
        self._half = threshold / 2
        self._clock = clock
        self._stopping = threading.Event()
        self._alive = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the running loop. Must be called in its thread."""
        loop = asyncio.get_running_loop()
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; returns when the thread has ended. Stopping twice does nothing."""
        self._stopping.set()
        self._alive.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stopping.wait(self._half):
            if _is_idle(sys._current_frames().get(thread)):
                continue
            self._alive.clear()
            asked = self._clock.monotonic()
            try:
                loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop is closed
                return
            if self._alive.wait(self._half):
                self.lags.observe(self._clock.monotonic() - asked)
                continue
            if self._clock.monotonic() - asked > 2 * self._half:
                continue
            if self._stopping.is_set():  # the loop waits for us
                return
            self._report(sys._current_frames().get(thread), asked)

    def _report(self, frame: FrameType | None, asked: float) -> None:
        self.blocks += 1
        _logger.warning("the event loop is blocked; it is in %s", _describe(frame))
        while not self._alive.wait(self._half):
            if self._stopping.is_set():
                return
        self.lags.observe(self._clock.monotonic() - asked)
        _logger.warning("the event loop was blocked for %.2f s", self._clock.monotonic() - asked + self._half)


def _describe(frame: FrameType | None) -> str:
    """The stack on one line, the innermost call first: a log line must not break."""
    calls = reversed(traceback.extract_stack(frame)[-_DEEPEST:])
    return ", called by ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in calls)


def _is_idle(frame: FrameType | None) -> bool:
    """True when the loop waits in its selector. What a native loop does is not seen: it waits, or frames lie above."""
    if frame is None or frame.f_code is _RUN:
        return True
    return frame.f_code.co_name == "select" and frame.f_back is not None and frame.f_back.f_code.co_name == "_run_once"
