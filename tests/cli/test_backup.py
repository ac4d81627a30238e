"""The verbs backup and restore: what they say, and what they leave alone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.sqlite_store import SqliteStore


@pytest.fixture
def database(data_dir: Path) -> Path:
    """A database in the data directory, of a system that does not run."""
    store = SqliteStore(data_dir)
    store.open()
    store.close()
    return data_dir / "tekton.db"


@pytest.fixture
def copy(tekton: Any, database: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    assert tekton("backup", str(tmp_path / "copy.db")).exit_code == 0
    return tmp_path / "copy.db"


def test_a_running_control_plane_is_asked_for_the_backup(
    tekton: Any, plane: Any, data_dir: Path, tmp_path: Path
) -> None:
    written = {"path": str(tmp_path / "x.db"), "revision": 3074, "size_bytes": 1_572_864, "also": []}
    plane.answers["POST /api/system/backup"] = (201, written)
    lock = DirectoryLock(data_dir)
    lock.acquire()

    result = tekton("backup", "x.db")

    lock.release()
    assert plane.requests == [("POST", "/api/system/backup")]
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'x.db'}\n")
    assert result.stderr.startswith("revision 3074, 1.5 MiB, in ")


def test_where_nothing_runs_the_backup_is_made_by_the_command(tekton: Any, database: Path, data_dir: Path) -> None:
    result = tekton("backup")

    assert result.exit_code == 0
    path = Path(result.stdout.strip())
    assert path.parent == data_dir / "backups"
    assert re.fullmatch(r"tekton-\d{8}T\d{6}Z\.db", path.name)
    assert path.exists()


def test_a_backup_for_machines_is_one_document(tekton: Any, database: Path) -> None:
    result = tekton("backup", "-o", "json")

    document = json.loads(result.stdout)
    assert (set(document), result.stderr) == ({"path", "revision", "size_bytes", "also"}, "")
    assert Path(document["path"]).stat().st_size == document["size_bytes"]


def test_an_existing_file_is_a_conflict(tekton: Any, copy: Path) -> None:
    before = copy.read_bytes()

    result = tekton("backup", str(copy))

    assert (result.exit_code, result.stdout) == (6, "")
    assert f"error[backup_exists]: {copy}: exists already" in result.stderr
    assert copy.read_bytes() == before


def test_a_directory_without_a_database_cannot_be_backed_up(tekton: Any) -> None:
    result = tekton("backup")

    assert result.exit_code == 1
    assert "there is no database to back up" in result.stderr


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits at the terminal."""
    monkeypatch.setattr("tekton.cli.confirm.somebody_is_there", lambda: True)


@pytest.mark.usefixtures("asked")
def test_a_restore_says_what_is_lost_and_asks(tekton: Any, database: Path, copy: Path, data_dir: Path) -> None:
    before = database.read_bytes()

    result = tekton("restore", str(copy), input="n\n")

    assert result.exit_code == 1
    assert "the backup is sound: revision 0" in result.stderr
    assert "0 changes will be lost" in result.stderr
    assert f"restore into {data_dir}? [y/N]" in result.stderr
    assert "nothing was changed" in result.stderr
    assert database.read_bytes() == before


def test_where_nobody_can_be_asked_nothing_waits_and_nothing_changes(tekton: Any, database: Path, copy: Path) -> None:
    before = database.read_bytes()

    result = tekton("restore", str(copy), input="y\n")

    assert result.exit_code == 2
    assert "Nobody can be asked here; say --yes" in result.stderr
    assert database.read_bytes() == before


@pytest.mark.usefixtures("asked")
def test_a_restore_that_nobody_confirms_changes_nothing(tekton: Any, database: Path, copy: Path) -> None:
    before = database.read_bytes()

    assert tekton("restore", str(copy), input="").exit_code == 130

    assert database.read_bytes() == before


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("confirmed", [{"arguments": ["--yes"]}, {"input": "y\n"}])
def test_a_confirmed_restore_is_made_and_names_what_it_kept(
    tekton: Any, database: Path, copy: Path, data_dir: Path, confirmed: dict[str, Any]
) -> None:
    before = database.read_bytes()

    result = tekton("restore", str(copy), *confirmed.get("arguments", []), input=confirmed.get("input"))

    assert result.exit_code == 0
    (kept,) = data_dir.glob("tekton.db.before-restore-*")
    assert f"the database that was there is {kept}" in result.stderr
    assert kept.read_bytes() == before
    assert database.read_bytes() != before


@pytest.mark.usefixtures("database")
def test_a_restore_names_the_other_databases_that_it_kept(tekton: Any, data_dir: Path, tmp_path: Path) -> None:
    streams = SqliteStreamStore(data_dir / "bus.db", reserve_bytes=0)
    streams.open()
    streams.close()
    assert tekton("backup", str(tmp_path / "copy.db")).exit_code == 0

    result = tekton("restore", str(tmp_path / "copy.db"), "--yes")

    kept = sorted(data_dir.glob("bus.db.before-restore-*"))  # with its log
    assert result.exit_code == 0, result.stderr
    assert "bus.db will be as it was then, too: 0 messages will be lost" in result.stderr
    assert kept
    assert [line for line in result.stderr.splitlines() if "kept" in line] == [f"kept, too: {file}" for file in kept]


def test_a_restore_for_machines_is_one_document(tekton: Any, copy: Path) -> None:
    document = json.loads(tekton("restore", str(copy), "--yes", "-o", "json").stdout)

    known = {"backup_revision", "present_revision", "lost_changes", "also", "also_lost", "revision"}
    assert set(document) == {*known, "kept", "kept_files"}
    assert (document["lost_changes"], document["kept_files"]) == (0, [document["kept"]])


def test_a_restore_into_a_directory_in_use_names_who_uses_it(tekton: Any, copy: Path, data_dir: Path) -> None:
    lock = DirectoryLock(data_dir)
    lock.acquire()

    result = tekton("restore", str(copy), "--yes")

    lock.release()
    assert result.exit_code == 6
    assert "is in use by process" in result.stderr


def test_what_is_no_backup_is_told_so(tekton: Any, database: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine\n" * 1000)

    result = tekton("restore", "notes", "--yes")

    assert result.exit_code == 1
    assert f"error[backup]: {tmp_path / 'notes'}: " in result.stderr


def test_a_restore_is_not_made_elsewhere(tekton: Any, copy: Path) -> None:
    result = tekton("--url", "http://127.0.0.1:1", "restore", str(copy))

    assert result.exit_code == 2
    assert "--url names a system elsewhere" in result.stderr
