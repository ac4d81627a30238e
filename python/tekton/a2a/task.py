"""A task: something that is to be done, and how far it is. It is what its events make of it.

    fold(events) == task            apply(task, event) is the task after one more

Rules:

* Which change is possible in which state, and where it leads, is in one table here. What it does not have is refused
  and changes nothing; what has ended stays so.
* Whoever works on a task has a lease. Each lease has a number, the epoch; all but the newest are stale, and so is the
  newest when its attempt has failed. What comes from a stale lease is refused.
* A question is that of its attempt, and ends with it; unless the agent was only lost. Then it goes on waiting for its
  answer, and nobody has to work meanwhile. That of a part is one of the whole, too.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    AuthRequired,
    Budget,
    Canceled,
    Change,
    Completed,
    Created,
    Failed,
    InputGiven,
    InputRequired,
    InputWithdrawn,
    Leased,
    Planned,
    PlannedTask,
    Progressed,
    Rejected,
    Spent,
    StepBegun,
    StepCompleted,
    TaskEvent,
)
from tekton.utils.tekton_errors import StaleLeaseError, TaskExistsError, TaskNotFoundError, TaskStateError

__all__ = [
    "AGENT_LOST",
    "Failure",
    "Lease",
    "Task",
    "TaskState",
    "apply",
    "fold",
    "sealed",
    "state_after",
    "unshared",
]


class TaskState(StrEnum):
    """Where a task is; one for one the TaskState of Agent2Agent 1.0."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    AUTH_REQUIRED = "auth_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"

    @property
    def wire(self) -> str:
        """Its name in Agent2Agent."""
        return f"TASK_STATE_{self.name}"

    @property
    def over(self) -> bool:
        """True for a state that is never left."""
        return self in _OVER

    @property
    def waiting(self) -> bool:
        """True while somebody has to answer."""
        return self in _WAITING


AGENT_LOST: Final = "agent_lost"
"""The code of an attempt that ended because nothing was heard of the agent any more. It may be asked again."""

_OVER: Final = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
_WAITING: Final = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})

_SUBMITTED, _WORKING = TaskState.SUBMITTED, TaskState.WORKING
_INPUT, _AUTH = TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED
_SAME: Final = {_WORKING: _WORKING, _INPUT: _INPUT, _AUTH: _AUTH}


def _from_all(state: TaskState) -> dict[TaskState, TaskState]:
    return dict.fromkeys((_SUBMITTED, _WORKING, _INPUT, _AUTH), state)


NEXT: Final[Mapping[type[Change], Mapping[TaskState, TaskState]]] = {
    # A task that waits for an answer goes on waiting when another worker takes it.
    Leased: _SAME | {_SUBMITTED: _WORKING},
    Planned: {_WORKING: _WORKING},
    StepBegun: _SAME,
    StepCompleted: _SAME,
    Progressed: _SAME,
    ArtifactAdded: _SAME,
    Spent: _SAME,
    InputRequired: {_WORKING: _INPUT},
    AuthRequired: {_WORKING: _AUTH},
    InputGiven: {_INPUT: _WORKING, _AUTH: _WORKING},
    InputWithdrawn: {_INPUT: _WORKING, _AUTH: _WORKING},
    AttemptFailed: dict.fromkeys(_SAME, _WORKING),
    Completed: dict.fromkeys(_SAME, TaskState.COMPLETED),
    Failed: _from_all(TaskState.FAILED),
    Canceled: _from_all(TaskState.CANCELED),
    Rejected: _from_all(TaskState.REJECTED),
}
"""The state that a change leads to, by the state that there is."""

WITHOUT_LEASE: Final = frozenset({Created, Leased, InputGiven, Failed, Canceled, Rejected})
"""What may come from others than the one who works on the task."""


class Lease(NamedTuple):
    """Who works on a task: the process *worker*, by an agent, or by the plan if *agent_id* is empty."""

    epoch: int
    worker: str
    agent_id: str


