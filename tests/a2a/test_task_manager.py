"""Tasks as whoever wants something sees them."""

import asyncio
from typing import Any

import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import TaskState
from tekton.a2a.task_event import AttemptFailed, TaskEvent
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskChange, TaskManager, TaskQuery
from tekton.a2a.task_steps import TaskContext
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import (
    AgentUnreachableError,
    InvalidIdError,
    InvalidTaskError,
    NoAgentAvailableError,
    StorageBusyError,
    StorageFullError,
    TaskCycleError,
    TaskFailedError,
    TaskNotFoundError,
    TaskStateError,
)
from tekton.utils.trace_context import CURRENT, TraceContext, new_trace


class BusyLog(MemoryTaskLog):
    """A log whose queue is full while `busy`."""

    busy = False

    def append(self, *args: Any, **more: Any) -> list[TaskEvent]:
        if self.busy:
            raise StorageBusyError(1, 1.0)
        return super().append(*args, **more)


def manager_with(handler: Any = None, log: MemoryTaskLog | None = None) -> TaskManager:
    registry = AgentRegistry()
    registry.register_agent("ada", ["review"], handler=handler)
    return TaskManager(agent_registry=registry, log=log)


async def asks(context: TaskContext) -> list[Any]:
    return [await context.ask("first?"), await context.ask("second?")]


async def has_state(manager: TaskManager, task_id: str, state: TaskState, number: int = 0) -> None:
    async with asyncio.timeout(5):
        while (now := manager.get_task_status(task_id)).state is not state or now.number < number:
            await manager.changed(manager.version)


class TestTraces:
    async def test_a_task_and_its_parts_say_in_which_trace_it_was_wanted(self) -> None:
        registry = AgentRegistry()
        registry.register_agent("ada", ["x"], handler=lambda: "done")
        manager, here = TaskManager(registry), new_trace()
        token = CURRENT.set(here)
        task = manager.create_task("feature", subtasks=[Subtask("a", "x")])
        CURRENT.reset(token)
        await manager.execute_task(task)

        (part,) = manager.get_task_status(task).plan
        assert task.created.trace == here.traceparent()
        assert manager.get_task_status(part.task_id).created.trace == here.traceparent()

    async def test_trying_again_belongs_to_the_trace_of_who_wants_that(self) -> None:
        manager = manager_with(asks)
        token = CURRENT.set(new_trace())
        task = manager.create_task("review", {})
        manager.cancel_task(task)
        CURRENT.set(here := new_trace())
        again = manager.retry_task(task)
        CURRENT.reset(token)

        assert again.created.trace == here.traceparent()

    @pytest.mark.parametrize("here", [None, new_trace(sampled=False)], ids=["no trace", "one that is not recorded"])
    def test_without_a_trace_that_is_recorded_there_is_none(self, here: TraceContext | None) -> None:
        token = CURRENT.set(here)
        task = manager_with().create_task("review", {})
        CURRENT.reset(token)

        assert task.created.trace == ""


class TestCreation:
    def test_a_task_is_there_before_it_is_executed(self) -> None:
        manager = TaskManager(AgentRegistry(), clock=ManualClock(wall=100.0))

        task = manager.create_task("review", {"code": "x"}, timeout=60, owner="ada", conversation_id="c")

        assert manager.get_task_status(task.task_id) == task
        assert (task.state, task.deadline, task.owner) == (TaskState.SUBMITTED, 160.0, "ada")
        assert (manager.tasks(), task.task_id[14]) == ([task], "7")
        assert (manager.find(TaskQuery(owner="ada")), manager.find(TaskQuery(owner="eve"))) == ([task], [])

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"task_type": "No Type"}, InvalidIdError),
            ({"inputs": {"x": object()}}, InvalidTaskError),
            ({"inputs": {"x": "y" * (1 << 20)}}, InvalidTaskError),
            ({"inputs": [1]}, InvalidTaskError),
            ({"timeout": 0}, InvalidTaskError),
            ({"timeout": float("nan")}, InvalidTaskError),
            ({"strategy": "odd"}, InvalidTaskError),
            ({"subtasks": [Subtask("a", "x", {}, ["b"]), Subtask("b", "x", {}, ["a"])]}, TaskCycleError),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: dict[str, Any], error: type[Exception]) -> None:
        manager = TaskManager(AgentRegistry())

        with pytest.raises(error):
            manager.create_task(**{"task_type": "review", **arguments})

        assert manager.tasks() == []

    def test_inputs_are_copied(self) -> None:
        inputs = {"files": ["a"]}
        task = manager_with().create_task("review", inputs)
        inputs["files"].append("b")

        assert task.inputs == {"files": ["a"]}


