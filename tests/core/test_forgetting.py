"""Tests of tekton.core.forgetting: who leaves the registry by itself, when, and who never does."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import NO_PAPERS, MemoryStore, Mutation, Papers
from tekton.core.forgetting import BATCH, LOOK, SET_BACK, TICK, Forgetting
from tekton.core.lifecycle import Change, ComponentRecord, ComponentRegistration, ComponentState
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.testing.faults import FaultyStore, VirtualWorker
from tekton.utils.tekton_errors import StorageError, StorageFullError

FAILED, STOPPED = ComponentState.FAILED, ComponentState.STOPPED
YEAR = 365 * 86400.0
_TO_STOPPED = (
    ComponentState.INITIALIZING,
    ComponentState.STARTING,
    ComponentState.READY,
    ComponentState.STOPPING,
    STOPPED,
)


class CountingStore(FaultyStore):
    """Knows how much it was given at once."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.batches: list[int] = []

    def commit(self, batch: Sequence[Mutation], papers: Papers = NO_PAPERS) -> None:
        self.batches.append(len(batch))
        super().commit(batch, papers)


@dataclass
class World:
    """A control plane whose time is virtual, and which can be started again on the same store."""

    store: CountingStore = field(default_factory=CountingStore)
    clock: ManualClock = field(default_factory=current_clock)
    startable: set[str] = field(default_factory=set)
    write_takes: float = 0.0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        worker = VirtualWorker(delay=lambda: self.write_takes)
        self.registry = ComponentRegistry(store=self.store, clock=self.clock, executor=worker)
        self.changes: list[Change] = []
        self.registry.feed.add_listener(self.changes.append)
        self.forgetting = Forgetting(self.registry, clock=self.clock, startable=self.startable.__contains__)
        self.forgetting.start()

    async def end(self) -> None:
        await self.forgetting.stop()
        await self.registry.close()

    async def register(self, name: str, forget_after: float | None, *, supervised: bool = False) -> ComponentRecord:
        registration = ComponentRegistration(component_id=name, forget_after=forget_after)
        return (await self.registry.register(registration, supervised=supervised)).record

    async def fail(self, name: str, forget_after: float | None, *, supervised: bool = False) -> ComponentRecord:
        record = await self.register(name, forget_after, supervised=supervised)
        assert self.registry.observe(name, record.instance_uuid, FAILED, "exit 1")
        return self.record(name)

    def record(self, name: str) -> ComponentRecord:
        record = self.registry.find(name)
        assert record is not None
        return record

    def is_there(self, name: str) -> bool:
        return self.registry.find(name) is not None

    async def passes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await settle()


async def refusal(command: Awaitable[object]) -> StorageError | None:
    try:
        await command
    except StorageError as error:
        return error
    return None


async def settle() -> None:
    """Let everything happen that takes no time."""
    for _ in range(20):
        await asyncio.sleep(0)


# When.


@pytest.mark.parametrize("after", [0.3, 60.0, 3600.0, 86400.0])
@virtual_time
async def test_what_has_failed_is_forgotten_when_its_time_has_come_and_not_before(after: float) -> None:
    world = World()
    await world.fail("billing", after)

    await world.passes(after - 0.01)
    assert world.is_there("billing")
    await world.passes(0.01 + TICK)
    assert not world.is_there("billing")


@virtual_time
async def test_without_a_least_time_it_is_gone_at_once() -> None:
    world = World()
    await world.fail("billing", 0.0)

    await world.passes(TICK)

    assert not world.is_there("billing")


@virtual_time
async def test_who_says_nothing_is_kept() -> None:
    world = World()
    record = await world.fail("billing", None)

    await world.passes(86400)

    assert world.is_there("billing")
    assert world.forgetting.due_in(record) is None


@virtual_time
async def test_what_lives_is_kept() -> None:
    world = World()
    record = await world.register("billing", 1.0)
    await world.registry.make_ready("billing", record.instance_uuid)

    await world.passes(3600)

    assert world.is_there("billing")


