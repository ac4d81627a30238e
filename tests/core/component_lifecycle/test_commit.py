"""The way to the disk: what is visible when, in which order, and what is undone."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from registering import ready, record_changes, registered, registration

from tekton.core.component_lifecycle import ComponentRegistry, pending
from tekton.core.component_lifecycle.store import MemoryStore, Mutation
from tekton.core.lifecycle import (
    STATES,
    ComponentState,
)
from tekton.core.precedence import MOMENT
from tekton.testing import ManualClock, virtual_time
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    IllegalTransitionError,
    StaleInstanceError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
    TektonError,
)

READY = ComponentState.READY
FAILED = ComponentState.FAILED
FULL = StorageFullError("no space left")


class HeldStore(MemoryStore):
    """A store whose commits can be held back and made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self.error: StorageError | None = None
        self.commits = 0

    def commit(self, batch: Sequence[Mutation]) -> None:
        self.commits += 1
        self.entered.set()
        assert self.free.wait(10)
        if self.error is not None:
            raise self.error
        super().commit(batch)


def hold(store: HeldStore) -> None:
    store.entered.clear()
    store.free.clear()


async def held(store: HeldStore) -> None:
    """Wait until the store has a batch in its hands."""
    await asyncio.to_thread(store.entered.wait, 5)
    assert store.entered.is_set()


async def refused(command: Coroutine[Any, Any, Any]) -> Exception | None:
    """What *command* raises, if it does."""
    try:
        await command
    except TektonError as error:
        return error
    return None


def state_of(registry: ComponentRegistry, component_id: str = "x") -> ComponentState | None:
    record = registry.find(component_id)
    return None if record is None else record.state


def head_of(registry: ComponentRegistry, component_id: str = "x") -> list[ComponentState]:
    return [STATES[registry.table.state(slot)] for slot in registry.table.slots(component_id)]


# The committed view


async def test_a_change_has_precedence_until_it_is_durable_and_a_moment_after() -> None:
    store, clock = HeldStore(), ManualClock()
    async with ComponentRegistry(store=store, clock=clock) as registry, asyncio.TaskGroup() as group:
        taken = [registry.precedence.taken]
        hold(store)
        command = group.create_task(registry.register(registration()))
        await held(store)
        clock.advance(60.0)
        taken.append(registry.precedence.taken)
        store.free.set()
        await command
        taken.append(registry.precedence.taken)
        clock.advance(2 * MOMENT)
        taken.append(registry.precedence.taken)

    assert taken == [False, True, True, False]


async def test_a_change_that_was_refused_has_no_precedence_any_more() -> None:
    store, clock = HeldStore(), ManualClock()
    store.error = FULL
    async with ComponentRegistry(store=store, clock=clock) as registry:
        assert isinstance(await refused(registry.register(registration())), StorageFullError)
        clock.advance(2 * MOMENT)

        assert not registry.precedence.taken
        store.error = None


async def test_a_command_is_visible_only_when_it_is_durable() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        store.free.clear()
        command = group.create_task(registry.register(registration()))
        await held(store)

        assert registry.find("x") is None
        assert registry.revision == 0

        store.free.set()
        record, _ = await command
        assert registry.find("x") is record


async def test_a_repeated_registration_is_acknowledged_only_when_the_first_is_durable() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        store.free.clear()
        one = registration()
        first = group.create_task(registry.register(one))
        await held(store)
        second = group.create_task(registry.register(one))
        for _ in range(5):
            await asyncio.sleep(0)

        assert not second.done()

        store.free.set()
        assert (await first).created
        assert not (await second).created


async def test_a_registration_is_not_refused_for_one_that_the_disk_then_refuses() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        hold(store)
        first = group.create_task(refused(registry.register(registration())))
        await held(store)
        second = registration()
        waiting = group.create_task(registry.register(second))
        await asyncio.sleep(0)
        assert not waiting.done()

        store.error = FULL
        store.free.set()
        assert isinstance(await first, StorageFullError)
        store.error = None

        assert (await waiting).record.instance_uuid == second.instance_uuid


