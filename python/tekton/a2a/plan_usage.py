"""What a task has used up, all its parts together: its budget holds for these, however many there are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget
from tekton.utils.tekton_errors import InvalidTaskError, TaskBudgetError

__all__ = ["MOST_DESCENDANTS", "Usage", "used_by"]

MOST_DESCENDANTS: Final = 2000
"""Parts that a task may have, those of its parts included."""


@dataclass(slots=True)
class Usage:
    """*steps* that were done, *units* that were spent, and *parts* there are to be."""

    steps: int = 0
    units: float = 0.0
    parts: int = 0

    def add(self, other: "Usage") -> None:
        """Have used up that, too."""
        self.steps += other.steps
        self.units += other.units
        self.parts += other.parts

    def check(self, task: Task, budget: Budget) -> None:
        """Return if *task* may use so much. Raises TaskBudgetError, and InvalidTaskError for too many parts."""
        if self.parts > MOST_DESCENDANTS:
            raise InvalidTaskError("/plan", f"more than {MOST_DESCENDANTS} parts, those of its parts included")
        if self.steps > budget.steps:
            raise TaskBudgetError(task.task_id, "steps", budget.steps)
        if budget.units is not None and self.units > budget.units:
            raise TaskBudgetError(task.task_id, "units", budget.units)


def used_by(task: Task, find: Callable[[str], Task | None]) -> Usage:
    """What *task* has used up by now, without its parts that are open and have parts themselves. O(all its parts).

    A part that is that of another task, which this one tries again, is no expense of this one.
    """
    if not task.plan:
        return Usage(len(task.steps), task.spent)
    used = Usage(parts=len(task.plan))
    for planned in task.plan:
        part = find(planned.task_id)
        if part is not None and part.parent_id == task.task_id and (part.state.over or not part.plan):
            used.add(used_by(part, find))
    return used
