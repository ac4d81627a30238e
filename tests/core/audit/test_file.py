"""The audit log of a database that nobody has open: real files, and what is done to them."""

import shutil
from pathlib import Path

import pytest

from tekton.core.attribution import Attribution, attributed
from tekton.core.audit.file import verify_file
from tekton.core.audit.heads import Check, HeadFile, HeadKeeper, Sign
from tekton.core.audit.verification import Verdict
from tekton.core.component_lifecycle import ComponentRegistry, database
from tekton.core.component_lifecycle.backup import back_up_offline
from tekton.core.component_lifecycle.restore import Restoration
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.lifecycle import ComponentRegistration
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import SchemaVersionError, StorageCorruptError, StorageError

RELEASED = Path(__file__).parents[2] / "fixtures"
NOW = 1_700_000_000.0


async def fill(directory: Path, sign: Sign, number: int, *, limit: int = 1000) -> None:
    """Have *number* components registered by somebody, and sign the head."""
    async with ComponentRegistry(store=SqliteStore(directory, audit_limit=limit)) as registry:
        with attributed(Attribution("ann", "token")):
            for _ in range(number):
                await registry.register(ComponentRegistration(component_id=f"c{registry.audit.head.seq}"))
        await HeadKeeper(registry.audit, HeadFile(directory / "heads"), sign, ManualClock(wall=NOW)).keep()


def verified(directory: Path, check: Check, path: Path | None = None) -> Verdict:
    heads, _ = HeadFile(directory / "heads").read()
    return verify_file(path or directory / "tekton.db", heads, check, complete=path is None)


def tamper(directory: Path, *statements: str) -> None:
    """Edit the database, as whoever can write its file can."""
    connection = database.connect(directory / "tekton.db")
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_what_was_written_is_sound_in_use_and_not(tmp_path: Path, sign: Sign, check: Check) -> None:
    await fill(tmp_path, sign, 20)
    assert verified(tmp_path, check).sound

    async with ComponentRegistry(tmp_path) as registry:
        await registry.audit.record("more")
        verdict = verified(tmp_path, check)

    assert verdict.sound
    assert (verdict.entries, verdict.last, verdict.vouched) == (21, 21, 20)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["UPDATE audit SET body = replace(body, 'ann', 'bob') WHERE seq = 5"], "entry 5 was changed"),
        (["DELETE FROM audit WHERE seq = 5"], "entry 5 is missing"),
        (["DELETE FROM audit WHERE seq > 15"], "entries 16 to 20 are missing at the end"),
        (
            [
                "DELETE FROM audit WHERE seq > 15",
                "UPDATE meta SET audit_seq = 15, audit_kept = 15, audit_hash = (SELECT hash FROM audit WHERE seq = 15)",
            ],
            "the log ends with entry 15, but entry 20 was signed at 2023-11-14",
        ),
        (
            [
                "UPDATE meta SET audit_base = 5, audit_base_hash = (SELECT hash FROM audit WHERE seq = 5)",
                "UPDATE audit SET seq = -seq WHERE seq IN (7, 8)",
                "UPDATE audit SET seq = 15 + seq WHERE seq < 0",
                "DELETE FROM audit WHERE seq <= 5",
            ],
            "entry 7 was changed",
        ),
    ],
)
async def test_what_was_tampered_with_is_found(
    tmp_path: Path, sign: Sign, check: Check, statements: list[str], problem: str
) -> None:
    await fill(tmp_path, sign, 20)

    tamper(tmp_path, *statements)

    assert verified(tmp_path, check).problems[0].startswith(problem)


async def test_a_log_of_which_entries_are_missing_keeps_the_store_from_opening(tmp_path: Path, sign: Sign) -> None:
    await fill(tmp_path, sign, 20)

    tamper(tmp_path, "DELETE FROM audit WHERE seq > 15")

    with pytest.raises(StorageCorruptError, match="the audit log is not 20 entries up to 20"):
        SqliteStore(tmp_path).open()


async def test_a_log_that_was_shortened_in_order_is_sound(tmp_path: Path, sign: Sign, check: Check) -> None:
    await fill(tmp_path, sign, 30, limit=10)
    await fill(tmp_path, sign, 10, limit=10)

    verdict = verified(tmp_path, check)

    assert verdict.sound
    assert (verdict.entries, verdict.first, verdict.last, verdict.vouched) == (10, 31, 40, 40)


async def test_the_log_in_a_backup_is_sound(tmp_path: Path, sign: Sign, check: Check) -> None:
    await fill(tmp_path, sign, 10)
    backup = back_up_offline(tmp_path, tmp_path / "backup.db", NOW)
    await fill(tmp_path, sign, 10)

    verdict = verified(tmp_path, check, Path(backup.path))

    assert verdict.sound
    assert (verdict.last, verdict.vouched, verdict.later) == (10, 10, 1)


async def test_a_restore_is_in_the_log_and_what_it_lost_is_told(tmp_path: Path, sign: Sign, check: Check) -> None:
    await fill(tmp_path, sign, 10)
    back_up_offline(tmp_path, tmp_path / "backup.db", NOW)
    await fill(tmp_path, sign, 10)

    with Restoration(tmp_path, tmp_path / "backup.db", NOW) as restoration:
        restoration.carry_out()
    await fill(tmp_path, sign, 5)

    verdict = verified(tmp_path, check)
    assert verdict.sound
    assert verdict.restores == [21]
    assert (verdict.entries, verdict.last, verdict.vouched) == (16, 26, 26)


async def test_numbers_are_not_used_again_where_nobody_knows_which_were(
    tmp_path: Path, sign: Sign, check: Check
) -> None:
    await fill(tmp_path, sign, 10)
    back_up_offline(tmp_path, tmp_path / "backup.db", NOW)
    await fill(tmp_path, sign, 10)
    (tmp_path / "tekton.db").write_bytes(b"damaged" * 1000)

    with Restoration(tmp_path, tmp_path / "backup.db", NOW) as restoration:
        restoration.carry_out()

    verdict = verified(tmp_path, check)
    assert verdict.sound
    assert verdict.restores == [10 + (1 << 32) + 1]


def test_what_has_no_audit_log_is_named(tmp_path: Path, check: Check) -> None:
    with pytest.raises(StorageError, match="there is no such file"):
        verify_file(tmp_path / "none.db", [], check, complete=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match="an empty file"):
        verify_file(tmp_path / "empty.db", [], check, complete=True)
    with pytest.raises(StorageError, match="had no audit log"):
        verify_file(Path(shutil.copy(RELEASED / "schema-1" / "tekton.db", tmp_path)), [], check, complete=True)
    (tmp_path / "text.db").write_text("no database" * 1000)
    with pytest.raises(StorageCorruptError):
        verify_file(tmp_path / "text.db", [], check, complete=True)


async def test_a_newer_schema_is_refused(tmp_path: Path, sign: Sign, check: Check) -> None:
    await fill(tmp_path, sign, 1)
    tamper(tmp_path, "PRAGMA user_version = 99")

    with pytest.raises(SchemaVersionError):
        verified(tmp_path, check)