class Failure(NamedTuple):
    """Why something was not done. *code* is that of an error, or one of `agent_failed`, `garbage`, `part_failed`,
    `planner_failed`. Of an attempt, *agent_id* says whose."""

    code: str
    reason: str
    agent_id: str = ""


class Task(msgspec.Struct, frozen=True):
    """A task after its event *number*. A value; do not change what it gives out.

    *created* is what is wanted. *steps* are the results of what was done, by the label of the step; *begun* has the
    labels of those that must not be repeated, were begun, and are not done. *attempts* counts those since a step.
    *agent_id* is who works on it, or has done so last; empty for nobody yet, and for a plan. *answers* are the ids of
    the messages that have answered its questions, by step.
    """

    task_id: str
    created: Created
    created_at: float
    changed_at: float
    number: int = 1
    state: TaskState = TaskState.SUBMITTED
    epoch: int = 0
    lease: Lease | None = None
    agent_id: str = ""
    attempts: int = 0
    steps: Mapping[str, Any] = msgspec.field(default_factory=dict)
    begun: frozenset[str] = frozenset()
    plan: tuple[PlannedTask, ...] = ()
    planned: bool = False
    failures: tuple[Failure, ...] = ()
    question: InputRequired | None = None
    progress: Progressed | None = None
    artifacts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    spent: float = 0.0
    result: Any = None
    failure: Failure | None = None
    answers: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def task_type(self) -> str:
        """What kind of thing is wanted."""
        return self.created.task_type

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What it is to be done with."""
        return self.created.inputs

    @property
    def parent_id(self) -> str | None:
        """The task that it is a part of."""
        return self.created.parent_id or None

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The parts of its parent's plan that have to be completed before, by name."""
        return tuple(self.created.dependencies)

    @property
    def deadline(self) -> float:
        """When it has to be over, in seconds since 1970."""
        return self.created.deadline

    @property
    def budget(self) -> Budget:
        """What it may use up."""
        return self.created.budget

    @property
    def owner(self) -> str:
        """Who may know of it; empty where nobody asks."""
        return self.created.owner

    @property
    def unknown_step(self) -> str | None:
        """A step that must not be repeated, was begun, and of which nobody knows what came of it."""
        return min(self.begun.difference(self.steps), default=None)


class _Own(dict[str, Any]):
    """What a task has more and more of, while nobody knows of it yet: it may grow where it is."""


def fold(events: Iterable[TaskEvent]) -> Task:
    """The task of which these are the events, from the first on. O(events). Raises as `apply`."""
    task: Task | None = None
    for event in events:
        task = apply(task, event) if task is not None else unshared(apply(None, event))
    if task is None:
        raise TaskNotFoundError("")
    return sealed(task)


def unshared(task: Task) -> Task:
    """*task*, for the one who is to `apply` many events to it, and shows it to nobody before he has `sealed` it."""
    return msgspec.structs.replace(
        task, steps=_Own(task.steps), artifacts=_Own(task.artifacts), answers=_Own(task.answers)
    )


def sealed(task: Task) -> Task:
    """*task*, for all to see."""
    return msgspec.structs.replace(
        task, steps=dict(task.steps), artifacts=dict(task.artifacts), answers=dict(task.answers)
    )


def apply(task: Task | None, event: TaskEvent) -> Task:
    """The task after *event*. Raises TaskNotFoundError, TaskExistsError, and TaskStateError for what cannot be now.

    O(steps of the task) for a step, O(artifacts) for one of them; O(1) for all else, and for what is `unshared`.
    """
    change = event.change
    if isinstance(change, Created):
        if task is not None:
            raise TaskExistsError(event.task_id)
        return Task(
            event.task_id, change, event.at, event.at, event.number, steps=change.steps, plan=tuple(change.plan)
        )
    if task is None:
        raise TaskNotFoundError(event.task_id)
    state = state_after(task.state, change)
    if state is None:
        raise TaskStateError(task.task_id, task.state, str(change.__struct_config__.tag))
    common: dict[str, Any] = {"number": event.number, "changed_at": event.at, "state": state}
    if state.over:
        common |= {"lease": None, "question": None}
    return msgspec.structs.replace(task, **(common | _FIELDS[type(change)](task, change, event.epoch)))


