"""Files that only their owner may read."""

import os
import stat
from pathlib import Path

import pytest

from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.private_files import make_private, open_privately, tighten


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_database_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "new.db")

    assert mode(tmp_path / "new.db") == 0o600


def test_what_others_could_read_is_taken_from_them(tmp_path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"old.db{suffix}").touch()
        (tmp_path / f"old.db{suffix}").chmod(0o664)

    make_private(tmp_path / "old.db")

    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_tightening_leaves_the_owner_what_he_had(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o444)

    tighten(tmp_path / "file")
    tighten(tmp_path / "missing")

    assert mode(tmp_path / "file") == 0o400


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has files of others")
def test_the_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o644)
    os.chown(tmp_path / "file", 65534, 65534)

    tighten(tmp_path / "file")

    assert mode(tmp_path / "file") == 0o644


def test_an_opener_creates_for_the_owner_alone(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb", opener=open_privately):
        pass

    assert mode(tmp_path / "file") == 0o600


def test_nobody_else_reads_database_lock_and_witness_in_a_directory_that_is_open_to_all(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path)
        store.open()
        modes = {path.name: mode(path) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(("LOCK", "tekton.db", "tekton.db-shm", "tekton.db-wal", "witness"), 0o600)


def test_an_older_directory_is_tightened_when_it_is_opened(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.open()
    store.close()
    for path in tmp_path.iterdir():
        path.chmod(0o644)

    store.open()

    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    store.close()


def test_a_lock_that_is_held_elsewhere_is_not_touched(tmp_path: Path) -> None:
    owner, other = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    owner.acquire()
    (tmp_path / "LOCK").chmod(0o644)

    with pytest.raises(Exception, match="in use"):
        other.acquire()

    assert mode(tmp_path / "LOCK") == 0o644
    owner.release()
