"""The one place where every call of a tool ends, whatever the tool does."""

import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NoReturn

import msgspec
import pytest
from leaps import Leaps

from tekton.core.degradation.deadline import time_left, within
from tekton.mcp.modality import CodeContent
from tekton.mcp.tool import Tool, ToolLimits
from tekton.mcp.tool_context import Answer, Chunk, Progress, Question, ToolContext, ToolEvent
from tekton.mcp.tool_registry import ToolChange, ToolRegistry
from tekton.testing import virtual_time
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    InvalidArgumentsError,
    NobodyToAskError,
    ToolBusyError,
    ToolExistsError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)


class Place(msgspec.Struct):
    city: str


class Passing:
    """An iterator that cannot be closed."""

    def __init__(self, values: AsyncIterator[int]) -> None:
        self._values = values

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        return await anext(self._values)


async def greet(name: str) -> str:
    """Greet someone."""
    return f"Hello, {name}."


def registry_of(handler: Callable[..., Any], **limits: Any) -> ToolRegistry:
    """A registry with one tool."""
    registry = ToolRegistry()
    registry.register_tool("tool", "A tool.", handler, limits=ToolLimits(**limits))
    return registry


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until *condition* holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of nothing that happens here is there an event
            await asyncio.sleep(0)


class TestRegistration:
    def test_a_tool_is_found_by_its_id(self) -> None:
        registry = ToolRegistry()

        tool = registry.register_tool(tool_id="greet", description="Say hello.", handler=greet)

        assert registry.get("greet") is tool is registry.find("greet")
        assert (tool.description, registry.find("other")) == ("Say hello.", None)
        assert ("greet" in registry, len(registry), list(registry)) == (True, 1, ["greet"])

    def test_without_a_description_the_docstring_has_it(self) -> None:
        assert ToolRegistry().register_tool("greet", None, greet).description == "Greet someone."

    def test_the_list_is_in_the_order_of_the_ids_whenever_they_came(self) -> None:
        registry = ToolRegistry()
        for name in ("b", "c.d", "a"):
            registry.register_tool(name, None, greet)

        assert [tool.name for tool in registry.tools()] == ["a", "b", "c.d"]

    def test_a_second_tool_of_the_same_id_is_refused_and_the_first_stays(self) -> None:
        registry = ToolRegistry()
        first = registry.register_tool("greet", None, greet)

        with pytest.raises(ToolExistsError, match="there is a tool greet already"):
            registry.register_tool("greet", None, lambda: None)

        assert registry.get("greet") is first

    def test_a_tool_can_be_replaced_when_that_is_meant(self) -> None:
        registry = ToolRegistry()
        registry.register_tool("greet", None, greet)

        second = registry.register_tool("greet", None, lambda: None, replace=True)

        assert registry.tools() == [second]

    def test_an_unknown_id_names_the_nearest(self) -> None:
        registry = ToolRegistry()
        registry.register_tool("greet", None, greet)

        for look in (registry.get, registry.unregister_tool, registry.running):
            with pytest.raises(ToolNotFoundError) as missing:
                look("gret")
            assert missing.value.hint == "did you mean 'greet'?"

    def test_the_tools_of_a_component_go_together(self) -> None:
        async def call(arguments: dict[str, Any], context: ToolContext) -> None: ...

        registry = ToolRegistry()
        registry.register_tool("greet", None, greet)
        for name in ("engram.store", "engram.search"):
            registry.add(Tool.remote(name, "", call, source="engram", input_schema={}))

        assert [tool.name for tool in registry.tools("engram")] == ["engram.search", "engram.store"]
        assert [tool.name for tool in registry.unregister_source("engram")] == ["engram.search", "engram.store"]
        assert list(registry) == ["greet"]

    def test_listeners_hear_of_every_change(self) -> None:
        registry = ToolRegistry()
        changes: list[ToolChange] = []
        stop = registry.listen(changes.append)

        first = registry.register_tool("greet", None, greet)
        second = registry.register_tool("greet", None, greet, replace=True)
        registry.unregister_tool("greet")
        stop()
        stop()
        registry.register_tool("greet", None, greet)

        assert changes == [("added", first), ("replaced", second), ("removed", second)]
        assert registry.version == 4

    def test_a_listener_that_fails_hurts_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        registry = ToolRegistry()
        changes: list[ToolChange] = []

        def fail(_: ToolChange) -> NoReturn:
            raise RuntimeError("broken")

        registry.listen(fail)
        registry.listen(changes.append)
        with caplog.at_level(logging.ERROR, "tekton.tools"):
            registry.register_tool("greet", None, greet)

        assert len(changes) == len(caplog.records) == 1

    async def test_one_can_wait_for_a_change(self) -> None:
        registry = ToolRegistry()
        registry.register_tool("greet", None, greet)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = [group.create_task(registry.changed(1)) for _ in range(2)]
            assert await registry.changed(0) == 1
            registry.unregister_tool("greet")

        assert [task.result() for task in waiting] == [2, 2]


