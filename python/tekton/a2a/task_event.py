"""What happens to a task: the events of its log, as values that are JSON.

    {"task_id": "…", "number": 3, "at": 1.5, "epoch": 1, "change": {"event": "step_completed", "step": "parse", …}}

The first event of every task says what is wanted. What changes the state of a task, and to which, stands in
`tekton.a2a.task`.
"""

from typing import Any

import msgspec

__all__ = [
    "ArtifactAdded",
    "AttemptFailed",
    "AuthRequired",
    "Budget",
    "Canceled",
    "Change",
    "Completed",
    "Created",
    "Failed",
    "InputGiven",
    "InputRequired",
    "InputWithdrawn",
    "Leased",
    "Planned",
    "PlannedTask",
    "Progressed",
    "Rejected",
    "Spent",
    "StepBegun",
    "StepCompleted",
    "TaskEvent",
]


class Budget(msgspec.Struct, frozen=True):
    """What a task may use up: *steps*, *attempts* in a row without one, and *units* of whatever its agents spend."""

    steps: int = 1000
    attempts: int = 5
    units: float | None = None


class PlannedTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a task, under its *name* in the plan; it begins when those of its *dependencies* are completed.

    *agent_id* is who has to do it, empty for whoever can. *retry_of* is a task that has tried the same before.
    """

    name: str
    task_id: str
    task_type: str
    inputs: dict[str, Any]
    dependencies: list[str] = []
    agent_id: str = ""
    retry_of: str = ""


class _Change(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    pass


class Created(_Change, frozen=True, tag="created"):
    """Somebody wants something. *deadline* is in seconds since 1970.

    *results* are those of the parts of the plan on which it depends; *steps* what was done already by the task that it
    tries again (*retry_of*); *origin* the first of those, whose id is in the idempotency keys.
    *message_id* is the message of its conversation that asked for it, if one did. *trace* is the place in a trace where
    it was wanted, as a `traceparent` of W3C, if that trace is recorded.
    """

    task_type: str
    inputs: dict[str, Any]
    deadline: float
    budget: Budget
    origin: str
    owner: str = ""
    conversation_id: str = ""
    strategy: str = ""
    parent_id: str = ""
    name: str = ""
    depth: int = 0
    dependencies: list[str] = []
    results: dict[str, Any] = {}
    agent_id: str = ""
    retry_of: str = ""
    steps: dict[str, Any] = {}
    plan: list[PlannedTask] = []
    message_id: str = ""
    trace: str = ""


class Leased(_Change, frozen=True, tag="leased"):
    """*worker* runs the task from now on: by *agent_id*, or by its plan if that is empty. Others are fenced off. It is
    the same attempt as before if *goes_on*: the agent was there all the time.
    """

    worker: str
    agent_id: str = ""
    goes_on: bool = False


class Planned(_Change, frozen=True, tag="planned"):
    """The task is done by its parts; in one piece if there are none."""

    plan: list[PlannedTask]


class StepBegun(_Change, frozen=True, tag="step_begun"):
    """A step begins that must not be repeated."""

    step: str


class StepCompleted(_Change, frozen=True, tag="step_completed"):
    """A step is done, and never will be again."""

    step: str
    result: Any


class Progressed(_Change, frozen=True, tag="progressed"):
    """How far it is: *done* of *total*, where that is known."""

    done: float
    total: float | None = None
    text: str = ""


class ArtifactAdded(_Change, frozen=True, tag="artifact_added"):
    """Something was made. One of the same name takes the place of the former."""

    name: str
    content: Any


class Spent(_Change, frozen=True, tag="spent"):
    """Units of the budget were used up."""

    units: float


class InputRequired(_Change, frozen=True, tag="input_required"):
    """It goes on when somebody answers. The answer is the result of the step *step*."""

    step: str
    question: str
    schema: dict[str, Any] | None = None


class AuthRequired(InputRequired, frozen=True, tag="auth_required"):
    """It goes on when somebody has let the agent do something."""


class InputGiven(_Change, frozen=True, tag="input_given"):
    """The question of *step* is answered. *message_id* is the message of its conversation that does so, if one does."""

    step: str
    answer: Any
    message_id: str = ""


class InputWithdrawn(_Change, frozen=True, tag="input_withdrawn"):
    """The question of *step* needs no answer any more: the part whose it was has ended, or does without."""

    step: str


class AttemptFailed(_Change, frozen=True, tag="attempt_failed"):
    """An agent has not done it; another one may."""

    agent_id: str
    code: str
    reason: str


class Completed(_Change, frozen=True, tag="completed"):
    """It is done."""

    result: Any


class Failed(_Change, frozen=True, tag="failed"):
    """It will not be done. *code* is that of an error."""

    code: str
    reason: str


class Canceled(_Change, frozen=True, tag="canceled"):
    """It was called off."""

    reason: str = ""


class Rejected(_Change, frozen=True, tag="rejected"):
    """The agent will not do such a thing."""

    reason: str = ""


Change = (
    Created
    | Leased
    | Planned
    | StepBegun
    | StepCompleted
    | Progressed
    | ArtifactAdded
    | Spent
    | InputRequired
    | AuthRequired
    | InputGiven
    | InputWithdrawn
    | AttemptFailed
    | Completed
    | Failed
    | Canceled
    | Rejected
)


class TaskEvent(msgspec.Struct, frozen=True):
    """Event *number* of a task, *at* a time in seconds since 1970; *epoch* is that of the lease then, 0 before any."""

    task_id: str
    number: int
    at: float
    epoch: int
    change: Change

    def to_json(self) -> bytes:
        """It as JSON."""
        return _encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "TaskEvent":
        """The event that *data* is. Raises msgspec.DecodeError."""
        return _decode(data)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskEvent).decode
