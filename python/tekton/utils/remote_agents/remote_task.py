"""A task of ours that an agent somewhere else does: sent once, followed to its end, taken up again after a crash.

Rules:

* What was sent is a step of the task: the id of the task there is in our log before anything else happens. Whoever goes
  on with the task asks how that one is, and sends nothing again. A message has the idempotency key of its step for an
  id, so that it is the same one where it has to be sent again after all.
* An answer of people is sent as a step, too: once, and to the question that they were asked.
* A stream that ends early, or says nothing for too long, is taken up again. Whether the task is over, the agent says;
  what it says after that, or of other tasks, is not listened to.
* A task that tries again what was not done (`retry_task`) goes on with what is there only where that may still succeed.
"""

import asyncio
import random
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tekton.a2a.task import TaskState
from tekton.a2a.task_steps import TaskContext, idempotency_key
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.retrying import retried
from tekton.utils.remote_agents.limits import CallLimits
from tekton.utils.remote_agents.refusals import AgentRefusalError, PassingError, RemoteTaskUnknownError
from tekton.utils.remote_agents.remote_state import RemoteState
from tekton.utils.remote_agents.wire import GarbledError, Update, message_to, parts_of_answer, parts_of_task
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import CircuitOpenError, TaskFailedError, TaskRejectedError, TransportError
from tekton.utils.tekton_http import NotConnectedError

if TYPE_CHECKING:
    from tekton.utils.remote_agents.a2a_client import A2AClient, Updates

__all__ = ["RemoteTask"]

TELLING: Final = 1.0
"""Seconds between two progresses: a flood there is to be none here."""
_FAILED: Final = "agent_failed"
_QUESTIONS: Final = {
    TaskState.INPUT_REQUIRED: "It wants to know more.",
    TaskState.AUTH_REQUIRED: "It wants to be allowed something.",
}

# It becomes a part of a path.
_TASK_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:~-]{0,254}")