class TestResults:
    async def test_a_result_is_what_was_returned_and_how_it_is_passed_on(self) -> None:
        async def find() -> Place:
            return Place("Bath")

        result = await registry_of(find).execute("tool")

        assert (result.tool_id, result.value) == ("tool", Place("Bath"))
        assert (result.content, result.json) == ({"city": "Bath"}, b'{"city":"Bath"}')
        assert result.duration >= 0

    async def test_a_modality_is_passed_on_as_what_it_is_in_a_message(self) -> None:
        result = await registry_of(lambda: CodeContent("x = 1", "python")).execute("tool")

        assert result.content == {"modality": "code", "code": "x = 1", "language": "python"}

    async def test_a_plain_function_runs_in_a_thread(self) -> None:
        result = await registry_of(lambda: threading.get_ident()).execute("tool")  # noqa: PLW0108

        assert result.value != threading.get_ident()

    async def test_what_streams_tells_every_value_and_returns_the_last(self) -> None:
        async def count(to: int, context: ToolContext) -> AsyncIterator[int]:
            for number in range(to):
                context.progress(number, to)
                yield number

        told: list[ToolEvent] = []
        result = await registry_of(count).execute("tool", {"to": 2}, context=ToolContext(tell=told.append))

        assert result.value == 1
        assert told == [Progress(0, 2), Chunk(0), Progress(1, 2), Chunk(1)]

    @pytest.mark.parametrize("kind", ["plain", "async", "an iterator"])
    async def test_a_stream_that_is_returned_streams_as_well(self, kind: str) -> None:
        async def count(to: int) -> AsyncIterator[int]:
            for number in range(to):
                yield number

        @functools.wraps(count)
        def plain(**arguments: Any) -> AsyncIterator[int]:
            return count(**arguments)

        @functools.wraps(count)
        async def later(**arguments: Any) -> AsyncIterator[int]:
            return count(**arguments)

        @functools.wraps(count)
        def iterator(**arguments: Any) -> AsyncIterator[int]:
            return Passing(count(**arguments))

        told: list[ToolEvent] = []
        registry = registry_of({"plain": plain, "async": later, "an iterator": iterator}[kind])
        result = await registry.execute("tool", {"to": 2}, context=ToolContext(tell=told.append))

        assert (result.value, told) == (1, [Chunk(0), Chunk(1)])
        assert registry.get("tool").output_schema == {"type": "integer"}

    async def test_arguments_are_checked_before_the_call(self) -> None:
        registry = ToolRegistry()
        registry.register_tool("greet", None, greet)

        with pytest.raises(InvalidArgumentsError) as refused:
            await registry.execute("greet", {"nam": "Ada"})

        assert (refused.value.pointer, refused.value.hint) == ("/nam", "did you mean 'name'?")

    async def test_a_tool_that_is_not_there_is_not_found(self) -> None:
        with pytest.raises(ToolNotFoundError):
            await ToolRegistry().execute("greet")

    async def test_the_caller_is_known_to_the_tool_and_to_those_that_it_calls(self) -> None:
        registry = ToolRegistry()

        async def inner(context: ToolContext) -> str | None:
            return context.caller

        async def outer(context: ToolContext) -> list[Any]:
            return [context.caller, (await registry.execute("inner", context=context)).value]

        registry.register_tool("inner", None, inner)
        registry.register_tool("outer", None, outer)

        assert (await registry.execute("outer", caller="ada")).value == ["ada", "ada"]

    async def test_a_tool_can_ask_its_caller(self) -> None:
        async def deploy(context: ToolContext) -> str:
            return (await context.ask("Which branch?")).content

        async def answer(question: Question) -> Answer:
            return Answer("accept", f"{question.tool_id}/main")

        registry = registry_of(deploy)

        assert (await registry.execute("tool", context=ToolContext(answer=answer))).value == "tool/main"
        with pytest.raises(NobodyToAskError):
            await registry.execute("tool")


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("no such branch"), "ValueError: no such branch"),
            (KeyError("x"), "KeyError: 'x'"),
            (SystemExit(3), "SystemExit: 3"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            (TimeoutError(), "TimeoutError"),
            (StopIteration(), "StopIteration"),
            (MemoryError(), "MemoryError"),
            (RuntimeError("postgres://ada:hunter2@db/x"), "RuntimeError: postgres://ada:[redacted]@db/x"),
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("kind", ["async", "thread"])
    async def test_whatever_it_raises_is_an_error_of_the_tool(
        self, error: BaseException, reason: str, kind: str
    ) -> None:
        def fail() -> NoReturn:
            raise error

        async def fail_later() -> NoReturn:
            raise error

        expected = "RuntimeError: coroutine raised StopIteration" if reason + kind == "StopIterationasync" else reason
        with pytest.raises(ToolFailedError) as failed:
            await registry_of(fail if kind == "thread" else fail_later).execute("tool")

        assert (failed.value.tool_id, failed.value.reason) == ("tool", expected)
        assert "hunter2" not in str(failed.value)

    async def test_errors_of_tekton_speak_for_themselves(self) -> None:
        async def fail() -> NoReturn:
            raise ComponentNotFoundError("engrm", "engram")

        with pytest.raises(ComponentNotFoundError, match="engrm"):
            await registry_of(fail).execute("tool")

    async def test_one_that_cancels_itself_has_failed(self) -> None:
        async def give_up() -> NoReturn:
            raise asyncio.CancelledError

        with pytest.raises(ToolFailedError, match="it was cancelled"):
            await registry_of(give_up).execute("tool")

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (object(), "no JSON form"),
            (float("nan"), "nan is no number"),
            ("x" * 5000, "larger than 4096 bytes"),
            ({"a": ["x" * 100] * 10**6}, "larger than 4096 bytes"),
        ],
        ids=["object", "nan", "text", "list"],
    )
    async def test_garbage_and_too_much_are_failures(self, value: Any, why: str) -> None:
        async def stream() -> AsyncIterator[Any]:
            yield value
            yield "never reached"

        for handler in (lambda: value, stream):
            with pytest.raises(ToolFailedError, match=why):
                await registry_of(handler, max_result=4096).execute("tool")

    async def test_what_is_not_what_the_annotation_says_is_a_failure(self) -> None:
        def count() -> int:
            return "three"  # type: ignore[return-value]

        with pytest.raises(ToolFailedError, match="something else than it says: Expected int, got str"):
            await registry_of(count).execute("tool")

    async def test_a_result_is_held_against_a_schema_that_was_given(self) -> None:
        registry = ToolRegistry()
        registry.register_tool(
            "tool", "", lambda: {"city": 1}, output_schema={"properties": {"city": {"type": "string"}}}
        )

        with pytest.raises(ToolFailedError, match="something else than it says: /city"):
            await registry.execute("tool")

    async def test_a_failure_is_in_the_log_with_its_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> NoReturn:
            raise ValueError("no such branch")

        with caplog.at_level(logging.WARNING, "tekton.tools"), pytest.raises(ToolFailedError):
            await registry_of(fail).execute("tool")

        assert [record.getMessage() for record in caplog.records] == ["the tool tool has failed"]
        assert caplog.records[0].exc_info


