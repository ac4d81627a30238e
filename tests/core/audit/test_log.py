"""The audit log as the rest of Tekton uses it: what is in it, and when."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tekton.core.attribution import Attribution, attributed
from tekton.core.audit.entry import AuditEntry
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import virtual_time
from tekton.testing.clock import ManualClock
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import (
    IllegalTransitionError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

ANN = Attribution("ann", "token", "192.0.2.7:80", "r1")


def registration(component_id: str = "hermes") -> ComponentRegistration:
    return ComponentRegistration(component_id=component_id)


async def log(registry: ComponentRegistry) -> list[AuditEntry]:
    """All entries, oldest first."""
    await registry.flush()
    return (await registry.audit.page(AuditQuery(), 1000)).entries[::-1]


async def said(registry: ComponentRegistry) -> list[tuple[str, str, str, str]]:
    return [(entry.actor, entry.action, entry.target, entry.outcome) for entry in await log(registry)]


# Commands.


async def test_each_command_of_a_caller_is_one_entry(registry: ComponentRegistry) -> None:
    one = registration()
    with attributed(ANN):
        await registry.register(one)
        await registry.make_ready("hermes", one.instance_uuid)
        await registry.set_state("hermes", one.instance_uuid, ComponentState.DEGRADED, "slow")
        await registry.register(
            ComponentRegistration(component_id="hermes", instance_uuid=one.instance_uuid, version="2")
        )
        await registry.deregister("hermes", one.instance_uuid)

    entries = await log(registry)

    assert [(entry.action, entry.detail) for entry in entries] == [
        ("component.register", one.instance_uuid),
        ("component.state", f"ready {one.instance_uuid}"),
        ("component.state", f"degraded {one.instance_uuid}: slow"),
        ("component.update", one.instance_uuid),
        ("component.deregister", one.instance_uuid),
    ]
    assert {(entry.actor, entry.via, entry.address, entry.request) for entry in entries} == {ANN}
    assert {(entry.target, entry.outcome) for entry in entries} == {("hermes", "done")}


async def test_an_entry_has_the_time_of_its_command(registry: ComponentRegistry, clock: ManualClock) -> None:
    with attributed(ANN):
        clock.advance(7)
        await registry.register(registration())

    assert [entry.at for entry in await log(registry)] == [clock.time()]


async def test_what_nobody_asked_for_is_no_entry(registry: ComponentRegistry) -> None:
    one = registration()
    await registry.register(one)
    await registry.make_ready("hermes", one.instance_uuid)
    with attributed(ANN):
        registry.observe("hermes", one.instance_uuid, ComponentState.FAILED, "exit 1")

    assert await log(registry) == []


async def test_what_changed_nothing_is_no_entry(registry: ComponentRegistry) -> None:
    one = registration()
    with attributed(ANN):
        await registry.register(one)
        await registry.register(one)
        await registry.make_ready("hermes", one.instance_uuid)
        await registry.make_ready("hermes", one.instance_uuid)
        with pytest.raises(IllegalTransitionError):
            await registry.set_state("hermes", one.instance_uuid, ComponentState.REGISTERING)

    assert len(await log(registry)) == 2


async def test_a_replaced_instance_is_part_of_the_registration(registry: ComponentRegistry) -> None:
    one = registration()
    await registry.register(one)
    registry.observe("hermes", one.instance_uuid, ComponentState.FAILED, "exit 1")
    with attributed(ANN):
        await registry.register(registration())

    assert await said(registry) == [("ann", "component.register", "hermes", "done")]


# Documents.


async def test_documents_are_seen_when_they_are_durable(registry: ComponentRegistry) -> None:
    documents = registry.documents
    keys = documents.all("key")

    with attributed(ANN):
        await documents.put("key", "a", b"1")
        await documents.put("key", "b", b"2", action="key.rotate", detail="weekly")
        await documents.delete("key", "a")

    assert documents.all("key") == {"b": b"2"}
    assert dict(keys) == {}
    assert documents.all("nothing") == {}
    assert documents.changes("key") == 3
    assert await said(registry) == [
        ("ann", "key.put", "a", "done"),
        ("ann", "key.rotate", "b", "done"),
        ("ann", "key.delete", "a", "done"),
    ]


async def test_a_document_that_tekton_changes_itself_is_an_entry_too(registry: ComponentRegistry) -> None:
    await registry.documents.put("revocation", "a", b"1")

    assert await said(registry) == [("tekton", "revocation.put", "a", "done")]


async def test_a_document_may_not_be_large(registry: ComponentRegistry) -> None:
    with pytest.raises(ValueError, match="65537 bytes are more"):
        await registry.documents.put("key", "a", bytes(65537))

    assert registry.documents.all("key") == {}
    assert await log(registry) == []


async def test_documents_are_there_after_a_restart(tmp_path: Path) -> None:
    async with ComponentRegistry(tmp_path) as registry:
        await registry.documents.put("key", "a", b"1")
        await registry.documents.put("key", "b", b"2")
        await registry.documents.delete("key", "b")
    async with ComponentRegistry(tmp_path) as registry:
        assert registry.documents.all("key") == {"a": b"1"}
        assert registry.documents.changes("key") == 0


# Effects.


async def test_the_intent_is_durable_before_the_effect_and_the_outcome_follows(registry: ComponentRegistry) -> None:
    with attributed(ANN):
        effect = await registry.audit.intend("component.kill", "hermes", "TERM")
        assert registry.audit.head.seq == effect.seq == 1
        with effect:
            assert await said(registry) == [("ann", "component.kill", "hermes", "intent")]

    intent, outcome = await log(registry)
    assert (outcome.actor, outcome.action, outcome.target) == ("ann", "component.kill", "hermes")
    assert (outcome.outcome, outcome.intent, intent.detail) == ("done", intent.seq, "TERM")


async def test_an_effect_that_fails_says_why(registry: ComponentRegistry) -> None:
    for error in (StorageError("no room"), ValueError(), asyncio.CancelledError()):
        with pytest.raises(type(error)), await registry.audit.intend("a"):
            raise error

    outcomes = [entry for entry in await log(registry) if entry.intent is not None]
    assert [(entry.outcome, entry.detail) for entry in outcomes] == [
        ("failed", "no room"),
        ("failed", "ValueError"),
        ("failed", "interrupted"),
    ]


async def test_the_first_outcome_counts(registry: ComponentRegistry) -> None:
    with await registry.audit.intend("a") as effect:
        effect.conclude("failed", "so it is")
        effect.conclude()

    assert [entry.detail for entry in await log(registry)] == ["", "so it is"]


async def test_whoever_goes_away_while_the_intent_is_written_leaves_none_open(registry: ComponentRegistry) -> None:
    task = asyncio.get_running_loop().create_task(registry.audit.intend("a"))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await registry.flush()
    # Whoever waited for the intent is told in the next turn of the loop.
    await asyncio.sleep(0)

    assert [(entry.outcome, entry.intent) for entry in await log(registry)] == [("intent", None), ("failed", 1)]


async def test_after_a_crash_the_outcome_is_unknown(tmp_path: Path) -> None:
    store = MemoryStore()
    first = ComponentRegistry(store=store)
    with attributed(ANN):
        await first.audit.intend("component.kill", "hermes")
        with await first.audit.intend("component.stop", "hermes"):
            pass
    await first.flush()
    store.close()

    for _ in range(2):
        async with ComponentRegistry(store=store) as registry:
            entries = await log(registry)

        assert [(entry.actor, entry.outcome, entry.intent) for entry in entries] == [
            ("ann", "intent", None),
            ("ann", "intent", None),
            ("ann", "done", 2),
            ("tekton", "unknown", 1),
        ]
        assert entries[-1].detail == "ann intended it"
    del first, tmp_path


# When the store refuses.


@pytest.fixture
def full(new_inline_registry: Callable[..., ComponentRegistry]) -> tuple[ComponentRegistry, FaultyStore]:
    store = FaultyStore(MemoryStore())
    return new_inline_registry(store), store


@virtual_time
async def test_what_cannot_be_entered_is_not_done(full: tuple[ComponentRegistry, FaultyStore]) -> None:
    registry, store = full
    with attributed(ANN):
        await registry.register(registration("before"))
    store.full = True

    with attributed(ANN):
        with pytest.raises(StorageFullError):
            await registry.audit.record("login")
        with pytest.raises(StorageFullError):
            await registry.audit.intend("kill")
        with pytest.raises(StorageFullError):
            await registry.register(registration())
        with pytest.raises(StorageFullError):
            await registry.documents.put("key", "a", b"1")

    assert registry.find("hermes") is None
    assert registry.documents.all("key") == {}
    store.full = False
    with attributed(ANN):
        await registry.register(registration("after"))
    assert [target for _, _, target, _ in await said(registry)] == ["before", "after"]
    await registry.close()


@virtual_time
async def test_an_outcome_is_a_fact_and_is_entered_when_there_is_room(
    full: tuple[ComponentRegistry, FaultyStore],
) -> None:
    registry, store = full
    effect = await registry.audit.intend("kill")
    store.full = True

    effect.conclude()
    await asyncio.sleep(12)
    assert registry.audit.head.seq == 1
    # It is tried now and then, and not all the time.
    assert store.refused == 3
    store.full = False
    await asyncio.sleep(5)

    assert [entry.outcome for entry in await log(registry)] == ["intent", "done"]
    await registry.close()


@virtual_time
async def test_when_the_store_has_stopped_nothing_is_entered(full: tuple[ComponentRegistry, FaultyStore]) -> None:
    registry, store = full
    effect = await registry.audit.intend("kill")
    store.fail_next = "lost"
    with pytest.raises(StorageUnknownError):
        await registry.audit.record("a")

    effect.conclude()
    with pytest.raises(StorageUnknownError):
        await registry.audit.record("b")
    with pytest.raises(StorageUnknownError):
        await registry.audit.page(AuditQuery())
    with pytest.raises(StorageUnknownError):
        await registry.audit.trim(1)
    await registry.close()


# Reading.


async def test_a_page_goes_on_until_it_is_full(registry: ComponentRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.core.component_lifecycle.store.SCANNED_AT_ONCE", 7)
    for number in range(50):
        await registry.audit.record("rare" if number % 10 == 0 else "common")

    page = await registry.audit.page(AuditQuery(action="rare"), 3)
    assert [entry.seq for entry in page.entries] == [41, 31, 21]
    page = await registry.audit.page(AuditQuery(action="rare"), 3, page.before)
    assert ([entry.seq for entry in page.entries], page.before) == ([11, 1], None)


async def test_the_number_of_an_entry_is_told(registry: ComponentRegistry) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(registry.audit.record(f"a{number}")) for number in range(5)]

    by_number = {entry.seq: entry.action for entry in await log(registry)}
    assert [by_number[task.result()] for task in tasks] == [f"a{number}" for number in range(5)]


async def test_as_many_entries_as_commands_that_changed_something(tmp_path: Path) -> None:
    """Count equality, with callers at once and refusals among them."""
    rng = Random(7)
    acknowledged = 0

    async def caller(registry: ComponentRegistry, number: int) -> None:
        nonlocal acknowledged
        with attributed(Attribution(f"caller-{number}")):
            for _ in range(20):
                one = registration(f"c{rng.randrange(12)}")
                try:
                    await registry.register(one)
                    acknowledged += 1
                    await registry.make_ready(one.component_id, one.instance_uuid)
                    acknowledged += 1
                    await registry.deregister(one.component_id, one.instance_uuid)
                    acknowledged += 1
                except Exception as refusal:
                    assert getattr(refusal, "code", "") == "component_exists"  # noqa: PT017

    async with ComponentRegistry(tmp_path) as registry:
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(caller(registry, number))
        entries = await log(registry)

    assert len(entries) == acknowledged > 100
    async with ComponentRegistry(tmp_path) as registry:
        assert await log(registry) == entries
