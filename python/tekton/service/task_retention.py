"""How long tasks that are over are kept: for a time, and not more than a number of them.

Whichever comes first forgets the oldest, by when they were created, a few at a time: nobody waits for it. Where there
are too many, those of the owner go who has most of them: who creates many pushes out nobody else's. What cannot be read
stays where it is, and the others go on.
"""

import asyncio
from collections import Counter
from heapq import heapify, heappop, heappush
from typing import Final

from tekton.a2a.task import Task
from tekton.a2a.task_manager import TaskManager
from tekton.clock import Clock
from tekton.service.open_tasks import OpenTasks
from tekton.utils.tekton_errors import StorageCorruptError, TaskNotFoundError, TaskStateError

_PAGE: Final = 20
_MANY: Final = 500


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
        """Forget what is due; returns how many that were, parts not counted.

        O(those that are older than `age`), and, where there are too many, O(open tasks + owners + what is too much).
        """
        return await self._forget_old() + await self._forget_surplus()

    async def _forget_old(self) -> int:
        ended_before = self._clock.time() - self.age
        forgotten, after = 0, ""
        while page := self._manager.tasks(after, _PAGE if after else 1):  # mostly the first is not due
            for task in page:
                if task.created_at > ended_before:
                    return forgotten
                if task.changed_at <= ended_before:
                    forgotten += await self._forget(task)
            after = page[-1].task_id
            await self._breathe()
        return forgotten

    async def _forget_surplus(self) -> int:
        """Forget the oldest of whoever has most, until there are not too many."""
        if self._surplus() <= 0:
            return 0
        shares = [(-count, owner) for owner, count in self._over_by_owner().items() if count > 0]
        heapify(shares)
        reached: dict[str, str] = {}
        forgotten = looked_at = 0
        while shares and (surplus := self._surplus()) > 0:
            share, owner = heappop(shares)
            more_than_others = -share - (-shares[0][0] if shares else 0)
            some = max(1, min(_PAGE, surplus, more_than_others))
            page = self._manager.over_of(owner, reached.get(owner, ""), some)
            before = self._manager.count()
            for task in page:
                forgotten += await self._forget(task)
            if page:
                reached[owner] = page[-1].task_id
                heappush(shares, (share + before - self._manager.count(), owner))
            looked_at += len(page)
            if looked_at >= _PAGE:
                looked_at = 0
                await self._breathe()
        await self._breathe()
        return forgotten

    def _surplus(self) -> int:
        return self._manager.count() - self._manager.count(open_only=True) - self.most

    def _over_by_owner(self) -> Counter[str]:
        shares, after = Counter(self._manager.owners()), ""
        while page := self._manager.tasks(after, _MANY, open_only=True):
            shares.subtract(task.owner for task in page)
            after = page[-1].task_id
        return shares

    async def _breathe(self) -> None:
        await self._manager.flush()
        await asyncio.sleep(0)

    async def _forget(self, task: Task) -> bool:
        try:
            if not task.state.over or (task.parent_id is not None and self._is_known(task.parent_id)):
                return False
            self._open.check_forgettable(task)
            await forget(self._manager, task)
        except (TaskNotFoundError, TaskStateError):  # it went with the one whose part it is, or is still needed
            return False
        except StorageCorruptError:  # the store has told it
            return False
        return True

    def _is_known(self, task_id: str) -> bool:
        return bool(self._manager.states((task_id,)))