class TestTime:
    @virtual_time
    async def test_a_tool_has_as_much_time_as_it_has(self) -> None:
        async def hang() -> None:
            await asyncio.Event().wait()

        registry = registry_of(hang, timeout=30.0)
        begun = asyncio.get_running_loop().time()

        with pytest.raises(ToolTimeoutError) as late:
            await registry.execute("tool")

        assert asyncio.get_running_loop().time() - begun == pytest.approx(30.0, abs=0.01)
        assert (late.value.timeout, registry.running("tool"), registry.abandoned("tool")) == (30.0, 0, 0)

    @virtual_time
    async def test_whoever_calls_can_give_it_less_and_not_more(self) -> None:
        async def left() -> float | None:
            return time_left()

        registry = registry_of(left, timeout=30.0)

        given = [(await registry.execute("tool", timeout=timeout)).value for timeout in (None, 5.0, 100.0)]
        with within(3.0):
            given.append((await registry.execute("tool", timeout=5.0)).value)

        assert given == pytest.approx([30.0, 5.0, 30.0, 3.0], abs=0.01)

    async def test_without_time_it_is_not_called(self) -> None:
        called: list[int] = []

        with pytest.raises(ToolTimeoutError):
            await registry_of(lambda: called.append(1)).execute("tool", timeout=0.0)

        assert called == []

    @virtual_time
    async def test_one_that_cleans_up_when_it_is_cancelled_is_waited_for(self) -> None:
        cleaned: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.1)
                cleaned.append("up")

        with pytest.raises(ToolTimeoutError):
            await registry_of(work, timeout=1.0).execute("tool")

        assert cleaned == ["up"]

    @virtual_time
    async def test_one_that_ignores_its_end_is_given_up_and_counted_as_long_as_it_runs(self) -> None:
        end = asyncio.Event()

        async def stubborn() -> None:
            while not end.is_set():
                with suppress(asyncio.CancelledError):
                    await end.wait()

        registry = registry_of(stubborn, timeout=1.0, max_concurrent=1, max_waiting=0)
        with pytest.raises(ToolTimeoutError):
            await registry.execute("tool")

        assert (registry.running("tool"), registry.abandoned("tool")) == (1, 1)
        with pytest.raises(ToolBusyError):
            await registry.execute("tool")

        end.set()
        await until(lambda: registry.running("tool") == 0)
        assert registry.abandoned("tool") == 0

    async def test_a_thread_that_hangs_is_given_up_and_keeps_its_place(self) -> None:
        begun, end = threading.Event(), threading.Event()

        def hang() -> None:
            begun.set()
            end.wait(20)

        leaps, registry = Leaps(), registry_of(hang, timeout=60.0, max_concurrent=1, max_waiting=0)
        try:
            executing = asyncio.ensure_future(registry.execute("tool"))
            assert await asyncio.to_thread(begun.wait, 20)
            leaps.leap(60.0)
            with pytest.raises(ToolTimeoutError):
                await executing
            assert (registry.running("tool"), registry.abandoned("tool")) == (1, 1)
            with pytest.raises(ToolBusyError):
                await registry.execute("tool")
        finally:
            end.set()

        await until(lambda: registry.running("tool") == 0 and registry.abandoned("tool") == 0)

    @virtual_time
    async def test_a_stream_without_an_end_ends(self) -> None:
        clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]

        async def forever() -> AsyncIterator[str]:
            while True:
                clock.advance(0.01)
                yield "again"

        with pytest.raises(ToolTimeoutError):
            await registry_of(forever, timeout=1.0).execute("tool")

    @virtual_time
    async def test_a_stream_that_is_returned_has_as_much_time_as_the_tool(self) -> None:
        closed: list[str] = []

        async def hang() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.append("closed")

        with pytest.raises(ToolTimeoutError):
            await registry_of(lambda: hang(), timeout=1.0).execute("tool")  # noqa: PLW0108 - it is no async generator

        assert closed == ["closed"]

    async def test_a_stream_that_has_failed_is_closed(self) -> None:
        closed: list[str] = []

        async def stream() -> AsyncIterator[Any]:
            try:
                yield object()
            finally:
                await asyncio.sleep(0)
                closed.append("closed")

        with pytest.raises(ToolFailedError, match="what it has yielded"):
            await registry_of(stream).execute("tool")

        assert closed == ["closed"]

    async def test_cancelling_whoever_calls_cancels_the_tool(self) -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        registry = registry_of(work)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            call = group.create_task(registry.execute("tool"))
            await begun.wait()
            call.cancel()
            await cancelled.wait()

        assert call.cancelled()
        assert registry.running("tool") == 0

    async def test_closing_ends_what_runs(self) -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            await asyncio.Event().wait()

        async with asyncio.timeout(5), asyncio.TaskGroup() as group, registry_of(work) as registry:
            call = group.create_task(_failure(registry))
            await begun.wait()

        assert isinstance(call.result(), ToolFailedError)


