"""The one way to write to the log of tasks: with the time, and with whoever wants to know being told."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from tekton.a2a.task import Task
from tekton.a2a.task_event import Change, TaskEvent
from tekton.a2a.task_log import TaskLog
from tekton.clock import Clock

__all__ = ["TaskChange", "TaskJournal"]

_logger = logging.getLogger("tekton.tasks")


class TaskChange(NamedTuple):
    """Something happened to a task: *event*, after which it is *task*. *revision* is the version that this made."""

    event: TaskEvent
    task: Task
    revision: int


class TaskJournal:
    """Writes to *log*. *late* counts what agents have said when nobody asked any more."""

    def __init__(self, log: TaskLog, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self.late = 0
        self.version = 0
        self._listeners: list[Callable[[TaskChange], object]] = []
        self._waiting: dict[str, asyncio.Event] = {}
        self._turned = asyncio.Event()

    def append(self, task_id: str, *changes: Change, expected: int | None = None, epoch: int | None = None) -> Task:
        """As `TaskLog.append`, now; returns the task after it."""
        events = self.log.append(task_id, changes, self.clock.time(), expected=expected, epoch=epoch)
        task = self.log.task(task_id)
        for event in events:
            self.version += 1
            self._tell(TaskChange(event, task, self.version))
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()
        if (waiting := self._waiting.pop(task_id, None)) is not None:
            waiting.set()
        return task

    async def next_change(self, task_id: str) -> None:
        """Wait until something happens to a task."""
        await self._waiting.setdefault(task_id, asyncio.Event()).wait()

    async def changed(self, since: int) -> int:
        """Wait until `version` is no longer *since*; returns what it is."""
        while self.version == since:
            await self._turned.wait()
        return self.version

    def listen(self, listener: Callable[[TaskChange], object]) -> Callable[[], None]:
        """Tell *listener* of each event from now on; returns the function that ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _tell(self, change: TaskChange) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:
                _logger.exception("a listener failed at an event of task %s", change.task.task_id)
