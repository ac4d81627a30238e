"""Whatever agents do, their tasks come to an end, and to the right one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.testing import virtual_time
from tekton.testing.clock import ManualClock, current_clock
from tekton.utils.tekton_errors import (
    AgentNotFoundError,
    TaskCanceledError,
    TaskFailedError,
    TaskRejectedError,
    TaskTimeoutError,
    TektonError,
)


def manager_of(*handlers: Callable[..., Any], **options: Any) -> TaskManager:
    """A manager with agents a, b, … that can review, in this order."""
    registry = AgentRegistry()
    for name, handler in zip("abcdefgh", handlers, strict=False):
        registry.register_agent(name, ["review"], handler=handler)
    return TaskManager(registry, clock=current_clock(), **options)


async def fine() -> str:
    return "fine"


async def breaks() -> None:
    raise OSError("it broke")


async def hangs() -> None:
    await asyncio.sleep(1e6)


class Stubborn:
    """Does not end when it is cancelled, but some time later, with an answer."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self) -> str:
        end = asyncio.get_running_loop().time() + 100
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        self.ended.set()
        return "at last"


class TestAgents:
    @virtual_time
    async def test_the_first_agent_that_does_it_is_enough(self) -> None:
        manager = manager_of(fine, breaks)

        assert await manager.execute_task(manager.create_task("review")) == "fine"

    @virtual_time
    async def test_another_agent_is_asked_when_one_fails(self) -> None:
        manager = manager_of(breaks, fine)
        task = manager.create_task("review")

        assert await manager.execute_task(task) == "fine"

        assert manager.get_task_status(task).failures == (("agent_failed", "OSError: it broke", "a"),)

    @virtual_time
    async def test_each_agent_is_asked_once(self) -> None:
        manager = manager_of(breaks, breaks)
        task = manager.create_task("review")

        with pytest.raises(TaskFailedError, match="b: OSError: it broke"):
            await manager.execute_task(task)

        assert manager.get_task_status(task).epoch == 2

    @virtual_time
    async def test_an_agent_that_cancels_itself_has_failed(self) -> None:
        async def gives_up() -> None:
            raise asyncio.CancelledError

        manager = manager_of(gives_up, fine)
        task = manager.create_task("review")

        assert await manager.execute_task(task) == "fine"
        assert manager.get_task_status(task).failures[0].reason == "RuntimeError: it has canceled itself"

    @virtual_time
    async def test_attempts_without_a_step_are_limited(self) -> None:
        manager = manager_of(*[breaks] * 5)

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(manager.create_task("review", budget=Budget(attempts=3)))

        assert caught.value.failed == "task_budget"

    @virtual_time
    async def test_an_agent_that_hangs_is_ended_at_the_deadline(self) -> None:
        manager = manager_of(hangs, fine)
        task = manager.create_task("review", timeout=60)

        with pytest.raises(TaskTimeoutError):
            await manager.execute_task(task)

        now = manager.get_task_status(task)
        assert now.state is TaskState.FAILED
        assert now.changed_at - now.created_at == pytest.approx(60)

    async def test_it_is_late_by_whatever_clock_it_is(self) -> None:
        registry = AgentRegistry()
        registry.register_agent("a", ["review"], handler=hangs)
        manager = TaskManager(registry, clock=ManualClock())  # the time of the system goes more slowly than the timers
        task = manager.create_task("review", timeout=0.01)

        with pytest.raises(TaskTimeoutError):
            await manager.execute_task(task)

    @virtual_time
    async def test_another_agent_is_asked_when_one_takes_too_long(self) -> None:
        manager = manager_of(hangs, fine, attempt_timeout=5.0)
        task = manager.create_task("review")

        assert await manager.execute_task(task) == "fine"

        assert manager.get_task_status(task).failures[0].reason == "TimeoutError: no answer within 5.0 s"

    @virtual_time
    async def test_an_agent_that_ignores_the_end_holds_nobody_up_and_its_answer_is_counted(self) -> None:
        stubborn = Stubborn()
        manager = manager_of(stubborn)
        task = manager.create_task("review", timeout=10)

        with pytest.raises(TaskTimeoutError):
            await manager.execute_task(task)
        assert manager.late_answers == 0
        await stubborn.ended.wait()
        await asyncio.sleep(0)

        assert (manager.late_answers, manager.get_task_status(task).state) == (1, TaskState.FAILED)

    @virtual_time
    async def test_what_an_agent_says_after_it_was_canceled_is_ignored_and_counted(self) -> None:
        stubborn = Stubborn()
        manager = manager_of(stubborn)
        task = manager.create_task("review")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_outcome(manager, task))
            await asyncio.sleep(1)
            manager.cancel_task(task, "no more")

        assert isinstance(waiting.result(), TaskCanceledError)
        await stubborn.ended.wait()
        await asyncio.sleep(0)
        assert (manager.late_answers, manager.get_task_status(task).result) == (1, None)

    @pytest.mark.parametrize("ends", ["it was called off", "another has it"])
    @virtual_time
    async def test_an_agent_that_ignores_its_end_does_no_more_steps(self, ends: str) -> None:
        ran: list[str] = []
        refused: list[TektonError] = []

        async def stubborn(context: TaskContext) -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1e6)
            for name in ("one", "two"):
                try:
                    await context.step(name, ran.append, name)
                except TektonError as error:
                    refused.append(error)

        manager = manager_of(stubborn, fine, attempt_timeout=5.0)
        task = manager.create_task("review")
        manager.begin_task(task)
        await asyncio.sleep(1)
        if ends == "it was called off":
            manager.cancel_task(task)
        await asyncio.sleep(10)

        assert (len(refused), ran) == (2, [])

    @virtual_time
    async def test_only_the_first_of_two_answers_counts(self) -> None:
        async def twice(context: TaskContext) -> str:
            context.answer("one")
            return "two"

        manager = manager_of(twice)

        assert await manager.execute_task(manager.create_task("review")) == "one"
        assert manager.late_answers == 1

    @pytest.mark.parametrize("garbage", [object(), float("nan"), {1, object()}, "x" * (2 << 20)])
    @virtual_time
    async def test_a_result_that_is_none_is_no_result(self, garbage: object) -> None:
        async def lies() -> object:
            return garbage

        manager = manager_of(lies)

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(manager.create_task("review"))
        assert caught.value.failed == "garbage"

    @virtual_time
    async def test_a_result_has_to_be_what_such_tasks_result_in(self) -> None:
        async def lies() -> str:
            return "done!"

        async def works() -> dict[str, int]:
            return {"lines": 3}

        manager = manager_of(lies, works)
        manager.register_task_type("review", check=lambda result: result["lines"])
        task = manager.create_task("review")

        assert await manager.execute_task(task) == {"lines": 3}
        assert manager.get_task_status(task).failures[0].code == "garbage"

    @virtual_time
    async def test_an_agent_may_refuse_and_nobody_else_is_asked(self) -> None:
        async def refuses(context: TaskContext) -> None:
            raise TaskRejectedError(context.task_id, "not mine")

        manager = manager_of(refuses, fine)
        task = manager.create_task("review")

        with pytest.raises(TaskRejectedError, match="not mine"):
            await manager.execute_task(task)
        assert manager.get_task_status(task).state is TaskState.REJECTED

    @virtual_time
    async def test_nobody_else_is_asked_when_a_step_must_not_be_repeated(self) -> None:
        paid: list[str] = []

        async def pays(context: TaskContext) -> None:
            await context.step("pay", paid.append, "a", repeatable=False)
            await context.step("send", paid.index, "nobody", repeatable=False)

        manager = manager_of(pays, pays)

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(manager.create_task("review"))

        assert (caught.value.failed, paid) == ("step_unknown", ["a"])

    @virtual_time
    async def test_another_agent_goes_on_behind_the_steps_that_were_completed(self) -> None:
        done: list[str] = []

        async def half(context: TaskContext) -> None:
            await context.step("first", done.append, "first")
            raise OSError

        async def whole(context: TaskContext) -> str:
            await context.step("first", done.append, "first again")
            await context.step("second", done.append, "second")
            return "whole"

        manager = manager_of(half, whole)

        assert await manager.execute_task(manager.create_task("review")) == "whole"
        assert done == ["first", "second"]

    @virtual_time
    async def test_agents_at_endpoints_are_asked_by_who_can(self) -> None:
        async def ask(agent: Agent, context: TaskContext) -> list[Any]:
            return [agent.endpoint, dict(context.inputs)]

        registry = AgentRegistry()
        registry.register_agent("far", ["review"], endpoint="https://agents.example/far")
        manager = TaskManager(registry, remote=ask, clock=current_clock())

        result = await manager.execute_task(manager.create_task("review", {"code": "x"}))

        assert result == ["https://agents.example/far", {"code": "x"}]