def state_after(state: TaskState, change: Change) -> TaskState | None:
    """The state that *change* leads to from *state*, if it is possible there."""
    return state if _goes_on_waiting(state, change) else NEXT[type(change)].get(state)


def check_lease(task: Task, change: Change, epoch: int | None) -> None:
    """Let only whoever has the lease of *task* make *change*. Raises StaleLeaseError."""
    if task.state.over or (epoch is None and type(change) in WITHOUT_LEASE):
        return  # nothing happens to what is over: `apply` says so
    if task.lease is None or task.lease.epoch != epoch:
        raise StaleLeaseError(task.task_id, epoch or 0, task.epoch)


Fold = Callable[[Task, Any, int], dict[str, Any]]


def _with(known: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(known, _Own):
        return {**known, name: value}
    known[name] = value
    return known


def _leased(task: Task, change: Leased, epoch: int) -> dict[str, Any]:
    attempts = task.attempts + 1 if change.agent_id and not change.goes_on else task.attempts
    lease = Lease(epoch, change.worker, change.agent_id)
    return {"epoch": epoch, "lease": lease, "agent_id": change.agent_id, "attempts": attempts}


def _goes_on_waiting(state: TaskState, change: Change) -> bool:
    """Whether *change* leaves the question of a task that waits as it is: whoever goes on will want the answer."""
    return isinstance(change, AttemptFailed) and change.code == AGENT_LOST and state.waiting


def _attempt_failed(task: Task, change: AttemptFailed, _: int) -> dict[str, Any]:
    failure = Failure(change.code, change.reason, change.agent_id)
    question = task.question if _goes_on_waiting(task.state, change) else None
    return {"failures": (*task.failures, failure), "lease": None, "question": question}


def _step_completed(task: Task, change: StepCompleted, _: int) -> dict[str, Any]:
    begun = task.begun - {change.step} if change.step in task.begun else task.begun
    return {"steps": _with(task.steps, change.step, change.result), "begun": begun, "attempts": 0}


def _input_given(task: Task, change: InputGiven, _: int) -> dict[str, Any]:
    given = {"steps": _with(task.steps, change.step, change.answer), "attempts": 0, "question": None}
    if change.message_id:
        given["answers"] = _with(task.answers, change.step, change.message_id)
    return given


def _asked(_: Task, change: InputRequired, __: int) -> dict[str, Any]:
    return {"question": change}


_FIELDS: Final[Mapping[type[Change], Fold]] = {
    Leased: _leased,
    Planned: lambda _, change, __: {"plan": tuple(change.plan), "planned": True},
    StepBegun: lambda task, change, _: {"begun": task.begun | {change.step}},
    StepCompleted: _step_completed,
    Progressed: lambda _, change, __: {"progress": change},
    ArtifactAdded: lambda task, change, _: {"artifacts": _with(task.artifacts, change.name, change.content)},
    Spent: lambda task, change, _: {"spent": task.spent + change.units},
    InputRequired: _asked,
    AuthRequired: _asked,
    InputGiven: _input_given,
    InputWithdrawn: lambda _, __, ___: {"question": None},
    AttemptFailed: _attempt_failed,
    Completed: lambda _, change, __: {"result": change.result},
    Failed: lambda _, change, __: {"failure": Failure(change.code, change.reason)},
    Canceled: lambda _, change, __: {"failure": Failure("task_canceled", change.reason)},
    Rejected: lambda _, change, __: {"failure": Failure("task_rejected", change.reason)},
}
"""What else becomes another by a change."""
