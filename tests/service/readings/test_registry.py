"""What is read of the registry: what is done to it moves the metrics by that."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.audit.heads import HeadKeeper, Signature, SignedHead
from tekton.core.component_lifecycle import ComponentRegistry, pending
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.idempotency import Answer, Claim
from tekton.core.lifecycle import ComponentRegistration, ComponentState, new_instance_uuid
from tekton.service.auditing import Auditing
from tekton.service.readings import registry as readings
from tekton.testing.clock import ManualClock, current_clock, virtual_time
from tekton.testing.faults import FaultyStore, VirtualWorker
from tekton.utils.tekton_errors import (
    IdempotencyKeyReusedError,
    OutcomeUnknownError,
    RegistryError,
    RequestRunningError,
    StorageBusyError,
    StorageError,
)

Read = Callable[..., Any]
Action = Callable[[ComponentRegistry, FaultyStore], Awaitable[None]]


async def register(registry: ComponentRegistry, name: str = "worker", *, ready: bool = False) -> str:
    registration = ComponentRegistration(component_id=name)
    await registry.register(registration)
    if ready:
        await registry.make_ready(name, registration.instance_uuid)
    return registration.instance_uuid


async def fill(registry: ComponentRegistry, store: FaultyStore) -> None:
    store.full = True
    with suppress(StorageError):
        await register(registry)


async def break_off(registry: ComponentRegistry, store: FaultyStore) -> None:
    store.fail_next = "lost"
    with suppress(StorageError):
        await register(registry)


async def be_stale(registry: ComponentRegistry, _: FaultyStore) -> None:
    await register(registry)
    with suppress(RegistryError):
        await registry.set_state("worker", new_instance_uuid(), ComponentState.READY)


async def fall_behind(registry: ComponentRegistry, _: FaultyStore) -> None:
    with suppress(Exception):
        registry.feed.subscribe(10**9)


async def claim(registry: ComponentRegistry, request: bytes = b"one") -> Claim | Answer:
    return await registry.idempotency_keys.begin("me", "key", request)


async def answered(registry: ComponentRegistry, _: FaultyStore) -> None:
    first = await claim(registry)
    assert isinstance(first, Claim)
    await first.conclude(Answer(201, "application/json", [], "{}"))
    await claim(registry)


async def running(registry: ComponentRegistry, _: FaultyStore) -> None:
    await claim(registry)
    with suppress(RequestRunningError):
        await claim(registry)


async def other(registry: ComponentRegistry, _: FaultyStore) -> None:
    await claim(registry)
    with suppress(IdempotencyKeyReusedError):
        await claim(registry, b"another")


async def unknown(registry: ComponentRegistry, _: FaultyStore) -> None:
    first = await claim(registry)
    assert isinstance(first, Claim)
    first.take()
    await registry.idempotency_keys.writer.keep_key(first)
    first.abandon()
    with suppress(OutcomeUnknownError):
        await claim(registry)


async def one_registers(registry: ComponentRegistry, _: FaultyStore) -> None:
    await register(registry)


TABLE = [
    (one_registers, readings.feed, "tekton_feed_changes", (), 1),
    (one_registers, readings.store, "tekton_store_full", (), 0),
    (one_registers, readings.store, "tekton_store_commands_waiting", (), 0),
    (fill, readings.store, "tekton_store_full", (), 1),
    (fill, readings.store, "tekton_store_refusals", ("full",), 1),
    (break_off, readings.store, "tekton_store_refusals", ("unknown",), 1),
    (be_stale, readings.store, "tekton_stale_commands", (), 1),
    (fall_behind, readings.feed, "tekton_feed_resets", (), 1),
    (answered, readings.store, "tekton_idempotency_keys", (), 1),
    (answered, readings.store, "tekton_idempotency_repeats", ("answered",), 1),
    (running, readings.store, "tekton_idempotency_repeats", ("running",), 1),
    (other, readings.store, "tekton_idempotency_repeats", ("other",), 1),
    (unknown, readings.store, "tekton_idempotency_repeats", ("unknown",), 1),
]


@pytest.mark.parametrize(
    ("action", "reader", "name", "labels", "by"), TABLE, ids=lambda value: getattr(value, "__name__", None)
)
async def test_what_is_done_moves_the_metric(
    registry: ComponentRegistry,
    store: FaultyStore,
    read: Read,
    action: Action,
    reader: Any,
    name: str,
    labels: tuple[str, ...],
    by: int,
) -> None:
    before = read(partial(reader, registry), name, *labels)

    await action(registry, store)

    assert read(partial(reader, registry), name, *labels) - before == by


async def test_a_command_that_finds_a_crowd_is_refused_as_busy(
    registry: ComponentRegistry, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 0)

    with pytest.raises(StorageBusyError):
        await register(registry)

    assert read(partial(readings.store, registry), "tekton_store_refusals", "busy") == 1


async def test_components_are_counted_by_state_however_many_there_are(registry: ComponentRegistry, read: Read) -> None:
    for number in range(1203):
        instance = await register(registry, f"c{number}")
        if number < 3:
            registry.observe(f"c{number}", instance, ComponentState.FAILED, "test")
    reader = partial(readings.components, registry, ["c1"])

    counts = read(reader, "tekton_components")

    assert counts["registering",] == 1200
    assert counts["failed",] == 3
    assert sum(counts.values()) == 1203
    assert read(reader, "tekton_components_flapping") == 1


async def test_what_the_store_gets_is_counted_in_batches(registry: ComponentRegistry, read: Read) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(register(registry, f"c{number}"))
    reader = partial(readings.store, registry)

    sizes = read(reader, "tekton_store_batch_changes")

    assert (sizes.sum, sizes.count) == (10, read(reader, "tekton_store_batch_duration").count)
    assert read(reader, "tekton_registry_revision") == registry.revision


async def test_watchers_are_counted_for_as_long_as_they_watch(registry: ComponentRegistry, read: Read) -> None:
    reader = partial(readings.feed, registry)
    slow, quick = registry.feed.subscribe(), registry.feed.subscribe()
    for number in range(3):
        await register(registry, f"c{number}")
    await anext(quick)

    assert (read(reader, "tekton_feed_subscribers"), read(reader, "tekton_feed_lag")) == (2, 3)

    slow.close()
    assert (read(reader, "tekton_feed_subscribers"), read(reader, "tekton_feed_lag")) == (1, 0)
    del quick
    assert read(reader, "tekton_feed_subscribers") == 0


async def test_the_audit_log_tells_what_is_open_and_what_is_not_signed(registry: ComponentRegistry, read: Read) -> None:
    clock, signed = ManualClock(), cast(Any, SimpleNamespace(path="heads", append=list[SignedHead]().append))
    heads = HeadKeeper(registry.audit, signed, lambda _: Signature("key", b"x"), clock)
    reader = partial(readings.audit, cast(Auditing, SimpleNamespace(log=registry.audit, heads=heads)), clock)

    def told() -> list[float]:
        names = ("entries", "open_intents", "entries_unsigned", "head_age")
        return [read(reader, f"tekton_audit_{name}") for name in names]

    effect = await registry.audit.intend("kill", "worker")
    clock.advance(60)
    assert told() == [1, 1, 1, 60]
    effect.conclude()
    effect.conclude()
    await registry.flush()
    await heads.keep()
    clock.advance(5)
    assert told() == [2, 0, 0, 5]


@virtual_time
async def test_heartbeats_and_leases_that_ran_out_are_counted(read: Read) -> None:
    clock = current_clock()
    async with ComponentRegistry(clock=clock, executor=VirtualWorker()) as registry:
        monitor = HeartbeatMonitor(registry, clock=clock)
        instance = await register(registry)
        reader = partial(readings.heartbeats, monitor)
        names = ("tekton_heartbeats", "tekton_leases", "tekton_leases_expired")
        async with monitor:
            for _ in range(3):
                monitor.beat("worker", instance)
                await asyncio.sleep(5)
            alive = [read(reader, name) for name in names]
            await asyncio.sleep(40)
            dead = [read(reader, name) for name in names]

    assert (alive, dead) == ([3, 1, 0], [3, 0, 1])


@virtual_time
async def test_a_storm_is_counted_once_and_so_are_clocks_that_jump(read: Read) -> None:
    clock = current_clock()
    async with (
        ComponentRegistry(clock=clock, executor=VirtualWorker()) as registry,
        HeartbeatMonitor(registry, clock=clock) as monitor,
    ):
        reader = partial(readings.heartbeats, monitor)
        for number in range(20):
            await register(registry, f"c{number}", ready=True)
        await asyncio.sleep(32)
        assert read(reader, "tekton_components_suspected") == 20
        assert read(reader, "tekton_lease_storms") == 1
        await asyncio.sleep(5)
        assert read(reader, "tekton_lease_storms") == 1

        clock.set_wall(clock.time() - 3600)
        clock.suspend(60)
        await asyncio.sleep(1)

        jumps = read(reader, "tekton_clock_jumps")
    assert jumps == {("suspended",): 1, ("forward",): 0, ("back",): 1}
