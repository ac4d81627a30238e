"""What a fault of the disk does to streams: what is refused, what stops them, and what is never lost."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
from stream_owner import Nobody, put, said

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.append_queue import PATIENCE
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import Batch, Committed, Progress, Put
from tekton.bus.streams.stream_sql import APPLICATION_ID, MIGRATIONS
from tekton.bus.streams.streams import Streams
from tekton.bus.streams.writer import StreamWriter
from tekton.core.component_lifecycle import database
from tekton.testing.clock import current_clock, virtual_time
from tekton.testing.failing_disk import FailingDisk
from tekton.utils.tekton_errors import (
    BusBusyError,
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

ORDERS = StreamSettings(("orders.>",))


class FailingStore(SqliteStreamStore):
    """Its commits fail with *error*, as long as there is one, or wait as long as they may not go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, reserve_bytes=0)
        self.error: Exception | None = None

    def commit(self, batch: Batch, now: float) -> Committed:
        if self.error is not None:
            raise self.error
        return super().commit(batch, now)


@pytest.fixture
def store(tmp_path: Path) -> FailingStore:
    return FailingStore(tmp_path / "bus.db")


@pytest.fixture
async def streams(store: FailingStore) -> AsyncIterator[Streams]:
    """Streams in a file, with threads, and the stream "orders"."""
    streams = Streams(store)
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    async with asyncio.timeout(20):
        yield streams
        await streams.stop()


class StandingDesk:
    """A thread that does nothing before it is told to."""

    def __init__(self) -> None:
        self._jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._stands = True

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        if self._stands:
            self._jobs.append((job, future))
        else:
            future.set_result(job())
        return future

    def go_on(self) -> None:
        self._stands = False
        for job, future in self._jobs:
            future.set_result(job())

    def stop(self) -> None:
        pass


async def result_of(future: "asyncio.Future[Any]") -> Any:
    try:
        return await future
    except BusBusyError as error:
        return error


@pytest.fixture
def failing_disk() -> Iterator[FailingDisk]:
    disk = FailingDisk("failing-streams")
    yield disk
    disk.unregister()


# No room


async def test_without_room_publishing_is_refused_and_nothing_else(
    tmp_path: Path, memory_disk: Callable[[Path, str], AbstractContextManager[Path]]
) -> None:
    with memory_disk(tmp_path / "disk", "size=3m") as disk:
        streams = Streams(SqliteStreamStore(disk / "bus.db", reserve_bytes=0))
        await streams.start()
        await streams.create_stream("orders", ORDERS)
        acknowledged = [number async for number in until_full(streams)]
        assert (streams.full, streams.failure) == (True, None)
        with pytest.raises(StorageFullError):
            await streams.append([said("x" * 500_000)])

        async with streams.replay("orders") as replay:
            assert (await anext(aiter(replay))).message.content[0] == 0
        grow(disk)
        await streams.append([said([len(acknowledged), "there is room again"])])

        assert not streams.full
        await streams.stop()
        assert [one[0] for one in stored(disk / "bus.db")] == [*acknowledged, len(acknowledged)]  # type: ignore[index]


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)


async def until_full(streams: Streams) -> AsyncIterator[int]:
    """Publishes until it is refused; the numbers that were not."""
    with suppress(StorageFullError):
        for number in count():
            await streams.append([said([number, "x" * 5000])])
            yield number


async def test_what_waits_behind_a_refused_message_is_refused_too_and_acknowledgements_are_kept_for_later(
    store: FailingStore, streams: Streams, tmp_path: Path
) -> None:
    await streams.append([said(1), said(2)])
    [one, _] = await anext(streams.consume("orders", "billing").batches(2))
    store.error = StorageFullError("no room")

    first = [streams.append([said(number)]) for number in (3, 4)]
    results = await asyncio.gather(*first, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFullError] * 2
    assert await one.ack()
    assert (streams.full, streams.writer.refused) == (True, 2)

    store.error = None
    [receipt] = await streams.append([said(5)])
    assert (receipt.sequence, streams.full) == (3, False)
    await streams.stop()
    assert stored(tmp_path / "bus.db") == [1, 2, 5]
    [progress] = kept(tmp_path / "bus.db")
    assert (progress.cursor, [*map(tuple, progress.pending)]) == (2, [(2, 1)])


