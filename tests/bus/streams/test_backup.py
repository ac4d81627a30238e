"""Backups have the streams beside them, and a restore brings both back, or neither."""

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from tekton.bus.bus import DEFAULT_CONSUMER, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.backup import STREAMS
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import Batch, Progress, Put
from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.backup import Backup, BackupWriter, back_up_offline
from tekton.core.component_lifecycle.restore import Restoration, finish_restore
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import BackupError, BackupExistsError, StorageCorruptError

NOW = 1_700_000_000.0
STAMP = "20231114T221320Z"
RESTORER = Path(__file__).parents[2] / "core" / "component_lifecycle" / "restorer.py"


def put(content: str) -> Put:
    message = Message(MessageType.EVENT, content, MessageContext("engram"))
    return Put("orders", Envelope("orders.new", message), message.to_json(), NOW)


class Directory:
    """A data directory that is in use: a registry, and streams."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._registry = SqliteStore(path)
        self._registry.open()
        self._streams = SqliteStreamStore(path / "bus.db", reserve_bytes=0)
        self._streams.open()
        self._streams.put_stream("orders", StreamSettings(("orders.>",)), NOW)

    def publish(self, *contents: str) -> None:
        progress = Progress("orders", "billing", DEFAULT_CONSUMER, 1, [(2, 1)])
        self._streams.commit(Batch([put(one) for one in contents], [progress]), NOW)

    def back_up(self, path: Path | None = None) -> Backup:
        return BackupWriter(self.path, path, NOW, [STREAMS]).run()

    def close(self) -> None:
        self._registry.close()
        self._streams.close()


@pytest.fixture
def live(tmp_path: Path) -> Directory:
    directory = Directory(tmp_path / "live")
    directory.publish("one", "two")
    return directory


def stored(directory: Path) -> list[str]:
    """What is in the stream, and that its consumer is known."""
    store = SqliteStreamStore(directory / "bus.db", reserve_bytes=0)
    [loaded] = store.open()
    assert [one.consumer for one in loaded.consumers] == ["billing"]
    found = [envelope.message.content for envelope in store.read("orders", 0, ">", 100, 10**6).envelopes]
    store.close()
    return found


def restore(directory: Path, backup: Path) -> list[str]:
    """What is restored besides."""
    with Restoration(directory, backup, NOW, [STREAMS]) as restoration:
        restoration.carry_out()
        return [one.file for one in restoration.companions]


def test_a_backup_has_the_streams_in_a_file_beside_it(live: Directory, tmp_path: Path) -> None:
    written = live.back_up(tmp_path / "copy.db")
    unnamed = live.back_up()
    live.close()

    assert written.also == [str(tmp_path / "copy.bus.db")]
    assert unnamed.also == [str(live.path / "backups" / f"tekton-{STAMP}.bus.db")]
    assert written.size_bytes == sum((tmp_path / name).stat().st_size for name in ("copy.db", "copy.bus.db"))
    assert (tmp_path / "copy.bus.db").stat().st_mode & 0o777 == 0o600
    assert not list(live.path.rglob("*.unfinished*"))


def test_a_restore_brings_the_streams_back_and_keeps_those_that_were_there(live: Directory, tmp_path: Path) -> None:
    live.back_up(tmp_path / "copy.db")
    live.publish("three")
    live.close()

    assert restore(live.path, tmp_path / "copy.db") == ["bus.db"]

    assert stored(live.path) == ["one", "two"]
    kept = live.path / f"bus.db.before-restore-{STAMP}"
    (tmp_path / "old").mkdir()
    shutil.move(kept, tmp_path / "old" / "bus.db")
    assert stored(tmp_path / "old") == ["one", "two", "three"]


def test_a_restore_names_all_that_it_has_kept(live: Directory, tmp_path: Path) -> None:
    live.back_up(tmp_path / "copy.db")
    live.close()
    (live.path / f"other.db.before-restore-{STAMP}-2").touch()

    with Restoration(live.path, tmp_path / "copy.db", NOW, [STREAMS]) as restoration:
        restored = restoration.carry_out()

    names = [f"{name}.before-restore-{STAMP}" for name in ("bus.db", "tekton.db")]
    assert restored.kept_files == tuple(live.path / name for name in names)
    assert restored.kept == live.path / names[1]


def test_a_backup_without_streams_leaves_them_as_they_are(live: Directory, tmp_path: Path) -> None:
    BackupWriter(live.path, tmp_path / "copy.db", NOW).run()
    live.close()

    assert restore(live.path, tmp_path / "copy.db") == []
    assert stored(live.path) == ["one", "two"]


def test_where_there_are_no_streams_the_backup_has_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.open()
    store.close()

    assert back_up_offline(tmp_path, tmp_path / "copy.db", NOW, [STREAMS]).also == []


def test_a_file_in_the_place_of_the_streams_is_not_overwritten(live: Directory, tmp_path: Path) -> None:
    (tmp_path / "copy.bus.db").write_text("mine")

    with pytest.raises(BackupExistsError):
        live.back_up(tmp_path / "copy.db")

    live.close()
    assert (tmp_path / "copy.bus.db").read_text() == "mine"
    assert not (tmp_path / "copy.db").exists()


def test_of_a_damaged_file_there_is_no_backup_and_nothing_is_left(live: Directory, tmp_path: Path) -> None:
    live.close()
    with (live.path / "bus.db").open("r+b") as file:
        file.seek(-3000, 2)
        file.write(b"damage")

    with pytest.raises(StorageCorruptError):
        back_up_offline(live.path, tmp_path / "copy.db", NOW, [STREAMS])

    assert not list(tmp_path.glob("copy*"))


@pytest.mark.parametrize("wrong", [b"", b"no database", None], ids=["empty", "text", "the registry's"])
def test_what_is_no_backup_of_streams_is_refused_and_nothing_is_touched(
    live: Directory, tmp_path: Path, wrong: bytes | None
) -> None:
    live.back_up(tmp_path / "copy.db")
    live.publish("three")
    live.close()
    beside = tmp_path / "copy.bus.db"
    beside.write_bytes((tmp_path / "copy.db").read_bytes() if wrong is None else wrong)

    with pytest.raises(BackupError):
        restore(live.path, tmp_path / "copy.db")

    assert stored(live.path) == ["one", "two", "three"]
    assert not list(live.path.glob("*.staged*"))


def test_a_restore_killed_at_any_step_brings_back_both_or_neither(live: Directory, tmp_path: Path) -> None:
    live.back_up(tmp_path / "copy.db")
    live.publish("three")
    live.close()
    outcomes = []
    for step in count(1):
        directory = tmp_path / f"step-{step}"
        shutil.copytree(live.path, directory)
        command = [sys.executable, RESTORER, directory, tmp_path / "copy.db", str(step), "os.rename"]
        killed = subprocess.run(command, check=False)
        assert killed.returncode in (0, -9)

        finish_restore(directory)

        with database.reading(directory / "tekton.db") as registry:
            restored = database.mark_of(registry).revision > 0
        assert stored(directory) == (["one", "two"] if restored else ["one", "two", "three"])
        outcomes.append(restored)
        if killed.returncode == 0:
            break

    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 4
    assert (outcomes[0], outcomes[-1]) == (False, True)


def test_what_a_killed_restore_had_not_decided_is_removed_by_the_next(live: Directory, tmp_path: Path) -> None:
    live.back_up(tmp_path / "copy.db")
    live.close()
    undecided = live.path / "bus.db.restore-20200101T000000Z"
    undecided.write_text("left behind")

    restore(live.path, tmp_path / "copy.db")

    assert not undecided.exists()
    assert stored(live.path) == ["one", "two"]
