"""Tasks and what happens to them, as Agent2Agent has them.

Not everything that happens is told: what a step has resulted in, who works on it and which attempts have failed is
nobody's business there. What is told: where the task is, how far, what it asks, what was made. A result is an
artifact, `result`; it is told just before the task is completed.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, UnsetType

from tekton.a2a.task import Task, TaskState, state_after
from tekton.a2a.task_event import (
    ArtifactAdded,
    Canceled,
    Completed,
    Created,
    Failed,
    InputRequired,
    Progressed,
    Rejected,
    TaskEvent,
)
from tekton.service.edge.a2a.parts import JSON, Everything, parts_of
from tekton.service.edge.a2a.wire import (
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    Role,
    State,
    StatusUpdate,
    StreamResponse,
    TaskObject,
    TaskStatus,
    timestamp,
)

RESULT: Final = "result"
_NAMESPACE: Final = UUID("a1f0b0a4-6f4e-5c53-9f0c-1f6a9d1c3a7e").bytes

STATES: Final = {state: State(state.wire) for state in TaskState}


def named_id(name: str) -> str:
    """The UUID of version 5 of *name* (RFC 9562, 5.5), in a namespace of ours."""
    text = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def said_id(task_id: str, what: str) -> str:
    """The id of a message in which something of a task is said: always the same one."""
    return named_id(f"{task_id}/{what}")


def task_view(
    task: Task,
    history: Sequence[Message] = (),
    accepted: Collection[str] = Everything,
    *,
    artifacts: bool = True,
) -> TaskObject:
    """*task*, with what was said. Without *artifacts* nothing is said of them, not even that there are none."""
    return TaskObject(
        id=task.task_id,
        context_id=task.created.conversation_id,
        status=TaskStatus(
            state=STATES[task.state], message=_status_message(task), timestamp=timestamp(task.changed_at)
        ),
        artifacts=_artifacts(task, accepted) if artifacts else UNSET,
        history=list(history),
        metadata={"taskType": task.task_type} | _progress(task.progress),
    )


def question_of(task_id: str, context_id: str, asked: InputRequired) -> Message:
    """What a task asks."""
    schema = [] if asked.schema is None else [Part(data={"schema": asked.schema}, media_type=JSON)]
    parts = [Part(text=asked.question, media_type="text/plain"), *schema]
    return _from_agent(task_id, context_id, asked.step, parts)


class Follower:
    """Tells of the events of a task, in their order, from *task* on. It keeps next to nothing of the task."""

    def __init__(self, task: Task, accepted: Collection[str] = Everything) -> None:
        self._task_id = task.task_id
        self._context_id = task.created.conversation_id
        self._state = task.state
        self._artifacts = set(task.artifacts)
        self._accepted = accepted

    @property
    def state(self) -> TaskState:
        """Where the task is by now."""
        return self._state

    def follow(self, event: TaskEvent) -> list[StreamResponse]:
        """What is to be told of *event*, the next one."""
        change = event.change
        if isinstance(change, Created):
            return []
        before, self._state = self._state, state_after(self._state, change) or self._state
        tell = _TELLERS.get(type(change))
        if tell is not None:
            return tell(self, change, event)
        return [] if self._state is before else [self._status(event)]

    def _status(self, event: TaskEvent, message: Message | UnsetType = UNSET, **metadata: Any) -> StreamResponse:
        status = TaskStatus(state=STATES[self._state], message=message, timestamp=timestamp(event.at))
        update = StatusUpdate(
            task_id=self._task_id, context_id=self._context_id, status=status, metadata=metadata or UNSET
        )
        return StreamResponse(status_update=update)

    def _made(self, artifact: Artifact) -> StreamResponse:
        update = ArtifactUpdate(task_id=self._task_id, context_id=self._context_id, artifact=artifact, last_chunk=True)
        return StreamResponse(artifact_update=update)

    def _progressed(self, change: Progressed, event: TaskEvent) -> list[StreamResponse]:
        text = [Part(text=change.text, media_type="text/plain")]
        message = _from_agent(self._task_id, self._context_id, str(event.number), text) if change.text else UNSET
        return [self._status(event, message, **_progress(change))]

    def _artifact(self, change: ArtifactAdded, _: TaskEvent) -> list[StreamResponse]:
        self._artifacts.add(change.name)
        return [self._made(_artifact(change.name, change.content, self._accepted))]

    def _asked(self, change: InputRequired, event: TaskEvent) -> list[StreamResponse]:
        return [self._status(event, question_of(self._task_id, self._context_id, change))]

    def _completed(self, change: Completed, event: TaskEvent) -> list[StreamResponse]:
        end = self._status(event)
        if change.result is None:
            return [end]
        return [self._made(_artifact(_result_id(self._artifacts), change.result, self._accepted)), end]

    def _ended(self, change: Failed | Canceled | Rejected, event: TaskEvent) -> list[StreamResponse]:
        return [self._status(event, _reason(self._task_id, self._context_id, change.reason))]


_Teller = Callable[[Follower, Any, TaskEvent], list[StreamResponse]]

_TELLERS: Final[dict[type, _Teller]] = {
    Progressed: Follower._progressed,
    ArtifactAdded: Follower._artifact,
    **dict.fromkeys((InputRequired, *InputRequired.__subclasses__()), Follower._asked),
    Completed: Follower._completed,
    **dict.fromkeys((Failed, Canceled, Rejected), Follower._ended),
}
"""What is told of changes of which there is more to say than where the task is now."""


def _status_message(task: Task) -> Message | UnsetType:
    context_id = task.created.conversation_id
    if task.question is not None:
        return question_of(task.task_id, context_id, task.question)
    if task.failure is not None:
        return _reason(task.task_id, context_id, task.failure.reason)
    if task.progress is not None and task.progress.text and not task.state.over:
        part = Part(text=task.progress.text, media_type="text/plain")
        return _from_agent(task.task_id, context_id, f"progress/{task.number}", [part])
    return UNSET


def _reason(task_id: str, context_id: str, reason: str) -> Message | UnsetType:
    part = Part(text=reason, media_type="text/plain")
    return _from_agent(task_id, context_id, "end", [part]) if reason else UNSET


def _from_agent(task_id: str, context_id: str, what: str, parts: list[Part]) -> Message:
    return Message(
        message_id=said_id(task_id, what), context_id=context_id, task_id=task_id, role=Role.AGENT, parts=parts
    )


def _artifacts(task: Task, accepted: Collection[str]) -> list[Artifact]:
    made = [_artifact(name, content, accepted) for name, content in task.artifacts.items()]
    if task.state is TaskState.COMPLETED and task.result is not None:
        made.append(_artifact(_result_id(task.artifacts), task.result, accepted))
    return made


def _artifact(name: str, content: Any, accepted: Collection[str]) -> Artifact:
    return Artifact(artifact_id=name, name=name, parts=parts_of(content, accepted))


def _result_id(taken: Collection[str]) -> str:
    return f"{RESULT}.final" if RESULT in taken else RESULT


def _progress(progress: Progressed | None) -> dict[str, Any]:
    if progress is None:
        return {}
    total = {} if progress.total is None else {"total": progress.total}
    return {"progress": {"done": progress.done} | total}
