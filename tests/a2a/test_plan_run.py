"""Parts of a task that hang, ask, and use up what there is: the whole comes to its end, and to the right one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.a2a import plan_usage
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import AuthRequired, Budget
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.tekton_errors import TaskFailedError, TaskTimeoutError


def manager_of(log: MemoryTaskLog | None = None, /, **handlers: Callable[..., Any]) -> TaskManager:
    """A manager with an agent for each of *handlers*, whose capabilities are its name and `any`."""
    registry = AgentRegistry()
    for name, handler in handlers.items():
        registry.register_agent(name, [name, "any"], handler=handler)
    return TaskManager(registry, log=log, clock=current_clock())


async def fine() -> str:
    return "fine"


async def hangs() -> None:
    await asyncio.sleep(1e6)


async def asks(context: TaskContext) -> Any:
    return await context.ask("Go on?", {"type": "string"})


class Stubborn:
    def __init__(self) -> None:
        self.ended = False

    async def __call__(self) -> None:
        end = asyncio.get_running_loop().time() + 1000
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        self.ended = True


def part_of(manager: TaskManager, task: Task, place: int = 0) -> Task:
    return manager.get_task_status(manager.get_task_status(task).plan[place].task_id)


async def waits(manager: TaskManager, task: Task) -> Task:
    async with asyncio.timeout(10):
        while not manager.get_task_status(task).state.waiting:
            await manager.next_change(task)
    return manager.get_task_status(task)


class TestHanging:
    @virtual_time
    async def test_a_vote_ends_when_who_hangs_cannot_change_it(self) -> None:
        manager = manager_of(a=hangs, b=fine, c=fine)
        task = manager.create_task("any", strategy="vote")

        assert await manager.execute_task(task) == "fine"

        now = manager.get_task_status(task)
        assert now.changed_at - now.created_at < 1.0
        assert part_of(manager, task).state is TaskState.CANCELED

    @pytest.mark.parametrize("strategy", ["first", "vote"])
    @pytest.mark.parametrize("hanging", [hangs, Stubborn()], ids=["hangs", "ignores its end"])
    @virtual_time
    async def test_who_hangs_is_done_without_shortly_before_the_deadline(self, hanging: Any, strategy: str) -> None:
        manager = manager_of(a=hanging, b=fine)
        parts = [Subtask("p", "a"), Subtask("q", "b")]
        task = manager.create_task("whole", strategy=strategy, timeout=60, subtasks=parts)

        assert await manager.execute_task(task) == "fine"

        now = manager.get_task_status(task)
        assert 58 < now.changed_at - now.created_at < 60
        assert manager.tasks(open_only=True) == []

    @virtual_time
    async def test_a_whole_within_a_whole_has_its_time_to_conclude_too(self) -> None:
        manager = manager_of(a=hangs, b=fine)
        manager.planners.declare("inner", [Subtask("p", "a"), Subtask("q", "b")])
        task = manager.create_task(
            "outer", strategy="first", timeout=60, subtasks=[Subtask("i", "inner"), Subtask("j", "b")]
        )

        assert await manager.execute_task(task) == "fine"

    @virtual_time
    async def test_where_nobody_has_answered_it_is_too_late(self) -> None:
        manager = manager_of(a=hangs, b=hangs)

        with pytest.raises(TaskTimeoutError):
            await manager.execute_task(manager.create_task("any", strategy="vote", timeout=60))

        assert manager.tasks(open_only=True) == []


class TestUsingUp:
    @virtual_time
    async def test_what_parts_spend_is_that_of_the_whole(self) -> None:
        async def spends(context: TaskContext) -> None:
            context.spend(4)

        manager = manager_of(a=spends)
        parts = [Subtask(f"p{number}", "a", {}, [f"p{number - 1}"] if number else []) for number in range(5)]
        task = manager.create_task("all", budget=Budget(units=10), subtasks=parts)

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(task)

        assert caught.value.failed == "task_budget"
        assert [part_of(manager, task, place).spent for place in range(3)] == [4, 4, 4]
        assert manager.count() == 4, "two parts never began"

    @virtual_time
    async def test_the_steps_of_parts_of_parts_are_those_of_the_whole_after_a_restart_too(self) -> None:
        ran: list[str] = []

        async def works(context: TaskContext) -> None:
            for name in "abc":
                await context.step(name, ran.append, name)
                await asyncio.sleep(1)

        def start() -> TaskManager:
            manager = manager_of(log, a=works)
            manager.planners.declare("inner", [Subtask("p", "a"), Subtask("q", "a", {}, ["p"])])
            return manager

        log = MemoryTaskLog()
        former = start()
        task = former.create_task(
            "outer", budget=Budget(steps=7), subtasks=[Subtask("i", "inner"), Subtask("j", "inner", {}, ["i"])]
        )
        former.begin_task(task)
        await asyncio.sleep(4.5)
        await former.close()
        manager = start()
        manager.resume()

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(task)

        assert (caught.value.failed, len(ran)) == ("task_budget", 8)

    @virtual_time
    async def test_as_much_as_the_budget_allows_is_not_too_much_after_restarts(self) -> None:
        async def works(context: TaskContext) -> int:
            await context.step("one", lambda: 1)
            await asyncio.sleep(1)
            await context.step("two", lambda: 2)
            context.spend(1)
            return 2

        def start() -> TaskManager:
            manager = manager_of(log, a=works)
            manager.planners.declare("inner", [Subtask("p", "a"), Subtask("q", "a", {}, ["p"])])
            return manager

        log = MemoryTaskLog()
        manager = start()
        parts = [Subtask("i", "inner"), Subtask("j", "inner", {}, ["i"])]
        task = manager.create_task("outer", budget=Budget(steps=8, units=4), subtasks=parts)
        manager.begin_task(task)
        for _ in range(5):
            await asyncio.sleep(0.7)
            await manager.close()
            manager = start()
            manager.resume()

        assert await manager.execute_task(task) == {"i": {"p": 2, "q": 2}, "j": {"p": 2, "q": 2}}

    @virtual_time
    async def test_who_ignores_that_he_has_spent_too_much_has_not_done_it(self) -> None:
        async def spends(context: TaskContext) -> str:
            try:
                context.spend(100)
            finally:
                return "done"  # noqa: B012 - whoever does so

        manager = manager_of(a=spends, b=fine)

        with pytest.raises(TaskFailedError) as caught:
            await manager.execute_task(manager.create_task("a", budget=Budget(units=10)))

        assert caught.value.failed == "task_budget"

    @virtual_time
    async def test_a_planner_that_takes_all_apart_again_and_again_is_stopped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan_usage, "MOST_DESCENDANTS", 100)
        manager = manager_of(a=fine)
        manager.planners.register("grows", lambda _: [Subtask(f"p{number}", "grows") for number in range(4)])

        with pytest.raises(TaskFailedError, match="more than 100 parts, those of its parts included") as caught:
            await manager.execute_task(manager.create_task("grows"))

        assert (caught.value.failed, manager.count() <= 101) == ("invalid_task", True)
        assert manager.tasks(open_only=True) == []


class TestAsking:
    @virtual_time
    async def test_the_question_of_a_part_is_one_of_the_whole_and_so_is_the_answer(self) -> None:
        manager = manager_of(a=asks, b=fine)
        task = manager.create_task("whole", subtasks=[Subtask("p", "a"), Subtask("q", "b")])
        manager.begin_task(task)

        asking = await waits(manager, task)
        manager.answer(task, "yes")

        assert asking.question is not None
        assert (asking.state, asking.question.step, asking.question.question, asking.question.schema) == (
            TaskState.INPUT_REQUIRED,
            "p/ask",
            "Go on?",
            {"type": "string"},
        )
        assert await manager.execute_task(task) == {"p": "yes", "q": "fine"}
        assert part_of(manager, task).steps == {"ask": "yes"}

    @virtual_time
    async def test_who_answers_the_part_answers_the_whole(self) -> None:
        manager = manager_of(a=asks)
        task = manager.create_task("whole", subtasks=[Subtask("p", "a"), Subtask("q", "a", {}, ["p"])])
        manager.begin_task(task)
        await waits(manager, task)

        manager.answer(part_of(manager, task), "yes")
        await manager.next_change(task)
        answered = manager.get_task_status(task)
        manager.answer(await waits(manager, task), "no")

        assert (answered.question, answered.steps) == (None, {"p/ask": "yes"})
        assert await manager.execute_task(task) == {"p": "yes", "q": "no"}

    @virtual_time
    async def test_several_parts_ask_one_after_the_other(self) -> None:
        async def allowed(context: TaskContext) -> Any:
            return await context.ask("May I?", auth=True)

        manager = manager_of(a=asks, b=allowed)
        manager.planners.declare("inner", [Subtask("x", "b")])
        task = manager.create_task("whole", subtasks=[Subtask("p", "a"), Subtask("q", "inner"), Subtask("r", "a")])
        manager.begin_task(task)

        asked = []
        for _ in range(3):
            question = (await waits(manager, task)).question
            assert question is not None
            asked.append(question)
            manager.answer(task, question.step)

        assert sorted(question.step for question in asked) == ["p/ask", "q/x/ask", "r/ask"]
        assert [isinstance(one, AuthRequired) for one in asked] == [one.step == "q/x/ask" for one in asked]
        assert await manager.execute_task(task) == {"p": "p/ask", "q": {"x": "q/x/ask"}, "r": "r/ask"}

    @virtual_time
    async def test_the_question_of_a_part_that_has_ended_is_taken_back(self) -> None:
        async def breaks(context: TaskContext) -> None:
            async with asyncio.timeout(5):
                await context.ask("Go on?")

        manager = manager_of(a=breaks, b=hangs)
        task = manager.create_task(
            "whole", strategy="first", timeout=100, subtasks=[Subtask("p", "a"), Subtask("q", "b")]
        )
        manager.begin_task(task)
        await waits(manager, task)

        await asyncio.sleep(6)

        now = manager.get_task_status(task)
        assert (now.state, now.question, part_of(manager, task).state) == (TaskState.WORKING, None, TaskState.FAILED)
        await manager.close()

    @pytest.mark.parametrize("answered", ["the whole", "the part"])
    @virtual_time
    async def test_an_answer_that_was_not_passed_on_before_a_crash_is_passed_on_after_it(self, answered: str) -> None:
        log = MemoryTaskLog()
        former = manager_of(log, a=asks)
        task = former.create_task("whole", subtasks=[Subtask("p", "a")])
        former.begin_task(task)
        await waits(former, task)
        await former.close()
        before = manager_of(log, a=asks)  # drives nothing
        before.answer(task if answered == "the whole" else part_of(before, task), "yes")
        manager = manager_of(log, a=asks)
        manager.resume()

        assert await manager.execute_task(task) == {"p": "yes"}
        assert manager.get_task_status(task).steps == {"p/ask": "yes"}

    @virtual_time
    async def test_a_question_outlives_a_restart_and_is_asked_once(self) -> None:
        log = MemoryTaskLog()
        former = manager_of(log, a=asks)
        task = former.create_task("whole", subtasks=[Subtask("p", "a")])
        former.begin_task(task)
        await waits(former, task)
        await former.close()
        manager = manager_of(log, a=asks)
        manager.resume()
        await asyncio.sleep(5)

        asking = manager.get_task_status(task)
        manager.answer(task, "yes")

        assert asking.state is TaskState.INPUT_REQUIRED
        assert await manager.execute_task(task) == {"p": "yes"}
        asked = [event for event in manager.events(task) if event.change.__struct_config__.tag == "input_required"]
        assert len(asked) == 1
