"""The store of work of a control plane, and what is refused when its file cannot be used."""

from pathlib import Path

import pytest

from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.task import TaskState
from tekton.a2a.task_event import Budget, Created
from tekton.a2a.work.work_store import FILE_NAME
from tekton.service.work import MemoryStore, Work
from tekton.utils.tekton_errors import StorageError, StorageFullError, StorageUnknownError

CREATED = Created("echo", {}, 100.0, Budget(), "a")


class FailingStore(MemoryStore):
    """One whose disk is full, or whose writer has stopped, as long as it is said."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0

    async def flush(self) -> None:
        self.flushes += 1
        if self.full:
            raise StorageFullError("no room")
        if self.failure is not None:
            raise self.failure


async def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    work = await Work.open(tmp_path)
    work.tasks.append("a", [CREATED], 1.0)
    work.conversations.create(ConversationRecord("c", "ada", ("ada",), 1.0, 1.0))
    await work.flush()
    await work.stop()

    again = await Work.open(tmp_path)

    assert (again.usable, again.full, again.problems) == (True, False, [])
    assert again.tasks.task("a").state is TaskState.SUBMITTED
    assert again.conversations.record("c").initiator == "ada"
    await again.stop()
    await again.stop()


async def test_a_clean_stop_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = await Work.open(tmp_path)

    await work.stop()

    assert caplog.records == []


@pytest.mark.parametrize("content", [b"no database" * 1000, b""], ids=["damaged", "a directory"])
async def test_a_file_that_cannot_be_used_refuses_all_work_and_nothing_else(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    if content:
        (tmp_path / FILE_NAME).write_bytes(content)
    else:
        (tmp_path / FILE_NAME).mkdir()

    work = await Work.open(tmp_path)

    assert (work.usable, work.problems) == (False, ["tasks: unreadable"])
    assert "no task and no conversation is taken" in caplog.text
    for refused in (
        lambda: work.tasks.append("a", [CREATED], 1.0),
        lambda: work.tasks.task("a"),
        lambda: work.conversations.record("c"),
        lambda: work.push.of_task("a"),
    ):
        with pytest.raises(StorageError, match=r"work\.db cannot be used"):
            refused()
    for refusing in (work.check, work.flush, work.settle):
        with pytest.raises(StorageError, match=r"work\.db cannot be used"):
            await refusing()
    await work.stop()


async def test_while_the_disk_is_full_changes_are_refused_and_what_is_known_is_told() -> None:
    store = FailingStore()
    work = Work(store)
    store.full = True

    with pytest.raises(StorageFullError):
        await work.check()
    await work.settle()

    assert (work.usable, work.full, work.problems) == (True, True, ["tasks: full"])
    assert store.flushes == 1
    store.full = False
    await work.check()
    assert work.problems == []


async def test_a_writer_that_has_stopped_takes_nothing_any_more() -> None:
    store = FailingStore()
    work = Work(store)
    store.failure = StorageUnknownError("the disk is gone")

    for _ in range(3):
        with pytest.raises(StorageUnknownError) as caught:
            await work.check()
    await work.settle()

    assert (work.usable, work.problems) == (False, ["tasks: stopped"])
    frames = 0
    trace = caught.value.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    assert frames <= 3