@virtual_time
async def test_the_change_says_that_it_was_forgotten_and_the_history_keeps_it() -> None:
    world = World()
    await world.fail("billing", 90.0)
    began = world.clock.time()

    await world.passes(91)

    gone, reason = world.changes[-1], "forgotten 90 s after it failed"
    assert (gone.kind, gone.reason, gone.state, gone.record.reason) == ("deregistered", reason, FAILED, "exit 1")
    assert gone.at == pytest.approx(began + 90, abs=TICK)
    newest, failed, *_ = await world.registry.get_history("billing")
    assert (newest.kind, newest.reason) == ("deregistered", reason)
    assert (failed.kind, failed.state) == ("state", FAILED)


@virtual_time
async def test_what_was_stopped_is_forgotten_too() -> None:
    world = World()
    record = await world.register("billing", 60.0)
    for state in _TO_STOPPED:
        await world.registry.set_state("billing", record.instance_uuid, state)

    await world.passes(61)

    assert world.changes[-1].reason == "forgotten 60 s after it stopped"


@virtual_time
async def test_time_counts_from_the_last_end() -> None:
    world = World()
    record = await world.fail("billing", 60.0)
    await world.passes(59)
    for state in (ComponentState.STOPPING, STOPPED):
        await world.registry.set_state("billing", record.instance_uuid, state)

    await world.passes(59)
    assert world.is_there("billing")
    await world.passes(1 + TICK)
    assert not world.is_there("billing")


@virtual_time
async def test_each_is_forgotten_in_its_own_time() -> None:
    world = World()
    for name, after in (("slow", 500.0), ("quick", 5.0), ("medium", 50.0)):
        await world.fail(name, after)

    left = []
    for seconds in (6, 45, 450):
        await world.passes(seconds)
        left.append([record.component_id for record in world.registry.components()])

    assert left == [["medium", "slow"], ["slow"], []]


@virtual_time
async def test_only_the_instance_that_has_ended_is_forgotten() -> None:
    world = World()
    two = [ComponentRegistration(component_id="web", max_instances=2, forget_after=10.0) for _ in range(2)]
    for one in two:
        await world.registry.register(one)
    world.registry.observe("web", two[0].instance_uuid, FAILED, "exit 1")

    await world.passes(11)

    assert [record.instance_uuid for record in world.registry.instances("web")] == [two[1].instance_uuid]


# What calls it off.


@pytest.mark.parametrize("how", ["the same instance", "another instance", "the legal way", "removal"])
@virtual_time
async def test_what_happens_first_calls_it_off(how: str) -> None:
    world = World()
    record = await world.fail("billing", 60.0)
    await world.passes(59)
    same = ComponentRegistration(component_id="billing", instance_uuid=record.instance_uuid, forget_after=60.0)

    match how:
        case "the same instance":
            await world.registry.register(same)
        case "another instance":
            await world.register("billing", 60.0)
        case "the legal way":
            await world.registry.set_state("billing", record.instance_uuid, ComponentState.INITIALIZING)
        case _:
            await world.registry.deregister("billing", record.instance_uuid)
            await world.register("billing", 60.0)
    await world.passes(3600)

    assert world.is_there("billing")
    assert not [change for change in world.changes if (change.reason or "").startswith("forgotten")]


@virtual_time
async def test_who_comes_back_saying_nothing_of_it_is_kept_from_then_on() -> None:
    world = World()
    record = await world.fail("billing", 60.0)
    same = ComponentRegistration(component_id="billing", instance_uuid=record.instance_uuid)
    await world.registry.register(same)
    world.registry.observe("billing", record.instance_uuid, FAILED, "exit 1")

    await world.passes(3600)

    assert world.is_there("billing")


@virtual_time
async def test_one_that_ends_again_and_again_gets_its_full_time_after_each_end() -> None:
    world = World()
    for _ in range(50):
        await world.fail("billing", 60.0)
        await world.passes(59)
    assert world.is_there("billing")

    await world.passes(1 + TICK)

    assert not world.is_there("billing")


