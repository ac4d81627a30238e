"""What is known of a task that an agent somewhere else has, from what it has said."""

from collections.abc import Mapping
from typing import Any

from tekton.a2a.task import TaskState
from tekton.utils.remote_agents.wire import Artifacts, Update

__all__ = ["RemoteState"]


class RemoteState:
    """The task *task_id* there. What is said of others is ignored, and so is what is said after its end."""

    def __init__(self, task_id: str = "", context_id: str = "") -> None:
        self.task_id = task_id
        self.context_id = context_id
        self.state: TaskState | None = None
        self.status: Mapping[str, Any] = {}
        self.answered: Mapping[str, Any] | None = None
        """The status in which it waited for the answer that it was given last."""
        self.artifacts = Artifacts()

    @property
    def settled(self) -> TaskState | None:
        """The state in which it is over, or waits for an answer that it has not been given; None while it is not."""
        state = self.state
        if state is None or not (state.over or state.waiting):
            return None
        return None if state.waiting and self.status == self.answered else state

    def take(self, update: Update) -> bool:
        """Take note of *update*; True if that says anything new. Raises GarbledError."""
        if update.task_id != self.task_id or (self.state is not None and self.state.over):
            return False
        new = update.state is None or update.status != self.status
        for artifact, append, last in update.artifacts:
            self.artifacts.take(artifact, append, last)
        if update.state is not None:
            self.artifacts.settle()
            self.state, self.status = update.state, dict(update.status)
        return new

    @property
    def text(self) -> str:
        """What it says to people."""
        return Update(status=self.status).text

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The schema of the answer that it waits for, if it has said one."""
        return Update(status=self.status).schema

    @property
    def result(self) -> Any:
        """What has come of it: its artifacts, or else what it has said last."""
        return (self.artifacts.result() or (Update(status=self.status).content,))[0]
