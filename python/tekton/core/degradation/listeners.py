"""Who is told of events, in which order, and what a listener that misbehaves can do: nothing.

Every listener gets every event once, in the order in which they happened. It runs in a thread of its own (an async one
on the loop on which it was added, and its thread waits for it): one that hangs holds up only what it is told itself, of
which `BACKLOG` events are kept. One that is `direct` is called by whoever caused the event, and must return at once.
What a listener raises is logged. It may cause events itself; those are told when all have heard the present ones.
"""

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tekton.core.calls import is_async

BACKLOG = 1024
"""How many events are kept for a listener that is behind. The oldest is dropped for another one, which is logged."""

_T = TypeVar("_T")

_logger = logging.getLogger("tekton.degradation")


class Listeners(Generic[_T]):
    """The listeners of one source of events. Safe to use from several threads."""

    __slots__ = ("_delivering", "_listeners", "_lock", "_undelivered")

    def __init__(self) -> None:
        self._listeners: list[Callable[[_T], None]] = []
        self._undelivered: deque[_T] = deque()
        self._delivering = False
        self._lock = threading.Lock()

    def add(self, listener: Callable[[_T], object], *, direct: bool = False) -> Callable[[], None]:
        """Tell *listener* of every event from now on; returns the function that removes it."""
        entry = _Direct(listener) if direct else _Mailbox(listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    def put(self, event: _T) -> None:
        """*event* has happened. The source calls this under its own lock, which makes the order, then `deliver`."""
        if self._listeners:
            self._undelivered.append(event)

    def deliver(self) -> None:
        """Tell what has happened, unless somebody is at it already, who then does."""
        while self._undelivered:
            with self._lock:
                if self._delivering:
                    return
                self._delivering = True
            try:
                self._deliver()
            finally:
                self._delivering = False

    def _deliver(self) -> None:
        while self._undelivered:
            event = self._undelivered.popleft()
            for tell in tuple(self._listeners):
                tell(event)


class _Direct(Generic[_T]):
    __slots__ = ("_listener",)

    def __init__(self, listener: Callable[[_T], object]) -> None:
        self._listener = listener

    def __call__(self, event: _T) -> None:
        try:
            self._listener(event)
        except Exception:
            _logger.exception("a listener failed at %s", event)


class _Mailbox(Generic[_T]):
    """The thread of one listener. It ends when there is nothing to tell, and begins anew when there is."""

    __slots__ = ("_events", "_listener", "_lock", "_loop", "_running")

    def __init__(self, listener: Callable[[_T], object]) -> None:
        self._listener = listener
        self._loop = _running_loop() if is_async(listener) else None
        self._events: deque[_T] = deque()
        self._lock = threading.Lock()
        self._running = False

    def __call__(self, event: _T) -> None:
        with self._lock:
            missed = self._events.popleft() if len(self._events) >= BACKLOG else None
            self._events.append(event)
            begins = not self._running
            self._running = True
        if missed is not None:
            _logger.warning("a listener is %d events behind and misses %s", BACKLOG, missed)
        if begins:
            self._begin()

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, daemon=True, name="tekton-listener").start()
        except RuntimeError as error:  # it is told with the next event
            _logger.warning("a listener has no thread: %s", error)
            with self._lock:
                self._running = False

    def _run(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._wait_for(self._listener(event))
            except BaseException:
                _logger.exception("a listener failed at %s", event)

    def _next(self) -> _T | None:
        with self._lock:
            self._running = bool(self._events)
            return self._events.popleft() if self._events else None

    def _wait_for(self, returned: object) -> None:
        if not inspect.isawaitable(returned):
            return
        if self._loop is None:
            asyncio.run(_finish(returned))
            return
        finishing = _finish(returned)
        try:
            future = asyncio.run_coroutine_threadsafe(finishing, self._loop)
        except RuntimeError:  # the loop is closed, and with it everything that the listener belonged to
            finishing.close()
            if inspect.iscoroutine(returned):
                returned.close()
            return
        future.result()


async def _finish(awaitable: Awaitable[object]) -> None:
    await awaitable


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
