"""What the control plane does for its audit log."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tekton.core.attribution import Attribution, attributed
from tekton.core.audit.failed_logins import FailedLogins
from tekton.core.audit.heads import FILE_NAME, HeadFile, Signature
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.service.auditing import Auditing, concluded
from tekton.testing import ManualClock
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ComponentError, StorageFullError

ANN = Attribution("ann", "token")


def auditing(registry: ComponentRegistry, data_dir: Path, heads: Path | None = None) -> Auditing:
    config = cast(TektonConfig, SimpleNamespace(data_dir=data_dir, audit_heads=heads))
    failed_logins = FailedLogins(registry.audit)
    return Auditing(registry.audit, failed_logins, config, lambda _: Signature("one", b""), ManualClock())


async def said(registry: ComponentRegistry) -> list[tuple[str, str, str]]:
    await registry.flush()
    entries = (await registry.audit.page(AuditQuery())).entries
    return [(entry.actor, entry.action, entry.outcome) for entry in reversed(entries)]


async def test_when_it_stops_everything_is_entered_and_signed(tmp_path: Path) -> None:
    async with ComponentRegistry() as registry:
        one = auditing(registry, tmp_path)
        one.start()
        one.failed_logins.note("192.0.2.7:80", "is revoked")
        with attributed(ANN):
            await one.intend_to_stop()
            await one.intend_to_stop()

        await one.stop()

        assert await said(registry) == [
            ("ann", "system.stop", "intent"),
            ("ann", "system.stop", "done"),
            ("anonymous", "login", "refused"),
        ]
        assert [head.seq for head in HeadFile(tmp_path / FILE_NAME).read()[0]] == [3]


async def test_the_heads_go_where_the_configuration_says(tmp_path: Path) -> None:
    async with ComponentRegistry() as registry:
        one = auditing(registry, tmp_path, tmp_path / "elsewhere")
        one.start()
        await registry.audit.record("a")

        await one.stop()

        assert [head.seq for head in HeadFile(tmp_path / "elsewhere").read()[0]] == [1]
        assert not (tmp_path / FILE_NAME).exists()


async def test_a_signal_is_entered_as_what_the_owner_does(tmp_path: Path) -> None:
    async with ComponentRegistry() as registry:
        one = auditing(registry, tmp_path)

        one.signalled_to_stop("SIGTERM")

        assert await said(registry) == [("owner", "system.stop", "done")]


async def test_a_signal_after_somebody_has_asked_is_part_of_that(tmp_path: Path) -> None:
    async with ComponentRegistry() as registry:
        one = auditing(registry, tmp_path)
        with attributed(ANN):
            await one.intend_to_stop()

        one.signalled_to_stop("SIGTERM")

        assert await said(registry) == [("ann", "system.stop", "intent")]


async def test_a_full_disk_does_not_keep_the_system_from_stopping(tmp_path: Path) -> None:
    store = FaultyStore(MemoryStore())
    async with ComponentRegistry(store=store) as registry:
        one = auditing(registry, tmp_path)
        store.full = True

        with attributed(ANN):
            await one.intend_to_stop()

        store.full = False
        assert await said(registry) == [("ann", "system.stop", "done")]


async def test_what_an_attempt_gives_or_raises_is_its_outcome() -> None:
    failure = ComponentError("hermes", "no process")

    async def attempt(what: object) -> object:
        if isinstance(what, BaseException) and what is not failure:
            raise what
        return what

    async with ComponentRegistry() as registry:
        for what in (None, failure, StorageFullError("no room"), asyncio.CancelledError()):
            effect = await registry.audit.intend("a")
            if what in (None, failure):
                assert await concluded(effect, attempt(what)) is what
            else:
                with pytest.raises(type(what)):
                    await concluded(effect, attempt(what))

        await registry.flush()
        entries = (await registry.audit.page(AuditQuery())).entries[::-1]
        outcomes = [(entry.outcome, entry.detail) for entry in entries if entry.intent is not None]
        assert outcomes == [
            ("done", ""),
            ("failed", "hermes: no process"),
            ("failed", "no room"),
            ("failed", "interrupted"),
        ]
