"""What a worker and the control plane say to each other about a task, where the agent is in another process.

    worker                                         control plane
                       <- POST …/api/agents/reviewer/tasks {"task_id": …, "epoch": 3}          Notice
    POST /api/tasks/…/reports {"epoch": 3, "worker": …, "begins": true}  ->                    Report
                       <- {"state": "working", "assignment": {…}}                              Heard
    POST /api/tasks/…/reports {"epoch": 3, "worker": …, "first": 0, "changes": […]}  ->
                       <- {"state": "working", "taken": 1}

Rules:

* A notice says that there is something to hear, and no more: whoever gets one asks the control plane, by a report. So
  nobody but that decides what a worker does, and what the task is about goes over no connection but the worker's own.
* All that happens to a task happens in the log of the control plane. A report is answered when it is durable there.
* Changes are numbered, from 0 on in each lease. A report that comes again is taken once, whatever it says.
* A report, even an empty one, renews the lease. 409 and 404 mean that the lease is over; the work ends. Everything else
  that is no success passes: the report is sent again.
* A worker that hears of a new lease of a task that it works on takes that over, and goes on: it says under which one
  it has worked by now, and the assignment, how many of the changes under that were taken. If somebody else has worked
  on the task meanwhile, it begins anew.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from tekton.a2a.task import Lease, Task, TaskState
from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    AuthRequired,
    Budget,
    Completed,
    Created,
    InputRequired,
    Progressed,
    Rejected,
    Spent,
    StepBegun,
    StepCompleted,
    TaskEvent,
)

__all__ = [
    "ENDING",
    "MOST_CHANGES",
    "MOST_REPORT",
    "Assignment",
    "Heard",
    "Notice",
    "Report",
    "Reported",
    "assignment_of",
    "reported_in",
    "task_of",
]

MOST_REPORT: Final = 1024 * 1024 + 64 * 1024
"""Bytes of a report: the largest result, and what stands around it."""

MOST_CHANGES: Final = 1000
"""Changes of a report, beside the one that ends the work: whoever takes it does nothing else meanwhile."""

Reported = (
    StepBegun
    | StepCompleted
    | Progressed
    | ArtifactAdded
    | Spent
    | InputRequired
    | AuthRequired
    | Completed
    | AttemptFailed
    | Rejected
)
"""What a worker may say that happened."""

ENDING: Final = (Completed, AttemptFailed, Rejected)
"""What ends its work. It is the last change of a report, and has no number."""

_NUMBERED: Final = (StepBegun, StepCompleted, Progressed, ArtifactAdded, Spent, InputRequired)
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is something to hear about a task, under the lease *epoch*."""

    task_id: _Id
    epoch: _Number


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What *worker*, a name that it has chosen for as long as it runs, has done under the lease *epoch*.

    *first* is the number of the first of the *changes*. Who *begins* is told what is to be done; *worked* is the lease
    under which he has worked on it by now, 0: none.
    """

    epoch: _Number
    worker: _Id
    first: _Number = 0
    changes: Annotated[list[Reported], msgspec.Meta(max_length=MOST_CHANGES + 1)] = []
    begins: bool = False
    worked: _Number = 0


class Assignment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be done, and how far it is. The work has *time_left* seconds.

    *lease* is for how many seconds one report renews the lease. *taken* is how many of the changes were taken under the
    lease under which the worker has worked; None: it has to begin anew. All else is as in a `Task`.
    """

    task_id: str
    agent_id: str
    epoch: int
    task_type: str
    inputs: dict[str, Any]
    origin: str
    budget: Budget
    time_left: float
    lease: float
    results: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    begun: list[str] = []
    question: InputRequired | AuthRequired | None = None
    spent: float = 0.0
    owner: str = ""
    conversation_id: str = ""
    parent_id: str = ""
    retry_of: str = ""
    taken: int | None = None
    trace: str = ""


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a report: the task has event *number*, and is in *state*.

    So many changes were *taken* under this lease by now. *question* is what somebody is asked, *answers* what was
    answered to the last question of this lease, by the step that it is the result of.
    """

    number: int
    state: str
    taken: int = 0
    question: InputRequired | AuthRequired | None = None
    answers: dict[str, Any] = {}
    assignment: Assignment | None = None


def reported_in(events: Iterable[TaskEvent], epoch: int) -> int | None:
    """How many changes with a number there are under the lease *epoch*; None if there are some under a later one."""
    leases = Counter(event.epoch for event in events if isinstance(event.change, _NUMBERED))
    return None if any(later > epoch for later in leases) else leases[epoch]


def assignment_of(task: Task, agent_id: str, *, time_left: float, lease: float, taken: int | None) -> Assignment:
    """What is told to the worker that gets *task*; *taken* is as in Assignment."""
    created = task.created
    return Assignment(
        task.task_id,
        agent_id,
        task.epoch,
        created.task_type,
        created.inputs,
        created.origin,
        created.budget,
        time_left,
        lease,
        results=created.results,
        steps=dict(task.steps),
        begun=sorted(task.begun),
        question=task.question,
        spent=task.spent,
        owner=created.owner,
        conversation_id=created.conversation_id,
        parent_id=created.parent_id,
        retry_of=created.retry_of,
        taken=taken,
        trace=created.trace,
    )


def task_of(assignment: Assignment, now: float) -> Task:
    """The task as its worker sees it, from *now* on, in seconds since 1970 by the clock there."""
    created = Created(
        assignment.task_type,
        assignment.inputs,
        now + assignment.time_left,
        assignment.budget,
        assignment.origin,
        owner=assignment.owner,
        conversation_id=assignment.conversation_id,
        parent_id=assignment.parent_id,
        results=assignment.results,
        agent_id=assignment.agent_id,
        retry_of=assignment.retry_of,
        trace=assignment.trace,
    )
    asked = assignment.question
    waiting = TaskState.AUTH_REQUIRED if isinstance(asked, AuthRequired) else TaskState.INPUT_REQUIRED
    return Task(
        assignment.task_id,
        created,
        now,
        now,
        state=TaskState.WORKING if asked is None else waiting,
        epoch=assignment.epoch,
        lease=Lease(assignment.epoch, "", assignment.agent_id),
        steps=dict(assignment.steps),
        begun=frozenset(assignment.begun),
        question=asked,
        spent=assignment.spent,
    )
