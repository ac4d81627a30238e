# ruff: noqa: ASYNC240 - the files are looked at while nothing else happens
"""What a disk can do to telemetry, and what it cannot: hold up or stop anybody."""

import logging
import os
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path

import apsw
import pytest

from tekton.core.history.sqlite_store import SqliteTelemetryStore
from tekton.core.history.steadiness import STEADY
from tekton.core.history.store import Row
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import StorageError

BEGIN = 1_800_000_000.0
MEBIBYTE = 1 << 20

MemoryDisk = Callable[[Path, str], AbstractContextManager[Path]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=BEGIN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


@asynccontextmanager
async def opened(
    path: Path,
    clock: ManualClock,
    *,
    size_bytes: int = 16 * MEBIBYTE,
    queue_bytes: int = MEBIBYTE,
    reserve_bytes: int = 0,
    age: float = 3600.0,
) -> AsyncIterator[SqliteTelemetryStore]:
    store = SqliteTelemetryStore(
        path, size_bytes=size_bytes, age=age, clock=clock, queue_bytes=queue_bytes, reserve_bytes=reserve_bytes,
        gather=0, retry=(1.0, 4.0),
    )  # fmt: skip
    yield store
    await store.close()


def rows(count: int, *, size: int = 10, first: int = 0) -> list[Row]:
    return [Row(BEGIN + number, f"k{number}", b'"%s"' % (b"x" * size)) for number in range(first, first + count)]


async def keys(store: SqliteTelemetryStore) -> list[str]:
    return [row.key for row in await store.read("span", limit=100_000, oldest_first=True)]


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(512))


def on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "tekton.history" and record.levelno >= logging.WARNING
    ]


async def test_what_was_kept_is_there_at_the_next_start(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(3))

    clock.advance(60)
    async with opened(path, clock) as store:
        store.append("span", rows(1, first=3))

        assert await keys(store) == ["k0", "k1", "k2", "k3"]
        assert await store.known_since("span") == BEGIN
        assert [row.seq for row in await store.read("span")] == [4, 3, 2, 1]


async def test_nothing_is_on_the_disk_before_there_is_something_to_keep(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock):
        assert not path.exists()
    assert not path.exists()


async def test_only_the_owner_may_read_it(path: Path, clock: ManualClock) -> None:
    path.touch()
    path.chmod(0o644)

    async with opened(path, clock) as store:
        store.append("span", rows(3))
        await store.read("span")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"telemetry.db": 0o600, "telemetry.db-shm": 0o600, "telemetry.db-wal": 0o600}


async def test_the_files_stay_below_their_size(path: Path, clock: ManualClock) -> None:
    largest = 0
    async with opened(path, clock, size_bytes=2 * MEBIBYTE, queue_bytes=64 * MEBIBYTE) as store:
        for number in range(20):
            store.append("span", rows(200, size=2000, first=200 * number))
            store.append("state", rows(200, size=50))
            await store.read("span", limit=1)
            largest = max(largest, on_disk(path))

        assert (await keys(store))[-1] == "k3999"
        assert await store.latest("state", BEGIN + 1000) != []
    assert MEBIBYTE < largest <= 2 * MEBIBYTE


async def test_a_size_that_was_lowered_is_given_back_to_the_disk(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock, queue_bytes=64 * MEBIBYTE) as store:
        store.append("span", rows(2000, size=2000))
    assert path.stat().st_size > 2 * MEBIBYTE

    async with opened(path, clock, size_bytes=MEBIBYTE) as store:
        await store.tidy()

        assert on_disk(path) <= MEBIBYTE
        assert (await keys(store))[-1] == "k1999"


async def test_on_a_full_disk_the_oldest_make_room(tmp_path: Path, clock: ManualClock, memory_disk: MemoryDisk) -> None:
    with memory_disk(tmp_path / "small", "size=3m") as disk:
        path = disk / "telemetry.db"
        async with opened(path, clock, queue_bytes=64 * MEBIBYTE) as store:
            for number in range(30):
                store.append("span", rows(100, size=2000, first=100 * number))
                await store.read("span", limit=1)

            fill(disk)
            for number in range(30, 60):
                store.append("span", rows(100, size=2000, first=100 * number))
                await store.read("span", limit=1)

            kept = await keys(store)
            assert kept[-1] == "k5999"
            assert "k0" not in kept
            assert store.status().problem is None
            assert store.status().dropped["span"] == 0


