"""The ledger: when changes say they were made, what a refusal says, and what is left when nobody holds the registry."""

import asyncio
import gc
from collections.abc import Sequence

import pytest
from registering import record_changes, registered, registration

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore, Mutation
from tekton.core.lifecycle import ComponentState
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    IllegalTransitionError,
    StaleInstanceError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

REGISTERING, INITIALIZING, FAILED = (
    ComponentState.REGISTERING,
    ComponentState.INITIALIZING,
    ComponentState.FAILED,
)


class FailingStore(MemoryStore):
    """A store that raises what it is told to."""

    error: Exception | None = None

    def commit(self, batch: Sequence[Mutation]) -> None:
        if self.error is not None:
            raise self.error
        super().commit(batch)


# Times.


async def test_every_change_carries_the_time_at_which_it_was_made() -> None:
    clock = ManualClock(wall=100.0)
    async with ComponentRegistry(clock=clock) as registry:
        changes = record_changes(registry)
        one = await registered(registry)
        clock.advance(1)
        await registry.set_state("x", one.instance_uuid, INITIALIZING)
        clock.advance(1)
        await registered(registry, instance_uuid=one.instance_uuid, version="2")
        clock.advance(1)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
        clock.advance(1)
        two = await registered(registry)
        clock.advance(1)
        gone = await registry.deregister("x", two.instance_uuid)

        told = [
            ("registered", 100.0),
            ("state", 101.0),
            ("updated", 102.0),
            ("state", 103.0),
            ("registered", 104.0),
            ("deregistered", 104.0),
            ("deregistered", 105.0),
        ]
        assert [(change.kind, change.at) for change in changes] == told
        assert [change.record.changed_at for change in changes] == [at for _, at in told]
        assert [change.record.registered_at for change in changes] == [100.0] * 4 + [104.0, 100.0, 104.0]
        assert (gone.changed_at, gone.registered_at) == (105.0, 104.0)
        history = await registry.get_history("x")
        assert [(entry.kind, entry.at) for entry in reversed(history)] == told


async def test_an_observation_that_has_to_wait_keeps_the_time_at_which_it_was_made() -> None:
    clock = ManualClock(wall=100.0)
    async with ComponentRegistry(clock=clock) as registry, asyncio.TaskGroup() as group:
        one = await registered(registry)
        changes = record_changes(registry)
        group.create_task(registry.set_state("x", one.instance_uuid, INITIALIZING))
        await asyncio.sleep(0)
        clock.advance(1)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
        clock.advance(1)
        await registry.flush()

        assert [(change.state, change.at) for change in changes] == [(INITIALIZING, 100.0), (FAILED, 101.0)]


async def test_a_change_says_from_which_state_it_came_and_what_brought_it() -> None:
    async with ComponentRegistry() as registry:
        changes = record_changes(registry)
        one = await registered(registry)
        await registry.set_state("x", one.instance_uuid, INITIALIZING, "on its way")
        await registered(registry, instance_uuid=one.instance_uuid, version="2")
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
        await registry.deregister("x", one.instance_uuid)

    assert [(change.kind, change.previous, change.state, change.reason) for change in changes] == [
        ("registered", ComponentState.UNKNOWN, REGISTERING, None),
        ("state", REGISTERING, INITIALIZING, "on its way"),
        ("updated", INITIALIZING, INITIALIZING, "on its way"),
        ("state", INITIALIZING, FAILED, "exit 1"),
        ("deregistered", FAILED, FAILED, "exit 1"),
    ]


# Refusals.


async def test_what_cannot_become_ready_is_refused_with_what_is_legal() -> None:
    async with ComponentRegistry() as registry:
        one = await registered(registry)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")

        with pytest.raises(IllegalTransitionError) as refusal:
            await registry.make_ready("x", one.instance_uuid)

    assert (refusal.value.component_id, refusal.value.current, refusal.value.requested) == ("x", "failed", "ready")
    assert set(refusal.value.legal) == {"initializing", "stopping"}


