"""The simulated disk: it keeps what was synced, and takes from databases that do not sync."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from random import Random

import apsw
import pytest

from tekton.testing.powercut import PowerCut, PowerCutDisk

SEEDS = 40


@pytest.fixture
def disk() -> Iterator[PowerCutDisk]:
    disk = PowerCutDisk("simulated")
    yield disk
    disk.unregister()


def connect(synchronous: str) -> apsw.Connection:
    connection = apsw.Connection("numbers.db", vfs="simulated")
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
    return connection


def shut(connection: apsw.Connection) -> None:
    with suppress(PowerCut):
        connection.close(True)


def lost(disk: PowerCutDisk, seed: int, synchronous: str) -> bool:
    """Whether an acknowledged row is missing, or the database damaged, after a power cut."""
    rng = Random(seed)
    disk.clear()
    connection = connect(synchronous)
    disk.cut_after(rng.randrange(20, 200))
    acknowledged = 0
    try:
        for number in count(1):
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
            acknowledged = number
    except PowerCut:
        shut(connection)
    disk.lose_power(rng)
    try:
        after = connect(synchronous)
        rows = after.execute("SELECT count(*) FROM numbers").get
        after.close()
    except apsw.Error:
        return True
    return rows not in (acknowledged, acknowledged + 1)


def test_a_database_that_syncs_loses_nothing(disk: PowerCutDisk) -> None:
    assert not any(lost(disk, seed, "full") for seed in range(SEEDS))


@pytest.mark.parametrize("synchronous", ["normal", "off"])
def test_a_database_that_does_not_sync_is_found_out(disk: PowerCutDisk, synchronous: str) -> None:
    assert any(lost(disk, seed, synchronous) for seed in range(SEEDS))


def test_syncs_that_are_lies_are_found_out(disk: PowerCutDisk) -> None:
    disk.lies = 1.0

    assert any(lost(disk, seed, "full") for seed in range(SEEDS))


def test_the_same_seed_repeats_the_same_loss(disk: PowerCutDisk) -> None:
    images = []
    for _ in range(2):
        lost(disk, 3, "normal")
        images.append({name: bytes(file.durable) for name, file in disk.files.items()})

    assert images[0] == images[1]


def test_nothing_can_be_written_while_the_power_is_off(disk: PowerCutDisk) -> None:
    connection = connect("full")
    disk.cut_after(1)

    for _ in range(3):
        with pytest.raises(PowerCut):
            connection.execute("INSERT INTO numbers VALUES (1)")
        assert disk.off
    shut(connection)


def test_the_content_of_a_file_is_what_a_reader_sees(disk: PowerCutDisk) -> None:
    connection = connect("full")
    connection.execute("INSERT INTO numbers VALUES (1)")

    assert disk.content("numbers.db").startswith(b"SQLite format 3")
    assert disk.content("nothing.db") == b""
    shut(connection)
