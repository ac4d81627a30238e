"""The database file: settings, schema, migration."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry, database
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.utils.tekton_errors import SchemaVersionError, StorageCorruptError, StorageError

RELEASED = sorted((Path(__file__).parents[2] / "fixtures").glob("schema-*"))
NEWEST = len(database.MIGRATIONS)


def created(path: Path) -> apsw.Connection:
    connection = database.connect(path)
    database.prepare(connection, path, database.schema_version(connection, path, NEWEST))
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

    assert database.schema_version(connection, path, NEWEST) == 0
    connection.close()

    assert path.stat().st_size == 0


def test_a_migration_keeps_the_data_and_a_copy_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    connection = created(path)
    connection.execute("UPDATE meta SET incarnation = 7")
    migrations = [*database.MIGRATIONS, "ALTER TABLE meta ADD COLUMN note TEXT"]

    database.prepare(connection, path, NEWEST, migrations)

    assert connection.execute("SELECT incarnation, note FROM meta").get == (7, None)
    assert database.schema_version(connection, path, NEWEST + 1) == NEWEST + 1
    connection.close()
    copy = database.connect(tmp_path / f"tekton.db.v{NEWEST}")
    assert database.schema_version(copy, path, NEWEST) == NEWEST
    assert copy.execute("SELECT incarnation FROM meta").get == 7
    database.check(copy, path)
    copy.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    created(path).close()
    connection = database.connect(path)
    migrations = [*database.MIGRATIONS, "CREATE TABLE added (x); SELECT no_such_function()"]

    with pytest.raises(apsw.SQLError):
        database.prepare(connection, path, NEWEST, migrations)
    connection.close()

    again = database.connect(path)
    assert database.schema_version(again, path, NEWEST) == NEWEST
    assert again.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'added'").get == 0
    again.close()


TABLES = ("components", "changes", "audit", "documents", "idempotency_keys", "meta")

MIGRATOR = """
import os, signal, sys
from pathlib import Path
from tekton.core.component_lifecycle import database

path = Path(sys.argv[1])
connection = database.connect(path)
connection.create_scalar_function("die", lambda: os.kill(os.getpid(), signal.SIGKILL), 0)
newest = len(database.MIGRATIONS)
added = "CREATE TABLE added AS SELECT * FROM changes; UPDATE components SET record = 'half'; SELECT die()"
database.prepare(connection, path, newest, [*database.MIGRATIONS, added])
"""


def test_a_migration_that_is_killed_leaves_the_old_schema_and_its_data(tmp_path: Path) -> None:
    shutil.copytree(RELEASED[-1], tmp_path / "data")
    path = tmp_path / "data" / "tekton.db"
    before = rows(path)

    killed = subprocess.run([sys.executable, "-c", MIGRATOR, path], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert rows(path) == before
    with database.reading(path) as connection:
        assert database.schema_version(connection, path, NEWEST) == NEWEST
        assert not connection.table_exists("main", "added")
        database.check(connection, path)


def test_a_migration_without_room_leaves_the_old_schema_and_its_data(tmp_path: Path) -> None:
    shutil.copytree(RELEASED[-1], tmp_path / "data")
    path = tmp_path / "data" / "tekton.db"
    before = rows(path)
    connection = database.connect(path)
    connection.pragma("max_page_count", connection.pragma("page_count") + 1)

    added = "CREATE TABLE added AS SELECT * FROM changes"

    with pytest.raises(apsw.FullError):
        database.prepare(connection, path, NEWEST, [*database.MIGRATIONS, added])
    connection.close()

    assert rows(path) == before


@pytest.mark.parametrize("script", ["DELETE FROM components WHERE component_id = 'hermes'", "DELETE FROM changes"])
def test_a_migration_that_would_lose_rows_is_undone(tmp_path: Path, script: str) -> None:
    shutil.copytree(RELEASED[-1], tmp_path / "data")
    path = tmp_path / "data" / "tekton.db"
    before = rows(path)
    connection = database.connect(path)

    with pytest.raises(StorageError, match=f"the migration to schema {NEWEST + 1} would turn"):
        database.prepare(connection, path, NEWEST, [*database.MIGRATIONS, script])
    connection.close()

    assert rows(path) == before


def test_the_steps_of_a_migration_are_taken_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    created(path).close()
    connection = database.connect(path)
    steps = ["CREATE TABLE second (x)", "CREATE TABLE third (x); SELECT no_such_function()"]

    with pytest.raises(apsw.SQLError):
        database.prepare(connection, path, NEWEST, [*database.MIGRATIONS, *steps])

    assert database.schema_version(connection, path, NEWEST + 1) == NEWEST + 1
    assert connection.table_exists("main", "second")
    assert not connection.table_exists("main", "third")
    connection.close()


def rows(path: Path) -> list[Any]:
    with database.reading(path) as connection:
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.name)
async def test_a_database_of_every_released_schema_opens_with_all_that_is_in_it(released: Path, tmp_path: Path) -> None:
    shutil.copytree(released, tmp_path / "data")
    expected = json.loads((released / "contents.json").read_bytes())

    async with ComponentRegistry(tmp_path / "data") as registry:
        records = registry.all_instances()
        histories = {name: await registry.get_history(name, 1000) for name in expected["histories"]}
        audit = (await registry.audit.page(AuditQuery(), 1000)).entries
        documents = {kind: dict(registry.documents.all(kind)) for kind in expected.get("documents", ())}
        assert registry.incarnation == expected["incarnation"] + 1
        assert registry.revision >= expected["revision"]
        assert len(registry.idempotency_keys) == expected.get("keys", 0)

    assert_contained(expected["records"], msgspec.to_builtins(records))
    assert_contained(expected["histories"], msgspec.to_builtins(histories))
    assert_contained(expected.get("audit", []), msgspec.to_builtins(audit))
    assert_contained(expected.get("documents", {}), msgspec.to_builtins(documents))


def assert_contained(expected: Any, found: Any) -> None:
    """Everything expected is there; a later Tekton may say more about it."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_contained(value, found[name])
    elif isinstance(expected, list):
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            assert_contained(one, other)
    else:
        assert expected == found