async def test_a_stale_instance_is_told_apart_from_an_unknown_component_and_counted() -> None:
    async with ComponentRegistry() as registry:
        await registered(registry, "hermes")
        stranger = registration("hermes").instance_uuid

        for _ in range(2):
            with pytest.raises(StaleInstanceError) as stale:
                await registry.set_state("hermes", stranger, INITIALIZING)
        with pytest.raises(ComponentNotFoundError) as unknown:
            await registry.set_state("hermse", stranger, INITIALIZING)

        assert (stale.value.component_id, stale.value.instance_uuid) == ("hermes", stranger)
        assert unknown.value.component_id == "hermse"
        assert registry.stale_commands == 2


async def test_an_error_of_the_store_that_nobody_foresaw_stops_it_and_is_named() -> None:
    store = FailingStore()
    registry = ComponentRegistry(store=store)
    failures: list[StorageError] = []
    registry.add_failure_listener(failures.append)
    store.error = RuntimeError("a bug")

    with pytest.raises(StorageUnknownError, match=r"commit failed: RuntimeError\('a bug'\)"):
        await registered(registry)

    assert failures == [registry.failure]
    assert len(registry.table) == 0
    store.error = None
    await registry.close()


async def test_a_listener_for_undoing_is_told_of_what_was_lost_until_it_is_removed() -> None:
    store = FailingStore()
    async with ComponentRegistry(store=store) as registry:
        undone: list[tuple[str, str]] = []
        remove = registry.add_undo_listener(lambda *key: undone.append(key))
        store.error = StorageFullError("no space left")
        one = registration()

        for _ in range(2):
            with pytest.raises(StorageFullError):
                await registry.register(one)
            remove()
            remove = lambda: None  # noqa: E731

        assert undone == [("x", one.instance_uuid)]
        store.error = None


async def test_a_listener_that_raises_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def listener(*_: str) -> None:
        raise RuntimeError("a mistake of the listener")

    store = FailingStore()
    async with ComponentRegistry(store=store) as registry, asyncio.timeout(5):
        registry.add_undo_listener(listener)
        store.error = StorageFullError("no space left")

        with pytest.raises(StorageFullError):
            await registry.register(registration())

        assert "a listener failed when a change of x was undone" in caplog.text
        store.error = None


async def test_a_state_that_could_not_be_saved_costs_no_slot() -> None:
    store = FailingStore()
    async with ComponentRegistry(store=store) as registry:
        one = await registered(registry)
        undone: list[str] = []
        registry.add_undo_listener(lambda component_id, _: undone.append(component_id))
        slot = registry.table.find("x", one.instance_uuid)
        store.error = StorageFullError("no space left")

        with pytest.raises(StorageFullError):
            await registry.set_state("x", one.instance_uuid, INITIALIZING)

        assert undone == []
        assert (registry.table.find("x", one.instance_uuid), registry.table.state(slot)) == (slot, REGISTERING.index)
        store.error = None


# Waiting.


async def test_who_gave_up_waiting_is_forgotten_and_others_are_not() -> None:
    async with ComponentRegistry() as registry:
        waiters = [asyncio.ensure_future(registry.wait_until("x", lambda best: best is not None)) for _ in range(2)]
        await asyncio.sleep(0)

        waiters[0].cancel()
        await registered(registry)

        async with asyncio.timeout(5):
            assert await waiters[1] is registry.find("x")
        assert waiters[0].cancelled()
        assert registry._ledger._waiters == {}


async def test_what_holds_already_is_not_waited_for() -> None:
    async with ComponentRegistry() as registry, asyncio.timeout(5):
        assert await registry.wait_until("x", lambda best: best is None) is None
        await registered(registry)
        assert await registry.wait_until("x", lambda _: True) is registry.find("x")
        assert registry._ledger._waiters == {}


# The end.


async def test_what_is_asked_of_a_registry_that_was_lost_is_refused_and_undone() -> None:
    registry = ComponentRegistry()
    ledger = registry._ledger

    del registry
    gc.collect()

    with pytest.raises(StorageError, match="the registry is closed"):
        await ledger.register(registration(), False)
    assert len(ledger.table) == 0