async def _failure(registry: ToolRegistry) -> BaseException | None:
    try:
        await registry.execute("tool")
    except ToolFailedError as error:
        return error
    return None


class TestPlaces:
    async def test_no_more_calls_run_at_once_than_may_and_the_others_take_turns(self) -> None:
        running: list[int] = []
        order: list[int] = []

        async def work(number: int) -> None:
            order.append(number)
            running.append(number)
            assert len(running) <= 2
            await asyncio.sleep(0)
            running.remove(number)

        registry = registry_of(work, max_concurrent=2, max_waiting=10)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(registry.execute("tool", {"number": number}))

        assert order == list(range(12))

    async def test_one_more_than_may_wait_is_refused_at_once(self) -> None:
        end = asyncio.Event()
        registry = registry_of(end.wait, max_concurrent=2, max_waiting=1)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(registry.execute("tool"))
            await until(lambda: registry.running("tool") == 2)
            with pytest.raises(ToolBusyError) as busy:
                await registry.execute("tool")
            end.set()

        assert (busy.value.limit, busy.value.waiting) == (2, 1)

    @virtual_time
    async def test_who_waits_does_so_within_his_own_time(self) -> None:
        end = asyncio.Event()
        registry = registry_of(end.wait, max_concurrent=1)

        async with asyncio.TaskGroup() as group:
            group.create_task(registry.execute("tool"))
            await until(lambda: registry.running("tool") == 1)
            with pytest.raises(ToolBusyError):
                await registry.execute("tool", timeout=2.0)
            end.set()

        assert registry.running("tool") == 0

    async def test_a_replaced_tool_has_places_of_its_own_and_running_calls_go_on(self) -> None:
        end = asyncio.Event()
        registry = registry_of(end.wait, max_concurrent=1, max_waiting=0)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            old = group.create_task(registry.execute("tool"))
            await until(lambda: registry.running("tool") == 1)
            registry.register_tool("tool", "", lambda: "new", replace=True)
            assert (await registry.execute("tool")).value == "new"
            registry.unregister_tool("tool")
            end.set()

        assert old.result().value is True
