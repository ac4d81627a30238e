"""What open tasks take in memory, counted and bounded: in all, and of one owner.

Counted are the bytes, as JSON, of what stays in memory for as long as the task is open: inputs, plans, what steps
result in, artifacts, questions and answers. Too much of it refuses a task that is to be created, and ends one whose
agent has more to say; what ends a task, and the answer of a caller, is taken in any case.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tekton.a2a.task import Task
from tekton.a2a.task_event import (
    ArtifactAdded,
    AuthRequired,
    Change,
    Created,
    InputGiven,
    InputRequired,
    Planned,
    StepCompleted,
)
from tekton.utils.tekton_errors import TaskBudgetError, TooManyTasksError

__all__ = ["OpenBytes", "is_held"]

UNLIMITED: Final = 1 << 62
_REFUSED: Final = frozenset({Created, Planned, StepCompleted, ArtifactAdded, InputRequired, AuthRequired})
_HELD: Final = _REFUSED | {InputGiven}


def is_held(change: Change) -> bool:
    """Whether what *change* says stays in memory while its task is open."""
    return type(change) in _HELD


class OpenBytes:
    """Counts, and refuses what would be too much: more than *most* bytes in all, than *most_of_one* of one owner."""

    def __init__(self, most: int = UNLIMITED, most_of_one: int = UNLIMITED) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self.total = 0
        self._of_owner: Counter[str] = Counter()

    def of(self, owner: str) -> int:
        """How much *owner* has."""
        return self._of_owner[owner]

    def check(self, task: Task, changes: Sequence[Change], size: int) -> None:
        """Return if *task*, as it is after *changes*, may take *size* bytes more.

        Raises TooManyTasksError for a task that is to be created, TaskBudgetError for another one.
        """
        of_owner = self._of_owner.get(task.owner, 0) + size > self.most_of_one
        if not of_owner and self.total + size <= self.most:
            return
        if task.state.over or all(type(change) not in _REFUSED for change in changes):
            return
        limit = self.most_of_one if of_owner else self.most
        if isinstance(changes[0], Created):
            raise TooManyTasksError(limit, task.owner if of_owner else None, "bytes")
        others = f"the other open tasks of {task.owner}" if of_owner else "all other open tasks"
        raise TaskBudgetError(task.task_id, f"bytes together with {others}", limit)

    def add(self, owner: str, size: int) -> None:
        """An open task of *owner* takes *size* bytes more, or less."""
        self.total += size
        self._of_owner[owner] += size
        if not self._of_owner[owner]:
            del self._of_owner[owner]