async def test_a_refusal_comes_when_all_can_see_what_it_rests_on() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        one = await ready(registry)
        key = ("x", one.instance_uuid)
        hold(store)
        first = group.create_task(registry.set_state(*key, ComponentState.STOPPING))
        await held(store)
        repeated = group.create_task(refused(registry.set_state(*key, ComponentState.STOPPING)))
        degraded = group.create_task(refused(registry.set_state(*key, ComponentState.DEGRADED)))
        again = group.create_task(refused(registry.make_ready(*key)))
        await asyncio.sleep(0)
        assert not any(command.done() for command in (repeated, degraded, again))

        store.free.set()
        await first

        for refusal in (await repeated, await degraded, await again):
            assert isinstance(refusal, IllegalTransitionError)
            assert refusal.current == "stopping"


async def test_what_is_being_removed_is_there_until_it_is_gone_for_good() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        one = await ready(registry)
        hold(store)
        first = group.create_task(refused(registry.deregister("x", one.instance_uuid)))
        await held(store)
        second = group.create_task(refused(registry.deregister("x", one.instance_uuid)))
        degraded = group.create_task(refused(registry.set_state("x", one.instance_uuid, ComponentState.DEGRADED)))
        await asyncio.sleep(0)
        store.error = FULL
        store.free.set()
        assert isinstance(await first, StorageFullError)
        store.error = None

        assert await second is None
        assert isinstance(await degraded, ComponentNotFoundError)


async def test_what_is_refused_anyhow_is_refused_at_once() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        one = await ready(registry)
        hold(store)
        command = group.create_task(registry.set_state("x", one.instance_uuid, ComponentState.DEGRADED))
        await held(store)

        with pytest.raises(ComponentExistsError):
            await registry.register(registration())
        stranger = registration().instance_uuid
        with pytest.raises(StaleInstanceError):
            await registry.set_state("x", stranger, ComponentState.FAILED)
        assert registry.stale_commands == 1
        with pytest.raises(ComponentNotFoundError):
            await registry.deregister("y", stranger)
        assert not command.done()
        store.free.set()


async def test_an_observation_does_not_wait_for_the_disk_and_keeps_revisions_in_order() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry, "a")
        changes = record_changes(registry)
        hold(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.register(registration("b")))
            await held(store)

            registry.observe("a", one.instance_uuid, FAILED, "killed by signal 9")

            assert registry.find("a").state is FAILED  # type: ignore[union-attr]
            assert registry.find("b") is None
            store.free.set()

        assert [change.component_id for change in changes] == ["a", "b"]
        assert changes[0].revision < changes[1].revision


async def test_an_observation_about_a_component_with_a_command_underway_takes_its_turn() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        changes = record_changes(registry)
        hold(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.set_state("x", one.instance_uuid, ComponentState.STOPPING))
            await held(store)
            assert registry.observe("x", one.instance_uuid, FAILED, "exit 1")
            assert changes == []
            store.free.set()
        await registry.flush()

        assert [change.state for change in changes] == [ComponentState.STOPPING, FAILED]


async def test_more_observations_than_the_revision_gap_holds_still_come_in_order() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        names = [f"c{number}" for number in range(1500)]
        instances = await asyncio.gather(*(registered(registry, name) for name in names))
        changes = record_changes(registry)
        hold(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.register(registration("late")))
            await held(store)
            for one in instances:
                registry.observe(one.component_id, one.instance_uuid, FAILED, "gone")
            store.free.set()
        await registry.flush()

        revisions = [change.revision for change in changes]
        assert revisions == sorted(set(revisions))
        assert len(revisions) == 1501


# What the disk does


async def test_a_full_disk_refuses_commands_and_undoes_them() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        failed = await ready(registry, "y")
        registry.observe("y", failed.instance_uuid, FAILED, "exit 1")
        await registry.flush()
        before = registry.components()
        store.error = StorageFullError("no space left")

        outcomes = await asyncio.gather(
            registry.register(registration("new")),
            registry.set_state("x", one.instance_uuid, ComponentState.STOPPING),
            registry.deregister("x", one.instance_uuid),
            registry.register(registration("y")),
            return_exceptions=True,
        )

        assert [type(outcome) for outcome in outcomes] == [StorageFullError] * 4
        assert registry.components() == before
        assert registry.storage_full

        store.error = None
        await registry.set_state("x", one.instance_uuid, ComponentState.STOPPING)
        await registry.register(registration("new"))
        await registry.register(registration("y"))
        assert not registry.storage_full


