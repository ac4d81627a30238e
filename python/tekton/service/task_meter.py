"""What happens to tasks, counted. Callers make up types of tasks, and agents codes: both are bounded here."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import AttemptFailed, InputGiven, StepCompleted
from tekton.a2a.task_journal import TaskChange
from tekton.core.metrics.metrics import Reading
from tekton.core.metrics.parts.work import TASK_SECONDS
from tekton.core.metrics.tally import Tally
from tekton.utils.error_catalogue import catalogue

MOST_TYPES: Final = 100
"""So many types have numbers of their own; those that come for the first time after that share `other`."""
OTHER: Final = "other"

OPEN_STATES: Final = tuple(state for state in TaskState if not state.over)
CODES: Final = frozenset({"agent_failed", "agent_lost", "garbage", "part_failed", "planner_failed"})
"""Codes of failed attempts that are those of no error."""


class TaskMeter:
    """Counts; `follow` listens to a TaskManager, `read` is a reader of metrics. O(1) for each event."""

    def __init__(self) -> None:
        self._created: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Tally] = {}
        self._attempts: Counter[str] = Counter()
        self._steps = 0
        self._known: set[str] = set()
        self._open: dict[str, tuple[TaskState, bool]] = {}
        self._states: Counter[TaskState] = Counter()
        self._unattended = 0

    def load(self, tasks: Iterable[Task]) -> None:
        """Count *tasks*, which are open from before."""
        for task in tasks:
            self._place(task)

    def follow(self, change: TaskChange) -> None:
        """Something has happened to a task."""
        event, task = change.event, change.task
        match event.change:
            case StepCompleted() | InputGiven() if not task.plan:  # the answer to a part is that of the whole, too
                self._steps += 1
            case AttemptFailed(code=code):
                self._attempts[code if code in CODES or code in catalogue() else OTHER] += 1
        if task.parent_id is None and event.number == 1:
            self._created[self._type(task)] += 1
        if event.number == task.number:  # the last of those that were written together
            if task.state.over and task.parent_id is None:
                self._end(task)
            self._place(task)

    def read(self) -> Iterator[Reading]:
        """What was counted so far."""
        for task_type, count in list(self._created.items()):
            yield Reading("tekton_tasks_created", count, (task_type,))
        for (task_type, outcome), count in list(self._ended.items()):
            yield Reading("tekton_tasks_ended", count, (task_type, outcome))
        for task_type, tally in list(self._seconds.items()):
            yield Reading("tekton_task_duration", tally.read(), (task_type,))
        for state in OPEN_STATES:
            yield Reading("tekton_tasks_open", self._states[state], (state.value,))
        yield Reading("tekton_tasks_unattended", self._unattended)
        yield Reading("tekton_task_steps", self._steps)
        for code, count in list(self._attempts.items()):
            yield Reading("tekton_task_attempts_failed", count, (code,))

    def _end(self, task: Task) -> None:
        late = task.failure is not None and task.failure.code == "task_timeout"
        name = self._type(task)
        self._ended[name, "timeout" if late else task.state.value] += 1
        self._seconds.setdefault(name, Tally(TASK_SECONDS)).observe(task.changed_at - task.created_at)

    def _type(self, task: Task) -> str:
        name = task.task_type
        if name not in self._known and len(self._known) >= MOST_TYPES:
            return OTHER
        self._known.add(name)
        return name

    def _place(self, task: Task) -> None:
        """Count *task* where it is now, and no longer where it was."""
        if (before := self._open.pop(task.task_id, None)) is not None:
            self._states[before[0]] -= 1
            self._unattended -= before[1]
        if not task.state.over:
            unattended = task.lease is None
            self._open[task.task_id] = (task.state, unattended)
            self._states[task.state] += 1
            self._unattended += unattended