class TestExecution:
    async def test_an_unknown_type_is_nobodys_and_nothing_begins(self) -> None:
        manager = manager_with(list)
        task = manager.create_task("painting")

        with pytest.raises(NoAgentAvailableError):
            manager.route_task(task)
        with pytest.raises(NoAgentAvailableError):
            await manager.execute_task(task)

        assert manager.get_task_status(task).state is TaskState.SUBMITTED

    async def test_an_agent_without_a_way_to_it_is_named_and_can_be_given_one(self) -> None:
        registry = AgentRegistry()
        registry.register_agent("ada", ["review"])
        manager = TaskManager(registry)
        task = manager.create_task("review")
        with pytest.raises(AgentUnreachableError, match="agent ada cannot be reached"):
            await manager.execute_task(task)

        registry.bind("ada", lambda: "fine")

        assert await manager.execute_task(task) == "fine"

    async def test_two_that_execute_a_task_wait_for_the_same_and_later_ones_get_it_too(self) -> None:
        calls: list[str] = []

        async def once() -> int:
            calls.append("x")
            return len(calls)

        manager = manager_with(once)
        task = manager.create_task("review")

        both = await asyncio.gather(manager.execute_task(task), manager.execute_task(task.task_id))

        assert list(both) == [1, 1]
        assert await manager.execute_task(task) == 1
        assert calls == ["x"]

    async def test_a_task_outlasts_whoever_waits_for_it(self) -> None:
        manager = manager_with(asks)
        task = manager.create_task("review")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(manager.execute_task(task))
            await has_state(manager, task.task_id, TaskState.INPUT_REQUIRED)
            waiting.cancel()

        assert manager.get_task_status(task).state is TaskState.INPUT_REQUIRED
        await manager.close()

    async def test_questions_are_answered_one_after_the_other(self) -> None:
        manager = manager_with(asks)
        task = manager.create_task("review")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(manager.execute_task(task))
            for answer in ("one", {"two": 2}):
                await has_state(manager, task.task_id, TaskState.INPUT_REQUIRED)
                manager.answer(task, answer)

        assert waiting.result() == ["one", {"two": 2}]
        with pytest.raises(TaskStateError):
            manager.answer(task, "three")

    async def test_an_answer_that_is_no_json_is_refused(self) -> None:
        manager = manager_with(asks)
        task = manager.create_task("review")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(manager.execute_task(task))
            await has_state(manager, task.task_id, TaskState.INPUT_REQUIRED)
            with pytest.raises(InvalidTaskError):
                manager.answer(task, object())
            waiting.cancel()
        await manager.close()

    async def test_who_closes_leaves_tasks_open_and_says_so_to_those_who_wait(self) -> None:
        async with manager_with(asks) as manager:
            task = manager.create_task("review")
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(_error_of(manager, task.task_id))
                await has_state(manager, task.task_id, TaskState.INPUT_REQUIRED)
                await manager.close()

        assert isinstance(waiting.result(), TaskStateError)
        assert not manager.get_task_status(task).state.over

    @pytest.mark.parametrize("in_step", [False, True])
    async def test_a_full_disk_is_told_and_ends_no_task(self, in_step: bool) -> None:
        class Full(MemoryTaskLog):
            full = False

            async def flush(self) -> None:
                if self.full:
                    raise StorageFullError("no space left")

        log = Full()

        async def fills(context: TaskContext) -> int:
            log.full = len(log.read(context.task_id)) < 3
            if in_step:
                await context.step("first", list)
            return 1

        manager = manager_with(fills, log)
        task = manager.create_task("review")

        with pytest.raises(StorageFullError):
            await manager.execute_task(task)

        assert manager.get_task_status(task).failures == ()
        log.full = False
        assert await manager.execute_task(task) == 1