async def test_observations_and_reads_go_on_while_the_disk_is_full() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        store.error = StorageFullError("no space left")
        with pytest.raises(StorageFullError):
            await registry.register(registration("new"))

        assert registry.observe("x", one.instance_uuid, FAILED, "exit 1")

        assert registry.find("x").state is FAILED  # type: ignore[union-attr]
        store.error = None
        await registry.register(registration("new"))
        await registry.flush()
        assert (await registry.get_history("x"))[0].state is FAILED


async def test_an_observation_made_during_a_refused_command_stays() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        hold(store)
        store.error = StorageFullError("no space left")

        async def fail_meanwhile() -> None:
            await held(store)
            registry.observe("x", one.instance_uuid, FAILED, "exit 1")
            store.free.set()

        refused, _ = await asyncio.gather(
            registry.set_state("x", one.instance_uuid, ComponentState.STOPPING),
            fail_meanwhile(),
            return_exceptions=True,
        )

        assert isinstance(refused, StorageFullError)
        assert registry.find("x").state is FAILED  # type: ignore[union-attr]
        store.error = None


async def test_after_a_commit_of_unknown_outcome_nothing_more_is_accepted() -> None:
    store = HeldStore()
    registry = ComponentRegistry(store=store)
    await registered(registry)
    store.error = StorageUnknownError("fsync failed")

    with pytest.raises(StorageUnknownError):
        await registry.register(registration("y"))
    store.error = None
    with pytest.raises(StorageUnknownError):
        await registry.register(registration("z"))

    assert isinstance(registry.failure, StorageUnknownError)
    assert registry.find("x") is not None
    await registry.close()


# What was built on a refused command


