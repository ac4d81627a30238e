"""What is durable when, what is in memory, and what a full disk does."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path

import pytest

from tekton.a2a.conversation import Conversation
from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.message import AgentMessage
from tekton.a2a.push_store import PushConfig
from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget, Canceled, Completed, Created, Leased, StepCompleted
from tekton.a2a.task_log import TaskQuery
from tekton.a2a.work import conversations
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.work_file import WorkFile
from tekton.a2a.work.work_store import WorkStore
from tekton.a2a.work.writer import WorkWriter
from tekton.core.component_lifecycle import database
from tekton.utils.tekton_errors import (
    StorageError,
    StorageFullError,
    StorageUnknownError,
    TaskNotFoundError,
)


class StandingFile(WorkFile):
    """Its writing fails with *error*, as long as there is one."""

    error: Exception | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, 0)

    def write(self, batch: WorkBatch) -> None:
        if self.error is not None:
            raise self.error
        super().write(batch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[WorkStore]:
    StandingFile.error = None
    made = await WorkStore.open(path, make_file=StandingFile)
    yield made
    StandingFile.error = None
    with suppress(StorageError):
        await made.close()


def created(task_id: str, text: str = "") -> Created:
    return Created("review", {"text": text}, 100.0, Budget(), task_id)


def done(store: WorkStore, task_id: str, text: str = "") -> None:
    store.tasks.append(task_id, [created(task_id, text), Leased("w", "ada")], 1.0)
    store.tasks.append(task_id, [StepCompleted("s", text), Completed(1)], 2.0, epoch=1)


async def contents(path: Path) -> tuple[list[str], list[str], list[str]]:
    """The tasks, the conversations of ann and the waiting pushes that another one finds."""
    again = await WorkStore.open(path)
    found = (
        [task.task_id for task in again.tasks.tasks()],
        [one.conversation_id for one in again.conversations.of_participant("ann")],
        [one.config_id for one in again.push.waiting()],
    )
    await again.close()
    return found


# Durability


async def test_what_was_flushed_is_there_when_nothing_more_could_be_written(store: WorkStore, path: Path) -> None:
    done(store, "a")
    Conversation("talk", "ann", store=store.conversations)
    store.tasks.append("b", [created("b")], 1.0)
    store.push.put(PushConfig("b", "hook", "https://example.org"))
    await store.flush()
    StandingFile.error = StorageUnknownError("the disk is gone")
    store.tasks.append("c", [created("c")], 1.0)

    with pytest.raises(StorageUnknownError):
        await store.flush()

    assert [task.task_id for task in store.tasks.tasks()] == ["a", "b", "c"]
    with pytest.raises(StorageUnknownError):
        await store.close()
    assert await contents(path) == (["a", "b"], ["talk"], ["hook"])


async def test_one_flush_is_for_all_three(store: WorkStore) -> None:
    store.tasks.append("a", [created("a")], 1.0)
    Conversation("talk", "ann", store=store.conversations)
    assert store.waiting == 2

    await store.push.flush()

    assert store.waiting == 0
    assert sum(store.commit_seconds.read().buckets) == 1


async def test_closing_writes_what_is_queued_and_takes_nothing_any_more(store: WorkStore, path: Path) -> None:
    store.tasks.append("a", [created("a")], 1.0)

    await store.close()
    await store.close()

    assert await contents(path) == (["a"], [], [])
    with pytest.raises(StorageError, match="closed"):
        store.tasks.append("b", [created("b")], 1.0)


async def test_an_append_that_is_refused_leaves_nothing_in_memory_either(store: WorkStore) -> None:
    store.tasks.append("a", [created("a")], 1.0)
    told: list[StorageError] = []
    store.add_failure_listener(told.append)
    StandingFile.error = StorageUnknownError("the disk is gone")
    with pytest.raises(StorageUnknownError):
        await store.flush()

    changes: list[Callable[[], object]] = [
        lambda: store.tasks.append("a", [Canceled()], 1.0),
        lambda: store.tasks.append("b", [created("b")], 1.0),
        lambda: store.conversations.create(ConversationRecord("c", "ann", ("ann",), 1.0, 1.0)),
        lambda: store.push.put(PushConfig("a", "hook", "https://example.org")),
    ]
    for change in changes:
        with pytest.raises(StorageUnknownError):
            change()

    assert [(task.task_id, task.state) for task in store.tasks.tasks()] == [("a", TaskState.SUBMITTED)]
    assert store.tasks.tasks(open_only=True) == store.tasks.find(TaskQuery()) == store.tasks.tasks()
    assert (store.conversations.of_participant("ann"), store.push.of_task("a")) == ([], [])
    assert told == [store.failure]


# Memory


async def test_tasks_that_are_over_leave_memory_when_their_end_is_on_the_disk(
    store: WorkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.tasks._over._most = 1000
    for number in range(20):
        done(store, f"t{number:02}", "x" * 100)
        store.push.put(PushConfig(f"t{number:02}", "hook", "https://example.org", delivered=4))
    store.tasks.append("open", [created("open")], 1.0)
    before = store.tasks.tasks()
    assert (len(store.tasks._live), len(store.push._live)) == (21, 20)

    await store.flush()

    assert (list(store.tasks._live), list(store.push._live)) == (["open"], [])
    assert 0 < len(store.tasks._over) < 5
    assert store.tasks.tasks() == before
    assert store.tasks.read("t03", 2) == store.tasks.read("t03")[2:]
    assert store.push.of_task("t03") == [PushConfig("t03", "hook", "https://example.org", delivered=4)]


async def test_conversations_leave_memory_when_they_are_on_the_disk(store: WorkStore) -> None:
    store.conversations._still._most = 5 * conversations._FRAME
    talks = [Conversation(f"c{number:02}", "ann", store=store.conversations) for number in range(20)]
    for talk in talks:
        talk.add_message(AgentMessage("ann", "hello", {"n": talk.conversation_id}))
    before = store.conversations.of_participant("ann")

    await store.flush()

    assert len(store.conversations._live) == 0
    assert len(store.conversations._still) < 6
    assert store.conversations.of_participant("ann") == before
    assert [message.content for message in talks[0].messages()] == ["hello"]
    assert talks[0].add_message(AgentMessage("ann", "again")) == 2
    assert talks[0].context == {"n": "c00"}


async def test_what_was_deleted_is_taken_away_by_and_by(
    store: WorkStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.a2a.work.work_file._BURIED", 2)
    monkeypatch.setattr(WorkWriter._go_on, "__defaults__", (None,))  # it is tidied here, and not a second later
    done(store, "a")
    store.push.put(PushConfig("a", "hook", "https://example.org"))
    talk = Conversation("talk", "ann", store=store.conversations)
    for number in range(5):
        talk.add_message(AgentMessage("ann", number))
    await store.flush()

    store.tasks.delete("a")
    store.conversations.delete("talk")
    await store.flush()
    assert await asyncio.to_thread(tables, path) == (4, 5, 5, 1, 1)
    while await asyncio.wrap_future(store._desk.submit(store._file.tidy)):
        pass

    assert await asyncio.to_thread(tables, path) == (0, 0, 0, 0, 0)


def tables(path: Path) -> tuple[int, ...]:
    names = ("events", "messages", "message_ids", "contexts", "pushes")
    with database.reading(path) as connection:
        return tuple(connection.execute(f"SELECT count(*) FROM {name}").get for name in names)


async def test_a_second_thread_reads_while_the_first_one_writes(store: WorkStore) -> None:
    stop = False
    seen: list[int] = []

    def read() -> None:
        while not stop:
            tasks = [task.task_id for task in store.tasks.tasks(limit=10_000)]
            assert tasks == sorted(set(tasks))
            found = [task.task_id for task in store.tasks.find(TaskQuery(), limit=10_000)]
            assert found == sorted(set(found), reverse=True)
            assert set(tasks) <= set(found)
            for task_id in tasks[:3]:
                with suppress(TaskNotFoundError):
                    assert len(store.tasks.read(task_id)) == store.tasks.task(task_id).number == 4
            talks = store.conversations.of_participant("ann", limit=10_000)
            for talk in talks:
                assert len(store.conversations.read(talk.conversation_id, 0, 1000)) >= talk.last
            seen.append(len(tasks))

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    talk = Conversation("talk", "ann", store=store.conversations)
    for number in range(150):
        done(store, f"t{number:03}")
        talk.add_message(AgentMessage("ann", number))
        if number % 3 == 0:
            await store.flush()
    stop = True
    await reading
    assert seen == sorted(seen)


# No room


async def fill(store: WorkStore) -> None:
    for number in count():
        done(store, f"t{number:04}", "x" * 5000)
        await store.flush()


async def test_a_full_disk_refuses_what_comes_and_loses_nothing(
    tmp_path: Path, memory_disk: Callable[[Path, str], AbstractContextManager[Path]]
) -> None:
    with memory_disk(tmp_path / "disk", "size=3m") as disk:
        store = await WorkStore.open(disk / "work.db", make_file=lambda path: WorkFile(path, 0))
        with pytest.raises(StorageFullError):
            await fill(store)
        assert (store.full, store.failure) == (True, None)
        assert store.tasks.task("t0000").state is TaskState.COMPLETED
        done(store, "last")
        with pytest.raises(StorageFullError):
            await store.flush()
        assert store.tasks.task("last").state is TaskState.COMPLETED

        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)  # noqa: ASYNC221
        await store.flush()

        assert not store.full
        before = [task.task_id for task in store.tasks.tasks(limit=10_000)]
        await store.close()
        assert (await contents(disk / "work.db"))[0] == before[:100]


async def test_what_finds_no_room_when_the_store_is_closed_is_told(store: WorkStore, path: Path) -> None:
    store.tasks.append("a", [created("a")], 1.0)
    await store.flush()
    StandingFile.error = StorageFullError("no room")
    store.tasks.append("b", [created("b")], 1.0)

    with pytest.raises(StorageFullError):
        await store.close()

    assert await contents(path) == (["a"], [], [])


async def test_who_looks_through_all_tasks_in_another_thread_holds_up_nobody(store: WorkStore) -> None:
    store.tasks.append("old", [Created("review", {}, 100.0, Budget(), "old"), Canceled()], 1.0)
    await store.flush()
    with store._searcher._lock:  # as if a search took long
        searching = asyncio.create_task(asyncio.to_thread(store.tasks.find, TaskQuery()))
        await asyncio.sleep(0)
        assert [event.number for event in store.tasks.read("old")] == [1, 2]
        open_ones = store.tasks.find(TaskQuery(states=frozenset({TaskState.SUBMITTED})))

    assert (open_ones, [task.task_id for task in await searching]) == ([], ["old"])


async def test_a_task_that_ends_while_tasks_are_counted_in_another_thread_counts_once(store: WorkStore) -> None:
    store.tasks.append("a", [created("a")], 1.0)
    await store.flush()
    loop = asyncio.get_running_loop()

    async def end() -> None:
        store.tasks.append("a", [Canceled()], 2.0)
        await store.flush()

    class Meanwhile(TaskQuery):
        """Wants all; the first that it looks at ends then."""

        def fits(self, task: Task) -> bool:
            if not task.state.over:
                asyncio.run_coroutine_threadsafe(end(), loop).result()
            return True

    assert await asyncio.to_thread(store.tasks.count_of, Meanwhile()) == 1
