"""The tasks of a control plane: whose they are, how many, what is kept, and what goes on after a restart."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import TaskEvent
from tekton.a2a.task_log import MemoryTaskLog, TaskQuery
from tekton.a2a.task_manager import Subtask
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import ANONYMOUS, Principal
from tekton.auth.roles import RoleTable
from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore as MemoryRegistryStore
from tekton.core.idempotency import Claim, carrying
from tekton.gateway.errors import PermissionDeniedError, UnavailableError
from tekton.service.agent_calls import AgentCalls
from tekton.service.agents import Agents
from tekton.service.conversations import Conversations
from tekton.service.open_tasks import OpenTasks
from tekton.service.tasks import Tasks
from tekton.service.work import MemoryStore, Work
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import (
    ConversationNotFoundError,
    InvalidTaskError,
    NoAgentAvailableError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    TaskNotFoundError,
    TaskStateError,
    TooManyTasksError,
)


def somebody(name: str, *roles: str, component_id: str | None = None) -> Principal:
    return Principal(
        subject=name,
        roles=roles,
        component_id=component_id,
        via="token",
        grants=RoleTable().grants(roles, component_id),
    )


ADA = somebody("ada", "component", component_id="ada")
BOB = somebody("bob", "component", component_id="bob")
OTTO = somebody("otto", "operator")


class FullStore(MemoryStore):
    """A store whose disk has no room as long as `room` is cleared."""

    def __init__(self) -> None:
        super().__init__()
        self.room = True

    async def flush(self) -> None:
        self.full = not self.room
        if self.full:
            raise StorageFullError("no room")


class BusyLog(MemoryTaskLog):
    """A log whose queue is full while `busy`."""

    busy = False

    def append(self, *args: Any, **more: Any) -> list[TaskEvent]:
        if self.busy:
            raise StorageBusyError(1, 1.0)
        return super().append(*args, **more)


class Place:
    """Tasks, with agents that do some."""

    def __init__(self, work: Work, config: TektonConfig, components: ComponentRegistry | None = None) -> None:
        self.work = work
        self.components = components or ComponentRegistry()
        self.agents = Agents(self.components)
        self.conversations = Conversations(work)
        self.tasks = Tasks(work, self.agents, self.conversations, self.components, remote=AgentCalls(), config=config)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.echoed = 0
        registry = self.agents.registry
        registry.register_agent("echo", ["echo"], handler=self._echo)
        registry.register_agent("waiter", ["waiting"], handler=self._wait)
        registry.register_agent("asker", ["asking"], handler=self._ask)
        registry.register_agent("failer", ["failing"], handler=self._fail)

    async def _echo(self, context: TaskContext, text: str = "") -> str:
        def say() -> str:
            self.echoed += 1
            return text

        return str(await context.step("say", say))

    async def _wait(self, context: TaskContext) -> str:
        await context.step("prepare", lambda: None)
        self.begun.set()
        await self.go_on.wait()
        return "done"

    async def _ask(self, context: TaskContext) -> Any:
        return await context.ask("Really?")

    async def _fail(self) -> None:
        raise ValueError("no")

    async def done(self, caller: Principal, task_type: str, **more: Any) -> Task:
        task = await self.tasks.create(caller, task_type, **more)
        return await self.tasks.wait(task.task_id, 10)


Config = Callable[..., TektonConfig]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    def load(**settings: Any) -> TektonConfig:
        of_talks = {name: settings.pop(name) for name in list(settings) if "conversation" in name}
        content = {"tekton": {"tasks": settings, "conversations": of_talks}}
        (tmp_path / "tekton.json").write_text(json.dumps(content))
        return TektonConfig.load(tmp_path / "tekton.json", environ={"HOME": str(tmp_path)})

    return load


@asynccontextmanager
async def placed(work: Work, config: TektonConfig) -> AsyncIterator[Place]:
    place = Place(work, config)
    place.tasks.resume(patience=0.0)
    try:
        yield place
    finally:
        await place.tasks.stop()
        await place.components.close()


@pytest.fixture
async def place(config: Config) -> AsyncIterator[Place]:
    async with placed(Work(MemoryStore()), config()) as place:
        yield place


async def test_a_task_belongs_to_who_has_created_it(place: Place) -> None:
    task = await place.done(ADA, "echo", inputs={"text": "hello"})

    assert (task.owner, task.state, task.result) == ("ada", TaskState.COMPLETED, "hello")
    assert place.tasks.find(ADA, task.task_id) == task
    assert place.tasks.find(OTTO, task.task_id) == task
    with pytest.raises(TaskNotFoundError) as stranger:
        place.tasks.find(BOB, task.task_id)
    with pytest.raises(TaskNotFoundError) as nobody:
        place.tasks.find(BOB, task.task_id[:-1] + "x")
    assert str(stranger.value).replace(task.task_id, "") == str(nobody.value).replace(task.task_id[:-1] + "x", "")


async def test_a_replica_owns_what_its_component_does(place: Place) -> None:
    replica = somebody("ada.2", "component", component_id="ada.2")

    task = await place.tasks.create(replica, "echo")

    assert task.owner == "ada"
    assert place.tasks.find(ADA, task.task_id).task_id == task.task_id


async def test_anonymous_callers_own_together_what_they_create(place: Place) -> None:
    task = await place.tasks.create(ANONYMOUS, "echo")

    assert task.owner == "anonymous"
    assert place.tasks.find(ANONYMOUS, task.task_id).task_id == task.task_id
    with pytest.raises(TaskNotFoundError):
        place.tasks.find(ADA, task.task_id)


async def test_only_who_manages_tasks_lists_those_of_others(place: Place) -> None:
    mine = await place.tasks.create(ADA, "echo")
    his = await place.tasks.create(BOB, "echo")

    assert [task.task_id for task in place.tasks.search(ADA, TaskQuery(owner="ada"))] == [mine.task_id]
    assert {task.task_id for task in place.tasks.search(OTTO, TaskQuery())} == {mine.task_id, his.task_id}
    for query in (TaskQuery(), TaskQuery(owner="bob")):
        with pytest.raises(PermissionDeniedError):
            place.tasks.search(ADA, query)


async def test_what_nobody_can_do_is_refused_and_creates_nothing(place: Place) -> None:
    for wrong, error in (("flying", NoAgentAvailableError), ("no type!", Exception)):
        with pytest.raises(error):
            await place.tasks.create(ADA, wrong)
    with pytest.raises(InvalidTaskError):
        await place.tasks.create(ADA, "echo", {"text": object()})

    assert place.tasks.manager.count() == len(place.tasks.open) == 0


async def test_a_task_is_one_of_a_conversation_only_of_those_who_take_part(place: Place) -> None:
    await place.conversations.begin(BOB, ["cora"], conversation_id="plans")

    task = await place.tasks.create(BOB, "echo", conversation_id="plans")

    assert task.created.conversation_id == "plans"
    for conversation_id in ("plans", "nothing"):
        with pytest.raises(ConversationNotFoundError):
            await place.tasks.create(ADA, "echo", conversation_id=conversation_id)
    assert place.tasks.manager.count() == 1


async def test_as_many_are_open_as_may_be_and_those_that_are_over_do_not_count(config: Config) -> None:
    limits = config(max_open_tasks=3, max_open_tasks_per_owner=2)
    async with placed(Work(MemoryStore()), limits) as place:
        await place.done(ADA, "echo")
        mine = [await place.tasks.create(ADA, "waiting") for _ in range(2)]

        with pytest.raises(TooManyTasksError) as own:
            await place.tasks.create(ADA, "waiting")
        await place.tasks.create(BOB, "waiting")
        with pytest.raises(TooManyTasksError) as all_:
            await place.tasks.create(BOB, "waiting")

        assert (own.value.limit, own.value.owner) == (2, "ada")
        assert (all_.value.limit, all_.value.owner) == (3, None)
        await place.tasks.cancel(ADA, mine[0].task_id)
        await place.tasks.create(ADA, "waiting")
        assert (len(place.tasks.open), place.tasks.open.of("ada")) == (3, 2)


async def test_a_task_that_finds_no_room_in_memory_is_refused_before_its_key_is_kept(
    tmp_path: Path, config: Config
) -> None:
    work = await Work.open(tmp_path)
    async with placed(work, config(max_open_size="64K", max_open_size_per_owner="64K")) as place:
        claim = await place.components.idempotency_keys.begin("ada", "key", b"request")
        assert isinstance(claim, Claim)

        with carrying(claim), pytest.raises(TooManyTasksError) as refused:
            await place.tasks.create(ADA, "echo", {"text": "x" * 70_000})

        assert (refused.value.what, refused.value.limit) == ("bytes", 65_536)
        assert (claim.touched, place.tasks.manager.count()) == (False, 0)
        claim.abandon()
        assert (await place.done(ADA, "echo")).state is TaskState.COMPLETED
    await work.stop()


async def test_parts_do_not_count(place: Place) -> None:
    parts = [Subtask(name, "waiting") for name in ("one", "two")]

    await place.tasks.create(ADA, "both", subtasks=parts)
    await place.begun.wait()

    assert place.tasks.manager.count() == 3
    assert len(place.tasks.open) == 1
    place.go_on.set()


async def test_a_conversation_is_forgotten_by_its_age_unless_a_task_of_it_is_open(place: Place) -> None:
    for name in ("plans", "talk"):
        await place.conversations.begin(ADA, conversation_id=name)
    task = await place.tasks.create(ADA, "waiting", conversation_id="plans")
    place.tasks.talk_retention.age = -1.0  # all are too old

    assert await place.tasks.talk_retention.sweep() == 1
    assert [record.conversation_id for record in place.conversations.of_participant("ada")] == ["plans"]

    await place.tasks.cancel(ADA, task.task_id)
    place.tasks.talk_retention.age = -2.0
    assert await place.tasks.talk_retention.sweep() == 1


async def test_a_reload_changes_the_limits(place: Place, config: Config) -> None:
    place.tasks.adopt(
        config(max_open_tasks_per_owner=1, task_age=5, task_limit=7, conversation_age=9, max_conversation_size="1M")
    )

    await place.tasks.create(ADA, "waiting")

    with pytest.raises(TooManyTasksError):
        await place.tasks.create(ADA, "waiting")
    assert (place.tasks.retention.age, place.tasks.retention.most) == (5, 7)
    assert (place.tasks.talk_retention.age, place.conversations.limits.size_bytes) == (9, 1 << 20)


async def test_who_waits_gets_it_when_it_asks_something(place: Place) -> None:
    task = await place.tasks.create(ADA, "asking")

    asked = await place.tasks.wait(task.task_id, 10)
    answered = await place.tasks.answer(ADA, task.task_id, "yes")
    done = await place.tasks.wait(task.task_id, 10)

    assert asked.question is not None
    assert (asked.state, asked.question.question) == (TaskState.INPUT_REQUIRED, "Really?")
    assert answered.state is TaskState.WORKING
    assert (done.state, done.result) == (TaskState.COMPLETED, "yes")


async def test_who_waits_no_longer_gets_it_as_it_is(place: Place) -> None:
    task = await place.tasks.create(ADA, "waiting")

    assert (await place.tasks.wait(task.task_id, 0.01)).state in (TaskState.SUBMITTED, TaskState.WORKING)


async def test_a_stop_lets_nobody_wait_and_leaves_open_what_is_open(place: Place) -> None:
    task = await place.tasks.create(ADA, "waiting")
    await place.begun.wait()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(place.tasks.wait(task.task_id, 1000))
        while not place.tasks.manager._journal._waiting:  # noqa: ASYNC110 - nothing of ours tells
            await asyncio.sleep(0)
        await place.tasks.stop()

    assert waiting.result().state is TaskState.WORKING
    with pytest.raises(UnavailableError):
        await place.tasks.create(ADA, "echo")


async def test_what_is_open_goes_on_after_a_restart_and_does_nothing_twice(tmp_path: Path, config: Config) -> None:
    work = await Work.open(tmp_path)
    async with placed(work, config()) as place:
        task = await place.tasks.create(ADA, "waiting")
        await place.begun.wait()
    await work.stop()

    work = await Work.open(tmp_path)
    async with placed(work, config()) as place:
        assert (len(place.tasks.open), place.tasks.open.of("ada")) == (1, 1)
        place.go_on.set()
        done = await place.tasks.wait(task.task_id, 10)
        events = await place.tasks.read(task.task_id, 0, 100)
    await work.stop()

    assert (done.state, done.result, done.owner) == (TaskState.COMPLETED, "done", "ada")
    names = [str(event.change.__struct_config__.tag) for event in events]
    assert names == ["created", "leased", "step_completed", "leased", "completed"]


async def test_while_the_disk_is_full_nothing_changes_and_all_can_be_read(config: Config) -> None:
    store = FullStore()
    async with placed(Work(store), config()) as place:
        task = await place.tasks.create(ADA, "waiting")
        asking = await place.tasks.create(ADA, "asking")
        await place.tasks.wait(asking.task_id, 10)
        store.room, store.full = False, True
        before = place.tasks.manager.count()

        for refused in (
            place.tasks.create(ADA, "echo"),
            place.tasks.cancel(ADA, task.task_id),
            place.tasks.answer(ADA, asking.task_id, "yes"),
        ):
            with pytest.raises(StorageFullError):
                await refused

        assert place.tasks.manager.count() == before
        assert not place.tasks.find(ADA, task.task_id).state.over
        assert place.tasks.find(ADA, asking.task_id).state is TaskState.INPUT_REQUIRED
        assert len(await place.tasks.read(asking.task_id, 0, 100)) >= 3
        store.room = True
        assert (await place.tasks.cancel(ADA, task.task_id)).state is TaskState.CANCELED


async def test_a_task_that_was_not_kept_is_not_done_when_there_is_room_again(config: Config) -> None:
    store = FullStore()
    async with placed(Work(store), config()) as place:
        store.room = False
        with pytest.raises(StorageFullError):
            await place.tasks.create(ADA, "echo")
        store.room = True
        await place.work.flush()

        [left] = place.tasks.search(ADA, TaskQuery(owner="ada"))
        assert (left.state, place.echoed, len(place.tasks.open)) == (TaskState.CANCELED, 0, 0)


async def test_work_that_was_given_up_because_it_could_not_be_kept_is_taken_up_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.service.tasks.UPKEEP", 0.01)
    store = MemoryStore()
    store.tasks = log = BusyLog()
    async with placed(Work(store), config()) as place:
        task = await place.tasks.create(ADA, "waiting")
        await place.begun.wait()
        log.busy = True
        place.go_on.set()
        async with asyncio.timeout(10):
            while not place.tasks.manager.has_given_up:  # noqa: ASYNC110 - nothing of ours tells
                await asyncio.sleep(0.001)
        log.busy = False

        done = await place.tasks.wait(task.task_id, 10)

        assert (done.state, done.epoch) == (TaskState.COMPLETED, 2)


async def test_without_a_file_every_call_about_tasks_is_refused(tmp_path: Path, config: Config) -> None:
    async with placed(Work(None), config()) as place:
        for refused in (
            lambda: place.tasks.find(ADA, "a"),
            lambda: place.tasks.search(ADA, TaskQuery(owner="ada")),
        ):
            with pytest.raises(StorageError):
                refused()
        for refusing in (place.tasks.create(ADA, "echo"), place.tasks.cancel(ADA, "a"), place.tasks.wait("a", 1)):
            with pytest.raises(StorageError):
                await refusing
        assert place.tasks.owner_of("a") is None


async def test_a_task_is_forgotten_with_its_parts(place: Place) -> None:
    task = await place.done(ADA, "both", subtasks=[Subtask("one", "echo"), Subtask("two", "echo")])

    await place.tasks.forget(ADA, task.task_id)

    assert place.tasks.manager.count() == 0


async def test_what_is_open_or_a_part_or_tried_again_is_not_forgotten(place: Place) -> None:
    waiting = await place.tasks.create(ADA, "waiting")
    whole = await place.done(ADA, "both", subtasks=[Subtask("one", "echo")])
    failed = await place.done(ADA, "failing")
    place.agents.registry.register_agent("failer", ["failing"], handler=place._wait, replace=True)
    again = await place.tasks.retry(ADA, failed.task_id)

    for task_id in (waiting.task_id, whole.plan[0].task_id, failed.task_id):
        with pytest.raises(TaskStateError):
            await place.tasks.forget(ADA, task_id)
    assert place.tasks.manager.count() == 5

    place.go_on.set()
    await place.tasks.wait(again.task_id, 10)
    await place.tasks.forget(ADA, failed.task_id)
    assert place.tasks.find(ADA, again.task_id).state is TaskState.COMPLETED


async def test_a_retry_is_a_task_of_the_same_owner_and_counts(config: Config) -> None:
    async with placed(Work(MemoryStore()), config(max_open_tasks_per_owner=1)) as place:
        failed = await place.done(ADA, "failing")
        await place.tasks.create(ADA, "waiting")

        with pytest.raises(TooManyTasksError):
            await place.tasks.retry(OTTO, failed.task_id)
        place.tasks.open.most_of_one = 2
        again = await place.tasks.retry(OTTO, failed.task_id)

        assert (again.owner, again.created.retry_of) == ("ada", failed.task_id)


async def test_events_are_read_when_they_are_durable(place: Place) -> None:
    task = await place.done(ADA, "echo")

    events = await place.tasks.read(task.task_id, 1, 2)

    assert [event.number for event in events] == [2, 3]
    assert SYSTEM_CLOCK.time() - events[0].at < 60


async def test_a_task_whose_key_cannot_be_kept_is_not_created(config: Config) -> None:
    store = FaultyStore(MemoryRegistryStore())
    place = Place(Work(MemoryStore()), config(), ComponentRegistry(store=store))
    keys = place.components.idempotency_keys
    claim = await keys.begin("ada", "key", b"request")
    assert isinstance(claim, Claim)
    store.full = True

    with carrying(claim), pytest.raises(StorageFullError):
        await place.tasks.create(ADA, "echo")

    assert place.tasks.manager.count() == 0
    store.full = False
    with carrying(claim):
        await place.tasks.create(ADA, "echo")
    assert claim.touched
    await place.tasks.stop()
    await place.components.close()


def test_who_is_about_to_create_one_has_a_place_already() -> None:
    places = OpenTasks(2, 1)

    with places.room("ada"), places.room("bob"):
        for owner in ("ada", "cora"):
            with pytest.raises(TooManyTasksError), places.room(owner):
                raise AssertionError

    assert (len(places), places.of("ada")) == (0, 0)