async def test_some_of_the_disk_is_left_to_others(tmp_path: Path) -> None:
    streams = Streams(SqliteStreamStore(tmp_path / "bus.db", reserve_bytes=1 << 60))
    await streams.start()
    await streams.create_stream("orders", ORDERS)

    for _ in range(2):
        with pytest.raises(StorageFullError, match="of the disk are free"):
            await streams.append([said(1)])

    await streams.stop()
    assert stored(tmp_path / "bus.db") == []


@virtual_time
async def test_whoever_finds_no_room_before_the_disk_waits_and_gives_up() -> None:
    desk = StandingDesk()
    store = MemoryStreamStore()
    store.put_stream("orders", ORDERS, 0.0)
    writer = StreamWriter(store, desk, Nobody(), current_clock())
    large = [put("x" * 1_000_000) for _ in range(18)]

    async with asyncio.TaskGroup() as group:
        taken = [group.create_task(result_of(writer.append([one]))) for one in large]
        await asyncio.sleep(PATIENCE - 0.1)
        # One is with the disk, sixteen wait for it.
        assert (writer.waiting, sum(task.done() for task in taken)) == (16, 0)
        await asyncio.sleep(0.2)
        assert [type(task.result()) for task in taken if task.done()] == [BusBusyError]
        desk.go_on()

    assert [type(task.result()) for task in taken] == [list] * 17 + [BusBusyError]
    assert writer.refused == 1


# A disk that fails


async def test_a_failed_sync_stops_everything_and_is_never_repeated(failing_disk: FailingDisk, tmp_path: Path) -> None:
    store = SqliteStreamStore(tmp_path / "bus.db", reserve_bytes=0, vfs=failing_disk.name, exclusive=True)
    streams = Streams(store)
    told: list[StorageError] = []
    streams.add_failure_listener(told.append)
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    await streams.append([said(1)])
    consumption, replay = streams.consume("orders", "billing"), streams.replay("orders", since=1)
    [delivery] = await anext(consumption.batches(1))
    waiting = [asyncio.ensure_future(anext(aiter(one))) for one in (consumption, replay)]
    await asyncio.sleep(0)

    failing_disk.sync_fails = True
    with pytest.raises(StorageUnknownError, match="the store has stopped"):
        await streams.append([said(2)])

    syncs = failing_disk.syncs
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, StorageUnknownError)
    for late in (streams.append([said(3)]), streams.create_stream("other", StreamSettings(("x",))), delivery.ack()):
        with pytest.raises(StorageUnknownError):
            await late
    assert told == [streams.failure]
    assert failing_disk.syncs == syncs
    await streams.stop()
    assert stored(tmp_path / "bus.db") in ([1], [1, 2])


async def test_a_write_for_which_there_is_no_permission_is_refused(failing_disk: FailingDisk, tmp_path: Path) -> None:
    streams = Streams(SqliteStreamStore(tmp_path / "bus.db", reserve_bytes=0, vfs=failing_disk.name, exclusive=True))
    await streams.start()
    await streams.create_stream("orders", ORDERS)

    failing_disk.write_fails = apsw.SQLITE_FULL
    with pytest.raises(StorageFullError):
        await streams.append([said(1)])
    failing_disk.write_fails = 0

    await streams.append([said(2)])
    await streams.stop()
    assert stored(tmp_path / "bus.db") == [2]


async def test_a_file_that_is_taken_away_stops_everything(streams: Streams, tmp_path: Path) -> None:
    (tmp_path / "bus.db").unlink()

    with pytest.raises(StorageUnknownError, match="moved or deleted"):
        await streams.append([said(1)])


def test_a_log_that_is_taken_away_is_noticed_and_what_was_in_it_is_kept(store: FailingStore, tmp_path: Path) -> None:
    store.open()
    store.put_stream("orders", ORDERS, 1.0)
    (tmp_path / "bus.db-wal").unlink()

    with pytest.raises(StorageUnknownError, match="its log was moved or deleted"):
        store.tidy(1.0, aged=False)
    store.close()
    assert [one.name for one in FailingStore(tmp_path / "bus.db").open()] == ["orders"]