async def test_a_part_of_the_disk_is_left_to_others(
    tmp_path: Path, clock: ManualClock, memory_disk: MemoryDisk
) -> None:
    with memory_disk(tmp_path / "small", "size=6m") as disk:
        path = disk / "telemetry.db"
        async with opened(path, clock, queue_bytes=64 * MEBIBYTE, reserve_bytes=3 * MEBIBYTE) as store:
            for number in range(60):
                store.append("span", rows(100, size=2000, first=100 * number))
                await store.read("span", limit=1)
                # A batch and its log may be on their way.
                assert shutil.disk_usage(disk).free > 3 * MEBIBYTE // 2

            assert (await keys(store))[-1] == "k5999"


async def test_a_disk_without_any_room_is_tried_again_after_a_while(
    tmp_path: Path, clock: ManualClock, memory_disk: MemoryDisk, caplog: pytest.LogCaptureFixture
) -> None:
    with memory_disk(tmp_path / "small", "size=1m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(MEBIBYTE))
        async with opened(disk / "telemetry.db", clock) as store:
            for number in range(5):
                store.append("span", rows(10, first=10 * number))
                assert len(await keys(store)) == 10 * (number + 1)
            assert store.status().problem is not None
            assert len(complaints(caplog)) == 1

            ballast.unlink()
            clock.advance(60)

            assert len(await keys(store)) == 50
            assert store.status().problem is None
            assert (disk / "telemetry.db").stat().st_size > 0


async def test_on_a_full_disk_the_last_states_are_not_given_up(
    tmp_path: Path, clock: ManualClock, memory_disk: MemoryDisk
) -> None:
    with memory_disk(tmp_path / "small", "size=2m") as disk:
        async with opened(disk / "telemetry.db", clock, reserve_bytes=64 * MEBIBYTE) as store:
            store.append("state", rows(300))
            assert len(await store.latest("state", BEGIN + 1000)) == 300

            fill(disk)
            for number in range(10):
                store.append("state", rows(300, first=300 * (1 + number)))
                assert len(await store.latest("state", BEGIN + 10_000)) == 300 * (2 + number)
                clock.advance(60)

            assert store.status().dropped["state"] == 0
            assert await store.known_since("state") == BEGIN


async def test_where_not_even_the_last_states_have_room_it_is_said_once(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path, clock, size_bytes=MEBIBYTE, queue_bytes=64 * MEBIBYTE) as store:
        for number in range(4):
            store.append("state", rows(1000, size=500, first=1000 * number))
            assert 100 < len(await store.latest("state", BEGIN + 10_000)) <= 1000 * (1 + number)

    assert complaints(caplog) == [
        "the history has no room for the last state of each instance; the past is shown in part"
    ]


async def test_without_a_thread_rows_wait_until_there_is_one(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(path, clock) as store:
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", refuse)
            store.append("span", rows(1))
        store.append("span", rows(1, first=1))

        assert await keys(store) == ["k0", "k1"]


async def test_while_it_cannot_be_written_the_oldest_of_the_queue_are_dropped(path: Path, clock: ManualClock) -> None:
    path.mkdir()
    (path / "something").touch()
    async with opened(path, clock, queue_bytes=100_000) as store:
        store.append("span", rows(1000, size=100))

        kept = await keys(store)

        assert kept[-1] == "k999"
        assert 300 < len(kept) < 500
        assert store.status().dropped["span"] == 1000 - len(kept)
        assert [row.key for row in await store.latest("span", BEGIN + 998)][-1] == "k998"


@pytest.mark.parametrize("content", [b"", b"foreign" * 1000, bytes(8192)], ids=["empty", "foreign", "zeros"])
async def test_a_file_that_is_no_database_is_set_aside(path: Path, clock: ManualClock, content: bytes) -> None:
    path.write_bytes(content)

    async with opened(path, clock) as store:
        store.append("span", rows(3))

        assert await keys(store) == ["k0", "k1", "k2"]
        assert store.status().problem is None
    if content:
        assert (path.parent / "telemetry.db.damaged").read_bytes() == content


async def test_the_database_of_somebody_else_is_set_aside(path: Path, clock: ManualClock) -> None:
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE span (x); INSERT INTO span VALUES (1)")
    theirs.close()

    async with opened(path, clock) as store:
        store.append("span", rows(3))

        assert await keys(store) == ["k0", "k1", "k2"]
    assert (path.parent / "telemetry.db.damaged").exists()


async def test_a_newer_schema_is_set_aside(path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(3))
    newer = apsw.Connection(str(path), vfs="cksmvfs")
    newer.pragma("user_version", 99)
    newer.close()

    async with opened(path, clock) as store:
        store.append("span", rows(1, first=5))

        assert await keys(store) == ["k5"]
    assert len(complaints(caplog)) == 1
    assert "telemetry.db.damaged" in complaints(caplog)[0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
async def test_a_file_that_was_cut_off_is_begun_anew(path: Path, clock: ManualClock, share: float) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(2000))
    os.truncate(path, int(path.stat().st_size * share))

    async with opened(path, clock) as store:
        store.append("span", rows(1, first=5000))
        await store.read("span", limit=10)
        store.append("span", rows(1, first=5001))

        assert (await keys(store))[-1] == "k5001"
        assert store.status().problem is None


async def test_flipped_bits_are_never_read(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(2000))
    content = bytearray(path.read_bytes())
    for place in range(500, len(content), 4096):
        content[place] ^= 4
    path.write_bytes(content)

    async with opened(path, clock) as store:
        assert await keys(store) == []
        store.append("span", rows(3))

        assert await keys(store) == ["k0", "k1", "k2"]
    assert (path.parent / "telemetry.db.damaged").stat().st_size == len(content)


async def test_only_the_newest_damaged_file_is_kept(path: Path, clock: ManualClock) -> None:
    for number in (b"1", b"2"):
        path.write_bytes(number * 5000)
        async with opened(path, clock) as store:
            await store.read("span")

    assert sorted(file.name for file in path.parent.iterdir()) == ["telemetry.db", "telemetry.db.damaged"]
    assert (path.parent / "telemetry.db.damaged").read_bytes() == b"2" * 5000


async def test_a_file_that_is_deleted_while_it_is_written_is_begun_anew(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(1))
        await keys(store)
        path.unlink()

        store.append("span", rows(3, first=1))
        await keys(store)
        store.append("span", rows(3, first=4))

        assert await keys(store) == ["k1", "k2", "k3", "k4", "k5", "k6"]
    assert [file.name for file in path.parent.iterdir()] == ["telemetry.db"]


async def test_a_file_that_somebody_has_locked_holds_up_nobody(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(1))
        await keys(store)
        other = apsw.Connection(str(path), vfs="cksmvfs")
        other.execute("BEGIN IMMEDIATE")

        store.append("span", rows(1, first=1))
        assert await keys(store) == ["k0", "k1"]
        store.append("span", rows(1, first=2))
        assert await keys(store) == ["k0", "k1", "k2"]
        assert store.status().problem is not None
        assert len(complaints(caplog)) == 1

        other.execute("ROLLBACK")
        other.close()
        clock.advance(60)
        assert await keys(store) == ["k0", "k1", "k2"]
        assert store.status().problem is None


async def test_a_reader_that_does_not_end_keeps_the_log_short_and_loses_nothing(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock, size_bytes=4 * MEBIBYTE, queue_bytes=64 * MEBIBYTE) as store:
        store.append("span", rows(1))
        await keys(store)
        reader = apsw.Connection(str(path), vfs="cksmvfs")
        reader.execute("BEGIN; SELECT count(*) FROM span").fetchall()

        for number in range(10):
            store.append("span", rows(100, size=2000, first=1 + 100 * number))
            clock.advance(60)
            await store.read("span", limit=1)

        assert "a reader keeps its log" in str(store.status().problem)
        assert on_disk(path) < 3 * MEBIBYTE
        assert await keys(store) == [f"k{number}" for number in range(1001)]

        reader.close()
        clock.advance(60)
        assert await keys(store) == [f"k{number}" for number in range(1001)]
        assert store.status().problem is None
        assert on_disk(path) < 4 * MEBIBYTE


async def test_rows_that_cannot_be_written_do_not_keep_others_from_it(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        store.append("span", [Row(BEGIN, "\ud800", b"{}")])
        assert await keys(store) == []

        store.append("span", rows(1))

        assert await keys(store) == ["k0"]
        assert store.status().dropped["span"] == 1
        assert store.status().total["span"] == 2


async def test_who_reads_after_the_end_is_told_so(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        store.append("span", rows(1))

    with pytest.raises(StorageError, match="has stopped"):
        await keys(store)


async def test_a_clock_that_jumps_ahead_ages_nothing_until_it_has_run_evenly(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock) as store:
        clock.advance(STEADY)
        store.append("span", rows(3))
        await store.tidy()
        clock.set_wall(clock.time() + 365 * 86_400)

        await store.tidy()
        assert len(await keys(store)) == 3
        clock.set_wall(BEGIN + STEADY)
        await store.tidy()
        assert len(await keys(store)) == 3

        clock.advance(3600)
        await store.tidy()
        assert await keys(store) == []


async def test_rows_from_a_wrong_future_go_before_newer_ones(path: Path, clock: ManualClock) -> None:
    async with opened(path, clock, size_bytes=MEBIBYTE, queue_bytes=64 * MEBIBYTE) as store:
        store.append("span", [row._replace(at=BEGIN + 1e9) for row in rows(50, size=1000)])
        store.append("span", rows(2000, size=1000, first=50))

        kept = await store.read("span", limit=100_000)

        assert max(row.at for row in kept) < BEGIN + 1e9
        assert await store.known_since("span") < BEGIN + 1e9