class TestParts:
    @virtual_time
    async def test_parts_begin_after_what_they_depend_on_and_have_its_results(self) -> None:
        async def joins(word: str, context: TaskContext) -> str:
            return "".join([*context.results.values(), word])

        manager = manager_of(joins)
        parts = [
            Subtask("end", "review", {"word": "!"}, ["left", "right"]),
            Subtask("left", "review", {"word": "a"}),
            Subtask("right", "review", {"word": "b"}, ["left"]),
        ]
        task = manager.create_task("feature", subtasks=parts)

        assert await manager.execute_task(task) == {"end": "aab!", "left": "a", "right": "ab"}

        part = manager.get_task_status(task.plan[0].task_id)
        assert (part.parent_id, part.dependencies, part.deadline) == (task.task_id, ("left", "right"), task.deadline)

    @pytest.mark.parametrize(("strategy", "result"), [("all", {"a": "x", "b": "y", "c": "y"}), ("vote", "y")])
    @virtual_time
    async def test_all_agents_are_asked_where_the_strategy_says_so(self, strategy: str, result: Any) -> None:
        manager = manager_of(lambda: "x", lambda: "y", lambda: "y")

        assert await manager.execute_task(manager.create_task("review", strategy=strategy)) == result

    @virtual_time
    async def test_one_part_that_fails_ends_the_whole_and_calls_off_the_others(self) -> None:
        manager = manager_of(breaks, hangs)
        task = manager.create_task("review", strategy="all")

        with pytest.raises(TaskFailedError, match="a: a: OSError: it broke"):
            await manager.execute_task(task)

        states = {part.name: manager.get_task_status(part.task_id).state for part in manager.get_task_status(task).plan}
        assert states == {"a": TaskState.FAILED, "b": TaskState.CANCELED}

    @virtual_time
    async def test_a_vote_does_with_those_that_answer(self) -> None:
        manager = manager_of(breaks, fine)

        assert await manager.execute_task(manager.create_task("review", strategy="vote")) == "fine"

    @virtual_time
    async def test_the_deadline_of_the_whole_is_that_of_its_parts(self) -> None:
        manager = manager_of(hangs)
        task = manager.create_task("feature", timeout=7, subtasks=[Subtask("p", "review")])

        with pytest.raises(TaskTimeoutError):
            await manager.execute_task(task)

        assert manager.tasks(open_only=True) == []

    @virtual_time
    async def test_many_parts_leave_others_their_turns_when_they_begin(self) -> None:
        manager = manager_of(hangs)
        parts = [Subtask(f"p{number}", "review") for number in range(300)]
        manager.begin_task(manager.create_task("feature", subtasks=parts))

        at_once: list[int] = []
        async with asyncio.timeout(10):
            while (before := manager.count()) <= len(parts):
                await asyncio.sleep(0)
                at_once.append(manager.count() - before)

        assert max(at_once) < 100
        await manager.close()

    @virtual_time
    async def test_calling_off_the_whole_calls_off_its_parts(self) -> None:
        manager = manager_of(hangs)
        task = manager.create_task("feature", subtasks=[Subtask("p", "review"), Subtask("q", "review", {}, ["p"])])
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_outcome(manager, task))
            await asyncio.sleep(1)
            manager.cancel_task(task)

        assert isinstance(waiting.result(), TaskCanceledError)
        assert [one.state for one in manager.tasks()] == [TaskState.CANCELED] * 2

    @virtual_time
    async def test_a_part_that_is_called_off_fails_the_whole(self) -> None:
        manager = manager_of(hangs)
        task = manager.create_task("feature", subtasks=[Subtask("p", "review")])
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_outcome(manager, task))
            await asyncio.sleep(1)
            manager.cancel_task(task.plan[0].task_id, "not that")

        assert "p: not that" in str(waiting.result())

    @virtual_time
    async def test_a_planner_is_asked_once_and_what_it_says_is_done(self) -> None:
        asked: list[str] = []

        def plan(task: Task) -> list[Subtask]:
            asked.append(task.task_id)
            return [Subtask("p", "review"), Subtask("q", "review", {}, ["p"])]

        manager = manager_of(fine)
        manager.planners.register("feature", plan)

        result = await manager.execute_task(manager.create_task("feature", strategy="last"))

        assert (result, len(asked)) == ("fine", 1)

    @virtual_time
    async def test_a_planned_cycle_fails_the_task_with_the_cycle(self) -> None:
        manager = manager_of(fine)
        parts = [Subtask("p", "review", {}, ["q"]), Subtask("q", "review", {}, ["p"])]
        manager.planners.register("feature", lambda _: parts)

        with pytest.raises(TaskFailedError, match="p -> q -> p") as caught:
            await manager.execute_task(manager.create_task("feature"))
        assert caught.value.failed == "task_cycle"

    @virtual_time
    async def test_a_planner_that_goes_on_for_ever_is_stopped(self) -> None:
        manager = manager_of(fine)
        manager.planners.register("feature", lambda _: [Subtask("p", "feature")])

        with pytest.raises(TaskFailedError, match="more than 8 plans are within each other"):
            await manager.execute_task(manager.create_task("feature"))

    @virtual_time
    async def test_a_planner_or_strategy_that_fails_fails_the_task(self) -> None:
        manager = manager_of(fine)
        manager.planners.register("feature", lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
        manager.strategies.register("odd", lambda results: results["nothing"])

        for task, failed in (
            (manager.create_task("feature"), "planner_failed"),
            (manager.create_task("review", strategy="odd"), "garbage"),
        ):
            with pytest.raises(TaskFailedError) as caught:
                await manager.execute_task(task)
            assert caught.value.failed == failed

    @virtual_time
    async def test_a_part_for_an_agent_that_is_not_there_fails(self) -> None:
        manager = manager_of(fine)
        manager.planners.register("feature", lambda _: [Subtask("p", "review", {}, (), "nobody")])
        task = manager.create_task("feature")

        with pytest.raises(TaskFailedError, match="there is no agent 'nobody'"):
            await manager.execute_task(task)
        with pytest.raises(AgentNotFoundError):
            manager.route_task(task)


async def _outcome(manager: TaskManager, task: Task) -> Any:
    try:
        return await manager.execute_task(task)
    except (TaskCanceledError, TaskFailedError) as error:
        return error
