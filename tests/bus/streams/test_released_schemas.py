"""Streams that an earlier release has stored are found again: opened, backed up, and restored."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tekton.bus.bus import ConsumerSettings
from tekton.bus.streams import stream_file, stream_sql
from tekton.bus.streams.backup import STREAMS
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import LoadedStream, Progress
from tekton.bus.streams.stream_sql import MIGRATIONS
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.backup import back_up_offline
from tekton.core.component_lifecycle.restore import Restoration
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.utils.tekton_errors import StorageCorruptError

FIXTURES = [Path(__file__).parents[2] / "fixtures" / f"bus-{number + 1}" / "bus.db" for number in range(2)]
BILLING = ConsumerSettings(filter="orders.new", ack_wait=5.0, max_deliver=3, backoff=(0.0, 1.0))
NOW = 1_700_000_000.0


class Usage(NamedTuple):
    total: int
    used: int
    free: int


each_schema = pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.parent.name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the streams of a registry with nothing in it are to be."""
    registry = SqliteStore(tmp_path / "live")
    registry.open()
    registry.close()
    return tmp_path / "live" / "bus.db"


def open_and_look(path: Path, owner: str) -> None:
    """All that `make_bus.py` has stored is found in the file."""
    store = SqliteStreamStore(path, reserve_bytes=0)
    loaded = {stream.name: stream for stream in store.open()}
    assert list(loaded) == ["dead_letters", "orders", "payments"]
    look_at_orders(store, loaded["orders"], owner)
    [letter] = store.read("dead_letters", 0, ">", 10, 1 << 20).envelopes
    assert (letter.subject, letter.message.content["sequence"]) == ("tekton.dead.orders", 2)
    assert letter.message.content["reason"] == "no such customer"
    assert [one.message.content for one in store.read("payments", 0, ">", 10, 1 << 20).envelopes] == [7]
    store.close()


def look_at_orders(store: SqliteStreamStore, orders: LoadedStream, owner: str) -> None:
    messages = store.read("orders", 0, ">", 10, 1 << 20).envelopes
    assert (orders.settings.subjects, orders.settings.max_messages) == (("orders.>",), 100)
    assert (orders.state.messages, orders.state.last, orders.state.dropped) == (4, 4, 0)
    assert [(one.sequence, one.subject, one.reply, one.message.content) for one in messages] == [
        (1, "orders.new", None, "one"),
        (2, "orders.new", None, {"text": "poison"}),
        (3, "orders.paid", "answers.here", "paid"),
        (4, "orders.new", None, {"to": "Grüße, 世界 🎉", "text": "x" * 5000}),
    ]
    assert list(orders.consumers) == [Progress("orders", "billing", BILLING, 4, [(4, 1)], 0, 1, 0, owner=owner)]


def owner_in(fixture: Path) -> str:
    """Before consumers had owners they were everybody's."""
    return "" if fixture is FIXTURES[0] else "ann"


def version_of(path: Path) -> int:
    with database.reading(path) as connection:
        return int(str(connection.pragma("user_version")))


def tables(path: Path) -> list[str]:
    with database.reading(path) as connection:
        return [str(sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_schema ORDER BY name")]


@each_schema
def test_streams_of_each_schema_are_read(path: Path, fixture: Path) -> None:
    shutil.copy(fixture, path)

    open_and_look(path, owner_in(fixture))

    assert version_of(path) == len(MIGRATIONS)


@each_schema
def test_streams_of_each_schema_are_backed_up_and_restored(path: Path, tmp_path: Path, fixture: Path) -> None:
    shutil.copy(fixture, path)
    back_up_offline(path.parent, tmp_path / "copy.db", NOW, [STREAMS])
    path.unlink()

    with Restoration(path.parent, tmp_path / "copy.db", NOW, [STREAMS]) as restoration:
        restoration.carry_out()

    open_and_look(path, owner_in(fixture))


def test_streams_are_copied_before_they_are_migrated(path: Path) -> None:
    shutil.copy(FIXTURES[0], path)

    open_and_look(path, "")

    copy = path.with_name("bus.db.v1")
    assert (version_of(copy), any("owner" in one for one in tables(copy))) == (1, False)
    assert copy.stat().st_mode & 0o777 == 0o600


def test_streams_are_migrated_without_a_copy_where_there_is_no_room_for_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(FIXTURES[0], path)
    free = 2 * FIXTURES[0].stat().st_size - 1
    monkeypatch.setattr(stream_file.shutil, "disk_usage", lambda _: Usage(10 * free, 9 * free, free))

    open_and_look(path, "")

    assert version_of(path) == len(MIGRATIONS)
    assert not list(path.parent.glob("bus.db.v*"))
    assert "no copy of the streams is made" in caplog.text


def test_a_migration_that_fails_half_way_leaves_the_streams_as_they_were_and_the_next_start_begins_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FIXTURES[0], path)
    with monkeypatch.context() as patch:
        patch.setattr(stream_sql, "MIGRATIONS", (*MIGRATIONS[:1], f"{MIGRATIONS[1]} SELECT * FROM nowhere;"))
        with pytest.raises(StorageCorruptError, match="nowhere"):
            SqliteStreamStore(path, reserve_bytes=0).open()
    assert version_of(path) == 1

    open_and_look(path, "")


def test_the_file_that_is_written_today_has_the_schema_of_the_newest_fixture(path: Path, tmp_path: Path) -> None:
    store = SqliteStreamStore(path, reserve_bytes=0)
    store.open()
    store.close()
    newest = Path(shutil.copy(FIXTURES[-1], tmp_path / "fixture.db"))

    assert (version_of(path), len(FIXTURES)) == (version_of(newest), len(MIGRATIONS))
    assert tables(path) == tables(newest)
