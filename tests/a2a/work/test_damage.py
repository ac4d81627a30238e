"""Damaged pages of the file with the work: what is on them is gone round, told, and all else goes on."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.message import AgentMessage
from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, Canceled, Created
from tekton.a2a.task_log import TaskQuery
from tekton.a2a.task_manager import Subtask, TaskManager
from tekton.a2a.work import damage as damage_module
from tekton.a2a.work.damage import Damage
from tekton.a2a.work.work_store import WorkStore
from tekton.core.component_lifecycle import database
from tekton.utils.tekton_errors import StorageCorruptError

COUNT = 300
ALL = [f"t{number:03}" for number in range(COUNT)]


def name(number: int) -> str:
    return f"t{number:03}"


async def filled(path: Path) -> None:
    """Tasks that are over, with an event to about a page, and conversations."""
    store = await WorkStore.open(path)
    for number in range(COUNT):
        id_ = name(number)
        created = Created("review", {"text": f"{id_} " + "é" * 1000}, 100.0, Budget(), id_, owner=f"owner-of-{id_}")
        store.tasks.append(id_, [created, Canceled("enough")], 1.0)
    for number in range(60):
        talk = ConversationRecord(f"c{number:02}", "ann", ("ann",), 1.0, 1.0, {"text": f"{number} " + "z" * 500})
        store.conversations.create(talk)
        store.conversations.append(talk.conversation_id, AgentMessage("ann", "hello"), 2.0)
    await store.close()


def damage(path: Path, text: str) -> None:
    """Change one bit where *text* stands first."""
    flip(path, path.read_bytes().index(text.encode()))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "work.db"
    await filled(path)
    return path


def ids(tasks: list[Task]) -> list[str]:
    return [task.task_id for task in tasks]


async def tidied(store: WorkStore) -> None:
    while await asyncio.wrap_future(store._desk.submit(store._file.tidy)):
        pass


async def test_lists_leave_out_a_task_whose_events_are_damaged_and_it_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, "t140 é")
    store = await WorkStore.open(path)

    left = [id_ for id_ in ALL if id_ != "t140"]
    for _ in range(2):
        assert ids(store.tasks.tasks(limit=COUNT)) == left
        assert ids(store.tasks.find(TaskQuery(), limit=COUNT)) == left[::-1]
        assert ids(store.tasks.latest(TaskQuery(), limit=COUNT)) == left[::-1]
        assert ids(store.tasks.tasks("t139", 1)) == ["t141"]
        assert ids(store.tasks.over_of("owner-of-t140")) == []
    with pytest.raises(StorageCorruptError):
        store.tasks.task("t140")

    assert store.damaged == 1
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["the task t140 cannot be read"]
    await store.close()


async def test_tasks_whose_rows_are_damaged_are_left_out_and_the_others_on_the_page_after_it_are_found(
    path: Path,
) -> None:
    damage(path, "t140owner-of-t140review")
    store = await WorkStore.open(path)

    found = ids(store.tasks.tasks(limit=COUNT))

    missing = [id_ for id_ in ALL if id_ not in found]
    assert "t140" in missing
    assert missing == ALL[int(missing[0][1:]) : int(missing[-1][1:]) + 1]  # those of one page
    assert len(missing) < COUNT / 2
    assert ids(store.tasks.find(TaskQuery(), limit=COUNT)) == found[::-1]
    assert (
        ids(store.tasks.find(TaskQuery(), before="t250", limit=100))
        == [id_ for id_ in found if id_ < "t250"][-100:][::-1]
    )
    assert ids(store.tasks.latest(TaskQuery(), limit=COUNT)) == found[::-1]
    assert store.tasks.count_of(TaskQuery()) == len(found)
    assert ids(store.tasks.find(TaskQuery(owner="owner-of-t000"))) == ["t000"]
    assert ids(store.tasks.over_of("owner-of-t000")) == ["t000"]
    assert list(store.tasks.states(ALL)) == found
    assert store.damaged == len(missing)
    await store.close()


async def test_a_damaged_index_is_told_and_refuses_what_needs_it(path: Path) -> None:
    with database.reading(path) as connection:
        index = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_tasks_1'"
        end = connection.execute(index).get * connection.pragma("page_size")
    flip(path, end - 100)
    store = await WorkStore.open(path)

    with pytest.raises(StorageCorruptError):
        store.tasks.tasks(limit=COUNT)

    assert store.damaged == 1
    assert store.tasks.owners()["owner-of-t000"] == 1
    assert len(store.conversations.of_participant("ann")) == 60
    await store.close()


async def test_a_list_of_conversations_leaves_out_those_whose_context_is_damaged(path: Path) -> None:
    damage(path, '{"text":"30 zzz')
    store = await WorkStore.open(path)

    found = [record.conversation_id for record in store.conversations.of_participant("ann")]

    assert "c30" not in found
    assert {"c00", "c59"} <= set(found)
    assert len(found) + store.damaged == 60
    await store.close()


async def test_what_was_deleted_and_is_damaged_stays_and_all_else_is_taken_away(path: Path) -> None:
    store = await WorkStore.open(path)
    for id_ in ALL[:200]:
        store.tasks.delete(id_)
    await store.close()
    damage(path, "t140 é")
    store = await WorkStore.open(path)

    await tidied(store)

    with database.reading(path) as connection:
        dead = connection.execute("SELECT count(*) FROM tasks WHERE id IS NULL").get
    assert 0 < dead < 20
    assert (store.failure, store.damaged) == (None, 1)
    store.tasks.delete("t200")
    await store.flush()
    await tidied(store)
    assert ids(store.tasks.tasks(limit=1)) == ["t201"]
    await store.close()


def damage_leaf(path: Path, index: str) -> None:
    """Change one bit of a page in the middle of *index*."""
    with database.reading(path) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).get
        size = connection.pragma("page_size")
    page = path.read_bytes()[(root - 1) * size : root * size]
    middle = 12 + int.from_bytes(page[3:5], "big") // 2 * 2
    cell = int.from_bytes(page[middle : middle + 2], "big")
    flip(path, int.from_bytes(page[cell : cell + 4], "big") * size - 100)


@pytest.mark.parametrize("index", ["tasks_conversation", "tasks_parent", "participants"])
async def test_what_cannot_be_deleted_for_a_damaged_page_stays_and_nothing_is_stopped(
    tmp_path: Path, index: str
) -> None:
    path = tmp_path / "work.db"
    store = await WorkStore.open(path)
    everything = [f"{number:03}" + "y" * 100 for number in range(200)]
    for id_ in everything:
        created = Created("review", {}, 100.0, Budget(), id_, conversation_id=id_, parent_id=id_)
        store.tasks.append(id_, [created, Canceled("enough")], 1.0)
        store.conversations.create(ConversationRecord(id_, "ann", ("ann",), 1.0, 1.0))
    await store.close()
    damage_leaf(path, index)
    store = await WorkStore.open(path)
    of_talks = index == "participants"
    delete = store.conversations.delete if of_talks else store.tasks.delete

    refused = 0
    for id_ in everything:
        with suppress(StorageCorruptError):  # of one that cannot be found
            delete(id_)
        store.tasks.append(f"new-{id_}", [Created("review", {}, 100.0, Budget(), f"new-{id_}")], 2.0)
        try:
            await store.flush()
        except StorageCorruptError:
            refused += 1

    assert (store.failure, store.waiting) == (None, 0)
    assert 0 < refused < 100
    assert store.damaged > 0
    assert store.tasks.count(open_only=True) == 200
    assert store.conversations.count_of("ann") == 200 * (not of_talks)
    await store.close()
    with database.reading(path) as connection:
        talks, tasks = (
            connection.execute(f"SELECT count(*) FROM {table} WHERE substr(id, 4) = ?", ("y" * 100,)).get
            for table in ("conversations", "tasks")
        )
    assert (talks, tasks) == ((refused, 200) if of_talks else (200, refused))


async def test_a_whole_is_forgotten_although_a_part_of_it_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "parts.db"
    store = await WorkStore.open(path)
    manager = TaskManager(AgentRegistry(), log=store.tasks)
    whole = manager.create_task("both", subtasks=[Subtask(name, "review") for name in ("one", "two")])
    parts = [part.task_id for part in whole.plan]
    for part in parts:
        store.tasks.append(part, [Created("review", {}, 1.0, Budget(), part), Canceled()], 1.0)
    manager.cancel_task(whole)
    await store.close()
    with database.reading(path) as connection:
        wrong = "UPDATE events SET body = '1' WHERE task = (SELECT number FROM tasks WHERE id = ?)"
        connection.execute(wrong, (parts[0],))
    store = await WorkStore.open(path)
    manager = TaskManager(AgentRegistry(), log=store.tasks)

    manager.forget_task(whole)

    await store.flush()
    assert ids(store.tasks.tasks()) == []
    assert (store.tasks.count(), store.damaged) == (1, 1)
    await store.close()


def test_of_much_damage_some_is_named_and_all_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage_module, "MOST", 50)
    found = Damage()

    for number in range(100):
        found.note(f"the task {number}", ValueError("no"))

    assert (len(found), len(caplog.records)) == (50, 21)
    assert "restore a backup" in caplog.messages[-1]
