"""Backups have the work beside them, written while it goes on, and a restore brings it back."""

import shutil
from pathlib import Path

import pytest

from tekton.a2a.conversation import Conversation
from tekton.a2a.message import AgentMessage
from tekton.a2a.task_event import Budget, Canceled, Created
from tekton.a2a.work.backup import WORK
from tekton.a2a.work.work_store import FILE_NAME, WorkStore
from tekton.core.component_lifecycle.backup import BackupWriter
from tekton.core.component_lifecycle.restore import Restoration
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.service.companions import COMPANIONS
from tekton.utils.tekton_errors import BackupError

NOW = 1_700_000_000.0
FIRST = Path(__file__).parents[2] / "fixtures" / "work-1" / "work.db"
"""A file of the first schema."""


def make_registry(directory: Path) -> None:
    store = SqliteStore(directory)
    store.open()
    store.close()


async def begin(directory: Path) -> WorkStore:
    """A store in use, with a task that is open and a conversation."""
    store = await WorkStore.open(directory / FILE_NAME)
    store.tasks.append("t", [Created("review", {}, NOW, Budget(), "t")], NOW)
    Conversation("talk", "ann", store=store.conversations).add_message(AgentMessage("ann", "hello"))
    await store.flush()
    return store


def restore(directory: Path, backup: Path) -> dict[str, int | None]:
    """What is restored besides, and how much of it is lost."""
    with Restoration(directory, backup, NOW, COMPANIONS) as restoration:
        restoration.carry_out()
        assert list(restoration.lost) == [one.file for one in restoration.companions]
        return restoration.lost


def beside_work(directory: Path) -> list[Path]:
    """Logs and the like."""
    return list(directory.glob(f"{FILE_NAME}-*"))


async def test_a_backup_of_work_that_goes_on_comes_back(tmp_path: Path) -> None:
    make_registry(tmp_path)
    store = await begin(tmp_path)
    written = BackupWriter(tmp_path, tmp_path / "copy.db", NOW, COMPANIONS).run()
    store.tasks.append("t", [Canceled("after the backup")], NOW)
    store.conversations.delete("talk")
    await store.close()
    assert written.also == [str(tmp_path / "copy.work.db")]

    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": 2}

    again = await WorkStore.open(tmp_path / FILE_NAME)
    assert [task.task_id for task in again.tasks.tasks(open_only=True)] == ["t"]
    assert [message.content for message in Conversation.resume("talk", again.conversations).messages()] == ["hello"]
    await again.close()


async def test_nobody_can_tell_what_is_lost_of_work_that_is_damaged_or_another(tmp_path: Path) -> None:
    make_registry(tmp_path)
    store = await begin(tmp_path)
    store.conversations.delete("talk")
    await store.close()
    BackupWriter(tmp_path, tmp_path / "copy.db", NOW, COMPANIONS).run()
    (tmp_path / FILE_NAME).unlink()
    await (await begin(tmp_path)).close()

    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": None}

    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": None}
    (tmp_path / FILE_NAME).unlink()
    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": 0}


async def test_a_backup_of_the_first_schema_comes_back_and_of_such_work_nobody_can_tell_what_is_lost(
    tmp_path: Path,
) -> None:
    make_registry(tmp_path)
    BackupWriter(tmp_path, tmp_path / "copy.db", NOW, COMPANIONS).run()
    for copy in ("copy.work.db", FILE_NAME):
        shutil.copy(FIRST, tmp_path / copy)

    with Restoration(tmp_path, tmp_path / "copy.db", NOW, COMPANIONS) as restoration:
        assert restoration.lost == {"work.db": None}
    assert beside_work(tmp_path) == []
    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": None}

    again = await WorkStore.open(tmp_path / FILE_NAME)
    assert (again.tasks.count(), again.conversations.count_of("ann")) == (2, 1)
    await again.close()
    assert restore(tmp_path, tmp_path / "copy.db") == {"work.db": 0}


async def test_what_is_no_backup_of_work_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    make_registry(tmp_path)
    await (await begin(tmp_path)).close()
    BackupWriter(tmp_path, tmp_path / "copy.db", NOW, [WORK]).run()
    before = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / "copy.work.db").write_bytes((tmp_path / "copy.db").read_bytes())

    with pytest.raises(BackupError):
        restore(tmp_path, tmp_path / "copy.db")

    assert (tmp_path / FILE_NAME).read_bytes() == before
