"""The line in which tasks wait that were taken up after a restart, so that ten thousand do not fall upon their agents.

* AT_ONCE of them have a place and are driven. One gives its place away when it is over, or after TURN seconds: it then
  goes on, but one that takes long, or waits for an answer, holds nobody up.
* Whose deadline is first comes first. One whose deadline comes while it waits has its turn then, and ends.

So of n tasks each has begun after n / AT_ONCE * TURN seconds at the latest. The parts of a task have its place.
"""

import asyncio
from collections.abc import Callable, Iterable
from heapq import heapify, heappop
from typing import Final

from tekton.a2a.task import Task
from tekton.clock import Clock

__all__ = ["AT_ONCE", "TURN", "TaskLine"]

AT_ONCE: Final = 256
TURN: Final = 2.0
_EXPIRE_AT_ONCE: Final = 64
"""So many that are too late end in one turn of the event loop."""

Begin = Callable[[str], "asyncio.Task[None] | None"]
"""Has a task driven, if that makes sense."""


class TaskLine:
    """Tasks that wait until *begin* is called with their ids. Used on one event loop."""

    def __init__(self, begin: Begin, clock: Clock) -> None:
        self._begin = begin
        self._clock = clock
        self._waiting: list[tuple[float, str]] = []
        self._ids: set[str] = set()
        self._places: dict[str, asyncio.TimerHandle] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, tasks: Iterable[Task]) -> None:
        """Let *tasks*, which do not wait yet, wait too. O(all that wait)."""
        for task in tasks:
            self._waiting.append((task.deadline, task.task_id))
            self._ids.add(task.task_id)
        heapify(self._waiting)
        self._fill()

    def close(self) -> None:
        """Begin nothing any more."""
        self._waiting.clear()
        self._ids.clear()
        for handle in self._places.values():
            handle.cancel()
        self._places.clear()
        self._quiet()

    def _fill(self) -> None:
        while self._waiting and len(self._places) < AT_ONCE:
            self._take_place(self._next())
        self._quiet()
        if self._waiting:
            left = max(0.0, self._waiting[0][0] - self._clock.time())
            self._alarm = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        for _ in range(_EXPIRE_AT_ONCE):
            if not self._waiting or self._waiting[0][0] > self._clock.time():
                break
            self._begin(self._next())
        self._fill()

    def _next(self) -> str:
        task_id = heappop(self._waiting)[1]
        self._ids.discard(task_id)
        return task_id

    def _take_place(self, task_id: str) -> None:
        driver = self._begin(task_id)
        if driver is not None:
            self._places[task_id] = asyncio.get_running_loop().call_later(TURN, self._leave, task_id)
            driver.add_done_callback(lambda _: self._leave(task_id))

    def _leave(self, task_id: str) -> None:
        handle = self._places.pop(task_id, None)
        if handle is not None:
            handle.cancel()
            self._fill()

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
