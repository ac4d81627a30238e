import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.keys import LEEWAY, MAX_LIFE
from tekton.auth.revocations import KIND, Revocations
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.utils.tekton_errors import InvalidTokenError

NOW = 1_700_000_000.0
AT = int(NOW)

_REVOKE_AND_DIE = """
import asyncio, os, signal, sys
from tekton.auth.revocations import Revocations
from tekton.core.component_lifecycle import ComponentRegistry

async def main():
    async with ComponentRegistry(data_dir=sys.argv[1]) as registry:
        await Revocations(registry.documents).revoke_token("a", 1.8e9)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

Desk = Any


@pytest.fixture
def revocations(registry: ComponentRegistry) -> Revocations:
    return Revocations(registry.documents)


async def test_nothing_is_revoked_at_first(revocations: Revocations) -> None:
    assert not revocations.is_revoked("a", "web", NOW)
    assert not revocations.is_barred("web")
    assert revocations.listed() == {}


async def test_a_token_is_revoked_by_its_id_alone(revocations: Revocations) -> None:
    await revocations.revoke_token("a", NOW + 60)

    assert revocations.is_revoked("a", "web", NOW)
    assert not revocations.is_revoked("b", "web", NOW)


async def test_what_a_subject_was_issued_so_far_can_be_revoked(revocations: Revocations) -> None:
    await revocations.revoke_issued("web", NOW + 0.5)

    assert revocations.is_revoked("a", "web", AT)
    assert not revocations.is_revoked("a", "web", AT + 1)
    assert not revocations.is_revoked("a", "db", AT)
    assert not revocations.is_barred("web")


async def test_a_subject_that_is_barred_gets_nowhere_with_any_token(revocations: Revocations) -> None:
    await revocations.bar("web")
    await revocations.revoke_issued("web", NOW)

    assert revocations.is_barred("web")
    assert revocations.is_revoked("a", "web", NOW + 1e9)


async def test_a_subject_that_is_restored_needs_a_new_token(revocations: Revocations) -> None:
    await revocations.bar("web")

    await revocations.restore("web", NOW)

    assert not revocations.is_barred("web")
    assert revocations.is_revoked("a", "web", AT)
    assert not revocations.is_revoked("a", "web", AT + 1)


async def test_the_audit_log_tells_what_was_done_to_a_subject(
    revocations: Revocations, registry: ComponentRegistry
) -> None:
    await revocations.revoke_issued("web", NOW, reason="lost")
    await revocations.bar("web", reason="gone")
    await revocations.restore("web", NOW)

    entries = (await registry.audit.page(AuditQuery(target="subject:web"))).entries

    assert [(entry.action, entry.detail) for entry in reversed(entries)] == [
        ("revocation.add", "lost"),
        ("revocation.bar", "gone"),
        ("revocation.restore", ""),
    ]


async def test_who_is_not_barred_cannot_be_restored(revocations: Revocations) -> None:
    await revocations.restore("web", NOW)

    assert revocations.listed() == {}


async def test_each_revocation_is_seen_by_who_remembers_what_was_valid(revocations: Revocations) -> None:
    epochs = [revocations.epoch]
    await revocations.revoke_token("a", NOW)
    epochs.append(revocations.epoch)
    await revocations.revoke_issued("web", NOW)
    epochs.append(revocations.epoch)
    await revocations.bar("web")
    epochs.append(revocations.epoch)

    assert epochs == sorted(set(epochs))


async def test_what_makes_no_difference_any_more_is_forgotten(revocations: Revocations) -> None:
    await revocations.revoke_token("short", NOW + 60)
    await revocations.revoke_issued("web", NOW)
    await revocations.bar("db")

    assert await revocations.forget_useless(NOW + 60 + LEEWAY) == 0
    assert await revocations.forget_useless(NOW + 60 + LEEWAY + 1) == 1
    assert await revocations.forget_useless(NOW + MAX_LIFE + 2 * LEEWAY) == 0
    assert await revocations.forget_useless(NOW + MAX_LIFE + 2 * LEEWAY + 1) == 1
    assert list(revocations.listed()) == ["subject:db"]


async def test_a_token_has_expired_before_its_revocation_is_forgotten(revocations: Revocations, desk: Desk) -> None:
    token = desk.issue(life=60)
    claims = desk.verifier.verify(token, NOW)
    await revocations.revoke_token(claims.token_id, claims.expires_at)

    accepted = 0
    for second in range(200):
        await revocations.forget_useless(NOW + second)
        with suppress(InvalidTokenError):
            desk.verifier.verify(token, NOW + second)
            accepted += 1
            assert revocations.is_revoked(claims.token_id, claims.subject, claims.issued_at)

    assert accepted == 60 + LEEWAY
    assert revocations.listed() == {}


async def test_an_unusual_name_revokes_nobody_else(revocations: Revocations) -> None:
    await revocations.revoke_token("subject:web", NOW)
    await revocations.bar("token:a")

    assert not revocations.is_revoked("a", "web", NOW)
    assert revocations.is_revoked("subject:web", "x", NOW)


async def test_revocations_hold_after_a_restart(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        before = Revocations(registry.documents)
        await before.revoke_token("a", NOW + 60, reason="lost laptop")
        await before.bar("web")

    async with ComponentRegistry(data_dir=tmp_path) as registry:
        after = Revocations(registry.documents)
        assert after.is_revoked("a", "x", NOW)
        assert after.is_barred("web")
        assert after.listed()["token:a"].reason == "lost laptop"


def test_a_revocation_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _REVOKE_AND_DIE, tmp_path], capture_output=True, timeout=30, check=False
    )

    async def is_revoked() -> bool:
        async with ComponentRegistry(data_dir=tmp_path) as registry:
            return Revocations(registry.documents).is_revoked("a", "web", NOW)

    assert died.returncode == -signal.SIGKILL, died.stderr
    assert asyncio.run(is_revoked())


async def test_a_token_in_another_spelling_is_revoked_with_it_or_no_token(revocations: Revocations, desk: Desk) -> None:
    token = desk.issue()
    claims = desk.verifier.verify(token, NOW)
    await revocations.revoke_token(claims.token_id, claims.expires_at)

    # The same key may sign the same statement once more, in other bytes: it has the same id.
    again = desk.verifier.verify(desk.sign(json.dumps(dict(claims.all), indent=1).encode()), NOW)

    assert again.all == claims.all
    assert revocations.is_revoked(again.token_id, again.subject, again.issued_at)


async def test_revocations_are_documents_of_their_kind(registry: ComponentRegistry, revocations: Revocations) -> None:
    await revocations.revoke_token("a", NOW)

    assert list(registry.documents.all(KIND)) == ["token:a"]
