"""One attempt of an agent at a task: its code is called, and given up when it takes too long."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tekton.a2a.agent import Agent
from tekton.a2a.task import AGENT_LOST, Task
from tekton.a2a.task_steps import TaskContext
from tekton.core.calls import Outcome, UserCalls, UserFunction, call, describe
from tekton.core.tracing.tracer import NOTHING, OpenSpan, Tracer, Unrecorded, why
from tekton.utils.tekton_errors import StepUnknownError, TaskBudgetError, TaskFailedError, TektonError
from tekton.utils.trace_context import CURRENT

__all__ = ["AGENT_LOST", "GRACE", "attempt", "check_may_be_tried", "goes_on", "told"]

GRACE: Final = 0.25
"""Seconds that an agent gets to end after its time is over."""


async def attempt(
    calls: UserCalls,
    context: TaskContext,
    prepare: Callable[[], UserFunction],
    timeout: float | None = None,
    tracer: Tracer | None = None,
) -> Outcome:
    """What comes of an attempt with *context*, within *timeout* seconds. *prepare* makes the function that does it.

    It belongs to the trace in which the task was wanted; *tracer* makes a span of it.

    Raises the error of the log, if that has not kept something: then the agent is not to blame.
    """
    work = calls.spawn(_work(context, prepare, tracer), "task", context.agent_id)
    try:
        either: set[asyncio.Future[Any]] = {context.outcome, work}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if context.not_kept is not None:
            raise context.not_kept
        if context.outcome.done():
            return context.outcome.result()
        if work.done():  # it has raised CancelledError, and nobody has cancelled it
            return Outcome(None, RuntimeError("it has canceled itself"))
        return Outcome(None, TimeoutError(f"no answer within {timeout} s"))
    finally:
        context.close()
        await calls.end(work, GRACE)


def told(error: BaseException) -> tuple[str, str]:
    """Code and reason of what an agent has raised."""
    if isinstance(error, TaskFailedError):
        return error.failed, error.reason
    return error.code if isinstance(error, TektonError) else "agent_failed", describe(error)


def goes_on(task: Task, agent: Agent) -> bool:
    """Whether *agent* works on the task, as far as is known, though this process has begun after it."""
    elsewhere = agent.component_id is not None and agent.handler is None
    return elsewhere and task.lease is not None and task.lease.agent_id == agent.agent_id


def check_may_be_tried(task: Task) -> None:
    """Raise TaskBudgetError or StepUnknownError, if there must not be another attempt."""
    if task.attempts >= task.budget.attempts:
        raise TaskBudgetError(task.task_id, "attempts without a step", task.budget.attempts)
    if (step := task.unknown_step) is not None:
        raise StepUnknownError(task.task_id, step)


async def _work(context: TaskContext, prepare: Callable[[], UserFunction], tracer: Tracer | None) -> None:
    with _span(context, tracer) as made:
        try:
            outcome = await call(prepare())
        except Exception as error:
            outcome = Outcome(None, error)
        if outcome.error is not None:
            made.fail(why(outcome.error))
        context.settle(outcome)


def _span(context: TaskContext, tracer: Tracer | None) -> OpenSpan | Unrecorded:
    if context.trace is None:
        return NOTHING
    if tracer is None:
        CURRENT.set(context.trace)  # of a task of asyncio that does nothing else
        return NOTHING
    return tracer.begin(
        f"task {context.task_type}", "consumer", context.trace, task=context.task_id, agent=context.agent_id
    )
