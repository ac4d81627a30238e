"""The verb audit: who changed what, and what is said of a log that is sound, or is not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.key_file import KeyFile
from tekton.core.attribution import Attribution, attributed
from tekton.core.audit.heads import HeadFile, HeadKeeper
from tekton.core.audit.signatures import signer
from tekton.core.component_lifecycle import ComponentRegistry, database
from tekton.testing import ManualClock

NOW = 1_700_000_000.0


def entry(seq: int, **fields: Any) -> dict[str, Any]:
    said = {"seq": seq, "at": NOW, "actor": "ann", "action": "component.kill", "target": "hermes", "outcome": "done"}
    return {**said, "address": "", "detail": "", **fields}


@pytest.fixture
def written(data_dir: Path) -> Path:
    """A data directory with six entries, of which a head vouches for three."""

    async def write() -> None:
        ring = KeyFile(data_dir).load_or_create(NOW)
        clock = ManualClock(wall=NOW)
        async with ComponentRegistry(data_dir, clock=clock) as registry:
            with attributed(Attribution("ann", "token")):
                for number in range(6):
                    await registry.audit.record("component.kill", f"c{number}")
                    if number == 2:
                        keeper = HeadKeeper(
                            registry.audit, HeadFile(data_dir / "audit-heads.jsonl"), signer(ring, clock), clock
                        )
                        await keeper.keep()

    asyncio.run(write())
    return data_dir


def edit(data_dir: Path, statement: str) -> None:
    connection = database.connect(data_dir / "tekton.db")
    connection.execute(statement)
    connection.close()


def test_the_newest_entries_are_shown_the_oldest_of_them_first(tekton: Any, plane: Any) -> None:
    items = [entry(2, outcome="done", address="192.0.2.7:80"), entry(1, outcome="intent", detail="TERM\n\x1b[31m")]
    plane.answers["GET /api/audit"] = (200, {"items": items, "cursor": None})

    result = tekton("audit")

    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME", "FROM", "DETAIL"]
    assert first.split()[2:7] == ["ann", "component.kill", "hermes", "intent", "-"]
    assert "\x1b" not in first
    assert second.split()[2:] == ["ann", "component.kill", "hermes", "done", "192.0.2.7:80", "-"]


def test_for_machines_the_answer_is_passed_on(tekton: Any, plane: Any) -> None:
    answer = {"items": [entry(1)], "cursor": 1}
    plane.answers["GET /api/audit"] = (200, answer)

    assert json.loads(tekton("audit", "--json").stdout) == answer


def test_a_sound_log_is_called_so_and_how_far_it_is_vouched_for(tekton: Any, written: Path) -> None:
    result = tekton("audit", "verify")

    assert (result.exit_code, result.stdout) == (0, "sound: 6 entries, 1 to 6\n")
    assert result.stderr == "signed heads vouch for everything up to entry 3\n"


def test_what_was_found_for_machines(tekton: Any, written: Path) -> None:
    result = tekton("audit", "verify", "-o", "json")

    assert json.loads(result.stdout) == {
        "sound": True, "problems": [], "entries": 6, "first": 1, "last": 6,
        "heads": 1, "unchecked": 0, "vouched": 3, "later": 0, "restores": [],
    }  # fmt: skip


def test_a_log_that_was_edited_is_an_error_that_says_where(tekton: Any, written: Path) -> None:
    edit(written, "UPDATE audit SET body = replace(body, 'c4', 'c5') WHERE seq = 5")

    result = tekton("audit", "verify")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error[audit_broken]: ")
    assert "entry 5 was changed, or does not follow entry 4" in result.stderr


def test_what_is_wrong_for_machines(tekton: Any, written: Path) -> None:
    edit(written, "DELETE FROM audit WHERE seq = 5")

    result = tekton("audit", "verify", "-o", "json")

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["sound"], found["problems"]) == (False, ["entry 5 is missing"])


def test_without_signed_heads_that_is_told(tekton: Any, written: Path) -> None:
    (written / "audit-heads.jsonl").unlink()

    result = tekton("audit", "verify")

    assert result.exit_code == 0
    assert "no signed head vouches for it" in result.stderr


def test_heads_whose_key_is_gone_are_told_and_no_key_is_made(tekton: Any, written: Path) -> None:
    KeyFile(written).path.unlink()

    result = tekton("audit", "verify")

    assert result.exit_code == 0
    assert "1 head could not be checked" in result.stderr
    assert not KeyFile(written).path.exists()


def test_heads_may_lie_elsewhere(tekton: Any, written: Path, tmp_path: Path) -> None:
    (written / "audit-heads.jsonl").rename(tmp_path / "elsewhere")
    with (tmp_path / "elsewhere").open("a") as file:
        file.write("half a li")

    result = tekton("audit", "verify", "--heads", str(tmp_path / "elsewhere"))

    assert "1 line of" in result.stderr
    assert "up to entry 3" in result.stderr


def test_a_backup_is_verified_against_the_heads_of_its_directory(tekton: Any, written: Path, tmp_path: Path) -> None:
    assert tekton("backup", str(tmp_path / "copy.db")).exit_code == 0

    result = tekton("audit", "verify", str(tmp_path / "copy.db"))

    assert (result.exit_code, result.stdout) == (0, "sound: 6 entries, 1 to 6\n")


def test_an_empty_log_is_called_so(tekton: Any, data_dir: Path) -> None:
    async def make() -> None:
        async with ComponentRegistry(data_dir):
            pass

    asyncio.run(make())

    assert tekton("audit", "verify").stdout == "the audit log is empty\n"


def test_where_there_is_no_database_that_is_said(tekton: Any, data_dir: Path) -> None:
    result = tekton("audit", "verify")

    assert result.exit_code == 1
    assert "there is no such file" in result.stderr


def test_verify_is_for_this_machine(tekton: Any) -> None:
    assert tekton("audit", "verify", "--url", "http://127.0.0.1:1").exit_code == 2


def test_heads_of_keys_that_have_retired_are_checked(tekton: Any, written: Path) -> None:
    file = KeyFile(written)
    file.rotate(file.load_or_create(NOW), NOW, overlap=False)

    found = json.loads(tekton("audit", "verify", "-o", "json").stdout)

    assert (found["sound"], found["heads"], found["unchecked"], found["vouched"]) == (True, 1, 0, 3)


def test_a_head_that_a_retired_key_has_not_signed_is_an_error(tekton: Any, written: Path) -> None:
    file = KeyFile(written)
    file.rotate(file.load_or_create(NOW), NOW, overlap=False)
    heads = written / "audit-heads.jsonl"
    heads.write_text(heads.read_text().replace('"seq":3', '"seq":4'))

    result = tekton("audit", "verify")

    assert result.exit_code == 1
    assert "has a signature that is not ours" in result.stderr


def test_heads_of_keys_are_checked_where_a_secret_is_set_since(
    tekton: Any, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKTON_SECURITY_JWT_SECRET", "k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq")

    found = json.loads(tekton("audit", "verify", "-o", "json").stdout)

    assert (found["heads"], found["unchecked"]) == (1, 0)
