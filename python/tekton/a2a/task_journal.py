"""The one way to write to the log of tasks: with the time, and with whoever wants to know being told."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tekton.a2a.task import Task
from tekton.a2a.task_event import Change, TaskEvent
from tekton.clock import Clock
from tekton.core.observable import Observable

__all__ = ["EventLog", "TaskChange", "TaskJournal"]

_logger = logging.getLogger("tekton.tasks")


class EventLog(Protocol):
    """What a journal needs of a log; see `TaskLog`, which is one."""

    def append(
        self,
        task_id: str,
        changes: Sequence[Change],
        at: float,
        *,
        expected: int | None = None,
        epoch: int | None = None,
    ) -> list[TaskEvent]:
        """Have *changes* happen to a task, all or none; returns their events."""
        ...

    def task(self, task_id: str) -> Task:
        """The task as it is now. Raises TaskNotFoundError."""
        ...

    async def flush(self) -> None:
        """Wait until all that was called before is durable."""
        ...


class TaskChange(NamedTuple):
    """Something happened to a task: *event*, after which it is *task*. *revision* is the version that this made."""

    event: TaskEvent
    task: Task
    revision: int


class TaskJournal(Observable[TaskChange]):
    """Writes to *log*. *late* counts what agents have said when nobody asked any more."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        super().__init__(_logger)
        self.log = log
        self.clock = clock
        self.late = 0
        self._waiting: dict[str, asyncio.Event] = {}

    def append(self, task_id: str, *changes: Change, expected: int | None = None, epoch: int | None = None) -> Task:
        """As `TaskLog.append`, now; returns the task after it."""
        events = self.log.append(task_id, changes, self.clock.time(), expected=expected, epoch=epoch)
        task = self.log.task(task_id)
        for event in events:
            self._tell(TaskChange(event, task, self.version + 1), f"task {task_id}")
        if (waiting := self._waiting.pop(task_id, None)) is not None:
            waiting.set()
        return task

    async def next_change(self, task_id: str) -> None:
        """Wait until something happens to a task."""
        await self._waiting.setdefault(task_id, asyncio.Event()).wait()

    def wake(self) -> None:
        """Let all who wait for a change go on: there will be none."""
        waiting, self._waiting = self._waiting, {}
        for event in waiting.values():
            event.set()
