"""Refused credentials: counted, so that nobody fills the log by guessing."""

import asyncio

import pytest

from tekton.core.audit.failed_logins import MAX_PAIRS, FailedLogins
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.testing import virtual_time
from tekton.testing.faults import FaultyStore


async def entered(registry: ComponentRegistry) -> list[tuple[str, str, str, str]]:
    entries = (await registry.audit.page(AuditQuery(action="login"), 1000)).entries
    return [(entry.actor, entry.address, entry.outcome, entry.detail) for entry in reversed(entries)]


async def test_refusals_of_a_minute_are_one_entry_for_each_address_and_reason(registry: ComponentRegistry) -> None:
    failed = FailedLogins(registry.audit)

    for port in range(3):
        failed.note(f"192.0.2.7:{port}", "has expired")
    failed.note("192.0.2.7:9", "is revoked")
    failed.note("[2001:db8::1]:80", "has expired")
    failed.note("", "is not known")
    assert await entered(registry) == []
    await failed.enter()
    await failed.enter()

    assert await entered(registry) == [
        ("anonymous", "192.0.2.7", "refused", "has expired (3 times)"),
        ("anonymous", "192.0.2.7", "refused", "is revoked"),
        ("anonymous", "2001:db8::1", "refused", "has expired"),
        ("anonymous", "", "refused", "is not known"),
    ]
    assert failed.total == 6


@pytest.mark.parametrize(
    ("address", "kept"),
    [("192.0.2.7:80", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("[::1]:80", "::1"), ("2001:db8::1", "2001:db8::1")],
)
async def test_the_port_of_the_peer_does_not_matter(registry: ComponentRegistry, address: str, kept: str) -> None:
    failed = FailedLogins(registry.audit)
    failed.note(address, "x")

    await failed.enter()

    assert [address for _, address, _, _ in await entered(registry)] == [kept]


async def test_of_too_many_addresses_the_rest_is_counted_together(registry: ComponentRegistry) -> None:
    failed = FailedLogins(registry.audit)
    for number in range(MAX_PAIRS + 500):
        failed.note(f"host-{number}", "x")
    failed.note("host-0", "x")

    await failed.enter()

    found = (await registry.audit.page(AuditQuery(action="login"), 1)).entries
    assert found[0].seq == MAX_PAIRS + 1
    assert found[0].detail == "too many addresses to tell apart (500 times)"


async def test_what_a_full_disk_refuses_is_entered_when_there_is_room() -> None:
    store = FaultyStore(MemoryStore())
    async with ComponentRegistry(store=store) as registry:
        failed = FailedLogins(registry.audit)
        failed.note("a", "x")
        store.full = True
        await failed.enter()
        failed.note("a", "x")
        failed.note("b", "x")
        store.full = False

        await failed.enter()

        assert [(address, detail) for _, address, _, detail in await entered(registry)] == [
            ("a", "x (2 times)"),
            ("b", "x"),
        ]


@virtual_time
async def test_it_enters_every_minute_and_when_it_stops(inline_registry: ComponentRegistry) -> None:
    failed = FailedLogins(inline_registry.audit)
    failed.start()
    failed.note("a", "x")
    await asyncio.sleep(59)
    assert inline_registry.audit.head.seq == 0
    await asyncio.sleep(2)
    assert inline_registry.audit.head.seq == 1
    failed.note("b", "x")

    await failed.stop()

    assert inline_registry.audit.head.seq == 2


async def test_the_log_of_the_server_tells_of_each_address_and_reason_once_a_minute(
    registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    failed = FailedLogins(registry.audit)
    caplog.set_level("INFO", "tekton.audit")

    for minute in range(2):
        for port in range(50):
            failed.note(f"192.0.2.7:{port}", "has expired")
        assert len(caplog.records) == minute + 1
        await failed.enter()
