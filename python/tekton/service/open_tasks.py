"""The tasks that are open, counted: how many of whom, and which are tried again.

Parts of a task are not counted: whoever may have the whole may have them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from tekton.a2a.task import Task
from tekton.a2a.task_journal import TaskChange
from tekton.utils.tekton_errors import TaskStateError, TooManyTasksError

WHOLE: Final = ""
"""The id of the parent of a task that is no part of another one."""


class OpenTasks:
    """Counts, and refuses what would be too much: *most* in all, *most_of_one* of one owner."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._of_owner: Counter[str] = Counter()
        self._origins: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, owner: str) -> int:
        """How many *owner* has."""
        return self._of_owner[owner]

    def load(self, tasks: Iterable[Task]) -> None:
        """Count *tasks*, which are open."""
        for task in tasks:
            self._add(task, 1)

    def follow(self, change: TaskChange) -> None:
        """Something has happened to a task."""
        if change.event.number == 1:
            self._add(change.task, 1)
        if change.task.state.over and change.event.number == change.task.number:
            self._add(change.task, -1)

    @contextmanager
    def room(self, owner: str) -> Iterator[None]:
        """Keep a place for one more task of *owner*, until it is there. Raises TooManyTasksError."""
        if self.of(owner) >= self.most_of_one:
            raise TooManyTasksError(self.most_of_one, owner)
        if len(self) >= self.most:
            raise TooManyTasksError(self.most)
        self._count += 1
        self._of_owner[owner] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._of_owner[owner] -= 1
            if not self._of_owner[owner]:
                del self._of_owner[owner]

    def check_forgettable(self, task: Task) -> None:
        """Return unless *task* is tried again by one that is open, which needs what was done. Raises TaskStateError."""
        if self._origins[task.created.origin]:
            raise TaskStateError(task.task_id, task.state, "to forget it while it is tried again")

    def _add(self, task: Task, count: int) -> None:
        if task.created.parent_id != WHOLE:
            return
        self._count += count
        for counter, name in ((self._of_owner, task.owner), (self._origins, task.created.origin)):
            counter[name] += count
            if not counter[name]:
                del counter[name]