def test_every_schema_has_a_fixture() -> None:
    assert [path.name for path in RELEASED] == [f"schema-{number + 1}" for number in range(len(database.MIGRATIONS))]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    shutil.copytree(RELEASED[-1], tmp_path / "data")
    path = tmp_path / "data" / "tekton.db"
    newest = len(database.MIGRATIONS)
    with database.reading(path) as connection:
        connection.pragma("journal_mode", "delete")
        connection.pragma("user_version", newest + 1)
    before = digest(path), digest(path.with_name("witness"))

    with pytest.raises(SchemaVersionError, match=f"schema {newest + 1}; this Tekton reads up to {newest}"):
        SqliteStore(tmp_path / "data").open()

    assert (digest(path), digest(path.with_name("witness"))) == before


def test_a_foreign_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "tekton.db"
    foreign = apsw.Connection(str(path))
    foreign.execute("PRAGMA application_id = 7; CREATE TABLE components (x)")
    foreign.close()
    before = digest(path)

    with pytest.raises(StorageCorruptError, match="not a database of Tekton"):
        SqliteStore(tmp_path).open()

    assert digest(path) == before


def test_a_copy_is_for_its_owner_and_replaces_an_unfinished_one(tmp_path: Path) -> None:
    connection = created(tmp_path / "tekton.db")
    (tmp_path / "copy.new").write_text("half")

    database.copy_to(connection, tmp_path / "copy")
    connection.close()

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "copy.new").exists()


def test_a_copy_needs_no_log_beside_it(tmp_path: Path) -> None:
    connection = created(tmp_path / "tekton.db")

    database.copy_to(connection, tmp_path / "copy")
    connection.close()

    # What a header says that asks for a rollback journal: such a file can be read where nothing can be written.
    assert (tmp_path / "copy").read_bytes()[18:20] == b"\1\1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == ["copy"]


def test_an_sqlite_with_the_log_reset_bug_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")

    with pytest.raises(StorageError, match=r"3\.51\.3 or newer"):
        database.connect(tmp_path / "tekton.db")
