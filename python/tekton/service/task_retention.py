"""How long tasks that are over are kept: for a time, and not more than a number of them.

Whichever comes first forgets the oldest, by when they were created, a few at a time: nobody waits for it.
"""

import asyncio
from typing import Final

from tekton.a2a.task import Task
from tekton.a2a.task_manager import TaskManager
from tekton.clock import Clock
from tekton.service.open_tasks import OpenTasks
from tekton.utils.tekton_errors import TaskNotFoundError, TaskStateError

_PAGE: Final = 20


async def forget(manager: TaskManager, task: Task) -> None:
    """Forget *task*, and of its parts, which may be a thousand, some at a time. Raises as `TaskManager.forget_task`."""
    for count, _ in enumerate(manager.forgetting(task), 1):
        if count % _PAGE == 0:
            await manager.flush()
            await asyncio.sleep(0)


class Retention:
    """Forgets tasks of *manager*, but none that *open_tasks* still needs."""

    age: float
    """Seconds for which one that is over is kept."""
    most: int
    """How many that are over are kept, parts of others included."""

    def __init__(self, manager: TaskManager, open_tasks: OpenTasks, clock: Clock) -> None:
        self._manager = manager
        self._open = open_tasks
        self._clock = clock

    async def sweep(self) -> int:
        """Forget what is due; returns how many that were, parts not counted. O(those that are older than `age`)."""
        ended_before = self._clock.time() - self.age
        forgotten, after = 0, ""
        while page := self._manager.tasks(after, _PAGE if after else 1):  # mostly the first is not due
            for task in page:
                too_many = self._manager.count() - self._manager.count(open_only=True) > self.most
                if not too_many and task.created_at > ended_before:
                    return forgotten
                if too_many or task.changed_at <= ended_before:
                    forgotten += await self._forget(task)
            after = page[-1].task_id
            await self._manager.flush()
            await asyncio.sleep(0)
        return forgotten

    async def _forget(self, task: Task) -> bool:
        try:
            if not task.state.over or (task.parent_id is not None and self._is_known(task.parent_id)):
                return False
            self._open.check_forgettable(task)
            await forget(self._manager, task)
        except (TaskNotFoundError, TaskStateError):  # it went with the one whose part it is, or is still needed
            return False
        return True

    def _is_known(self, task_id: str) -> bool:
        return bool(self._manager.states((task_id,)))
