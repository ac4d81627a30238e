"""Tasks and their events as they are shown over HTTP: the shapes, and how they are made."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

from tekton.a2a.task import Failure, Task, TaskState
from tekton.a2a.task_event import AuthRequired, InputRequired, PlannedTask, TaskEvent
from tekton.a2a.task_manager import TaskManager

State = Literal[
    "submitted", "working", "input_required", "auth_required", "completed", "failed", "canceled", "rejected"
]


class QuestionView(msgspec.Struct, frozen=True):
    """What the task waits for: an answer (`input`), or that somebody allows something (`auth`).

    `schema` is the JSON schema of the answer, where the agent has given one.
    """

    step: str
    question: str
    schema: dict[str, Any] | None
    kind: Literal["input", "auth"]

    @classmethod
    def of(cls, question: InputRequired) -> Self:
        """What is shown of *question*."""
        kind: Literal["input", "auth"] = "auth" if isinstance(question, AuthRequired) else "input"
        return cls(question.step, question.question, question.schema, kind)


class ProgressView(msgspec.Struct, frozen=True):
    """How far the task is: `done` of `total`, where that is known."""

    done: float
    total: float | None
    text: str


class PartView(msgspec.Struct, frozen=True):
    """A part of a task, under its name in the plan. It begins when those of its `dependencies` are completed."""

    name: str
    task_id: str
    task_type: str
    state: State
    dependencies: list[str]


class AttemptView(msgspec.Struct, frozen=True):
    """An attempt that has failed: whose, and with what."""

    agent_id: str
    code: str
    reason: str


class FailureView(msgspec.Struct, frozen=True):
    """Why a task was not done. `code` is that of an error, or `agent_failed`, `garbage`, `part_failed`…"""

    code: str
    reason: str


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is after its event `number`. Times are in seconds since 1970.

    `agent_id` is who works on it now, or did so last when it is over; `attempts` counts those since the last step.
    `steps` are the names of what was done. `result` is there when it is completed, `failure` when it has ended
    otherwise.
    """

    task_id: str
    task_type: str
    state: State
    inputs: dict[str, Any]
    owner: str
    conversation_id: str | None
    parent_id: str | None
    created_at: float
    changed_at: float
    deadline: float
    number: int
    agent_id: str | None
    attempts: int
    progress: ProgressView | None
    question: QuestionView | None
    artifacts: dict[str, Any]
    parts: list[PartView]
    steps: list[str]
    failures: list[AttemptView]
    result: Any
    failure: FailureView | None
    retry_of: str | None

    @classmethod
    def of(cls, task: Task, tasks: TaskManager) -> Self:
        """What is shown of *task*; *tasks* has its parts."""
        progress = task.progress
        states = tasks.states([part.task_id for part in task.plan])
        return cls(
            task_id=task.task_id,
            task_type=task.task_type,
            state=task.state.value,
            inputs=dict(task.inputs),
            owner=task.owner,
            conversation_id=task.created.conversation_id or None,
            parent_id=task.parent_id,
            created_at=task.created_at,
            changed_at=task.changed_at,
            deadline=task.deadline,
            number=task.number,
            agent_id=(task.agent_id or None) if task.lease is not None or task.state.over else None,
            attempts=task.attempts,
            progress=None if progress is None else ProgressView(progress.done, progress.total, progress.text),
            question=None if task.question is None else QuestionView.of(task.question),
            artifacts=dict(task.artifacts),
            parts=[_part(part, states) for part in task.plan],
            steps=list(task.steps),
            failures=[AttemptView(one.agent_id, one.code, one.reason) for one in task.failures],
            result=task.result,
            failure=_failure(task.failure),
            retry_of=task.created.retry_of or None,
        )


def event_json(event: TaskEvent) -> bytes:
    """An event as JSON: `{"number", "at", "epoch", "event", …}`, with what the kind of event has."""
    head = b'{"number":%d,"at":%b,"epoch":%d,' % (event.number, repr(event.at).encode(), event.epoch)
    return head + msgspec.json.encode(event.change)[1:]


def _part(part: PlannedTask, states: Mapping[str, TaskState]) -> PartView:
    # One that has not begun, or is forgotten, is not known.
    state: State = states.get(part.task_id, TaskState.SUBMITTED).value
    return PartView(part.name, part.task_id, part.task_type, state, list(part.dependencies))


def _failure(failure: Failure | None) -> FailureView | None:
    return None if failure is None else FailureView(failure.code, failure.reason)
