"""Agents of one control plane, asked by tasks of another over Agent2Agent: what one side says arrives on the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from calling_agents import Here, calling

from tekton.a2a.task import Task
from tekton.a2a.task_event import Progressed
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_steps import TaskContext
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.remote_agents import Credential
from tekton.utils.tekton_errors import TaskCanceledError, TaskFailedError, TaskRejectedError


@asynccontextmanager
async def between(handler: Callable[..., Any]) -> AsyncIterator[tuple[Here, InMemoryControlPlane]]:
    """This side, and a control plane with an agent that does `code_review` by *handler*."""
    async with InMemoryControlPlane() as there:
        there.agents.registry.register_agent("reviewer", ["code_review"], handler=handler)
        credential = Credential(await there.token("me", "operator"))
        async with calling(f"{there.address.url}/a2a/agents/reviewer", credential=credential) as here:
            yield here, there


async def until(here: Here, task: Task, holds: Callable[[Task], bool]) -> Task:
    while True:
        version = here.tasks.version
        now = here.tasks.get_task_status(task)
        if holds(now):
            return now
        await here.tasks.changed(version)


async def test_inputs_progress_artifacts_and_the_result_arrive_as_they_are() -> None:
    async def review(code: str, depth: int, context: TaskContext) -> dict[str, Any]:
        context.progress(1, 3, "reading")
        context.artifact("tree", {"lines": code.splitlines(), "depth": depth})
        return {"ok": True, "n": 3, "rate": 0.5}

    async with between(review) as (here, _):
        task = here.tasks.create_task("code_review", {"code": "a\u2028b\nc", "depth": 2})
        result = await here.tasks.execute_task(task)
        now = here.tasks.get_task_status(task)
        told = [event.change for event in here.tasks.events(task) if isinstance(event.change, Progressed)]

    assert result == {"ok": True, "n": 3, "rate": 0.5}
    assert now.artifacts == {"tree": {"lines": ["a", "b", "c"], "depth": 2}}
    assert [(one.done, one.total, one.text) for one in told] in ([(1, 3, "reading")], [])


async def test_a_question_arrives_with_its_schema_and_the_answer_goes_back() -> None:
    async def review(context: TaskContext) -> Any:
        return await context.ask("Which branch?", {"type": "string", "minLength": 1})

    async with between(review) as (here, _):
        task = here.tasks.create_task("code_review")
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        asked = await until(here, task, lambda now: now.question is not None)
        here.tasks.answer(task, "main")

        assert await running == "main"
    assert asked.question is not None
    assert (asked.question.question, asked.question.schema) == ("Which branch?", {"type": "string", "minLength": 1})


async def test_a_task_that_is_called_off_here_is_over_there() -> None:
    async def review() -> None:
        await asyncio.Event().wait()

    async with between(review) as (here, there):
        task = here.tasks.create_task("code_review")
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        sent = await until(here, task, lambda now: bool(now.steps))
        here.tasks.cancel_task(task)
        with pytest.raises(TaskCanceledError):
            await running
        far = sent.steps["a2a:send:1"]["task_id"]
        while not there.tasks.manager.get_task_status(far).state.over:
            await there.tasks.manager.changed(there.tasks.manager.version)

        assert there.tasks.manager.get_task_status(far).state == "canceled"


@pytest.mark.parametrize("error", [RuntimeError("no compiler"), TaskRejectedError("", "no compiler")])
async def test_what_is_not_done_there_is_not_done_here_with_the_reason(error: Exception) -> None:
    async def review() -> None:
        raise error

    expected = TaskRejectedError if isinstance(error, TaskRejectedError) else TaskFailedError
    async with between(review) as (here, _):
        with pytest.raises(expected, match="no compiler"):
            await here.tasks.execute_task(here.tasks.create_task("code_review"))


async def test_a_message_that_comes_twice_makes_one_task() -> None:
    times = 0

    async def review() -> int:
        nonlocal times
        times += 1
        return times

    async with between(review) as (here, _):
        task = here.tasks.create_task("code_review")
        assert await here.tasks.execute_task(task) == 1
        first = here.tasks.get_task_status(task).steps["a2a:send:1"]["task_id"]

        # What a crash between sending and knowing leaves: the task, without the step.
        log = MemoryTaskLog(here.tasks.events(task)[:1])
        url = here.registry.get_agent("reviewer").endpoint or ""
        credential = here.remote.cards.credential("reviewer")
        async with calling(url, log=log, credential=credential) as again:
            again.tasks.resume()
            assert await again.tasks.execute_task(task.task_id) == 1
            assert again.tasks.get_task_status(task.task_id).steps["a2a:send:1"]["task_id"] == first

    assert times == 1