class TestEnds:
    async def test_what_is_over_cannot_be_called_off(self) -> None:
        manager = manager_with(lambda: 1)
        task = manager.create_task("review")
        await manager.execute_task(task)

        with pytest.raises(TaskStateError):
            manager.cancel_task(task)
        with pytest.raises(TaskStateError):
            manager.retry_task(task)
        with pytest.raises(TaskNotFoundError):
            manager.cancel_task("nobody")

    async def test_a_task_that_is_tried_again_does_not_repeat_its_steps(self) -> None:
        done: list[str] = []

        async def fails_once(context: TaskContext) -> str:
            await context.step("first", done.append, "first")
            if len(done) == 1:
                done.append("failed")
                raise OSError
            await context.step("second", done.append, "second")
            return "done"

        manager = manager_with(fails_once)
        task = manager.create_task("review", {"code": "x"})
        with pytest.raises(TaskFailedError):
            await manager.execute_task(task)

        again = manager.retry_task(task)

        assert (again.created.retry_of, again.inputs) == (task.task_id, {"code": "x"})
        assert await manager.execute_task(again) == "done"
        assert done == ["first", "failed", "second"]
        assert manager.get_task_status(task).state is TaskState.FAILED

    async def test_parts_that_were_done_are_not_done_again(self) -> None:
        done: list[str] = []

        async def work(name: str, context: TaskContext) -> str:
            await context.step("note", done.append, name)
            if name == "b" and done.count("again") == 0:
                raise OSError
            return name

        manager = manager_with(work)
        parts = [Subtask("a", "review", {"name": "a"}), Subtask("b", "review", {"name": "b"}, ["a"])]
        task = manager.create_task("feature", subtasks=parts)
        with pytest.raises(TaskFailedError):
            await manager.execute_task(task)
        done.append("again")

        assert await manager.execute_task(manager.retry_task(task)) == {"a": "a", "b": "b"}

        assert done == ["a", "b", "again"]

    async def test_a_task_that_is_over_can_be_forgotten_with_its_parts(self) -> None:
        manager = manager_with(lambda: 1)
        task = manager.create_task("review", strategy="all")
        with pytest.raises(TaskStateError):
            manager.forget_task(task)
        await manager.execute_task(task)

        manager.forget_task(task)

        assert manager.tasks() == []

    async def test_whoever_listens_hears_the_whole_life_of_a_task(self) -> None:
        manager = manager_with(lambda: 1)
        heard: list[str] = []
        enough = manager.listen(lambda change: heard.append(change.event.change.__struct_config__.tag))  # type: ignore[arg-type]
        task = manager.create_task("review")
        await manager.execute_task(task)
        enough()
        manager.create_task("review")

        assert heard == ["created", "leased", "completed"]
        assert [event.number for event in manager.events(task, 1)] == [2, 3]


async def _error_of(manager: TaskManager, task_id: str) -> Exception | None:
    try:
        await manager.execute_task(task_id)
    except TaskStateError as error:
        return error
    return None


