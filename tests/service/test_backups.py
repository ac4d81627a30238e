"""Backups beside everything else that goes on in the control plane."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry, database
from tekton.core.lifecycle import ComponentRegistration
from tekton.gateway.errors import UnavailableError
from tekton.service.backups import Backups
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import BackupError


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Backups stand still, with their transaction open, until `go_on` is set; `begun` is set when one does."""

    class Held:
        begun = threading.Event()
        go_on = threading.Event()

    copy_to = database.copy_to

    def copy_slowly(connection: Any, path: Path, interrupted: Callable[[], bool]) -> None:
        connection.execute("BEGIN; SELECT * FROM meta")
        Held.begun.set()
        Held.go_on.wait(30)
        connection.execute("COMMIT")
        copy_to(connection, path, interrupted)

    monkeypatch.setattr(database, "copy_to", copy_slowly)
    yield Held
    Held.go_on.set()


async def test_commands_are_committed_while_a_backup_is_being_written(tmp_path: Path, held: Any) -> None:
    backups = Backups(tmp_path, ManualClock())
    async with ComponentRegistry(tmp_path) as registry, asyncio.timeout(30), asyncio.TaskGroup() as group:
        writing = group.create_task(backups.write(None))
        await asyncio.to_thread(held.begun.wait, 30)

        registered = await registry.register(ComponentRegistration(component_id="hermes"))

        assert not writing.done()
        held.go_on.set()
        assert (await writing).revision >= registered.record.revision


async def test_backups_are_written_one_after_the_other(tmp_path: Path, held: Any) -> None:
    backups = Backups(tmp_path, ManualClock())
    async with ComponentRegistry(tmp_path), asyncio.timeout(30), asyncio.TaskGroup() as group:
        first = group.create_task(backups.write(None))
        await asyncio.to_thread(held.begun.wait, 30)
        second = group.create_task(backups.write(None))
        await asyncio.sleep(0)
        held.go_on.set()

    assert first.result().path != second.result().path


async def test_stopping_interrupts_the_one_that_is_written_and_refuses_the_next(tmp_path: Path, held: Any) -> None:
    backups = Backups(tmp_path, ManualClock())
    async with ComponentRegistry(tmp_path), asyncio.timeout(30), asyncio.TaskGroup() as group:
        first = group.create_task(_outcome(backups))
        await asyncio.to_thread(held.begun.wait, 30)
        second = group.create_task(_outcome(backups))
        await asyncio.sleep(0)

        backups.stop()
        held.go_on.set()

    assert isinstance(first.result(), BackupError)
    assert isinstance(second.result(), UnavailableError)
    assert list((tmp_path / "backups").iterdir()) == []


async def test_a_backup_that_nobody_waits_for_any_more_ends(tmp_path: Path, held: Any) -> None:
    backups = Backups(tmp_path, ManualClock())
    async with ComponentRegistry(tmp_path), asyncio.timeout(30):
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(backups.write(None))
            await asyncio.to_thread(held.begun.wait, 30)
            writing.cancel()
        held.go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()

    assert list((tmp_path / "backups").iterdir()) == []


async def _outcome(backups: Backups) -> object:
    try:
        return await backups.write(None)
    except (BackupError, UnavailableError) as error:
        return error
