"""How a task becomes a call."""

import asyncio
import functools
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
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


async def context(inputs: dict[str, Any] | None = None, parent_id: str = "") -> TaskContext:
    journal = TaskJournal(MemoryTaskLog(), ManualClock())
    given = INPUTS if inputs is None else inputs
    task = journal.append("t", Created("review", given, 1e12, Budget(), "t", parent_id=parent_id), Leased("w", "ada"))
    await asyncio.sleep(0)
    return TaskContext(journal, task, "ada")


async def result(handler: Callable[..., Any], inputs: dict[str, Any] | None = None) -> Any:
    return (await call(prepared(handler, await context(inputs)))).value


class Reviewer:
    async def __call__(self, code: str, task: TaskContext) -> list[Any]:
        return [code, task.agent_id]


async def test_parameters_are_inputs_and_one_may_be_the_context() -> None:
    async def by_name(code: str, mine: TaskContext, limit: int = 3) -> list[Any]:
        return [code, mine.task_id, limit]

    assert await result(by_name) == ["x = 1", "t", 3]
    assert await result(Reviewer()) == ["x = 1", "ada"]
    assert await result(lambda: "nothing is needed") == "nothing is needed"


async def test_behind_a_partial_the_annotations_are_what_they_were_and_what_it_has_bound_is_no_input() -> None:
    def counted(code: str, mine: TaskContext, lines: dict[int, str], limit: int) -> list[Any]:
        return [code, mine.agent_id, sorted(lines), limit]

    handler = functools.partial(counted, limit=3)
    assert await result(handler, {"code": "x", "lines": {"2": "b", "10": "a"}}) == ["x", "ada", [2, 10], 3]
    assert (
        await refused(functools.partial(lambda code, limit: [code, limit], limit=3), {"code": "x", "limit": 4})
    ).field == ("/inputs/limit")


async def test_what_a_partial_has_bound_stays_so_where_any_input_is_taken() -> None:
    def answered(code: str, limit: int, **rest: Any) -> list[Any]:
        return [code, limit, rest]

    handler = functools.partial(answered, limit=3)
    assert await result(handler, {"code": "x", "limit": 4, "other": 5}) == ["x", 3, {"other": 5}]


async def test_a_handler_may_take_all_inputs_there_are() -> None:
    def everything(**inputs: Any) -> dict[str, Any]:
        return inputs

    assert await result(everything) == INPUTS


async def test_keys_may_be_of_another_type_than_text() -> None:
    def counted(lines: dict[int, str]) -> list[int]:
        return sorted(lines)

    assert await result(counted, {"lines": {"2": "b", "10": "a"}}) == [2, 10]


async def refused(handler: Callable[..., Any], inputs: dict[str, Any] | None = None) -> InvalidTaskError:
    with pytest.raises(InvalidTaskError) as caught:
        prepared(handler, await context(inputs))
    return caught.value


async def test_an_input_that_is_missing_is_told() -> None:
    def needs_more(code: str, tests: str, language: str = "") -> str:
        return code + tests + language

    error = await refused(needs_more)
    assert (error.field, error.problem) == ("/inputs/tests", "required and missing")


async def test_an_input_of_another_type_is_refused_with_the_place() -> None:
    def count(count: int, limits: dict[str, list[int]] | None = None) -> int:
        return count + len(limits or {})

    error = await refused(count, {"count": "abc"})
    assert (error.field, error.problem) == ("/inputs/count", "Expected int, got str")
    assert (await refused(count, {"count": 1, "limits": 2})).field == "/inputs/limits"


async def test_an_input_that_no_parameter_takes_is_refused_with_the_one_that_was_meant() -> None:
    def count(count: int = 1) -> int:
        return count

    error = await refused(count, {"conut": 3})
    assert (error.field, error.problem) == ("/inputs/conut", "unknown field; did you mean 'count'?")
    assert (await refused(lambda *, code: code)).field == "/inputs/language"


async def test_a_part_is_not_refused_for_inputs_of_the_whole_that_its_handler_does_not_take() -> None:
    def lines(code: str) -> int:
        return len(code.splitlines())

    part = prepared(lines, await context(parent_id="whole"))

    assert (await call(part)).value == 1


async def test_a_handler_with_the_context_may_read_what_no_parameter_takes() -> None:
    def by_context(code: str, mine: TaskContext) -> list[Any]:
        return [code, mine.inputs["language"]]

    assert await result(by_context) == ["x = 1", "python"]


async def test_inputs_are_what_the_annotations_say() -> None:
    class Limits(msgspec.Struct):
        lines: int
        depth: float = 1

    def check(
        limits: Limits, tags: frozenset[str], at: Annotated[int, msgspec.Meta(ge=1)] = 1, *, other: object = None
    ) -> list[Any]:
        return [limits, tags, at, other]

    given = {"limits": {"lines": 3}, "tags": ["a"]}
    assert await result(check, given) == [Limits(3), {"a"}, 1, None]
    assert await result(check, {**given, "other": [1]}) == [Limits(3), {"a"}, 1, [1]]
    assert (await refused(check, {**given, "at": 0})).field == "/inputs/at"
    assert (await refused(check, {**given, "limits": {}})).field == "/inputs/limits/lines"


async def test_what_an_annotation_says_that_is_nothing_of_json_is_not_looked_at() -> None:
    def odd(code: Callable[[], None], language: "Nowhere") -> list[Any]:  # type: ignore[name-defined]  # noqa: F821
        return [code, language]

    assert await result(odd) == ["x = 1", "python"]


async def test_the_default_of_a_parameter_is_left_as_it_is() -> None:
    mark = object()

    def marked(code: str, language: str, mark: object = mark) -> list[Any]:
        return [code, language, mark]

    assert await result(marked) == ["x = 1", "python", mark]


async def test_inputs_beside_those_that_have_a_parameter_go_into_the_open_end_as_they_came() -> None:
    def some(count: float, **others: Any) -> list[Any]:
        return [count, others]

    assert await result(some, {"count": 1, "a": "b"}) == [1.0, {"a": "b"}]
    assert (await refused(some, {"count": "many"})).field == "/inputs/count"


async def test_a_parameter_that_cannot_be_given_by_name_is_told() -> None:
    def positional(code: str, /, **others: Any) -> str:
        return code + str(others)

    assert (await refused(positional)).field == "/inputs"
