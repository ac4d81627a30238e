"""Tasks: what cannot be done with one, and what has come of it."""

from collections.abc import Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "InvalidTaskError",
    "StaleLeaseError",
    "StepUnknownError",
    "TaskBudgetError",
    "TaskCanceledError",
    "TaskConflictError",
    "TaskCycleError",
    "TaskError",
    "TaskExistsError",
    "TaskFailedError",
    "TaskNotFoundError",
    "TaskRejectedError",
    "TaskStateError",
    "TaskTimeoutError",
    "TaskTypeLimitError",
    "TaskTypeNotFoundError",
    "TooManyTasksError",
]


class TaskError(TektonError):
    """Base of what can go wrong with a task. `task_id` says with which; it is empty where there is none yet."""

    code = "task"

    def __init__(self, task_id: str, problem: str) -> None:
        self.task_id = task_id
        super().__init__(problem)


class InvalidTaskError(TaskError):
    """A task is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_task"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__("", f"{field} of a task: {problem}")


class TaskNotFoundError(TaskError):
    """There is no task of that id, or none that the caller may know of."""

    code = "task_not_found"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id[:128], f"there is no task {task_id[:128]!r}")


class TaskExistsError(TaskError):
    """There is a task of that id already. It was left as it is."""

    code = "task_exists"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id, f"there is a task {task_id} already")


_SAID = {"answer": "to answer it", "canceled": "to cancel it", "delete": "to forget it", "retry": "to try it again"}
"""What is wanted of a task, in words."""


class TaskStateError(TaskError):
    """Something (`change`) cannot be done with a task that is in that `state`. Nothing was changed."""

    code = "task_state"

    def __init__(self, task_id: str, state: str, change: str) -> None:
        self.state = state
        self.change = change
        super().__init__(task_id, f"task {task_id} is {state}: {_SAID.get(change, change)} is not possible")


class TaskConflictError(TaskError):
    """A task has gone on since it was looked at: its last event is not the expected one. Nothing was changed."""

    code = "task_conflict"
    hint = "look at the task again"

    def __init__(self, task_id: str, expected: int, found: int) -> None:
        self.expected = expected
        self.found = found
        super().__init__(task_id, f"task {task_id} has {found} events, not {expected}")


class StaleLeaseError(TaskError):
    """Somebody writes for a task that is not, or no longer, his to work on. Nothing was changed."""

    code = "stale_lease"

    def __init__(self, task_id: str, epoch: int, current: int) -> None:
        self.epoch = epoch
        self.current = current
        super().__init__(task_id, f"lease {epoch} of task {task_id} is over; the last one was {current}")


class TaskCycleError(TaskError):
    """Parts of a task depend on each other in a circle (`cycle`). Nothing was begun."""

    code = "task_cycle"

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = list(cycle)
        super().__init__("", f"tasks that depend on each other in a circle: {' -> '.join([*cycle, *cycle[:1]])}")


class TaskBudgetError(TaskError):
    """A task has used up as much of something (`what`) as it may (`limit`)."""

    code = "task_budget"

    def __init__(self, task_id: str, what: str, limit: float) -> None:
        self.what = what
        self.limit = limit
        super().__init__(task_id, f"task {task_id} may use {limit:.12g} {what}, and no more")


class StepUnknownError(TaskError):
    """A step that must not be repeated was begun, and nobody knows what came of it."""

    code = "step_unknown"
    hint = "look at what the step does for other systems; retry_task does it again"

    def __init__(self, task_id: str, step: str) -> None:
        self.step = step
        super().__init__(task_id, f"step {step!r} of task {task_id} was begun, and what came of it is not known")


class TaskFailedError(TaskError):
    """A task was not done. `failed` is the code of what went wrong."""

    code = "task_failed"

    def __init__(self, task_id: str, failed: str, reason: str) -> None:
        self.failed = failed
        self.reason = reason
        super().__init__(task_id, f"task {task_id} has failed: {reason}")


class TaskTimeoutError(TaskError):
    """A task was not done when its deadline came."""

    code = "task_timeout"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id, f"task {task_id} was not done before its deadline")


class TaskCanceledError(TaskError):
    """A task was called off."""

    code = "task_canceled"

    def __init__(self, task_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(task_id, f"task {task_id} was canceled{': ' if reason else ''}{reason}")


class TaskRejectedError(TaskError):
    """An agent will not do what a task wants. Handlers raise it, too."""

    code = "task_rejected"

    def __init__(self, task_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(task_id, f"task {task_id} was rejected{': ' if reason else ''}{reason}")


class TooManyTasksError(TaskError):
    """As many tasks are open as may be, or as many bytes of them (`what`): `limit`, in all, or of one `owner`. None was
    created."""

    code = "too_many_tasks"
    hint = "wait until some are over, or cancel those that nobody wants any more"

    def __init__(self, limit: int, owner: str | None = None, what: str = "tasks") -> None:
        self.limit = limit
        self.owner = owner
        self.what = what
        whose = "" if owner is None else f" of {owner}"
        kind = "tasks" if what == "tasks" else "bytes of tasks"
        super().__init__("", f"{limit} {kind}{whose} are open, and no more may be")


class TaskTypeNotFoundError(TaskError):
    """Nothing was declared of a type of task (`task_type`)."""

    code = "task_type_not_found"

    def __init__(self, task_type: str) -> None:
        self.task_type = task_type[:256]
        super().__init__("", f"nothing was declared of the type of task {task_type[:256]!r}")


class TaskTypeLimitError(TaskError):
    """As many types of tasks are declared as may be (`limit`). Nothing was declared."""

    code = "task_type_limit"

    def __init__(self, task_type: str, limit: int) -> None:
        self.task_type = task_type
        self.limit = limit
        super().__init__("", f"{limit} types of tasks are declared, and no more may be")
