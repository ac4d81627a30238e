"""What happens to tasks from now on, in a few words each, for those who follow all of them.

A follower that does not keep up loses the oldest, and is told how many: what it holds is bounded.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from tekton.a2a.task import Task
from tekton.a2a.task_journal import TaskChange
from tekton.a2a.task_manager import TaskManager

MOST: Final = 10_000
"""So many wait for a follower at most."""


class TaskNote(msgspec.Struct, frozen=True):
    """Event `number` of a task, of the kind `event`: after it the task is in `state`."""

    task_id: str
    task_type: str
    state: str
    number: int
    at: float
    event: str
    owner: str
    parent_id: str | None

    @classmethod
    def of(cls, task: Task, number: int, at: float, event: str) -> "TaskNote":
        """What there is to say of *task*."""
        return cls(task.task_id, task.task_type, task.state.value, number, at, event, task.owner, task.parent_id)


class TaskNews:
    """What happens to the tasks of *manager* that are *wanted*, from now on, until `close`."""

    def __init__(self, manager: TaskManager, wanted: Callable[[Task], bool] = lambda _: True) -> None:
        self._wanted = wanted
        self._waiting: deque[TaskNote] = deque()
        self._lost = 0
        self._news = asyncio.Event()
        self.close = manager.listen(self._note)
        """Follow no more."""

    async def next(self) -> tuple[list[TaskNote], int]:
        """What has happened since the last call, in order, and how much of it was lost; waits for something."""
        await self._news.wait()
        self._news.clear()
        notes, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._lost = 0
        return notes, lost

    def _note(self, change: TaskChange) -> None:
        if not self._wanted(change.task):
            return
        if len(self._waiting) >= MOST:
            self._waiting.popleft()
            self._lost += 1
        event = change.event
        kind = str(event.change.__struct_config__.tag)
        self._waiting.append(TaskNote.of(change.task, event.number, event.at, kind))
        self._news.set()