@virtual_time
async def test_a_registration_on_its_way_to_the_disk_is_not_removed() -> None:
    world = World()
    record = await world.fail("billing", 60.0)
    await world.passes(59)
    same = ComponentRegistration(component_id="billing", instance_uuid=record.instance_uuid, forget_after=60.0)

    world.write_takes = 10.0
    async with asyncio.TaskGroup() as group:
        group.create_task(world.registry.register(same))
        # By now its time has come: nobody sees the registration yet, but it counts.
        await world.passes(5)
        assert world.record("billing").state is FAILED

    assert world.record("billing").state is ComponentState.REGISTERING
    assert [change.kind for change in world.changes] == ["registered", "state", "registered"]


@virtual_time
async def test_if_such_a_registration_is_refused_it_is_forgotten_after_all() -> None:
    world = World()
    record = await world.fail("billing", 60.0)
    await world.passes(59)
    same = ComponentRegistration(component_id="billing", instance_uuid=record.instance_uuid, forget_after=60.0)

    world.write_takes, world.store.full = 10.0, True
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(refusal(world.registry.register(same)))
        await world.passes(5)
    world.write_takes, world.store.full = 0.0, False
    await world.passes(2 * LOOK)

    assert isinstance(refused.result(), StorageFullError)
    assert not world.is_there("billing")


# Who is never forgotten.


@virtual_time
async def test_what_tekton_runs_is_kept() -> None:
    world = World()
    record = await world.fail("billing", 1.0, supervised=True)

    await world.passes(86400)

    assert world.is_there("billing")
    assert world.forgetting.due_in(record) is None


@virtual_time
async def test_what_a_supervised_process_says_of_it_does_not_count() -> None:
    world = World()
    record = await world.register("billing", None, supervised=True)
    own = ComponentRegistration(component_id="billing", instance_uuid=record.instance_uuid, forget_after=1.0)

    await world.registry.register(own)

    assert world.record("billing").forget_after is None


@virtual_time
async def test_what_can_be_started_here_is_kept_until_it_cannot_be_any_more() -> None:
    world = World()
    world.startable.add("billing")
    record = await world.fail("billing", 1.0)

    await world.passes(86400)
    assert world.is_there("billing")
    assert world.forgetting.due_in(record) is None
    world.startable.clear()
    await world.passes(LOOK + TICK)

    assert not world.is_there("billing")


@virtual_time
async def test_a_record_that_an_earlier_version_has_written_is_kept() -> None:
    world = World()
    await world.fail("billing", None)
    await world.end()
    record = json.loads(msgspec.json.encode(world.record("billing")))
    assert record.pop("forget_after", "absent") is None
    world.store = CountingStore()
    world.store.open()
    world.store.commit([Mutation(9, 1.0, "state", "billing", record["instance_uuid"], "{}", json.dumps(record))])
    world.store.close()

    world.begin()
    await world.passes(86400)

    assert world.record("billing").forget_after is None


# Clocks, and the restart of the control plane.


@virtual_time
async def test_time_in_which_no_control_plane_runs_counts() -> None:
    world = World()
    for name, after in (("short", 100.0), ("long", 1000.0)):
        await world.fail(name, after)
    await world.passes(50)
    await world.end()
    world.clock.advance(500)

    world.begin()
    await settle()
    assert (world.is_there("short"), world.is_there("long")) == (False, True)
    await world.passes(449)
    assert world.is_there("long")
    await world.passes(1 + TICK)

    assert not world.is_there("long")


@pytest.mark.parametrize("jump", [-10 * YEAR, -3600.0, 3600.0, 10 * YEAR])
@virtual_time
async def test_while_we_run_a_clock_that_is_set_changes_nothing(jump: float) -> None:
    world = World()
    await world.fail("billing", 600.0)
    await world.passes(300)

    world.clock.set_wall(world.clock.time() + jump)
    await world.passes(299)
    assert world.is_there("billing")
    await world.passes(1 + TICK)

    assert not world.is_there("billing")


@virtual_time
async def test_a_suspended_machine_counts() -> None:
    world = World()
    await world.fail("billing", 86400.0)
    await world.passes(10)

    world.clock.suspend(86400)
    await world.passes(LOOK)

    assert not world.is_there("billing")