async def refuse_while(
    store: HeldStore, command: Coroutine[Any, Any, object], meanwhile: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Have *command* refused by the store after *meanwhile* has happened."""
    hold(store)
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(outcome(command))
        await held(store)
        await meanwhile()
        store.error = FULL
        store.free.set()
        assert await refused is FULL
    store.error = None


async def outcome(command: Coroutine[Any, Any, object]) -> object:
    try:
        return await command
    except StorageError as error:
        return error


async def test_an_observation_carries_nothing_of_a_refused_update() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry, version="1", capabilities=["old"])
        update = registration(instance_uuid=one.instance_uuid, version="2", capabilities=["new"])

        async def die() -> None:
            registry.observe("x", one.instance_uuid, FAILED, "exit 1")

        await refuse_while(store, registry.register(update), die)

        record = registry.find("x")
        assert record is not None
        assert (record.state, record.version, record.capabilities) == (FAILED, "1", ("old",))


async def test_an_observation_says_from_which_visible_state_it_came() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        changes = record_changes(registry)

        async def die() -> None:
            registry.observe("x", one.instance_uuid, FAILED, "exit 1")

        await refuse_while(store, registry.set_state("x", one.instance_uuid, ComponentState.STOPPING), die)

        assert [(change.previous, change.state) for change in changes] == [(READY, FAILED)]


async def test_the_failure_of_an_instance_whose_new_registration_was_refused_is_forgotten_with_it() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
        await registry.flush()
        before = registry.find("x")

        async def die() -> None:
            assert registry.observe("x", one.instance_uuid, FAILED, "exit 2")

        await refuse_while(store, registry.register(one), die)

        assert registry.find("x") is before
        assert head_of(registry) == [FAILED]


async def test_an_observation_that_only_a_refused_command_stood_against_counts_after_all() -> None:
    """The process of a component that somebody is just removing dies; then it cannot be removed."""
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)

        async def die() -> None:
            assert not registry.observe("x", one.instance_uuid, FAILED, "exit 1")

        await refuse_while(store, registry.deregister("x", one.instance_uuid), die)

        assert state_of(registry) is FAILED
        assert head_of(registry) == [FAILED]


async def test_commands_that_came_during_a_refused_batch_are_undone_with_it_newest_first() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        one = await ready(registry)
        before = registry.find("x")
        later: list[asyncio.Task[object]] = []

        async def go_on() -> None:
            for command in (
                registry.set_state("x", one.instance_uuid, ComponentState.STOPPED),
                registry.register(registration(version="3")),
                registry.register(registration("y")),
            ):
                later.append(group.create_task(outcome(command)))
                await asyncio.sleep(0)

        await refuse_while(store, registry.set_state("x", one.instance_uuid, ComponentState.STOPPING), go_on)

        assert [await task for task in later] == [FULL] * 3
        assert registry.components() == [before]
        assert (head_of(registry), head_of(registry, "y")) == ([READY], [])
        assert await registry.register(one) == (before, False)


async def test_who_listens_for_undoing_hears_of_lost_slots_once_all_is_undone() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry)
        undone: list[tuple[str, list[ComponentState]]] = []
        registry.add_undo_listener(
            lambda component_id, _: undone.append((component_id, head_of(registry, component_id)))
        )
        store.error = FULL

        await asyncio.gather(
            registry.set_state("x", one.instance_uuid, ComponentState.DEGRADED),
            registry.deregister("x", one.instance_uuid),
            registry.register(one),
            registry.register(registration("y")),
            return_exceptions=True,
        )

        assert dict(undone) == {"x": [READY], "y": []}


# Callers


async def test_a_cancelled_caller_takes_nobody_along_who_waits_for_the_same_command() -> None:
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry, asyncio.TaskGroup() as group:
        hold(store)
        one = registration()
        first = group.create_task(registry.register(one))
        await held(store)
        second = group.create_task(registry.register(one))
        await asyncio.sleep(0)

        first.cancel()
        await asyncio.wait([first])
        third = group.create_task(registry.register(one))
        await asyncio.sleep(0)
        store.free.set()

        assert [(await task).created for task in (second, third)] == [False, False]


async def test_whoever_flushes_waits_only_for_what_was_there_before(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    flushed = asyncio.Event()

    async def keep_busy() -> None:
        # Never two turns without a command on its way.
        while not flushed.is_set():
            await registry.register(registration(instance_uuid=one.instance_uuid, metadata={"n": next(numbers)}))

    numbers = count()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(keep_busy())
        await asyncio.sleep(0)
        await registry.flush()
        assert (await registry.get_history("x"))[0].kind == "updated"
        flushed.set()


async def test_two_tasks_may_close_a_registry_at_once(tmp_path: Path) -> None:
    registry, other = ComponentRegistry(tmp_path), ComponentRegistry(tmp_path)
    one = await ready(registry)
    registry.observe("x", one.instance_uuid, FAILED, "exit 1")

    await asyncio.gather(registry.close(), registry.close())

    await other.set_state("x", one.instance_uuid, ComponentState.STOPPING)
    await other.close()


async def test_what_comes_while_a_registry_is_being_closed_is_refused_or_saved() -> None:
    store = HeldStore()
    registry = ComponentRegistry(store=store)
    one = await ready(registry)
    hold(store)
    async with asyncio.TaskGroup() as group:
        group.create_task(registry.register(registration("y")))
        await held(store)
        closing = group.create_task(registry.close())
        await asyncio.sleep(0)
        # A listener's reaction to the last batch: too late to be waited for.
        registry.feed.add_listener(lambda _: registry.observe("x", one.instance_uuid, FAILED, "exit 1") and None)
        store.free.set()
        await closing

    async with ComponentRegistry(store=store) as registry:
        assert state_of(registry) is FAILED


# Event loops


def test_a_batch_that_one_loop_has_left_behind_is_finished_in_the_next() -> None:
    store = HeldStore()
    registry = ComponentRegistry(store=store)
    hold(store)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(registry.register(registration("a")), 0.01)

    async def go_on() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(registry.register(registration("b")))
            await held(store)
            store.free.set()

    asyncio.run(leave())
    asyncio.run(go_on())

    assert [record.component_id for record in registry.components()] == ["a", "b"]
    asyncio.run(registry.close())


def test_whoever_only_waits_for_a_change_gets_it_from_a_batch_of_an_earlier_loop() -> None:
    store = HeldStore()
    registry = ComponentRegistry(store=store)
    hold(store)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(registry.register(registration()), 0.01)

    async def wait() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(registry.wait_until("x", lambda best: best is not None))
            await asyncio.sleep(0)
            store.free.set()

    asyncio.run(leave())
    asyncio.run(wait())
    asyncio.run(registry.close())


# After a refusal


@virtual_time
async def test_what_could_not_be_saved_is_saved_when_there_is_room_again_though_nobody_asks(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = HeldStore()
    registry = new_inline_registry(store)
    one = await ready(registry)
    store.error = FULL
    registry.observe("x", one.instance_uuid, FAILED, "exit 1")
    await asyncio.sleep(60)
    assert registry.storage_full

    store.error = None
    await asyncio.sleep(60)

    assert not registry.storage_full
    assert store.history("x", 1, None)[0].state is FAILED
    await registry.close()


@pytest.mark.parametrize("error", [StorageFullError("no space left"), StorageError("busy")])
@virtual_time
async def test_a_store_that_refuses_is_not_asked_again_and_again(
    new_inline_registry: Callable[..., ComponentRegistry], error: StorageError
) -> None:
    store = HeldStore()
    registry = new_inline_registry(store)
    one = await ready(registry)
    store.error, store.commits = error, 0

    registry.observe("x", one.instance_uuid, FAILED, "exit 1")
    await asyncio.sleep(0.1)

    assert store.commits == 1
    store.error = None
    await registry.close()


@virtual_time
async def test_a_disk_counts_as_full_until_an_attempt_succeeds_even_if_there_is_nothing_to_save(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = HeldStore()
    registry = new_inline_registry(store)
    store.error = FULL
    with pytest.raises(StorageFullError):
        await registry.register(registration())
    assert registry.storage_full

    await asyncio.sleep(60)
    assert registry.storage_full
    store.error = None
    await asyncio.sleep(60)

    assert not registry.storage_full
    await registry.close()


# Too much at once


async def test_what_there_is_no_room_for_is_refused_at_once_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 3)
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry, "known")
        hold(store)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(registry.register(registration("first")))
            await held(store)
            waiting = [group.create_task(registry.register(registration(f"w{number}"))) for number in range(3)]
            await asyncio.sleep(0)

            commands: list[Coroutine[Any, Any, Any]] = [
                registry.register(registration("one-more")),
                registry.register(registration("known", instance_uuid=one.instance_uuid, version="2")),
                registry.set_state("known", one.instance_uuid, ComponentState.STOPPING),
                registry.make_ready("first", registry.table.identity(1)[1]),
                registry.deregister("known", one.instance_uuid),
            ]
            for command in commands:
                with pytest.raises(StorageBusyError) as refusal:
                    await command
                assert (refusal.value.waiting, refusal.value.retry_after) == (3, 1.0)

            assert head_of(registry, "known") == [READY]
            assert head_of(registry, "one-more") == []
            store.free.set()

        assert first.result().created
        assert all(task.result().created for task in waiting)
        assert len(registry.components()) == 5
        await registry.register(registration("one-more"))


async def test_who_only_repeats_what_is_known_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 1)
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        one = await ready(registry, "known")
        hold(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.register(registration("first")))
            await held(store)
            group.create_task(registry.register(registration("second")))
            await asyncio.sleep(0)

            assert not (await registry.register(one)).created
            assert (await registry.make_ready("known", one.instance_uuid)).state is READY
            store.free.set()


async def test_observations_are_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 1)
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        instances = [await ready(registry, name) for name in ("a", "b")]
        hold(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.set_state("a", instances[0].instance_uuid, ComponentState.DEGRADED))
            await held(store)
            group.create_task(registry.register(registration("waiting")))
            await asyncio.sleep(0)

            for one in instances:
                assert registry.observe(one.component_id, one.instance_uuid, FAILED, "killed")
            store.free.set()

        assert [state_of(registry, name) for name in ("a", "b")] == [FAILED, FAILED]


async def test_large_commands_share_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_BATCH_BYTES", 5000)
    store = HeldStore()
    async with ComponentRegistry(store=store) as registry:
        await asyncio.gather(*(registered(registry, f"c{n}", metadata={"padding": "x" * 4000}) for n in range(4)))

    assert store.commits == 4


async def test_a_registry_without_threads_answers_within_a_turn_of_the_loop(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    threads = threading.active_count()
    async with new_inline_registry() as registry:
        await ready(registry)

        assert state_of(registry) is READY
        assert threading.active_count() == threads
