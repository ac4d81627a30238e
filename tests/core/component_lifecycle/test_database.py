"""The database file: settings, schema, migration."""

from pathlib import Path

import apsw
import pytest

from tekton.core.component_lifecycle import database
from tekton.utils.tekton_errors import StorageError


def created(path: Path) -> apsw.Connection:
    connection = database.connect(path)
    database.prepare(connection, path, database.schema_version(connection, path, 1))
    return connection


def test_a_new_database_is_ours_durable_and_checksummed(tmp_path: Path) -> None:
    connection = created(tmp_path / "tekton.db")

    assert connection.pragma("application_id") == database.APPLICATION_ID
    assert connection.pragma("user_version") == len(database.MIGRATIONS)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("auto_vacuum") == 0
    assert connection.reserve_bytes("main") == 8
    assert connection.pragma("checksum_verification") in (1, "1")
    database.check(connection, tmp_path / "tekton.db")
    connection.close()


def test_opening_alone_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    connection = database.connect(path)

    assert database.schema_version(connection, path, 1) == 0
    connection.close()

    assert path.stat().st_size == 0


def test_a_migration_keeps_the_data_and_a_copy_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    connection = created(path)
    connection.execute("UPDATE meta SET incarnation = 7")
    migrations = [*database.MIGRATIONS, "ALTER TABLE meta ADD COLUMN note TEXT"]

    database.prepare(connection, path, 1, migrations)

    assert connection.execute("SELECT incarnation, note FROM meta").get == (7, None)
    assert database.schema_version(connection, path, 2) == 2
    connection.close()
    copy = database.connect(tmp_path / "tekton.db.v1")
    assert database.schema_version(copy, path, 1) == 1
    assert copy.execute("SELECT incarnation FROM meta").get == 7
    database.check(copy, path)
    copy.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    created(path).close()
    connection = database.connect(path)
    migrations = [*database.MIGRATIONS, "CREATE TABLE added (x); SELECT no_such_function()"]

    with pytest.raises(apsw.SQLError):
        database.prepare(connection, path, 1, migrations)
    connection.close()

    again = database.connect(path)
    assert database.schema_version(again, path, 1) == 1
    assert again.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'added'").get == 0
    again.close()


def test_an_sqlite_with_the_log_reset_bug_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")

    with pytest.raises(StorageError, match=r"3\.51\.3 or newer"):
        database.connect(tmp_path / "tekton.db")
