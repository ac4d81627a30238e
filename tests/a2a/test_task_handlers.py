"""How a task becomes a call."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.a2a.task_event import Budget, Created, Leased
from tekton.a2a.task_handlers import prepared
from tekton.a2a.task_journal import TaskJournal
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_steps import TaskContext
from tekton.core.calls import call
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import InvalidTaskError

INPUTS = {"code": "x = 1", "language": "python"}


async def context() -> TaskContext:
    journal = TaskJournal(MemoryTaskLog(), ManualClock())
    task = journal.append("t", Created("review", INPUTS, 1e12, Budget(), "t"), Leased("w", "ada"))
    await asyncio.sleep(0)
    return TaskContext(journal, task, "ada")


async def result(handler: Callable[..., Any]) -> Any:
    return (await call(prepared(handler, await context()))).value


class Reviewer:
    async def __call__(self, code: str, task: TaskContext) -> list[Any]:
        return [code, task.agent_id]


async def test_parameters_are_inputs_and_one_may_be_the_context() -> None:
    async def by_name(code: str, mine: TaskContext, limit: int = 3) -> list[Any]:
        return [code, mine.task_id, limit]

    assert await result(by_name) == ["x = 1", "t", 3]
    assert await result(Reviewer()) == ["x = 1", "ada"]
    assert await result(lambda: "nothing is needed") == "nothing is needed"


async def test_a_handler_may_take_all_inputs_there_are() -> None:
    def everything(**inputs: Any) -> dict[str, Any]:
        return inputs

    assert await result(everything) == INPUTS


async def test_an_input_that_is_missing_is_told() -> None:
    def needs_more(code: str, tests: str) -> str:
        return code + tests

    with pytest.raises(InvalidTaskError, match="missing a required argument: 'tests'"):
        prepared(needs_more, await context())
