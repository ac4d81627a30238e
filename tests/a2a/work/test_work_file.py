"""The file with the work: what it has to be, and what the faults of a disk do to it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from tekton import failpoints
from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.message import AgentMessage
from tekton.a2a.task import TaskState, fold
from tekton.a2a.task_event import Budget, Canceled, Created, TaskEvent
from tekton.a2a.work import work_sql
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.work_file import WorkFile, body_of
from tekton.a2a.work.work_sql import APPLICATION_ID, MIGRATIONS
from tekton.a2a.work.work_store import WorkStore
from tekton.core.component_lifecycle import database
from tekton.testing.failing_disk import FailingDisk
from tekton.utils.tekton_errors import (
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

FIXTURES = [Path(__file__).parents[2] / "fixtures" / f"work-{number + 1}" / "work.db" for number in range(2)]


def created(task_id: str, text: str = "") -> Created:
    return Created("review", {"text": text}, 100.0, Budget(), task_id)


def batch(number: int, text: str = "") -> WorkBatch:
    """That a task has come."""
    made = WorkBatch()
    event = TaskEvent(f"t{number}", 1, 1.0, 0, created(f"t{number}", text))
    body = body_of(event)
    made.admit(len(body))
    made.put_task(number, fold([event]))
    made.put_event(number, event, body)
    return made


def make(path: Path) -> None:
    """An empty file."""
    file = WorkFile(path)
    file.open()
    file.close()


def stored(path: Path) -> list[str]:
    """The tasks that another one finds in the file."""
    again = WorkFile(path, 0)
    found = [one.task.task_id for one in again.open().tasks]
    again.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.db"


@pytest.fixture
def disk() -> Iterator[FailingDisk]:
    made = FailingDisk("failing-work")
    yield made
    made.unregister()


@pytest.fixture
def fail() -> Iterator[Callable[[str], None]]:
    yield lambda spelling: failpoints.arm(failpoints.parse(spelling))
    failpoints.arm({})


# What it has to be


def test_the_file_is_synced_checked_and_private(path: Path) -> None:
    file = WorkFile(path, 0)
    file.open()
    connection = file.usable()
    assert [connection.pragma(one) for one in ("journal_mode", "synchronous")] == ["wal", 2]
    assert str(connection.pragma("checksum_verification")) == "1"
    assert (connection.pragma("application_id"), connection.pragma("user_version")) == (APPLICATION_ID, len(MIGRATIONS))
    assert [os.stat(f"{path}{one}").st_mode & 0o077 for one in ("", "-wal", "-shm")] == [0, 0, 0]
    file.close()


def test_a_file_of_something_else_is_refused_and_not_touched(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE something (x)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(StorageCorruptError, match="not a database of Tekton"):
        WorkFile(path).open()
    assert path.read_bytes() == before


def test_a_newer_file_is_refused_and_not_touched(path: Path) -> None:
    make(path)
    with database.reading(path) as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)
        connection.wal_checkpoint()
    before = path.read_bytes()

    with pytest.raises(SchemaVersionError):
        WorkFile(path).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.parent.name)
async def test_a_file_of_each_schema_is_read(path: Path, fixture: Path) -> None:
    shutil.copy(fixture, path)

    store = await WorkStore.open(path)

    assert [(task.task_id, task.state) for task in store.tasks.tasks()] == [
        ("01900000-0000-7000-8000-000000000001", TaskState.WORKING),
        ("01900000-0000-7000-8000-000000000002", TaskState.COMPLETED),
    ]
    [open_task] = store.tasks.tasks(open_only=True)
    assert (open_task.steps, open_task.owner, open_task.number) == ({"parse": ["tree"]}, "ann", 3)
    assert [push.config_id for push in store.push.waiting()] == ["hook"]
    [record] = store.conversations.of_participant("bob")
    assert (record.conversation_id, record.initiator, record.context) == ("talk", "ann", {"language": "python"})
    assert [entry.message.content for entry in store.conversations.read("talk", 0, 10)] == ["Can you help me?", "Yes."]
    assert (store.conversations.count_of("ann"), store.tasks.owners()) == (1, {"ann": 2})
    # What was said before it was counted is not.
    assert record.size_bytes == (0 if fixture is FIXTURES[0] else 28)
    await store.close()


def version_of(path: Path) -> int:
    with database.reading(path) as connection:
        return int(str(connection.pragma("user_version")))


def test_a_migration_that_fails_half_way_leaves_the_file_as_it_was_and_the_next_start_begins_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FIXTURES[0], path)
    with monkeypatch.context() as patch:
        patch.setattr(work_sql, "MIGRATIONS", (*MIGRATIONS[:1], f"{MIGRATIONS[1]} SELECT * FROM nowhere;"))
        with pytest.raises(StorageCorruptError, match="nowhere"):
            WorkFile(path, 0).open()
    assert version_of(path) == 1

    file = WorkFile(path, 0)
    assert len(file.open().tasks) == 1
    file.close()

    assert (version_of(path), version_of(path.with_name(f"{path.name}.v1"))) == (len(MIGRATIONS), 1)


def test_the_file_that_is_written_today_has_the_schema_of_the_newest_fixture(path: Path, tmp_path: Path) -> None:
    make(path)
    shutil.copy(FIXTURES[-1], tmp_path / "fixture.db")

    def schema(file: Path) -> list[object]:
        with database.reading(file) as connection:
            return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

    assert schema(path) == schema(tmp_path / "fixture.db")


# Damage


async def filled(path: Path) -> None:
    """Some tasks that are open, many that are over, and a conversation."""
    store = await WorkStore.open(path)
    for number in range(60):
        store.tasks.append(f"t{number:02}", [created(f"t{number:02}", "é" * 1500)], 1.0)
        if number > 2:
            store.tasks.append(f"t{number:02}", [Canceled("enough")], 2.0)
    store.conversations.create(ConversationRecord("c", "ann", ("ann",), 1.0, 1.0))
    for number in range(60):
        store.conversations.append("c", AgentMessage("ann", f"{number} " + "z" * 3000), 1.0)
    await store.close()


def damage(path: Path, text: str) -> None:
    """Change one bit where *text* stands first."""
    content = bytearray(path.read_bytes())
    content[content.index(text.encode())] ^= 1
    path.write_bytes(content)


async def test_a_damaged_page_is_an_error_and_never_an_answer(path: Path) -> None:
    await filled(path)
    damage(path, "30 zzz")
    damage(path, '"origin":"t40"')

    store = await WorkStore.open(path)

    assert store.conversations.read("c", 0, 1)[0].message.content.startswith("0 ")
    with pytest.raises(StorageCorruptError):
        store.conversations.read("c", 0, 100)
    assert len(store.tasks.tasks(open_only=True)) == 3
    with pytest.raises(StorageCorruptError):
        store.tasks.task("t40")
    await store.close()


async def test_damage_of_an_open_task_is_found_at_the_start(path: Path) -> None:
    await filled(path)
    damage(path, '"origin":"t01"')

    with pytest.raises(StorageCorruptError):
        await WorkStore.open(path)


@pytest.mark.parametrize(
    ("loss", "evidence"),
    [
        ("DELETE FROM events WHERE task = 2", "the events of t01 are missing"),
        ("DELETE FROM events WHERE task = 2 AND number = 1", "the event 1 of t01 is missing"),
        ("UPDATE events SET body = '[1,0,{}]' WHERE task = 1", "what it says of a task makes no sense"),
        ("UPDATE meta SET newest = newest - 1", "events behind the last one"),
        ("UPDATE conversations SET last = 50", "messages behind the last one of c"),
    ],
)
async def test_what_was_never_written_is_noticed_at_the_start(path: Path, loss: str, evidence: str) -> None:
    await filled(path)
    with database.reading(path) as connection:
        connection.execute('INSERT INTO events VALUES (NULL, 2, 2, \'[1.0,1,{"event":"leased","worker":"w"}]\')')
        connection.execute("UPDATE meta SET newest = newest + 1")
        connection.execute(loss)

    with pytest.raises(StorageCorruptError, match=evidence):
        await WorkStore.open(path)


@pytest.mark.parametrize(
    "loss", ["DELETE FROM events WHERE number = 2 AND task = 40", "UPDATE events SET body = '1' WHERE task = 40"]
)
async def test_what_was_never_written_of_a_task_that_is_over_is_noticed_when_it_is_read(path: Path, loss: str) -> None:
    await filled(path)
    with database.reading(path) as connection:
        connection.execute(loss)
        connection.wal_checkpoint()
    store = await WorkStore.open(path)

    with pytest.raises(StorageCorruptError, match="t39"):
        store.tasks.task("t39")
    assert store.tasks.task("t40").state is TaskState.CANCELED
    await store.close()


# A disk that fails


def test_a_failed_sync_stops_the_file_and_is_never_repeated(path: Path, disk: FailingDisk) -> None:
    file = WorkFile(path, 0, vfs=disk.name, exclusive=True)
    file.open()
    file.write(batch(1))

    disk.sync_fails = True
    with pytest.raises(StorageUnknownError, match="the store has stopped"):
        file.write(batch(2))

    syncs = disk.syncs
    for late in (lambda: file.write(batch(3)), file.tidy):
        with pytest.raises(StorageUnknownError):
            late()
    file.close()
    assert disk.syncs == syncs
    assert stored(path) in (["t1"], ["t1", "t2"])


def test_a_write_for_which_there_is_no_room_is_refused_and_can_be_repeated(path: Path, disk: FailingDisk) -> None:
    file = WorkFile(path, 0, vfs=disk.name, exclusive=True)
    file.open()
    refused = batch(1)

    disk.write_fails = apsw.SQLITE_FULL
    with pytest.raises(StorageFullError):
        file.write(refused)
    disk.write_fails = 0
    file.write(refused)

    file.close()
    assert stored(path) == ["t1"]


def test_some_of_the_disk_is_left_to_others(path: Path) -> None:
    file = WorkFile(path, 1 << 60)
    file.open()

    for _ in range(2):
        with pytest.raises(StorageFullError, match="of the disk are free"):
            file.write(batch(1))
    file.close()
    assert stored(path) == []


def test_a_file_or_a_log_that_is_taken_away_is_noticed(path: Path) -> None:
    file = WorkFile(path, 0)
    file.open()
    file.write(batch(1))
    Path(f"{path}-wal").unlink()
    with pytest.raises(StorageUnknownError, match="its log was moved or deleted"):
        file.tidy()
    file.close()
    assert stored(path) == ["t1"]

    file.open()
    path.unlink()
    with pytest.raises(StorageUnknownError, match="moved or deleted"):
        file.write(batch(2))


def test_whoever_else_writes_to_the_file_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.01)
    file = WorkFile(path, 0)
    file.open()
    other = database.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"busy, .* is writing to it"):
        file.write(batch(1))
    other.execute("ROLLBACK")
    other.close()

    file.write(batch(1))
    file.close()
    assert stored(path) == ["t1"]


@pytest.mark.parametrize(("point", "found"), [("work.before_begin", ["t1"]), ("work.after_commit", ["t1", "t2"])])
def test_an_error_at_a_failpoint_stops_the_file(
    path: Path, fail: Callable[[str], None], point: str, found: list[str]
) -> None:
    file = WorkFile(path, 0)
    file.open()
    file.write(batch(1))
    fail(f"{point}=error:EIO")

    with pytest.raises((StorageUnknownError, OSError)):
        file.write(batch(2))
    failpoints.arm({})
    file.close()

    assert stored(path) == found
