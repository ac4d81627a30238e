"""The log: moved when there is time, before it gets long, and complained about when a reader keeps it."""

import asyncio
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry, database, lock_holders, log_keeper
from tekton.core.component_lifecycle.commit import PAUSE
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, Mutation
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import virtual_time
from tekton.utils.tekton_errors import StorageUnknownError

SHELL = shutil.which("sqlite3")
REGISTRATIONS = int(os.environ.get("TEKTON_LOG_REGISTRATIONS", "6000"))


def mutation(revision: int) -> Mutation:
    name = f"component-{revision}"
    entry = HistoryEntry(
        revision=revision, at=1.0, kind="state", component_id=name, instance_uuid="one",
        previous=None, state=ComponentState.READY, reason=None,
    )  # fmt: skip
    record = msgspec.json.encode({"revision": revision, "text": "x" * 600}).decode()
    return Mutation(revision, 1.0, "state", name, "one", msgspec.json.encode(entry).decode(), record)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path)
    store.open()
    yield store
    store.close()


def fill(store: SqliteStore, changes: int, first: int = 1, *, tidy: bool = False) -> int:
    """Commit *changes* in batches of 64; the greatest size of the log on the way, in bytes."""
    largest = 0
    for start in range(first, first + changes, 64):
        store.commit([mutation(start + number) for number in range(64)])
        if tidy:
            store.tidy()
        largest = max(largest, log_of(store).stat().st_size)
    return largest


def commit_without_end(store: SqliteStore, first: int, committed: list[int]) -> None:
    for revision in count(first):
        store.commit([mutation(revision)])
        committed.append(revision)


def log_of(store: SqliteStore) -> Path:
    return store._path.with_name("tekton.db-wal")


def test_a_log_deleted_under_a_load_without_pauses_is_noticed_when_it_is_moved(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "BUSY_PAGES", 2000)
    fill(store, 64)
    log_of(store).unlink()

    committed: list[int] = []
    with pytest.raises(StorageUnknownError, match="its log was moved or deleted"):
        commit_without_end(store, 65, committed)

    store.close()
    assert len(store.open().records) == 64 + len(committed)


def test_without_a_pause_the_log_stays_below_its_limit(store: SqliteStore) -> None:
    largest = fill(store, REGISTRATIONS)

    print(f"{REGISTRATIONS} registrations, log at most {largest / 2**20:.1f} MiB")
    assert 2**20 < largest < 64 * 2**20


def test_with_pauses_the_log_is_moved_in_them(store: SqliteStore) -> None:
    assert fill(store, 3000, tidy=True) < 8 * 2**20


def test_what_a_killed_process_left_in_the_log_is_moved_at_the_first_pause(store: SqliteStore, tmp_path: Path) -> None:
    fill(store, 640)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("tekton.db", "tekton.db-wal", "witness"):
        shutil.copy(tmp_path / name, crashed / name)
    before = (crashed / "tekton.db").stat().st_size
    again = SqliteStore(crashed)
    again.open()

    again.tidy()

    assert (crashed / "tekton.db").stat().st_size > before
    again.close()