@virtual_time
async def test_what_ends_after_that_is_forgotten_in_time() -> None:
    world = World()
    await world.fail("billing", 600.0)
    await world.passes(1)
    world.clock.suspend(590)

    await world.fail("rhetor", 10.0)
    await world.passes(10 + TICK)

    assert not world.is_there("rhetor")


@virtual_time
async def test_a_clock_that_was_set_back_while_we_were_away_does_not_keep_it_for_ever() -> None:
    world = World()
    await world.fail("billing", 600.0)
    await world.end()
    world.clock.set_wall(world.clock.time() - 10 * YEAR)

    world.begin()
    await world.passes(599)
    assert world.is_there("billing")
    await world.passes(1 + TICK)

    assert not world.is_there("billing")


@virtual_time
async def test_nor_does_one_restart_after_the_other() -> None:
    world = World()
    await world.fail("billing", 600.0)
    await world.end()
    world.clock.set_wall(world.clock.time() - 10 * YEAR)

    for _ in range(6):
        world.begin()
        await world.passes(90)
        assert world.is_there("billing")
        await world.end()
    world.clock.advance(60)
    world.begin()
    await settle()

    assert not world.is_there("billing")
    redated = [entry for entry in await world.registry.get_history("billing") if entry.kind == "updated"]
    assert [entry.reason for entry in redated] == [SET_BACK]


@virtual_time
async def test_it_says_when_it_will_be() -> None:
    world = World()
    record = await world.fail("billing", 600.0)

    await world.passes(200)

    assert world.forgetting.due_in(record) == pytest.approx(400, abs=TICK)


# The store.


@virtual_time
async def test_what_a_full_disk_refuses_is_tried_again() -> None:
    world = World()
    await world.fail("billing", 60.0)
    await world.passes(30)
    world.store.full = True

    await world.passes(300)
    assert world.record("billing").state is FAILED
    world.store.full = False
    await world.passes(2 * LOOK)

    assert not world.is_there("billing")


@virtual_time
async def test_many_are_forgotten_a_batch_at_a_time() -> None:
    world = World()
    many = 3 * BATCH + 7
    for number in range(many):
        await world.fail(f"c{number}", 60.0)
    await world.passes(30)
    world.store.batches.clear()

    await world.passes(31)

    assert world.registry.components() == []
    assert max(world.store.batches) <= BATCH
    assert sum(world.store.batches) == many


@virtual_time
async def test_who_comes_back_while_others_are_forgotten_is_kept() -> None:
    world = World()
    for number in range(BATCH + 1):
        await world.fail(f"c{number:04}", 60.0)
    last = f"c{BATCH:04}"

    def come_back(change: Change) -> None:
        """When the first is gone the last comes back, and ends once more."""
        if change.kind == "deregistered" and change.component_id == "c0000":
            comebacks.append(asyncio.ensure_future(world.fail(last, 60.0)))

    comebacks: list[asyncio.Future[ComponentRecord]] = []
    world.registry.feed.add_listener(come_back)
    await world.passes(61)

    assert [record.component_id for record in world.registry.components()] == [last]
    assert world.forgetting.due_in(await comebacks[0]) == pytest.approx(60, abs=2)


# Starting and stopping.


@virtual_time
async def test_after_stop_nobody_is_forgotten() -> None:
    world = World()
    await world.fail("billing", 60.0)

    await world.forgetting.stop()
    await world.forgetting.stop()
    await world.passes(3600)
    assert world.is_there("billing")
    async with world.forgetting:
        world.forgetting.start()
        await settle()

    assert not world.is_there("billing")


class UnsteadyClock(ManualClock):
    """Its readings of sleep are late, as where something else ran between the two readings of which they are made."""

    def asleep(self) -> float:
        self.late = getattr(self, "late", 0.02) - 0.02
        return self.late


async def test_time_does_not_go_back_for_a_reading_that_was_late(registry: ComponentRegistry) -> None:
    async with Forgetting(registry, clock=UnsteadyClock()) as forgetting:
        await forgetting.forget_due()