async def test_whoever_else_writes_to_the_file_is_waited_for_and_then_named(
    store: FailingStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.01)
    streams = Streams(store)
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    other = database.connect(tmp_path / "bus.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"busy, .* is writing to it"):
        await streams.append([said(1)])
    other.execute("ROLLBACK")
    other.close()

    await streams.append([said(2)])
    await streams.stop()
    assert stored(tmp_path / "bus.db") == [2]


# Files


def test_the_file_is_synced_checked_and_private(store: FailingStore, tmp_path: Path) -> None:
    store.open()
    [connection] = [store._file._connection]
    assert connection is not None
    assert [connection.pragma(one) for one in ("journal_mode", "synchronous")] == ["wal", 2]
    assert str(connection.pragma("checksum_verification")) == "1"
    assert (connection.pragma("application_id"), connection.pragma("user_version")) == (APPLICATION_ID, len(MIGRATIONS))
    assert [os.stat(tmp_path / f"bus.db{one}").st_mode & 0o077 for one in ("", "-wal", "-shm")] == [0, 0, 0]
    store.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "bus.db"))
    other.execute("CREATE TABLE something (x)")
    other.close()
    before = (tmp_path / "bus.db").read_bytes()

    with pytest.raises(StorageCorruptError, match="not a database of Tekton"):
        FailingStore(tmp_path / "bus.db").open()
    assert (tmp_path / "bus.db").read_bytes() == before


def test_a_newer_file_is_refused(store: FailingStore, tmp_path: Path) -> None:
    store.open()
    store.close()
    with database.reading(tmp_path / "bus.db") as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)

    with pytest.raises(SchemaVersionError):
        FailingStore(tmp_path / "bus.db").open()


def filled(store: FailingStore) -> None:
    store.open()
    store.put_stream("orders", ORDERS, 1.0)
    envelopes = [said([number, "x" * 2000]) for number in range(200)]
    store.commit(Batch([Put("orders", one, one.message.to_json(), 1.0) for one in envelopes]), 1.0)
    store.close()


def test_a_damaged_page_is_an_error_and_never_an_answer(store: FailingStore, tmp_path: Path) -> None:
    filled(store)
    content = bytearray((tmp_path / "bus.db").read_bytes())
    place = content.index(b"x" * 1000, len(content) // 2)
    content[place] ^= 1
    (tmp_path / "bus.db").write_bytes(content)
    store.open()

    assert store.read("orders", 0, ">", 1, 1 << 20).envelopes[0].sequence == 1
    with pytest.raises(StorageCorruptError):
        store.read("orders", 0, ">", 1000, 1 << 30)
    store.close()


@pytest.mark.parametrize("page", [0, 1, 2])
def test_damage_of_what_is_small_is_found_at_the_start(store: FailingStore, tmp_path: Path, page: int) -> None:
    filled(store)
    content = bytearray((tmp_path / "bus.db").read_bytes())
    content[page * 4096 + 4000] ^= 1
    (tmp_path / "bus.db").write_bytes(content)

    with pytest.raises(StorageCorruptError):
        store.open()


def test_a_file_that_has_lost_what_it_says_of_a_stream_is_refused(store: FailingStore, tmp_path: Path) -> None:
    filled(store)
    with database.reading(tmp_path / "bus.db") as connection:
        connection.execute("UPDATE streams SET last = 100")

    with pytest.raises(StorageCorruptError, match="the stream orders has messages behind its last one"):
        store.open()


def stored(path: Path) -> list[object]:
    """What another one finds in the file."""
    again = SqliteStreamStore(path)
    again.open()
    try:
        return [one.message.content for one in again.read("orders", 0, ">", 10_000, 1 << 30).envelopes]
    finally:
        again.close()


def kept(path: Path) -> list[Progress]:
    """What another one finds about consumers."""
    again = SqliteStreamStore(path)
    try:
        return [one for stream in again.open() for one in stream.consumers]
    finally:
        again.close()