class RemoteTask:
    """The task of *context*, done by the agent at the other end of *client*. Used once; `close` ends the listening."""

    def __init__(
        self,
        client: "A2AClient",
        context: TaskContext,
        *,
        streaming: bool,
        breaker: CircuitBreaker,
        limits: CallLimits,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._context = context
        self._streaming = streaming
        self._breaker = breaker
        self._limits = limits
        self._retries = Retries(backoff=limits.poll, rng=rng)
        self._now = asyncio.get_running_loop().time
        self._updates: Updates | None = None
        self._there = RemoteState()
        self._told = (0, float("-inf"))
        self._heard = self._now()

    @property
    def open_id(self) -> str | None:
        """The id of the task there, while it is not known to be over."""
        there = self._there
        return None if there.state is not None and there.state.over else there.task_id or None

    async def run(self) -> Any:
        """Have it done; returns the result. Raises what `RemoteAgents.__call__` raises."""
        task, number = self._context.task, 0
        while True:
            number += 1
            label, over = f"a2a:send:{number}", f"a2a:over:{number}"
            sent = await self._context.step(label, self._send)
            if label in task.steps:
                if sent["agent_id"] != self._context.agent_id or over in task.created.steps:
                    continue
                self._there = RemoteState(sent.get("task_id", ""), sent.get("context_id", ""))
            if "answer" in sent:
                return sent["answer"]
            state = await self._end(number, inherited=label in task.created.steps)
            if state is not None:
                await self._context.step(over, _said, state.value)
                return self._conclude(state)

    async def close(self) -> None:
        """Listen no more."""
        updates, self._updates = self._updates, None
        if updates is not None:
            await updates.close()

    async def _end(self, number: int, *, inherited: bool) -> TaskState | None:
        """How it has ended there; None for what was sent for an earlier task, and has not been done."""
        try:
            state = await self._follow(number)
        except RemoteTaskUnknownError as error:
            if not inherited:
                raise self._failed(f"it does not know of the task any more ({error})") from error
            return None
        return None if inherited and state is not TaskState.COMPLETED else state

    # Sending

    async def _send(self) -> dict[str, Any]:
        task = self._context.task
        parts = parts_of_task(task.task_type, task.inputs)
        message = message_to(idempotency_key(), parts, context_id=task.created.conversation_id)
        try:
            update = await self._open(message)
        except AgentRefusalError as error:
            raise self._failed(str(error)) from error
        if update.answer is not None:
            return {"agent_id": self._context.agent_id, "answer": update.answer[0]}
        if not _TASK_ID.fullmatch(update.task_id):
            raise self._failed("it has not said which task it has made of ours")
        self._there = RemoteState(update.task_id, update.context_id)
        self._take(update)
        return {"agent_id": self._context.agent_id, "task_id": update.task_id, "context_id": update.context_id}

    async def _answer(self, answer: Any) -> Mapping[str, Any]:
        """Send the answer to the question that there is; returns the status in which it was asked."""
        there = self._there
        question = there.answered = there.status
        message = message_to(
            idempotency_key(), parts_of_answer(answer), task_id=there.task_id, context_id=there.context_id
        )
        try:
            self._take(await self._open(message))
        except (AgentRefusalError, TransportError):
            # It may have gone on, with the answer or without; if it waits still, it has not got this one.
            update = await self._get()
            if update.status == question:
                raise
            self._take(update)
        return question

    async def _open(self, message: dict[str, Any]) -> Update:
        """Send *message*, and listen to what is said to it; returns the first of that."""

        async def attempt() -> Update:
            await self.close()
            limit = self._limits.stream if self._streaming else self._limits.answer
            self._updates = self._client.send(message, self._time(limit))
            return await self._breaker.call(self._updates.first)

        return await retried(attempt, self._retries, _harmless)

    # Following

    async def _follow(self, number: int) -> TaskState:
        """Hear how it goes until it is over, with the answers that the agent asks for."""
        question = 0
        while True:
            question += 1
            answered = f"a2a:answer:{number}:{question}"
            if answered in self._context.task.steps:
                self._there.answered = await self._context.step(answered, _said)
                continue
            state = await self._watch()
            if not state.waiting:
                return state
            answer = await self._context.ask(
                self._there.text or _QUESTIONS[state],
                self._there.schema,
                auth=state is TaskState.AUTH_REQUIRED,
                name=f"a2a:ask:{number}:{question}",
            )
            await self._context.step(answered, self._answer, answer)

    async def _watch(self) -> TaskState:
        """Wait until it is over, or waits for an answer."""
        idle, trouble = 0, None
        self._heard = self._now()
        while (state := self._there.settled) is None:
            try:
                idle = 0 if await self._hear() else idle + 1
            except (TransportError, CircuitOpenError) as error:
                idle += 1
                trouble = error if trouble is None or isinstance(error, TransportError) else trouble
                if self._now() - self._heard > self._limits.patience:
                    raise trouble from None
            if self._there.settled is None:
                await asyncio.sleep(self._pause(idle))
        await self.close()
        return state

    async def _hear(self) -> bool:
        """Listen to what is open, else ask; True if anything new was said."""
        new = False
        if self._updates is None:
            new = self._take(await self._breaker.call(self._get))
            self._heard = self._now()
            if self._there.settled is not None or not self._streaming:
                return new
            self._updates = self._client.subscribe(self._there.task_id, self._time(self._limits.stream))
        try:
            async for update in self._updates:
                new = self._take(update) or new
                if self._there.settled is not None:
                    break
        except AgentRefusalError:
            self._streaming = False  # it is over by now, or has no such streams: it is asked instead
        finally:
            # However long nothing was said: as long as the stream was there, so was the agent.
            self._heard = self._now()
            await self.close()
        return new

    async def _get(self) -> Update:
        return await self._client.get(self._there.task_id, self._time(self._limits.answer))

    def _take(self, update: Update) -> bool:
        """Take note of what was said, and tell ours; True if it is new."""
        try:
            new = self._there.take(update)
        except GarbledError as error:
            raise TaskFailedError(self._context.task_id, "garbage", str(error)) from None
        known = self._context.task.artifacts
        for name, content in self._there.artifacts.whole().items():
            if name not in known or known[name] != content:
                self._context.artifact(name, content)
        if new and update.state is TaskState.WORKING and (update.text or update.progress):
            self._tell(update)
        return new

    def _tell(self, update: Update) -> None:
        times, last = self._told
        if self._now() - last >= TELLING:
            self._told = (times + 1, self._now())
            done, total = update.progress or (times + 1, None)
            self._context.progress(done, total, update.text)

    # What comes of it

    def _conclude(self, state: TaskState) -> Any:
        if state is TaskState.COMPLETED:
            return self._there.result
        text = self._there.text
        if state is TaskState.REJECTED:
            raise TaskRejectedError(self._context.task_id, text or "the agent will not do such a thing")
        if state is TaskState.CANCELED:
            raise self._failed(f"it has canceled the task: {text or 'it does not say why'}")
        raise self._failed(text or "it does not say why")

    def _failed(self, reason: str) -> TaskFailedError:
        return TaskFailedError(self._context.task_id, _FAILED, reason)

    def _time(self, limit: float) -> float:
        return max(0.001, min(limit, self._context.time_left))

    def _pause(self, idle: int) -> float:
        """After so many times in a row that nothing new was said."""
        shortest, longest = self._limits.poll
        return min(longest, shortest * 2.0 ** min(max(idle - 1, 0), 16))


async def _said(value: Any = None) -> Any:
    return value


def _harmless(error: Exception) -> bool:
    """True where the agent has certainly not begun."""
    return isinstance(error, (NotConnectedError, PassingError))
