"""Thresholds: a callback when a number rises above a limit, once, and again only after it has come down.

A threshold is *crossed* when its number has been above the limit for `hold` seconds (0: at once), and *cleared* when
it is at or below the limit less the hysteresis. In between nothing changes, so that a number that trembles around its
limit is one event. A number that cannot be read changes nothing either.

Callbacks never run in the thread that samples. A coroutine function runs as a task on the event loop that was running
when it was registered; anything else runs in a thread of its own. There is one run at a time of each callback: a
crossing that comes while the last one is still being told is left out. What a callback raises is logged; one that hangs
keeps nothing but itself; any may call the monitor.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from tekton.background import BackgroundGroup

_logger = logging.getLogger("tekton.resources")


@dataclass(frozen=True, slots=True)
class ThresholdEvent:
    """A threshold was crossed or cleared. *at* is a position (`core.series`), *time* the wall clock's."""

    kind: Literal["crossed", "cleared"]
    resource_type: str
    threshold: float
    value: float
    at: float
    time: float


ThresholdCallback = Callable[..., Awaitable[object] | object]
"""Called with the `ThresholdEvent` if it takes an argument, else without."""


Listener = Callable[[ThresholdEvent], None]


class Threshold:
    """One registered threshold. `crossed` is true while the number counts as above it."""

    def __init__(
        self,
        resource_type: str,
        threshold: float,
        *,
        hysteresis: float | None = None,
        hold: float = 0.0,
        on_crossed: Listener,
        on_cleared: Listener | None = None,
    ) -> None:
        """*hysteresis* is 5 % of the threshold by default. Raises ValueError for numbers that make no sense."""
        self.resource_type = resource_type
        self.threshold = threshold
        self.crossed = False
        self._clear_at = threshold - (abs(threshold) * 0.05 if hysteresis is None else hysteresis)
        self._hold = hold
        self._above_since: float | None = None
        self._on_crossed = on_crossed
        self._on_cleared = on_cleared
        if not (self._clear_at <= threshold and hold >= 0):
            raise ValueError("hysteresis and hold are not negative")

    def judge(self, value: float, at: float, time: float) -> None:
        """Take in the number as it was at the position *at*."""
        if value <= self.threshold:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = at
        if not self.crossed and self._above_since is not None and at - self._above_since >= self._hold:
            self.crossed = True
            self._on_crossed(ThresholdEvent("crossed", self.resource_type, self.threshold, value, at, time))
        elif self.crossed and value <= self._clear_at:
            self.crossed = False
            if self._on_cleared is not None:
                self._on_cleared(ThresholdEvent("cleared", self.resource_type, self.threshold, value, at, time))


class Delivery:
    """Tells one callback of events, elsewhere than in the thread that calls; see the module."""

    def __init__(self, callback: ThresholdCallback, name: str) -> None:
        """Raises ValueError for a coroutine function when no event loop runs in this thread."""
        self._callback = callback
        self._name = name
        self._wants_event = _takes_an_argument(callback)
        self._asynchronous = _is_coroutine_function(callback)
        self._busy = threading.Lock()
        self._over = False
        self._group = BackgroundGroup(name)
        self._task: asyncio.Task[None] | None = None
        self._loop = _running_loop()
        if self._asynchronous and self._loop is None:
            raise ValueError("a coroutine function needs a running event loop to be called in")

    def __call__(self, event: ThresholdEvent) -> None:
        """Have the callback called, soon. From any thread."""
        if self._over:
            return
        if not self._busy.acquire(blocking=False):
            _logger.warning("%s still runs; it is not told that %s was %s", self._name, event.resource_type, event.kind)
        elif not (self._to_loop(self._begin, event) if self._asynchronous else self._to_thread(event)):
            self._busy.release()

    def cancel(self) -> None:
        """Tell of nothing more, what is on its way included; and interrupt what runs. From any thread."""
        self._over = True
        self.interrupt()

    def interrupt(self) -> None:
        """Cancel the coroutine that runs, if there is one. A function cannot be stopped. From any thread."""
        self._to_loop(self._cancel)

    def _to_thread(self, event: ThresholdEvent) -> bool:
        try:
            threading.Thread(target=self._run, args=(event,), name=self._name, daemon=True).start()
        except RuntimeError as error:
            _logger.error("%s is not called: %s", self._name, error)
            return False
        return True

    def _to_loop(self, function: Callable[..., None], *arguments: object) -> bool:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)
                return True
        except RuntimeError:
            _logger.debug("%s belongs to an event loop that is closed", self._name)
        return False

    def _call(self, event: ThresholdEvent) -> object:
        return self._callback(event) if self._wants_event else self._callback()

    def _run(self, event: ThresholdEvent) -> None:
        adopted = False
        try:
            outcome = None if self._over else self._call(event)
            if inspect.iscoroutine(outcome):  # of a lambda around a coroutine function
                adopted = self._to_loop(self._adopt, outcome)
                if not adopted:
                    outcome.close()
                    _logger.error("%s needs an event loop, and none ran when it was registered", self._name)
        except Exception:  # somebody else's code
            _logger.exception("%s failed", self._name)
        finally:
            if not adopted:
                self._busy.release()

    def _begin(self, event: ThresholdEvent) -> None:
        try:
            if not self._over:
                self._adopt(self._call(event))
                return
        except Exception:  # somebody else's code
            _logger.exception("%s failed", self._name)
        self._busy.release()

    def _adopt(self, coroutine: Any) -> None:
        self._task = self._group.spawn(coroutine, "callback")
        self._task.add_done_callback(lambda _: self._busy.release())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _is_coroutine_function(callback: ThresholdCallback) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(callback, "__call__", None))  # noqa: B004


def _takes_an_argument(callback: ThresholdCallback) -> bool:
    try:
        inspect.signature(callback).bind(object())
    except TypeError:
        return False
    except ValueError:  # a function written in C that does not say
        return True
    return True