class TestDrafts:
    async def test_nobody_knows_of_a_draft_until_it_is_added(self) -> None:
        manager = manager_with(lambda: "done")

        draft = manager.draft_task("review", {"code": "x"}, owner="ada")
        before = manager.count()
        task = manager.add_task(draft)

        assert (before, manager.count()) == (0, 1)
        assert (task.task_id, task.created) == (draft.task_id, draft.created)
        assert await manager.execute_task(task) == "done"

    def test_whether_somebody_can_be_asked_is_known_before_there_is_a_task(self) -> None:
        manager = manager_with()

        with pytest.raises(AgentUnreachableError):
            manager.check_reachable(manager.draft_task("review"))
        with pytest.raises(NoAgentAvailableError):
            manager.check_reachable(manager.draft_task("painting"))
        with pytest.raises(NoAgentAvailableError):
            manager.check_reachable(manager.draft_task("both", subtasks=[Subtask("a", "painting")]))
        manager.planners.register("both", lambda _: [])
        manager.check_reachable(manager.draft_task("both"))

        assert manager.count() == 0

    async def test_the_draft_of_a_retry_has_what_was_done(self) -> None:
        async def once(context: TaskContext) -> None:
            await context.step("parse", lambda: 7)
            raise ValueError("no")

        manager = manager_with(once)
        failed = manager.create_task("review")
        with pytest.raises(TaskFailedError):
            await manager.execute_task(failed)

        draft = manager.draft_retry(failed)

        assert (draft.created.retry_of, draft.steps, manager.count()) == (failed.task_id, {"parse": 7}, 1)


class TestBeginning:
    async def test_a_task_that_was_begun_goes_on_without_anybody_waiting(self) -> None:
        manager = manager_with(asks)
        task = manager.create_task("review")

        manager.begin_task(task)
        manager.begin_task(task.task_id)
        await has_state(manager, task.task_id, TaskState.INPUT_REQUIRED)

        assert manager.get_task_status(task).epoch == 1
        manager.cancel_task(task)
        manager.begin_task(task)
        await manager.close()

    async def test_who_waits_for_a_change_is_woken_by_one_and_by_the_end_of_the_manager(self) -> None:
        manager = manager_with(asks)
        task = manager.create_task("review")
        manager.begin_task(task)
        async with asyncio.timeout(5):
            while manager.get_task_status(task).state is not TaskState.INPUT_REQUIRED:
                await manager.next_change(task)
            async with asyncio.TaskGroup() as group:
                group.create_task(manager.next_change(task))
                await asyncio.sleep(0)
                await manager.close()

        assert manager.get_task_status(task).state is TaskState.INPUT_REQUIRED

    async def test_what_was_given_up_because_it_was_not_kept_can_be_taken_up_at_once(self) -> None:
        log = BusyLog()
        manager = manager_with(lambda: "done", log)
        task = manager.create_task("review")
        log.busy = True

        manager.begin_task(task)
        async with asyncio.timeout(5):
            while not manager.has_given_up:  # noqa: ASYNC110 - each turn of the loop is to be looked at
                await asyncio.sleep(0)
        log.busy = False

        assert manager.resume() == [task.task_id]
        assert not manager.has_given_up
        await has_state(manager, task.task_id, TaskState.COMPLETED)
        await manager.close()

    async def test_a_task_whose_failure_was_not_kept_is_given_up_too(self) -> None:
        log = BusyLog()

        async def breaks(context: TaskContext) -> None:
            await context.step("first", lambda: None)
            raise OSError("no")

        manager = manager_with(breaks, log)
        task = manager.create_task("review")

        def fill(change: TaskChange) -> None:
            log.busy = isinstance(change.event.change, AttemptFailed)

        manager.listen(fill)
        manager.begin_task(task)
        async with asyncio.timeout(5):
            while not manager.has_given_up:  # noqa: ASYNC110 - each turn of the loop is to be looked at
                await asyncio.sleep(0)
        log.busy = False

        assert manager.resume(patience=0.0) == [task.task_id]
        await has_state(manager, task.task_id, TaskState.FAILED)
        await manager.close()
