"""What an agent knows about the task that it does, and the steps in which it does it.

    async def review(code: str, context: TaskContext) -> str:
        tree = await context.step("parse", parse, code)
        if await context.ask("Look at the tests as well?") == "yes":
            ...
        return await context.step("judge", judge, tree)

Rules:

* A step that was completed is never run again, in whatever process and by whatever agent the task goes on: its result
  comes from the log. It is as JSON there, and given out as that the first time, too.
* A step is known by its name, and its place among those of the same name; a handler has to come by its steps in the
  same order every time. What it does outside of them, it does again after a crash.
* A step that was begun and not completed runs again, unless *repeatable* is false: then the task fails, because nobody
  knows what came of it. `idempotency_key()` in a step is the same each time; systems that take one do nothing twice.
* Whoever has lost the task (it is over, another attempt has begun, or nobody waits for this one) is refused at the next
  step, before anything of that is done.
* A step, and the wait for an answer, is a span of the trace in which the task was wanted, where that is recorded.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from tekton.a2a.task import Task
from tekton.a2a.task_event import (
    ArtifactAdded,
    AuthRequired,
    Change,
    InputRequired,
    Progressed,
    Spent,
    StepBegun,
    StepCompleted,
)
from tekton.a2a.task_journal import TaskJournal
from tekton.core.calls import Outcome, bound, call
from tekton.core.tracing import span
from tekton.mcp.tool_result import GarbageError, JsonValue, as_json
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    StepUnknownError,
    StorageError,
    TaskBudgetError,
    TaskStateError,
)
from tekton.utils.trace_context import parse

__all__ = ["TaskContext", "idempotency_key"]

MOST_RESULT: Final = 1024 * 1024
"""Bytes of the result of a step or a task, an artifact, or an answer, as JSON."""

MOST_NAME: Final = 128

_key: ContextVar[str | None] = ContextVar("tekton_idempotency_key", default=None)


def idempotency_key() -> str:
    """The key of the step that the running code is in. Raises LookupError outside of one."""
    key = _key.get()
    if key is None:
        raise LookupError("only a step has an idempotency key")
    return key


class TaskContext:
    """An attempt of an agent at a task. To be used on the event loop.

    What it says goes into *journal*, under the lease *epoch*; where the agent is in another process than the log, from
    there to the log: then *confirm* returns when the lease is known to be good, and is awaited before each step.
    *not_kept* is the error of the log, when that has not kept something: then the agent is not to blame.
    """

    __slots__ = (
        "_asking", "_confirm", "_over", "_seen", "agent_id", "epoch", "journal", "not_kept", "outcome",
        "task_id", "task_type", "trace",
    )  # fmt: skip

    def __init__(
        self,
        journal: TaskJournal,
        task: Task,
        agent_id: str,
        *,
        confirm: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.journal = journal
        self.epoch = task.epoch
        self._confirm = confirm
        self._seen: Counter[str] = Counter()
        self._asking = asyncio.Lock()
        self._over = False
        self.task_id = task.task_id
        self.task_type = task.task_type
        self.trace = parse(task.created.trace)
        self.agent_id = agent_id
        self.not_kept: StorageError | None = None
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self.journal.log.task(self.task_id)

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What it is to be done with. Do not change it."""
        return self.task.inputs

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of the parts on which this one depends, by name. Do not change them."""
        return self.task.created.results

    @property
    def time_left(self) -> float:
        """Seconds to the deadline."""
        return self.task.deadline - self.journal.clock.time()

    async def step(self, name: str, function: Callable[..., Any], *args: Any, repeatable: bool = True) -> Any:
        """Call *function*, unless that was done before; returns the result when it is durable.

        A plain function gets a thread. Raises what it raises (and nothing is kept then), InvalidTaskError for a result
        that is no JSON, TaskBudgetError, StepUnknownError, StaleLeaseError and TaskStateError.
        """
        label = self._label(name)
        task = self._mine()
        if label in task.steps:
            return _copy(task.steps[label])
        if len(task.steps) >= task.budget.steps:
            raise TaskBudgetError(self.task_id, "steps", task.budget.steps)
        if self._confirm is not None:
            await self._confirm()
        if not repeatable:
            await self._begin(task, label)
        self._mine()
        with span(f"step {name}"):
            result = await self._run(f"{task.created.origin}/{label}", bound(function, *args), label)
            await self._keep(StepCompleted(label, result.content))
        return _copy(result.content)

    async def ask(
        self, question: str, schema: Mapping[str, Any] | None = None, *, auth: bool = False, name: str = "ask"
    ) -> Any:
        """Ask whoever wants the task, and wait for the answer. It is a step (*name*): nobody has to answer twice.

        With *auth* it waits for somebody to allow something. The answer stands in the log: never have it be a secret.
        """
        label = self._label(name)
        async with self._asking:
            task = self.task
            if label not in task.steps and (task.question is None or task.question.step != label):
                kind = AuthRequired if auth else InputRequired
                change = kind(label, question, None if schema is None else dict(schema))
                await self._keep(change)
            with span(f"ask {name}"):
                while label not in self.task.steps:
                    await self.journal.next_change(self.task_id)
        return _copy(self.task.steps[label])

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far it is."""
        self._append(Progressed(done, total, text))

    def artifact(self, name: str, content: Any) -> None:
        """Hand out something that was made: JSON, or of a modality. Raises InvalidTaskError for anything else."""
        made = _json(f"artifact {name[:64]!r}", content)
        self._append(ArtifactAdded(name, made.content))

    def spend(self, units: float) -> None:
        """Say that so much was used up. Raises TaskBudgetError when that is more than there is."""
        if not units >= 0:
            raise ValueError(f"{units} cannot be spent")
        task = self._append(Spent(units))
        if task.budget.units is not None and task.spent > task.budget.units:
            raise TaskBudgetError(self.task_id, "units", task.budget.units)

    def answer(self, result: Any) -> None:
        """Give the result, instead of returning it. Only the first answer counts."""
        self.settle(Outcome(result, None))

    def settle(self, outcome: Outcome) -> None:
        """The attempt has come to *outcome*. What comes later, or when nobody waits any more, is only counted."""
        if not self._over and not self.outcome.done():
            self.outcome.set_result(outcome)
        elif outcome.value is not None:
            self.journal.late += 1

    def close(self) -> None:
        """Nobody waits for an outcome any more."""
        self._over = True
        self.outcome.cancel()

    def _mine(self) -> Task:
        """The task, for the one who works on it. Raises TaskStateError and StaleLeaseError for anybody else."""
        task = self.task
        if task.state.over:
            raise TaskStateError(self.task_id, task.state, "step")
        if self._over or task.lease is None or task.lease.epoch != self.epoch:
            raise StaleLeaseError(self.task_id, self.epoch, task.epoch)
        return task

    def _append(self, change: Change) -> Task:
        try:
            return self.journal.append(self.task_id, change, epoch=self.epoch)
        except StorageError as error:
            self.not_kept = error
            raise

    async def _keep(self, change: Change) -> None:
        self._append(change)
        try:
            await self.journal.log.flush()
        except StorageError as error:
            self.not_kept = error
            raise

    def _label(self, name: str) -> str:
        if not 0 < len(name) <= MOST_NAME or "#" in name:
            raise ValueError(f"{name[:64]!r} is no name for a step: 1 to {MOST_NAME} characters, without #")
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}#{self._seen[name]}"

    async def _begin(self, task: Task, label: str) -> None:
        if label in task.begun:
            raise StepUnknownError(self.task_id, label)
        await self._keep(StepBegun(label))

    async def _run(self, key: str, function: Callable[[], Any], label: str) -> JsonValue:
        token = _key.set(key)
        try:
            outcome = await call(function)
        finally:
            _key.reset(token)
        if outcome.error is not None:
            raise outcome.error
        return _json(f"the result of step {label!r}", outcome.value)


def _json(what: str, value: Any) -> JsonValue:
    try:
        return as_json(value, MOST_RESULT)
    except GarbageError as error:
        raise InvalidTaskError("/result", f"{what} cannot be kept: {error}") from None


def _copy(value: Any) -> Any:
    """What is in the log is nobody's to change."""
    return msgspec.json.decode(msgspec.json.encode(value))