@pytest.mark.skipif(SHELL is None, reason="no sqlite3 shell")
def test_a_reader_that_keeps_the_log_is_named_once_per_doubling(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_keeper, "IDLE_PAGES", 50)
    monkeypatch.setattr(log_keeper, "WARN_BYTES", 2**20)
    store.close()
    store.open()
    fill(store, 64)
    assert SHELL is not None
    with subprocess.Popen([SHELL, "-readonly", store._path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(b"BEGIN; SELECT count(*) FROM changes;\n")
        reader.stdin.flush()
        reader.stdout.readline()

        with caplog.at_level(logging.WARNING, "tekton.store"):
            largest = fill(store, 1280, first=1000, tidy=True)
        assert lock_holders.readers(store._path) == [f"sqlite3 (process {reader.pid})"]
        assert lock_holders.writers(store._path) == []
        reader.kill()

    messages = [record.getMessage() for record in caplog.records]
    assert largest > 2 * 2**20
    assert 2 <= len(messages) <= 4
    assert all(f"sqlite3 (process {reader.pid}) keeps it" in message for message in messages)
    assert messages[0].startswith(f"{log_of(store)} has grown to 1 MiB")

    fill(store, 640, first=3000, tidy=True)
    assert lock_holders.readers(store._path) == []
    size = log_of(store).stat().st_size
    assert fill(store, 1280, first=4000, tidy=True) == size, "the log is used again from its beginning"


def test_nobody_holds_a_database_that_does_not_exist(tmp_path: Path) -> None:
    assert lock_holders.readers(tmp_path / "no.db") == lock_holders.writers(tmp_path / "no.db") == []


async def test_a_registry_whose_log_cannot_be_moved_stops_without_being_asked_for_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = threading.Event()

    class Failing(SqliteStore):
        def tidy(self) -> None:
            assert allowed.wait(10)
            raise StorageUnknownError("a failed sync")

    registry = ComponentRegistry(store=Failing(tmp_path))
    failures: list[Exception] = []
    stopped = asyncio.Event()
    registry.add_failure_listener(lambda failure: (failures.append(failure), stopped.set())[0])
    await registry.register(ComponentRegistration(component_id="one"))
    assert registry.failure is None

    allowed.set()
    async with asyncio.timeout(10):
        await stopped.wait()

    assert [str(failure) for failure in failures] == ["a failed sync"]
    assert registry.find("one") is not None
    with pytest.raises(StorageUnknownError):
        await registry.register(ComponentRegistration(component_id="two"))
    await registry.close()


def test_a_reader_of_our_own_process_has_no_name(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_keeper, "IDLE_PAGES", 50)
    monkeypatch.setattr(log_keeper, "WARN_BYTES", 2**20)
    store.close()
    store.open()
    fill(store, 64)
    with database.reading(store._path) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM changes").get == 64
        with caplog.at_level(logging.WARNING, "tekton.store"):
            fill(store, 640, first=1000, tidy=True)

    assert caplog.messages
    assert all(message.endswith(" MiB: a reader keeps it") for message in caplog.messages)


def test_a_log_that_nobody_keeps_is_not_complained_about_however_long_it_is(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_keeper, "IDLE_PAGES", 50)
    monkeypatch.setattr(log_keeper, "WARN_BYTES", 1)
    store.close()
    store.open()

    with caplog.at_level(logging.WARNING, "tekton.store"):
        fill(store, 640, tidy=True)

    assert caplog.messages == []


def test_the_estimate_of_the_log_is_not_below_its_length(store: SqliteStore) -> None:
    store._file._log.move()  # type: ignore[union-attr]
    for size in (1, 3, 20, 64):
        store.commit([mutation(1000 * size + number) for number in range(size)])

        pages = (log_of(store).stat().st_size - 32) // (log_keeper.PAGE + 24)
        assert pages <= store._file._log._written  # type: ignore[union-attr]


class TidiedStore(MemoryStore):
    """Counts what it is asked for."""

    tidied = 0

    def tidy(self) -> None:
        self.tidied += 1


@virtual_time
async def test_who_asks_for_more_as_soon_as_there_is_an_answer_does_not_wait_while_the_store_tidies_up(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = TidiedStore()
    async with new_inline_registry(store) as registry:
        for number in range(20):
            await registry.register(ComponentRegistration(component_id=f"c{number}"))
            await asyncio.sleep(PAUSE / 2)
        assert store.tidied == 0

        await asyncio.sleep(PAUSE)
        assert store.tidied == 1
        await asyncio.sleep(10 * PAUSE)
        assert store.tidied == 1, "nothing has been written since"


@virtual_time
async def test_a_registry_that_is_closed_in_the_pause_is_not_asked_for_anything_after_it(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = TidiedStore()
    async with new_inline_registry(store) as registry:
        await registry.register(ComponentRegistration(component_id="one"))

    await asyncio.sleep(10 * PAUSE)

    assert store.tidied == 0
